//! Image planes with zero margins left and right, so that a kernel may read past the edges of a row.

use rayon::prelude::*;

use super::canvas::{Layout, View};
use super::scratch::{LINE, Scratch};
use crate::simd::MAX_LANES;

/// Planes `[image, channel, row, column]` with zeros between the rows.
///
/// A plane is `margin` zeros and then its rows; a row is its values and zeros up to `stride`, so that the zeros
/// after a row are also those before the next. Rows above and below the image are not stored: the kernels leave
/// those taps out, which saves both the memory and the arithmetic.
pub(crate) struct PaddedPlanes<'a> {
    storage: Storage<'a>,
    pub(crate) images: usize,
    pub(crate) channels: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    /// Zeros before the first row, and at least as many after each.
    pub(crate) margin: usize,
    /// Values from one row to the next.
    pub(crate) stride: usize,
    /// Values from one plane to the next.
    pub(crate) plane_len: usize,
}

enum Storage<'a> {
    /// The rows fit as they are.
    Borrowed(&'a [f32]),
    /// A padded copy.
    Copied(Scratch),
}

impl<'a> PaddedPlanes<'a> {
    /// Lays `values` of `shape` `[N, C, H, W]` out with at least `margin` zeros at both ends of each row.
    /// Copies nothing where the rows already fit.
    pub(crate) fn new(values: &'a [f32], shape: [usize; 4], margin: usize) -> Self {
        let [images, channels, height, width] = shape;
        let margin = round_up(margin);
        let stride = round_up(width) + margin;
        let (storage, plane_len) = if stride == width {
            (Storage::Borrowed(values), height * width)
        } else {
            let plane_len = spread(margin + height * stride);
            let count = images * channels * plane_len;
            let mut padded = Scratch::new(count);
            padded.par_chunks_exact_mut(plane_len).zip(values.par_chunks(height * width)).for_each(
                |(padded, plane)| {
                    let (before, rest) = padded.split_at_mut(margin);
                    let (rows, after) = rest.split_at_mut(height * stride);
                    before.fill(0.0);
                    after.fill(0.0);
                    for (padded, row) in rows.chunks_mut(stride).zip(plane.chunks(width)) {
                        padded[..width].copy_from_slice(row);
                        padded[width..].fill(0.0);
                    }
                },
            );
            (Storage::Copied(padded), plane_len)
        };
        Self { storage, images, channels, height, width, margin, stride, plane_len }
    }

    /// All values, plane by plane.
    pub(crate) fn values(&self) -> &[f32] {
        let values = match &self.storage {
            Storage::Borrowed(values) => *values,
            Storage::Copied(values) => values,
        };
        &values[..self.images * self.channels * self.plane_len]
    }

    /// Some planes of every image.
    pub(crate) fn view(&self, planes: std::ops::Range<usize>) -> View<'_, f32> {
        let Self { images, channels, height, width, margin, stride, plane_len, .. } = *self;
        let layout = Layout { images, planes: channels, height, width, margin, stride, plane_len };
        View::new(layout, planes, self.values())
    }
}

/// `width` rounded up to whole vectors.
fn round_up(width: usize) -> usize {
    width.div_ceil(MAX_LANES) * MAX_LANES
}

/// The next length that spreads the planes over the sets of a cache: a kernel reads the same place of many planes
/// at once, which would evict each other if they lay a multiple of 4 KiB apart.
fn spread(plane_len: usize) -> usize {
    let line = LINE / size_of::<f32>();
    let lines = plane_len.div_ceil(line);
    (lines + (21 - lines % 16) % 16) * line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_values_between_zeros() {
        let values: Vec<f32> = (1..=12).map(|v| v as f32).collect();
        let planes = PaddedPlanes::new(&values, [1, 2, 2, 3], 5);
        assert_eq!((planes.margin, planes.stride, planes.plane_len), (16, 32, 80));
        assert_eq!(planes.values().as_ptr().align_offset(LINE), 0);
        let mut expected = vec![0.0f32; 160];
        for (row, chunk) in values.chunks(3).enumerate() {
            let start = row / 2 * 80 + 16 + row % 2 * 32;
            expected[start..start + 3].copy_from_slice(chunk);
        }
        assert_eq!(planes.values(), expected);
    }

    /// A buffer that held other values is padded with zeros all the same.
    #[test]
    fn scratch_does_not_show() {
        let garbage = vec![f32::NAN; 2 * 5 * 7];
        drop(PaddedPlanes::new(&garbage, [1, 2, 5, 7], 20));
        let ones = vec![1.0; 6];
        let planes = PaddedPlanes::new(&ones, [1, 2, 1, 3], 20);
        assert_eq!(
            planes.values().iter().filter(|value| value.abs() == 0.0).count() + 6,
            planes.values().len()
        );
        assert!(planes.values().iter().all(|value| value.is_finite()));
    }

    #[test]
    fn rows_of_whole_vectors_are_not_copied() {
        let values = vec![1.0; 64];
        assert!(matches!(PaddedPlanes::new(&values, [1, 2, 2, 16], 0).storage, Storage::Borrowed(_)));
        assert!(matches!(PaddedPlanes::new(&values, [1, 2, 2, 16], 1).storage, Storage::Copied(_)));
    }
}
