//! Planes that live in a pool: what the fused block reads and writes.

use std::sync::Arc;

use super::pool::{Buffer, Pool, Pooled};
use crate::simd::MAX_LANES;

/// Images, planes in an image, rows and columns, and where they lie.
///
/// A plane is `margin` elements and then its rows; a row is its values and zeros up to `stride`, so that the zeros after
/// a row are also those before the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) images: usize,
    pub(crate) planes: usize,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) margin: usize,
    pub(crate) stride: usize,
    pub(crate) plane_len: usize,
}

impl Layout {
    /// Rows one after the other, without margins.
    pub(crate) fn dense(images: usize, planes: usize, [height, width]: [usize; 2]) -> Self {
        Self { images, planes, height, width, margin: 0, stride: width, plane_len: height * width }
    }

    /// Rows with at least `margin` zeros on both sides, each beginning on a cache line if its buffer does.
    pub(crate) fn padded(images: usize, planes: usize, [height, width]: [usize; 2], margin: usize) -> Self {
        // A vector of the narrowest elements covers two pixels a lane.
        let round_up = |len: usize| len.next_multiple_of(2 * MAX_LANES);
        let margin = round_up(margin);
        let stride = round_up(width) + margin;
        // Planes must not lie a multiple of 4 KiB apart: the same place of many planes is read at once, and they would
        // evict each other from the cache.
        let units = (margin + height * stride) / round_up(1);
        let plane_len = (units + (13 - units % 8) % 8) * round_up(1);
        Self { images, planes, height, width, margin, stride, plane_len }
    }

    /// The same places for another number of planes.
    pub(crate) fn with_planes(self, planes: usize) -> Self {
        Self { planes, ..self }
    }

    fn len(self) -> usize {
        self.images * self.planes * self.plane_len
    }

    pub(crate) fn size(self) -> [usize; 2] {
        [self.height, self.width]
    }
}

/// Planes `[image, plane, row, column]` in a buffer of a pool.
pub(crate) struct Canvas<T: Pooled> {
    pub(crate) layout: Layout,
    buffer: Buffer<T>,
}

impl<T: Pooled> Canvas<T> {
    /// Planes whose rows hold anything; the margins before the first rows are zero, those after each row are the
    /// writer's duty.
    pub(crate) fn new(pool: &Arc<Pool>, layout: Layout) -> Self {
        let mut buffer = pool.take(layout.len());
        if layout.margin > 0 {
            for plane in buffer.chunks_exact_mut(layout.plane_len) {
                plane[..layout.margin].fill(T::default());
            }
        }
        Self { layout, buffer }
    }

    /// Some planes of every image.
    pub(crate) fn view(&self, planes: std::ops::Range<usize>) -> View<'_, T> {
        View { layout: self.layout, planes, values: self.buffer.with_slack() }
    }

    /// All planes of every image.
    pub(crate) fn all(&self) -> View<'_, T> {
        self.view(0..self.layout.planes)
    }

    /// All values of dense planes.
    pub(crate) fn dense_values(&self) -> &[T] {
        debug_assert_eq!(
            self.layout.plane_len,
            self.layout.height * self.layout.width,
            "planes have margins"
        );
        &self.buffer
    }

    /// Bands of `rows` rows of some planes, in the order `[image, band, plane]`: what a task may write.
    ///
    /// Each part is its rows at their stride, with their margins after them.
    pub(crate) fn bands(&mut self, planes: std::ops::Range<usize>, rows: usize) -> Vec<Vec<&mut [T]>> {
        let layout = self.layout;
        let bands = layout.height.div_ceil(rows);
        let mut parts: Vec<Vec<&mut [T]>> = Vec::new();
        parts.resize_with(layout.images * bands, || Vec::with_capacity(planes.len()));
        for (idx, plane) in self.buffer.chunks_exact_mut(layout.plane_len).enumerate() {
            if planes.contains(&(idx % layout.planes)) {
                let image = idx / layout.planes;
                let body = &mut plane[layout.margin..layout.margin + layout.height * layout.stride];
                for (band, part) in body.chunks_mut(rows * layout.stride).enumerate() {
                    parts[image * bands + band].push(part);
                }
            }
        }
        parts
    }
}

/// Some planes of every image of a canvas.
#[derive(Clone)]
pub(crate) struct View<'a, T> {
    pub(crate) layout: Layout,
    pub(crate) planes: std::ops::Range<usize>,
    values: &'a [T],
}

impl<'a, T> View<'a, T> {
    /// Planes in values that lie as `layout` says.
    pub(crate) fn new(layout: Layout, planes: std::ops::Range<usize>, values: &'a [T]) -> Self {
        Self { layout, planes, values }
    }

    /// The elements of an image from the first plane of the view on, beyond its last one.
    pub(crate) fn image(&self, image: usize) -> &'a [T] {
        &self.values[(image * self.layout.planes + self.planes.start) * self.layout.plane_len..]
    }

    /// Dense rows of a plane of the view, one after the other.
    pub(crate) fn dense_rows(&self, image: usize, plane: usize, rows: std::ops::Range<usize>) -> &'a [T] {
        debug_assert_eq!(self.layout.stride, self.layout.width, "the rows have margins");
        let start = plane * self.layout.plane_len + rows.start * self.layout.width;
        &self.image(image)[start..start + rows.len() * self.layout.width]
    }
}
