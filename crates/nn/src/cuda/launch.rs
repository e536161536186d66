//! How the kernels of `kernels.cu` divide their work: blocks, segments and tiles.

use candle_core::{Result, bail};

use crate::ops::Activation;

/// Threads of a block; a power of two, for the sums over a block.
pub(crate) const THREADS: u32 = 256;
/// Values of a plane that one block works on.
pub(crate) const SEGMENT: u32 = 8192;
/// Side of the square that changes its memory order in one block.
pub(crate) const TILE: u32 = 32;

/// The most blocks of a grid along x, and along y and z.
const MAX_GRID: [u32; 2] = [i32::MAX as u32, u16::MAX as u32];

/// The constants that `kernels.cu` takes from here, as a compiler's options.
pub(crate) fn definitions() -> Vec<String> {
    [("THREADS", THREADS), ("SEGMENT", SEGMENT), ("TILE", TILE), ("TILE_ROWS", THREADS / TILE)]
        .iter()
        .map(|(name, value)| format!("-D{name}={value}"))
        .collect()
}

/// The number that `kernels.cu` gives an activation.
pub(crate) fn activation_number(activation: Activation) -> i32 {
    match activation {
        Activation::Linear => 0,
        Activation::Elu => 1,
        Activation::Relu => 2,
        Activation::Sigmoid => 3,
    }
}

/// A tensor `[N, C, H, W]` cut into segments of planes, one a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segments {
    pub(crate) images: u32,
    pub(crate) channels: u32,
    /// Values in a plane: H·W.
    pub(crate) plane: u32,
    /// Segments of a plane.
    pub(crate) per_plane: u32,
}

impl Segments {
    /// # Errors
    /// An empty tensor, or one that needs more blocks than a grid has.
    pub(crate) fn new(shape: [usize; 4]) -> Result<Self> {
        let [n, c, h, w] = shape;
        let parts = [Some(n), Some(c), h.checked_mul(w)].map(|part| {
            part.and_then(|part| u32::try_from(part).ok()).filter(|part| (1..=MAX_GRID[0]).contains(part))
        });
        let [Some(images), Some(channels), Some(plane)] = parts else {
            bail!("a tensor {shape:?} is empty or larger than a kernel can count");
        };
        let per_plane = plane.div_ceil(SEGMENT);
        let blocks = images.checked_mul(channels).and_then(|planes| planes.checked_mul(per_plane));
        if blocks.is_none_or(|blocks| blocks > MAX_GRID[0]) {
            bail!("a tensor {shape:?} is larger than a kernel can count; make the batch smaller");
        }
        Ok(Self { images, channels, plane, per_plane })
    }

    /// Blocks of the grid.
    pub(crate) fn blocks(self) -> u32 {
        self.images * self.channels * self.per_plane
    }

    /// Planes of the tensor.
    pub(crate) fn planes(self) -> usize {
        self.images as usize * self.channels as usize
    }

    /// Values of the tensor.
    pub(crate) fn values(self) -> usize {
        self.planes() * self.plane as usize
    }

    /// Values of one channel.
    pub(crate) fn channel_values(self) -> f64 {
        f64::from(self.images) * f64::from(self.plane)
    }
}

/// The grid that changes the memory order of `[images, channels, plane]` tile by tile.
///
/// # Errors
/// More channels or images than a grid has blocks for.
#[cfg(any(feature = "cudnn", test))]
pub(crate) fn tiles(images: usize, channels: usize, plane: usize) -> Result<[u32; 3]> {
    let grid = [plane.div_ceil(TILE as usize), channels.div_ceil(TILE as usize), images];
    let limits = [MAX_GRID[0], MAX_GRID[1], MAX_GRID[1]];
    let fits = |(blocks, limit): (&usize, u32)| (1..=limit as usize).contains(blocks);
    if plane > MAX_GRID[0] as usize || !grid.iter().zip(limits).all(fits) {
        bail!("[images, channels, plane] = {:?} is empty or larger than a grid", [images, channels, plane]);
    }
    Ok(grid.map(|blocks| blocks as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_cover_every_plane() -> Result<()> {
        for (shape, per_plane) in
            [([1, 1, 1, 1], 1), ([8, 32, 256, 256], 8), ([2, 3, 64, 128], 1), ([2, 3, 64, 129], 2)]
        {
            let segments = Segments::new(shape)?;
            assert_eq!(segments.per_plane, per_plane, "{shape:?}");
            assert_eq!(segments.values(), shape.iter().product::<usize>());
            assert_eq!(segments.blocks() as usize, shape[0] * shape[1] * per_plane as usize);
            assert!(per_plane * SEGMENT >= segments.plane && (per_plane - 1) * SEGMENT < segments.plane);
        }
        Ok(())
    }

    #[test]
    fn what_no_grid_can_hold_is_an_error() {
        for shape in [
            [0, 1, 4, 4],
            [1, 0, 4, 4],
            [1, 1, 0, 4],
            [1 << 20, 1 << 12, 1, 1],
            [1, 1, 1 << 16, 1 << 16],
            [1, 1, usize::MAX, 2],
        ] {
            assert!(Segments::new(shape).is_err(), "{shape:?}");
        }
        assert!(tiles(1 << 16, 1, 1).is_err());
        assert!(tiles(1, 0, 1).is_err());
        assert!(tiles(1, 1, 1 << 32).is_err());
    }

    #[test]
    fn tiles_cover_channels_and_planes() -> Result<()> {
        assert_eq!(tiles(8, 32, 1024)?, [32, 1, 8]);
        assert_eq!(tiles(1, 33, 1)?, [1, 2, 1]);
        Ok(())
    }
}
