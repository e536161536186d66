//! Bytes from files: plain, gzip or zlib, never more than the header announces.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use flate2::bufread::{GzDecoder, ZlibDecoder};

use crate::{IoError, Storage};

/// Bytes read at once: small enough for the cache, a multiple of every voxel size.
const CHUNK_BYTES: usize = 1 << 18;
/// Deflate cannot expand a byte to more than this many.
const MAX_EXPANSION: u64 = 1032;

/// How a file's bytes are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zlib,
}

/// The bytes of a file from some offset on, unpacked as they are read.
pub(crate) struct ByteSource {
    reader: Unpacked,
    /// The packed bytes from the start of the source to the end of the file.
    n_packed_bytes: u64,
    packing: Packing,
}

enum Unpacked {
    Plain(BufReader<File>),
    Gzip(GzipMembers),
    Zlib(Box<ZlibDecoder<BufReader<File>>>),
}

/// What is left after the last voxel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    Nothing,
    Something,
}

impl ByteSource {
    /// The bytes of `path`, unpacked if they begin as gzip does.
    pub(crate) fn open(path: &Path) -> Result<Self, IoError> {
        let mut reader = open_buffered(path)?;
        let start = reader.fill_buf().map_err(IoError::io(path))?;
        let packing = if start.starts_with(&GZIP_MAGIC) { Packing::Gzip } else { Packing::Plain };
        Self::unpacking(path, reader, packing)
    }

    /// The rest of `reader`, a reader of `path`, unpacked.
    pub(crate) fn unpacking(
        path: &Path,
        mut reader: BufReader<File>,
        packing: Packing,
    ) -> Result<Self, IoError> {
        let position = reader.stream_position().map_err(IoError::io(path))?;
        let length = reader.get_ref().metadata().map_err(IoError::io(path))?.len();
        let reader = match packing {
            Packing::Plain => Unpacked::Plain(reader),
            Packing::Gzip => Unpacked::Gzip(GzipMembers::new(reader)),
            Packing::Zlib => Unpacked::Zlib(Box::new(ZlibDecoder::new(reader))),
        };
        Ok(Self { reader, n_packed_bytes: length.saturating_sub(position), packing })
    }

    pub(crate) const fn packing(&self) -> Packing {
        self.packing
    }

    /// Fills `buffer` as far as the bytes go and returns how far.
    pub(crate) fn read_up_to(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut n_read = 0;
        self.fill(buffer, &mut n_read)?;
        Ok(n_read)
    }

    /// Fills `buffer` from `n_read` on as far as the bytes go; `n_read` counts them also when it fails.
    fn fill(&mut self, buffer: &mut [u8], n_read: &mut usize) -> io::Result<()> {
        while *n_read < buffer.len() {
            match self.reader.read(&mut buffer[*n_read..]) {
                Ok(0) => break,
                Ok(n) => *n_read += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Passes over `n_bytes` bytes, or to the end; returns how many were passed.
    pub(crate) fn skip(&mut self, path: &Path, n_bytes: u64) -> Result<u64, IoError> {
        if let Unpacked::Plain(reader) = &mut self.reader {
            let position = reader.stream_position().map_err(IoError::io(path))?;
            let length = reader.get_ref().metadata().map_err(IoError::io(path))?.len();
            let n_skipped = n_bytes.min(length.saturating_sub(position));
            reader.seek(SeekFrom::Start(position + n_skipped)).map_err(IoError::io(path))?;
            return Ok(n_skipped);
        }
        match io::copy(&mut (&mut self.reader).take(n_bytes), &mut io::sink()) {
            Ok(n_skipped) => Ok(n_skipped),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
            Err(error) => Err(packing_error(path, self.packing, error)),
        }
    }

    /// The values of the next `n_voxels` voxels, in the file's order.
    ///
    /// Memory grows with the bytes that really come, not with what a header announces.
    pub(crate) fn read_voxels(
        &mut self,
        path: &Path,
        storage: Storage,
        n_voxels: usize,
    ) -> Result<Vec<f32>, IoError> {
        let voxel_bytes = storage.element_type.n_bytes();
        let expected = n_voxels as u64 * voxel_bytes as u64;
        let expansion = if self.packing == Packing::Plain { 1 } else { MAX_EXPANSION };
        let possible = self.n_packed_bytes.saturating_mul(expansion);
        if expected > possible {
            return Err(IoError::Truncated { path: path.to_owned(), expected, found: possible });
        }
        // A first guess of four to one; beyond it the vector grows by itself.
        let likely_bytes = self.n_packed_bytes.saturating_mul(if expansion == 1 { 1 } else { 4 });
        let mut values = Vec::with_capacity(n_voxels.min(likely_bytes as usize / voxel_bytes));
        let mut chunk = vec![0_u8; CHUNK_BYTES.min(expected as usize)];
        let mut n_left = expected as usize;
        while n_left > 0 {
            let wanted = n_left.min(CHUNK_BYTES);
            let mut n_read = 0;
            match self.fill(&mut chunk[..wanted], &mut n_read) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Err(error) => return Err(packing_error(path, self.packing, error)),
            }
            if n_read < wanted {
                let found = expected - n_left as u64 + n_read as u64;
                return Err(IoError::Truncated { path: path.to_owned(), expected, found });
            }
            let first_idx = values.len();
            if storage.decode(&chunk[..wanted], &mut values) {
                let infinite = values[first_idx..].iter().position(|v| v.is_infinite()).unwrap_or(0);
                let what = format!(
                    "a voxel value beyond the range of 32-bit floats (voxel {})",
                    first_idx + infinite
                );
                return Err(IoError::unsupported(path, what));
            }
            n_left -= wanted;
        }
        Ok(values)
    }

    /// Reads on by one byte: at the end of packed data this verifies the checksum.
    pub(crate) fn rest(&mut self, path: &Path) -> Result<Rest, IoError> {
        let n_read =
            self.read_up_to(&mut [0_u8]).map_err(|error| packing_error(path, self.packing, error))?;
        let garbage = matches!(&self.reader, Unpacked::Gzip(members) if members.garbage_follows);
        Ok(if n_read > 0 || garbage { Rest::Something } else { Rest::Nothing })
    }
}

pub(crate) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Opens `path` for reading in large pieces; a folder is an error.
pub(crate) fn open_buffered(path: &Path) -> Result<BufReader<File>, IoError> {
    let file = File::open(path).map_err(IoError::io(path))?;
    Ok(BufReader::with_capacity(CHUNK_BYTES, file))
}

/// An error while unpacking: damage in the packed data, or the operating system's.
pub(crate) fn packing_error(path: &Path, packing: Packing, error: io::Error) -> IoError {
    let format = match packing {
        Packing::Plain => return IoError::io(path)(error),
        Packing::Gzip => "gzip",
        Packing::Zlib => "zlib",
    };
    match error.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
            IoError::malformed(path, format, error.to_string())
        }
        io::ErrorKind::UnexpectedEof => IoError::malformed(path, format, "it ends in the middle"),
        _ => IoError::io(path)(error),
    }
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(reader) => reader.read(buffer),
            Self::Gzip(members) => members.read(buffer),
            Self::Zlib(decoder) => decoder.read(buffer),
        }
    }
}

/// The gzip members of a file, one after the other; unlike flate2's own, it stops at garbage and says so.
struct GzipMembers {
    /// None after the last member.
    decoder: Option<Box<GzDecoder<BufReader<File>>>>,
    garbage_follows: bool,
}

impl GzipMembers {
    fn new(reader: BufReader<File>) -> Self {
        Self { decoder: Some(Box::new(GzDecoder::new(reader))), garbage_follows: false }
    }
}

impl Read for GzipMembers {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(decoder) = &mut self.decoder {
            let n_read = decoder.read(buffer)?;
            if n_read > 0 || buffer.is_empty() {
                return Ok(n_read);
            }
            if let Some(finished) = self.decoder.take() {
                let mut reader = finished.into_inner();
                let next = reader.fill_buf()?;
                if next.starts_with(&GZIP_MAGIC) {
                    self.decoder = Some(Box::new(GzDecoder::new(reader)));
                } else {
                    self.garbage_follows = !next.is_empty();
                }
            }
        }
        Ok(0)
    }
}
