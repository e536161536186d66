//! MetaImage: `.mha`, and `.mhd` with its data file.
//!
//! The rows of `TransformMatrix` are the i, j and k axes in LPS, that is the columns of the direction matrix, as ITK has it.
//! `AnatomicalOrientation` and `CenterOfRotation` say nothing about where voxels are and are passed over, as ITK does.
//!
//! A data file is looked for beside its header and in folders below. An absolute path, or one that climbs with `..`, is refused:
//! a header from a stranger must not choose which file of this machine is read.

mod header;
mod write;

use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use synthct_image::Volume;

use crate::stream::{ByteSource, GZIP_MAGIC, Packing, Rest, open_buffered};
use crate::{Image, ImageFormat, ImageInfo, IoError, MissingGeometry, ReadOptions};
pub(crate) use header::looks_like_metaimage;
use header::{DataFile, DataStart, Header};
pub(crate) use write::write;

/// Reads a volume; `path` is a `.mha` or `.mhd` file.
pub(crate) fn read(path: &Path, options: &ReadOptions) -> Result<Image, IoError> {
    let mut reader = open_buffered(path)?;
    let header = Header::read(path, &mut reader)?;
    header.require_channels(path, 1)?;
    let mut info = header_info(path, &header, options.missing_geometry)?;
    let grid = header.grid(path, options.missing_geometry)?;
    if let Some(frame) = options.frame.filter(|&frame| frame > 0) {
        return Err(IoError::NoSuchFrame { path: path.to_owned(), frame, n_frames: 1 });
    }
    let values = read_values(path, &header, reader, grid.n_voxels(), &mut info.warnings)?;
    info.grid = Some(grid.clone());
    let volume = Volume::from_vec(grid, values).map_err(IoError::geometry(path))?;
    Ok(Image { volume, info })
}

/// Reads an image of three channels, which are the components of vectors.
pub(crate) fn read_vectors(path: &Path) -> Result<Volume<[f32; 3]>, IoError> {
    let mut reader = open_buffered(path)?;
    let header = Header::read(path, &mut reader)?;
    header.require_channels(path, 3)?;
    let grid = header.grid(path, MissingGeometry::Refuse)?;
    let values = read_values(path, &header, reader, 3 * grid.n_voxels(), &mut Vec::new())?;
    let vectors = values.as_chunks::<3>().0.to_vec();
    Volume::from_vec(grid, vectors).map_err(IoError::geometry(path))
}

/// The `n_values` numbers of the data file; `reader` has passed the header.
fn read_values(
    path: &Path,
    header: &Header,
    reader: BufReader<File>,
    n_values: usize,
    warnings: &mut Vec<String>,
) -> Result<Vec<f32>, IoError> {
    let (data_path, reader) = match &header.data_file {
        DataFile::Local => (path.to_owned(), reader),
        DataFile::Name(name) => {
            let data_path = data_path(path, name)?;
            let reader = open_buffered(&data_path)?;
            (data_path, reader)
        }
    };
    let n_bytes = n_values as u64 * header.storage.element_type.n_bytes() as u64;
    let mut source = open_data(&data_path, header, reader, n_bytes)?;
    let values = source.read_voxels(&data_path, header.storage, n_values)?;
    if source.rest(&data_path)? == Rest::Something {
        warnings.push("there are further bytes after the last voxel".to_owned());
    }
    for warning in warnings {
        tracing::warn!(path = %path.display(), "{warning}");
    }
    Ok(values)
}

/// What the header says; no voxel is read.
pub(crate) fn describe(path: &Path, options: &ReadOptions) -> Result<ImageInfo, IoError> {
    let header = Header::read(path, &mut open_buffered(path)?)?;
    header.require_channels(path, 1)?;
    let mut info = header_info(path, &header, options.missing_geometry)?;
    match header.grid(path, options.missing_geometry) {
        Ok(grid) => info.grid = Some(grid),
        Err(error) => info.warnings.push(crate::error::chain(&error)),
    }
    if let DataFile::Name(name) = &header.data_file {
        match data_path(path, name) {
            Ok(data_path) if data_path.is_file() => {}
            Ok(data_path) => info.warnings.push(format!("there is no data file `{}`", data_path.display())),
            Err(error) => info.warnings.push(crate::error::chain(&error)),
        }
    }
    Ok(info)
}

fn header_info(
    path: &Path,
    header: &Header,
    missing_geometry: MissingGeometry,
) -> Result<ImageInfo, IoError> {
    let mut warnings = Vec::new();
    let missing = header.missing_geometry();
    if !missing.is_empty() && missing_geometry == MissingGeometry::FromPixdim {
        warnings
            .push(format!("the file has no {}: the format's default is assumed", missing.join(" and no ")));
    }
    Ok(ImageInfo {
        path: path.to_owned(),
        format: ImageFormat::MetaImage,
        size_ijk: header.size_ijk(path)?,
        n_frames: 1,
        storage: Some(header.storage),
        description: header.comment.clone(),
        grid: None,
        series: None,
        warnings,
    })
}

/// The data file that a header names, which must lie in the header's folder or below.
fn data_path(header_path: &Path, name: &str) -> Result<PathBuf, IoError> {
    let name_path = Path::new(name);
    let stays_below =
        name_path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !stays_below || name.contains('\\') {
        let what = format!(
            "a data file (`ElementDataFile = {name}`) outside the header's folder; put it beside the header and name it alone"
        );
        return Err(IoError::unsupported(header_path, what));
    }
    Ok(header_path.with_file_name("").join(name_path))
}

/// The voxels' bytes: after the header's size in the data file, unpacked.
fn open_data(
    data_path: &Path,
    header: &Header,
    mut reader: BufReader<File>,
    n_bytes: u64,
) -> Result<ByteSource, IoError> {
    match header.data_start {
        DataStart::After(0) => {}
        DataStart::After(n) => {
            // A position beyond the end is no error here; there are simply no bytes left to read.
            let position = reader.stream_position().map_err(IoError::io(data_path))?.saturating_add(n);
            let length = reader.get_ref().metadata().map_err(IoError::io(data_path))?.len();
            reader.seek(SeekFrom::Start(position.min(length))).map_err(IoError::io(data_path))?;
        }
        DataStart::SoAsToEndTheFile => {
            let length = reader.get_ref().metadata().map_err(IoError::io(data_path))?.len();
            let Some(position) = length.checked_sub(n_bytes) else {
                return Err(IoError::Truncated {
                    path: data_path.to_owned(),
                    expected: n_bytes,
                    found: length,
                });
            };
            reader.seek(SeekFrom::Start(position)).map_err(IoError::io(data_path))?;
        }
    }
    let packing = if header.storage.is_compressed {
        let start = std::io::BufRead::fill_buf(&mut reader).map_err(IoError::io(data_path))?;
        if start.starts_with(&GZIP_MAGIC) { Packing::Gzip } else { Packing::Zlib }
    } else {
        Packing::Plain
    };
    ByteSource::unpacking(data_path, reader, packing)
}
