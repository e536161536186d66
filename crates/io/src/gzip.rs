//! A gzip writer that deflates on all threads.

use std::io::{self, Write};

use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use rayon::prelude::*;

/// Bytes that are deflated on their own. Fixed, so that the file does not depend on the number of threads.
const BLOCK_BYTES: usize = 1 << 18;
/// Blocks that are gathered before they are deflated together; what bounds the memory.
const N_GATHERED: usize = 32;

/// Writes one gzip member (RFC 1952) whose data is deflated in blocks, each ending at a byte (a "sync flush" of RFC 1951).
///
/// The header carries neither name nor time: same bytes, same file.
pub(crate) struct GzipWriter<'a> {
    sink: &'a mut dyn Write,
    level: Compression,
    gathered: Vec<u8>,
    crc: Crc,
}

impl<'a> GzipWriter<'a> {
    pub(crate) fn new(sink: &'a mut dyn Write, level: Compression) -> io::Result<Self> {
        // No flags, no time, no hint on the level, system unknown.
        sink.write_all(&[0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255])?;
        Ok(Self { sink, level, gathered: Vec::new(), crc: Crc::new() })
    }

    /// Writes what is left and the end of the member.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.write_gathered()?;
        // An empty last block, then the checksum and the length modulo 2³².
        self.sink.write_all(&[3, 0])?;
        self.sink.write_all(&self.crc.sum().to_le_bytes())?;
        self.sink.write_all(&self.crc.amount().to_le_bytes())
    }

    fn write_gathered(&mut self) -> io::Result<()> {
        let level = self.level;
        let deflated: Vec<io::Result<(Vec<u8>, Crc)>> =
            self.gathered.par_chunks(BLOCK_BYTES).map(|block| deflate(block, level)).collect();
        for block in deflated {
            let (bytes, crc) = block?;
            self.crc.combine(&crc);
            self.sink.write_all(&bytes)?;
        }
        self.gathered.clear();
        Ok(())
    }
}

impl Write for GzipWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n_written = bytes.len().min(BLOCK_BYTES * N_GATHERED - self.gathered.len());
        self.gathered.extend_from_slice(&bytes[..n_written]);
        if self.gathered.len() == BLOCK_BYTES * N_GATHERED {
            self.write_gathered()?;
        }
        Ok(n_written)
    }

    /// Does nothing: how the data is cut into blocks must not depend on how it is written.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn deflate(block: &[u8], level: Compression) -> io::Result<(Vec<u8>, Crc)> {
    let mut crc = Crc::new();
    crc.update(block);
    let mut compress = Compress::new(level, false);
    let mut bytes = Vec::with_capacity(block.len() / 2 + 64);
    loop {
        let n_read = compress.total_in() as usize;
        let status = compress
            .compress_vec(&block[n_read..], &mut bytes, FlushCompress::Sync)
            .map_err(io::Error::other)?;
        // Room that is left means that the flush is complete.
        if compress.total_in() as usize == block.len() && bytes.len() < bytes.capacity() {
            return Ok((bytes, crc));
        }
        if status == Status::StreamEnd {
            return Err(io::Error::other("the deflate stream ended by itself"));
        }
        bytes.reserve(block.len() / 4 + 64);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    /// Bytes that do not compress, so that every buffer grows, after bytes that do.
    fn bytes(n: usize) -> Vec<u8> {
        let mut state = 1_u32;
        (0..n)
            .map(|at| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if at < n / 2 { (at / 1000) as u8 } else { (state >> 24) as u8 }
            })
            .collect()
    }

    #[test]
    fn one_member_comes_back_whole_and_does_not_depend_on_threads() -> io::Result<()> {
        for n in [0, 1, BLOCK_BYTES, BLOCK_BYTES + 1, BLOCK_BYTES * N_GATHERED + 12_345] {
            let original = bytes(n);
            let pack = |piece_bytes: usize| -> io::Result<Vec<u8>> {
                let mut packed = Vec::new();
                let mut writer = GzipWriter::new(&mut packed, Compression::new(3))?;
                for piece in original.chunks(piece_bytes) {
                    writer.write_all(piece)?;
                    writer.flush()?;
                }
                writer.finish()?;
                Ok(packed)
            };
            let packed = pack(100_000)?;
            let mut unpacked = Vec::new();
            // Not the decoder of several members: there must be one.
            GzDecoder::new(packed.as_slice()).read_to_end(&mut unpacked)?;
            assert_eq!(unpacked, original);
            let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().map_err(io::Error::other)?;
            assert_eq!(pool.install(|| pack(777))?, packed, "{n} bytes");
        }
        Ok(())
    }
}
