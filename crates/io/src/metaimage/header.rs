//! The text header of a MetaImage.
//!
//! # References
//! The MetaIO library of Kitware, which ITK uses, is the format's definition.

use std::collections::BTreeMap;
use std::io::{BufRead, Read};
use std::path::Path;

use synthct_image::{Grid, Matrix3, PointLps};

use crate::geometry::require_right_angles;
use crate::{ByteOrder, ElementType, IoError, MissingGeometry, Storage};

/// A header longer than this is no header; it keeps a binary file from being read as one endless line.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// Keys that mean the same; the first is the one that messages use.
const SPACING: [&str; 1] = ["ElementSpacing"];
const VOXEL_SIZE: [&str; 1] = ["ElementSize"];
const ORIGIN: [&str; 3] = ["Offset", "Position", "Origin"];
const AXES: [&str; 3] = ["TransformMatrix", "Orientation", "Rotation"];

/// Where the voxels are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DataFile {
    /// After the header, in the same file.
    Local,
    /// In a file of this name.
    Name(String),
}

/// Where in the data file the voxels begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DataStart {
    /// After this many bytes.
    After(u64),
    /// So that the last voxel ends the file.
    SoAsToEndTheFile,
}

/// A header's fields, checked one by one.
#[derive(Clone, Debug)]
pub(super) struct Header {
    /// Three sizes, or four of which the last is 1.
    dim_size: Vec<usize>,
    spacing: Option<Vec<f64>>,
    origin: Option<Vec<f64>>,
    /// Row by row; each row is an axis.
    axes: Option<Vec<f64>>,
    /// Numbers a voxel.
    pub(super) n_channels: usize,
    pub(super) storage: Storage,
    pub(super) data_start: DataStart,
    pub(super) data_file: DataFile,
    pub(super) comment: String,
}

/// Whether bytes begin as a MetaImage header does: with a line `Key = …` that has one of its keys.
pub(crate) fn looks_like_metaimage(start: &[u8]) -> bool {
    let line =
        start.split(|&byte| byte == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
    let key = line.split(|&byte| byte == b'=').next().unwrap_or_default().trim_ascii();
    let known: [&[u8]; 8] =
        [b"ObjectType", b"ObjectSubType", b"Comment", b"NDims", b"DimSize", b"Name", b"ID", b"BinaryData"];
    line.contains(&b'=') && known.contains(&key)
}

impl Header {
    /// Reads the header, and leaves `reader` at the first byte after it.
    pub(super) fn read(path: &Path, reader: &mut impl BufRead) -> Result<Self, IoError> {
        let fields = Fields::read(path, reader)?;
        if let Some(kind) = fields.get(&["ObjectType"])
            && !kind.eq_ignore_ascii_case("image")
        {
            return Err(IoError::unsupported(path, format!("the MetaIO object `ObjectType = {kind}`")));
        }
        let n_dims: usize = fields.number("NDims")?.ok_or_else(|| fields.missing("NDims"))?;
        let dim_size: Vec<usize> =
            fields.numbers(&["DimSize"], n_dims)?.ok_or_else(|| fields.missing("DimSize"))?;
        match dim_size[..] {
            [_, _, _] | [_, _, _, 1] => {}
            [ni, nj, nk, ref further @ ..] => {
                return Err(IoError::NotThreeDimensional {
                    path: path.to_owned(),
                    size_ijk: [ni, nj, nk],
                    n_frames: further.iter().fold(1, |product, &n| product.saturating_mul(n)),
                });
            }
            _ => {
                return Err(IoError::unsupported(
                    path,
                    format!("an image of {n_dims} dimensions instead of 3"),
                ));
            }
        }
        if !fields.flag(&["BinaryData"])?.unwrap_or(true) {
            return Err(IoError::unsupported(
                path,
                "a MetaImage whose voxels are text (`BinaryData = False`)",
            ));
        }
        fields.require_plain_values()?;
        let data_start = match fields.number::<i64>("HeaderSize")? {
            None => DataStart::After(0),
            Some(-1) => DataStart::SoAsToEndTheFile,
            Some(n) => DataStart::After(
                u64::try_from(n).map_err(|_| fields.malformed(format!("`HeaderSize` is {n}")))?,
            ),
        };
        let is_compressed = fields.flag(&["CompressedData"])?.unwrap_or(false);
        if is_compressed && data_start == DataStart::SoAsToEndTheFile {
            return Err(
                fields.malformed("`HeaderSize = -1` needs a known size, but the data are compressed".into())
            );
        }
        let is_big = fields.flag(&["BinaryDataByteOrderMSB", "ElementByteOrderMSB"])?.unwrap_or(false);
        Ok(Self {
            spacing: match fields.numbers(&SPACING, n_dims)? {
                Some(spacing) => Some(spacing),
                None => fields.numbers(&VOXEL_SIZE, n_dims)?,
            },
            origin: fields.numbers(&ORIGIN, n_dims)?,
            axes: fields.numbers(&AXES, n_dims * n_dims)?,
            n_channels: fields.number("ElementNumberOfChannels")?.unwrap_or(1),
            storage: Storage {
                element_type: fields.element_type()?,
                byte_order: if is_big { ByteOrder::Big } else { ByteOrder::Little },
                scaling: None,
                is_compressed,
            },
            data_start,
            data_file: fields.data_file()?,
            comment: fields.get(&["Comment"]).unwrap_or_default().to_owned(),
            dim_size,
        })
    }

    /// Nothing if a voxel has so many numbers.
    pub(super) fn require_channels(&self, path: &Path, expected: usize) -> Result<(), IoError> {
        match (self.n_channels, expected) {
            (found, expected) if found == expected => Ok(()),
            (found, 1) => {
                Err(IoError::unsupported(path, format!("an image of {found} channels (vectors or colors)")))
            }
            (found, _) => Err(IoError::unsupported(
                path,
                format!("a displacement field of {found} channels instead of {expected}"),
            )),
        }
    }

    /// Voxels along i, j, k.
    pub(super) fn size_ijk(&self, path: &Path) -> Result<[usize; 3], IoError> {
        match self.dim_size[..] {
            [ni, nj, nk, ..] if ni > 0 && nj > 0 && nk > 0 => Ok([ni, nj, nk]),
            _ => Err(IoError::malformed(path, "MetaImage", format!("`DimSize` is {:?}", self.dim_size))),
        }
    }

    /// The parts of the geometry that the header does not have.
    pub(super) fn missing_geometry(&self) -> Vec<&'static str> {
        [
            (self.spacing.is_none(), SPACING[0]),
            (self.origin.is_none(), ORIGIN[0]),
            (self.axes.is_none(), AXES[0]),
        ]
        .into_iter()
        .filter_map(|(is_missing, key)| is_missing.then_some(key))
        .collect()
    }

    /// Where the voxels are. Of four dimensions the fourth is passed over.
    pub(super) fn grid(&self, path: &Path, missing_geometry: MissingGeometry) -> Result<Grid, IoError> {
        let missing = self.missing_geometry();
        if !missing.is_empty() && missing_geometry == MissingGeometry::Refuse {
            return Err(IoError::MissingGeometry {
                path: path.to_owned(),
                what: format!("there is no `{}` in its header", missing.join("` and no `")),
            });
        }
        let n_dims = self.dim_size.len();
        let first_three = |values: &Option<Vec<f64>>, default: f64| -> [f64; 3] {
            std::array::from_fn(|axis| values.as_ref().map_or(default, |values| values[axis]))
        };
        let size_ijk = self.size_ijk(path)?;
        let spacing_mm = first_three(&self.spacing, 1.0);
        let direction = self.axes.as_ref().map_or(Matrix3::IDENTITY, |axes| {
            let axis = |n: usize| std::array::from_fn(|component| axes[n * n_dims + component]);
            Matrix3::from_columns(axis(0), axis(1), axis(2))
        });
        require_right_angles(path, size_ijk, spacing_mm, &direction)?;
        Grid::new(size_ijk, spacing_mm, PointLps::from(first_three(&self.origin, 0.0)), direction)
            .map_err(IoError::geometry(path))
    }
}

/// The header's lines.
struct Fields<'a> {
    path: &'a Path,
    values: BTreeMap<String, String>,
}

impl<'a> Fields<'a> {
    fn read(path: &'a Path, reader: &mut impl BufRead) -> Result<Self, IoError> {
        let mut fields = Self { path, values: BTreeMap::new() };
        let mut limited = reader.take(MAX_HEADER_BYTES);
        let mut line = Vec::new();
        loop {
            line.clear();
            if limited.read_until(b'\n', &mut line).map_err(IoError::io(path))? == 0 {
                return Err(fields.malformed("its header has no `ElementDataFile`".to_owned()));
            }
            let text = String::from_utf8_lossy(&line);
            if text.trim().is_empty() {
                continue;
            }
            let Some((key, value)) = text.split_once('=') else {
                let shown: String = text.chars().take(40).collect();
                return Err(
                    fields.malformed(format!("the header line `{}` has no `=`", shown.trim().escape_debug()))
                );
            };
            let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
            let is_last = key == "ElementDataFile";
            if fields.values.insert(key.clone(), value).is_some() {
                return Err(fields.malformed(format!("its header has `{key}` twice")));
            }
            if is_last {
                return Ok(fields);
            }
        }
    }

    fn malformed(&self, what: String) -> IoError {
        IoError::malformed(self.path, "MetaImage", what)
    }

    fn missing(&self, key: &str) -> IoError {
        IoError::MissingAttribute { path: self.path.to_owned(), attribute: format!("`{key}`") }
    }

    fn get(&self, keys: &[&str]) -> Option<&str> {
        keys.iter().find_map(|key| self.values.get(*key)).map(String::as_str)
    }

    fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, IoError> {
        let Some(text) = self.get(&[key]) else { return Ok(None) };
        text.parse()
            .map(Some)
            .map_err(|_| self.malformed(format!("`{key} = {text}` is not a number of its kind")))
    }

    fn numbers<T: std::str::FromStr>(&self, keys: &[&str], n: usize) -> Result<Option<Vec<T>>, IoError> {
        let Some(text) = self.get(keys) else { return Ok(None) };
        let numbers: Result<Vec<T>, _> = text.split_whitespace().map(str::parse).collect();
        match numbers {
            Ok(numbers) if numbers.len() == n => Ok(Some(numbers)),
            _ => Err(self.malformed(format!("`{} = {text}` is not {n} numbers", keys[0]))),
        }
    }

    fn flag(&self, keys: &[&str]) -> Result<Option<bool>, IoError> {
        let Some(text) = self.get(keys) else { return Ok(None) };
        match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "1" => Ok(Some(true)),
            "false" | "f" | "0" => Ok(Some(false)),
            _ => Err(self.malformed(format!("`{} = {text}` is neither True nor False", keys[0]))),
        }
    }

    /// Nothing, unless the header asks for something that changes values or lengths and that ITK would pass over.
    fn require_plain_values(&self) -> Result<(), IoError> {
        for (key, plain) in
            [("ElementToIntensityFunctionSlope", 1.0), ("ElementToIntensityFunctionOffset", 0.0)]
        {
            if let Some(value) = self.number::<f64>(key)?
                && (value - plain).abs() > 0.0
            {
                return Err(IoError::unsupported(self.path, format!("a MetaImage with `{key} = {value}`")));
            }
        }
        match self.get(&["DistanceUnits"]) {
            None | Some("mm" | "?" | "") => Ok(()),
            Some(unit) => {
                Err(IoError::unsupported(self.path, format!("a MetaImage with `DistanceUnits = {unit}`")))
            }
        }
    }

    fn element_type(&self) -> Result<ElementType, IoError> {
        let name = self.get(&["ElementType"]).ok_or_else(|| self.missing("ElementType"))?;
        Ok(match name {
            "MET_CHAR" => ElementType::I8,
            "MET_UCHAR" => ElementType::U8,
            "MET_SHORT" => ElementType::I16,
            "MET_USHORT" => ElementType::U16,
            // MetaIO's "long" has 4 bytes on every machine.
            "MET_INT" | "MET_LONG" => ElementType::I32,
            "MET_UINT" | "MET_ULONG" => ElementType::U32,
            "MET_LONG_LONG" => ElementType::I64,
            "MET_ULONG_LONG" => ElementType::U64,
            "MET_FLOAT" => ElementType::F32,
            "MET_DOUBLE" => ElementType::F64,
            other => {
                return Err(IoError::unsupported(self.path, format!("the MetaImage element type `{other}`")));
            }
        })
    }

    fn data_file(&self) -> Result<DataFile, IoError> {
        let name = self.get(&["ElementDataFile"]).ok_or_else(|| self.missing("ElementDataFile"))?;
        let first_word = name.split_whitespace().next().unwrap_or_default();
        match first_word {
            "" => Err(self.malformed("`ElementDataFile` is empty".to_owned())),
            word if word.eq_ignore_ascii_case("local") => Ok(DataFile::Local),
            "LIST" => Err(IoError::unsupported(self.path, "a MetaImage with a list of data files (`LIST`)")),
            _ if name.contains('%') => Err(IoError::unsupported(
                self.path,
                format!("a MetaImage with a pattern of data files (`{name}`)"),
            )),
            _ => Ok(DataFile::Name(name.to_owned())),
        }
    }
}
