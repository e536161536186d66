//! ITK's text files of transforms, `.tfm` and `.txt`.

use std::io::Write;
use std::path::Path;

use synthct_image::Transform;

use super::record::{Record, records_of};
use crate::IoError;
use crate::output::{Packer, write_aside};

/// How such a file begins.
pub(super) const MAGIC: &str = "#Insight Transform File V1.0";

/// Reads the transform of a file.
pub(super) fn read(path: &Path) -> Result<Transform, IoError> {
    let bytes = std::fs::read(path).map_err(IoError::io(path))?;
    let text = str::from_utf8(&bytes).map_err(|error| malformed(path, format!("it is no text: {error}")))?;
    if !text.ends_with('\n') {
        // A number that lost its last digits is a number as well; only the line end shows that nothing is missing.
        return Err(malformed(path, "its last line has no line end, so it may be cut off".to_owned()));
    }
    let records = parse(path, text)?;
    let Some((first, parts)) = records.split_first() else {
        return Err(malformed(path, "it has no `Transform:` line".to_owned()));
    };
    if first.is_composite() {
        if parts.is_empty() {
            return Err(malformed(path, "its composite transform has no parts".to_owned()));
        }
        let factors: Result<_, _> = parts.iter().map(|part| part.to_transform(path)).collect();
        return factors.map(Transform::Composite);
    }
    if !parts.is_empty() {
        let what = format!("a file of {} transforms that are not one composite", records.len());
        return Err(IoError::unsupported(path, what));
    }
    first.to_transform(path)
}

fn parse(path: &Path, text: &str) -> Result<Vec<Record>, IoError> {
    let mut records: Vec<Record> = Vec::new();
    // Of the last record: whether it has its parameters, and its fixed parameters.
    let mut has = [true; 2];
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some((key, value)) = line.split_once(':') else {
            let shown: String = line.chars().take(40).collect();
            return Err(malformed(path, format!("the line `{}` has no `:`", shown.escape_debug())));
        };
        let value = value.trim();
        if key == "Transform" {
            require_complete(path, records.last(), has)?;
            records.push(Record { kind: value.to_owned(), ..Record::default() });
            has = [false; 2];
            continue;
        }
        let n = match key {
            "Parameters" => 0,
            "FixedParameters" => 1,
            _ => return Err(malformed(path, format!("the key `{}` is unknown", key.escape_debug()))),
        };
        let Some(record) = records.last_mut() else {
            return Err(malformed(path, format!("`{key}:` comes before any `Transform:`")));
        };
        if has[n] {
            return Err(malformed(path, format!("`{}` has `{key}:` twice", record.kind)));
        }
        has[n] = true;
        let list = if n == 0 { &mut record.parameters } else { &mut record.fixed };
        for word in value.split_ascii_whitespace() {
            list.push(word.parse().map_err(|_| {
                malformed(path, format!("`{}` is no number in `{key}:`", word.escape_debug()))
            })?);
        }
    }
    require_complete(path, records.last(), has)?;
    Ok(records)
}

/// Every transform but a composite has both lists, be they empty.
fn require_complete(path: &Path, record: Option<&Record>, has: [bool; 2]) -> Result<(), IoError> {
    match record {
        Some(record) if !record.is_composite() && has != [true, true] => {
            let key = if has[0] { "FixedParameters:" } else { "Parameters:" };
            Err(malformed(path, format!("`{}` has no `{key}`", record.kind)))
        }
        _ => Ok(()),
    }
}

/// Writes a transform; see [`write_transform`](super::write_transform).
pub(super) fn write(path: &Path, transform: &Transform) -> Result<(), IoError> {
    let records = records_of(transform).map_err(IoError::transform(path))?;
    write_aside(path, Packer::Plain, |sink: &mut dyn Write| {
        writeln!(sink, "{MAGIC}")?;
        for (n, record) in records.iter().enumerate() {
            writeln!(sink, "#Transform {n}\nTransform: {}", record.kind)?;
            if record.is_composite() {
                continue;
            }
            for (key, numbers) in [("Parameters:", &record.parameters), ("FixedParameters:", &record.fixed)] {
                write!(sink, "{key}")?;
                for number in numbers {
                    write!(sink, " {number}")?;
                }
                // ITK has a blank after the colon even where nothing follows.
                writeln!(sink, "{}", if numbers.is_empty() { " " } else { "" })?;
            }
        }
        writeln!(sink)
    })
}

fn malformed(path: &Path, what: String) -> IoError {
    IoError::malformed(path, "transform", what)
}
