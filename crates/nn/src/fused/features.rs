//! The values between blocks.

use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use super::format::Format;
use super::rows::{band_places, band_rows};
use crate::kernels::canvas::{Canvas, Layout, View};
use crate::kernels::pool::Pool;
use crate::kernels::strip::Strip;
use crate::simd::{Kernel, Level, Simd, dispatch};

/// Channels of a batch, in parts that are written one by one and read together, which saves joining them.
///
/// Elements of two channels never reach over the end of a part: an odd part's last channel is paired with zero.
pub(crate) struct Features<F: Format> {
    parts: Vec<usize>,
    spatial: Canvas<F::Spatial>,
    /// One plane a channel, where training needs it and `spatial` does not have it.
    single: Option<Canvas<F::Row>>,
}

impl<F: Format> Features<F> {
    /// Room for parts of so many channels, with `margin` zeros at the ends of rows.
    ///
    /// `for_gradients` makes room for what weight gradients read.
    pub(crate) fn new(
        pool: &Arc<Pool>,
        parts: &[usize],
        images: usize,
        size: [usize; 2],
        margin: usize,
        for_gradients: bool,
    ) -> Self {
        let planes = parts.iter().map(|channels| channels.div_ceil(F::CHANNELS)).sum();
        let layout = Layout::padded(images, planes, size, margin);
        let channels = parts.iter().sum();
        Self {
            parts: parts.to_vec(),
            spatial: Canvas::new(pool, layout),
            single: (for_gradients && F::CHANNELS > 1)
                .then(|| Canvas::new(pool, layout.with_planes(channels))),
        }
    }

    pub(crate) fn layout(&self) -> Layout {
        self.spatial.layout
    }

    /// The number of channels of some parts.
    pub(crate) fn channels(&self, parts: Range<usize>) -> usize {
        self.parts[parts].iter().sum()
    }

    fn planes(&self, parts: Range<usize>) -> Range<usize> {
        let count =
            |parts: &[usize]| parts.iter().map(|channels| channels.div_ceil(F::CHANNELS)).sum::<usize>();
        let first = count(&self.parts[..parts.start]);
        first..first + count(&self.parts[parts])
    }

    /// What convolutions read of some parts.
    pub(crate) fn spatial(&self, parts: Range<usize>) -> View<'_, F::Spatial> {
        self.spatial.view(self.planes(parts))
    }

    /// One plane a channel of some parts, which were made for gradients.
    pub(crate) fn single_channels(&self, parts: Range<usize>) -> View<'_, F::Row> {
        let first = self.channels(0..parts.start);
        let single = self.single.as_ref().expect("because these features were made for gradients");
        single.view(first..first + self.channels(parts))
    }

    /// What tasks may write of a part: bands of `rows` rows, in the order `[image, band]`.
    pub(crate) fn bands(&mut self, part: usize, rows: usize) -> Vec<FeatureBand<'_, F>> {
        let first = self.channels(0..part);
        let channels = first..first + self.parts[part];
        let planes = self.planes(part..part + 1);
        let layout = self.spatial.layout;
        let spatial = self.spatial.bands(planes, rows).into_iter();
        let mut single = self.single.as_mut().map(|single| single.bands(channels, rows).into_iter());
        spatial
            .map(|spatial| FeatureBand {
                layout,
                channels: self.parts[part],
                spatial,
                single: single.as_mut().and_then(Iterator::next).unwrap_or_default(),
            })
            .collect()
    }

    /// Stores dense values `[N, C, H, W]` as a part of C channels.
    pub(crate) fn fill(&mut self, level: Level, part: usize, values: &[f32]) {
        let layout = self.layout();
        let plane = layout.height * layout.width;
        let image_len = self.parts[part] * plane;
        let bands = &mut self.bands(part, band_rows(layout.size()));
        bands.par_iter_mut().zip(band_places(layout, band_rows(layout.size()))).for_each(
            |(band, (image, rows))| {
                let first = image * image_len + rows.start * layout.width;
                band.write(
                    level,
                    Strip::neighbors(0..rows.len()),
                    &values[first..(image + 1) * image_len],
                    plane,
                );
            },
        );
    }

    /// The values of a part, dense, `[N, C, H, W]`.
    pub(crate) fn to_dense(&self, part: usize) -> Vec<f32> {
        let Layout { images, width, height, stride, margin, plane_len, .. } = self.layout();
        let channels = self.parts[part];
        let planes = self.spatial(part..part + 1);
        let mut values = vec![0.0f32; images * channels * height * width];
        values.par_chunks_mut(height * width).enumerate().for_each(|(idx, values)| {
            let (image, channel) = (idx / channels, idx % channels);
            let plane = &planes.image(image)[channel / F::CHANNELS * plane_len + margin..];
            for (row, values) in values.chunks_exact_mut(width).enumerate() {
                for (value, element) in values.iter_mut().zip(&plane[row * stride..]) {
                    *value = F::channel(*element, channel % F::CHANNELS);
                }
            }
        });
        values
    }
}

/// The channels of each plane of parts of so many channels.
pub(crate) fn channels_of_planes<F: Format>(parts: &[usize]) -> Vec<Range<usize>> {
    let mut first = 0;
    let mut planes = Vec::new();
    for channels in parts {
        let end = first + channels;
        planes.extend(
            (first..end).step_by(F::CHANNELS).map(|channel| channel..(channel + F::CHANNELS).min(end)),
        );
        first = end;
    }
    planes
}

/// Some rows of one part of one image.
pub(crate) struct FeatureBand<'a, F: Format> {
    layout: Layout,
    channels: usize,
    spatial: Vec<&'a mut [F::Spatial]>,
    single: Vec<&'a mut [F::Row]>,
}

impl<F: Format> FeatureBand<'_, F> {
    /// Writes the rows of a strip (counted from the band's first), and zeros after each.
    ///
    /// `values` begin with the first of these rows in the first channel; rows are dense, channels `channel_len` apart.
    pub(crate) fn write(&mut self, level: Level, strip: Strip, values: &[f32], channel_len: usize) {
        let Layout { width, stride, .. } = self.layout;
        for (idx, row) in strip.rows().enumerate() {
            let channel_row = |channel: usize| &values[channel * channel_len + idx * width..][..width];
            for (plane, spatial) in self.spatial.iter_mut().enumerate() {
                let first = channel_row(plane * F::CHANNELS);
                let second = plane * F::CHANNELS + F::CHANNELS - 1;
                let second = (second < self.channels).then(|| channel_row(second));
                let out = &mut spatial[row * stride..(row + 1) * stride];
                dispatch(level, SpatialRow::<F> { first, second, out });
            }
            for (channel, single) in self.single.iter_mut().enumerate() {
                let out = &mut single[row * stride..(row + 1) * stride];
                dispatch(level, SingleRow::<F> { values: channel_row(channel), out });
            }
        }
    }
}

/// Stores a row of one or two channels.
pub(crate) struct SpatialRow<'a, F: Format> {
    pub(crate) first: &'a [f32],
    pub(crate) second: Option<&'a [f32]>,
    pub(crate) out: &'a mut [F::Spatial],
}

impl<F: Format> Kernel for SpatialRow<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let (values, after) = self.out.split_at_mut(self.first.len());
        match self.second {
            Some(second) => {
                for ((out, first), second) in values.iter_mut().zip(self.first).zip(second) {
                    *out = F::spatial(*first, *second);
                }
            }
            None => {
                for (out, first) in values.iter_mut().zip(self.first) {
                    *out = F::spatial(*first, 0.0);
                }
            }
        }
        after.fill(F::Spatial::default());
    }
}

/// Stores a row of one channel.
pub(crate) struct SingleRow<'a, F: Format> {
    pub(crate) values: &'a [f32],
    pub(crate) out: &'a mut [F::Row],
}

impl<F: Format> Kernel for SingleRow<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let (values, after) = self.out.split_at_mut(self.values.len());
        for (out, value) in values.iter_mut().zip(self.values) {
            *out = F::row(*value);
        }
        after.fill(F::Row::default());
    }
}
