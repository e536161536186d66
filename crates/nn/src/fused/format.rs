//! How features are stored and multiplied: `f32`, or bfloat16 with sums in `f32`.

use super::features::Features;
use crate::kernels::canvas::View;
use crate::kernels::element::{ChannelPair, Element, Half, Stored, channel_of_pair, channel_pair, half};
use crate::kernels::pool::Pooled;

/// A storage of features; see [`Single`] and [`Brain`].
pub(crate) trait Format: Sized + Send + Sync + 'static {
    /// Channels in one element of a plane that convolutions read.
    const CHANNELS: usize;
    /// What convolutions read: one element a pixel.
    type Spatial: Element + Pooled;
    /// What weight gradients read, and what the way back keeps: one element a pixel and channel.
    type Row: Element + Pooled + Stored;

    /// An element of one or two channels.
    fn spatial(first: f32, second: f32) -> Self::Spatial;
    /// The value of one of an element's channels.
    fn channel(element: Self::Spatial, idx: usize) -> f32;
    /// Dense channels as the planes that convolutions read, where they are that already.
    fn as_spatial(values: &[f32]) -> Option<&[Self::Spatial]>;
    /// The elements as floats, where they are.
    fn as_floats(elements: &[Self::Spatial]) -> Option<&[f32]>;
    /// An element of one channel.
    fn row(value: f32) -> Self::Row;
    /// One plane a channel, for weight gradients.
    fn rows(features: &Features<Self>, parts: std::ops::Range<usize>) -> View<'_, Self::Row>;
}

/// Single precision: the planes that convolutions read serve weight gradients as well.
pub(crate) struct Single;

impl Format for Single {
    const CHANNELS: usize = 1;
    type Spatial = f32;
    type Row = f32;

    #[inline(always)]
    fn spatial(first: f32, _second: f32) -> f32 {
        first
    }
    #[inline(always)]
    fn channel(element: f32, _idx: usize) -> f32 {
        element
    }
    fn as_spatial(values: &[f32]) -> Option<&[f32]> {
        Some(values)
    }
    fn as_floats(elements: &[f32]) -> Option<&[f32]> {
        Some(elements)
    }
    #[inline(always)]
    fn row(value: f32) -> f32 {
        value
    }
    fn rows(features: &Features<Self>, parts: std::ops::Range<usize>) -> View<'_, f32> {
        features.spatial(parts)
    }
}

/// bfloat16: pairs of channels for convolutions, single channels for weight gradients.
pub(crate) struct Brain;

impl Format for Brain {
    const CHANNELS: usize = 2;
    type Spatial = ChannelPair;
    type Row = Half;

    #[inline(always)]
    fn spatial(first: f32, second: f32) -> ChannelPair {
        channel_pair(first, second)
    }
    #[inline(always)]
    fn channel(element: ChannelPair, idx: usize) -> f32 {
        channel_of_pair(element, idx)
    }
    fn as_spatial(_values: &[f32]) -> Option<&[ChannelPair]> {
        None
    }
    fn as_floats(_elements: &[ChannelPair]) -> Option<&[f32]> {
        None
    }
    #[inline(always)]
    fn row(value: f32) -> Half {
        half(value)
    }
    fn rows(features: &Features<Self>, parts: std::ops::Range<usize>) -> View<'_, Half> {
        features.single_channels(parts)
    }
}
