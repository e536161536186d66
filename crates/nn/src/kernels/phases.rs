//! Where a strided, padded convolution finds what neighboring outputs read, split so that it lies side by side.

use std::ops::Range;

use super::window::{Part, WindowTap};

/// How a tensor of `[images, channels, depth, height, width]` is read by the positions of a grid.
///
/// For stride s position k of phase r is input position k·s + r. All taps of neighboring grid positions thus read
/// neighbors of one phase, whatever the stride.
pub(crate) struct Phases {
    /// Depth, height and width of the tensor.
    size: [usize; 3],
    stride: [usize; 3],
    /// Positions along each axis that read.
    pub(crate) grid: [usize; 3],
    /// The lowest position of any phase that grid position 0 reads.
    low: [isize; 3],
    /// Positions from the lowest to the highest that one grid position reads.
    reach: [usize; 3],
    /// For each phase `[depth, row, column]`: whether some tap reads it.
    is_read: Vec<bool>,
    /// For each phase along a row: the stored columns that lie inside the tensor, and the first's place there.
    columns: Vec<(Range<usize>, usize)>,
}

/// What some rows of one slice of the grid read of a channel, stored as `[phase, depth, row, column]` with zeros
/// around the tensor.
pub(crate) struct Region {
    /// Stored positions of each phase.
    extent: [usize; 3],
    first_row: usize,
    rows: Vec<RowCopy>,
}

/// A stored row, where it lies inside the tensor.
struct RowCopy {
    target: usize,
    len: usize,
    source: usize,
}

impl Phases {
    /// For a tensor of `size` that all `windows` read with one stride.
    pub(crate) fn new(size: [usize; 3], grid: [usize; 3], stride: [usize; 3], windows: &[Part]) -> Self {
        let [mut low, mut high] = [[isize::MAX; 3], [isize::MIN; 3]];
        let mut is_read = vec![false; stride.iter().product()];
        for tap in windows.iter().flat_map(|window| &window.taps) {
            for axis in 0..3 {
                let position = tap.offset[axis].div_euclid(stride[axis] as isize);
                low[axis] = low[axis].min(position);
                high[axis] = high[axis].max(position);
            }
            is_read[phase(stride, tap)] = true;
        }
        if low > high {
            [low, high] = [[0; 3]; 2];
        }
        let reach = std::array::from_fn(|axis| (high[axis] - low[axis]) as usize);
        let mut phases = Self { size, stride, grid, low, reach, is_read, columns: Vec::new() };
        phases.columns = (0..stride[2])
            .map(|phase| {
                let inside = |idx: usize| phases.inside(2, phase, low[2] + idx as isize);
                let range = (0..grid[2] + reach[2]).filter(|idx| inside(*idx).is_some());
                let range = range.clone().next().map_or(0..0, |start| start..start + range.count());
                let place = inside(range.start).unwrap_or(0);
                (range, place)
            })
            .collect();
        phases
    }

    /// The input position of a phase's position, if it lies inside.
    fn inside(&self, axis: usize, phase: usize, position: isize) -> Option<usize> {
        let position = position * self.stride[axis] as isize + phase as isize;
        usize::try_from(position).ok().filter(|position| *position < self.size[axis])
    }

    /// What `rows` of slice `z` of the grid read.
    pub(crate) fn region(&self, z: usize, rows: Range<usize>) -> Region {
        let Self { size, stride, low, reach, .. } = *self;
        let extent = [1 + reach[0], rows.len() + reach[1], self.grid[2] + reach[2]];
        let mut copies = Vec::new();
        for (phase, _) in self.is_read.iter().enumerate().filter(|(_, is_read)| **is_read) {
            let (phase_x, phase_yz) = (phase % stride[2], phase / stride[2]);
            let (phase_y, phase_z) = (phase_yz % stride[1], phase_yz / stride[1]);
            let (range, place) = &self.columns[phase_x];
            for idx in (0..extent[0] * extent[1]).take_while(|_| !range.is_empty()) {
                let [z, y] = [z + idx / extent[1], rows.start + idx % extent[1]];
                let z = self.inside(0, phase_z, low[0] + z as isize);
                let y = self.inside(1, phase_y, low[1] + y as isize);
                if let (Some(z), Some(y)) = (z, y) {
                    copies.push(RowCopy {
                        target: (phase * extent[0] * extent[1] + idx) * extent[2] + range.start,
                        len: range.len(),
                        source: (z * size[1] + y) * size[2] + place,
                    });
                }
            }
        }
        Region { extent, first_row: rows.start, rows: copies }
    }

    /// Copies what a region stores of a channel's `plane`; the zeros around it must be there.
    #[inline(always)]
    pub(crate) fn fill(&self, region: &Region, plane: &[f32], stored: &mut [f32]) {
        for row in &region.rows {
            let target = &mut stored[row.target..row.target + row.len];
            let source = &plane[row.source..];
            match self.stride[2] {
                1 => target.copy_from_slice(&source[..row.len]),
                2 => every::<2>(target, source),
                step => {
                    for (value, source) in target.iter_mut().zip(source.iter().step_by(step)) {
                        *value = *source;
                    }
                }
            }
        }
    }

    /// From the start of a region to what a tap reads for the first position of the region's first row.
    pub(crate) fn offset(&self, region: &Region, tap: &WindowTap) -> usize {
        let mut offset = phase(self.stride, tap);
        for axis in 0..3 {
            let position = tap.offset[axis].div_euclid(self.stride[axis] as isize);
            offset = offset * region.extent[axis] + (position - self.low[axis]) as usize;
        }
        offset
    }

    /// Values in a plane of the tensor.
    pub(crate) fn plane_len(&self) -> usize {
        self.size.iter().product()
    }

    /// Values that a region stores of a channel.
    pub(crate) fn stored(&self, region: &Region) -> usize {
        self.is_read.len() * region.extent.iter().product::<usize>()
    }
}

impl Region {
    /// From what a tap reads for the first position of the region's first row to what it reads at a place of the grid.
    pub(crate) fn place(&self, row: usize, column: usize) -> usize {
        (row - self.first_row) * self.extent[2] + column
    }
}

/// The phase `[depth, row, column]` that a tap reads.
fn phase(stride: [usize; 3], tap: &WindowTap) -> usize {
    (0..3).fold(0, |phase, axis| {
        phase * stride[axis] + tap.offset[axis].rem_euclid(stride[axis] as isize) as usize
    })
}

/// Copies every `STEP`-th value; written so that the compiler makes vectors of it.
#[inline(always)]
fn every<const STEP: usize>(row: &mut [f32], source: &[f32]) {
    let whole = row.len().min(source.len() / STEP);
    let (start, rest) = row.split_at_mut(whole);
    for (value, source) in start.iter_mut().zip(source.as_chunks::<STEP>().0) {
        *value = source[0];
    }
    if let [value] = rest {
        *value = source[whole * STEP];
    }
}
