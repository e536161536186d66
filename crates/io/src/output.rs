//! Bytes to files: packed, written aside and renamed.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use atomic_write_file::AtomicWriteFile;
use flate2::Compression;

use crate::IoError;
use crate::gzip::GzipWriter;

/// Puts voxels, encoded, into a sink.
pub(crate) type VoxelWriter<'a> = dyn Fn(&mut dyn Write) -> io::Result<()> + 'a;

/// What stands at a voxel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VoxelKind {
    /// One number.
    Scalar,
    /// An LPS vector: three numbers a voxel in MetaImage, three volumes one after the other in NIfTI.
    Vector,
}

/// How a file's bytes are to be packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packer {
    Plain,
    Gzip,
}

/// Compression level: 6 and above gain a few percent in size on noisy images and cost several times the time.
pub(crate) const LEVEL: Compression = Compression::new(3);

/// Writes a file beside `path` and renames it to `path` when it is whole: nobody ever sees half a file there.
pub(crate) fn write_aside(
    path: &Path,
    packer: Packer,
    content: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), IoError> {
    let write = || -> io::Result<()> {
        let mut file = BufWriter::with_capacity(1 << 18, AtomicWriteFile::open(path)?);
        match packer {
            Packer::Plain => content(&mut file)?,
            Packer::Gzip => {
                let mut writer = GzipWriter::new(&mut file, LEVEL)?;
                content(&mut writer)?;
                writer.finish()?;
            }
        }
        file.into_inner().map_err(io::IntoInnerError::into_error)?.commit()
    };
    write().map_err(IoError::io(path))
}
