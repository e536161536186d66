//! Batch normalization with activation and dropout on a GPU.

use candle_core::{CudaStorage, Layout, Result, Shape, Tensor};

use super::launch::{Segments, activation_number};
use super::raw::{self, Coefficients};
use super::tensor::{Argument, tensor, view, with_storages};
use crate::kernels::norm::{Activation, ChannelMoments};

/// What [`forward`] does with a tensor.
#[derive(Clone, Copy)]
pub(crate) struct Normalization<'a> {
    /// Mean and inverse standard deviation of each channel.
    pub(crate) moments: &'a [(f32, f32)],
    /// Whether those are the tensor's own, so that its gradient has their share.
    pub(crate) batch_statistics: bool,
    /// What follows.
    pub(crate) activation: Activation,
    /// A factor of each image and channel `[N, C]`, or none.
    pub(crate) dropout: Option<&'a [f32]>,
}

impl Normalization<'_> {
    fn coefficients<'a>(
        &self,
        segments: Segments,
        gain: Argument<'a>,
        bias: Argument<'a>,
    ) -> Result<Coefficients<'a>> {
        let device = &gain.0.device;
        let moments: Vec<f32> =
            self.moments.iter().flat_map(|&(mean, inverse_sd)| [mean, inverse_sd]).collect();
        let dropout = self.dropout.map_or_else(|| vec![1.0; segments.planes()], <[f32]>::to_vec);
        Ok(Coefficients {
            moments: device.clone_htod(&moments)?,
            gain: view(gain)?,
            bias: view(bias)?,
            dropout: device.clone_htod(&dropout)?,
            activation: activation_number(self.activation),
        })
    }
}

fn segments(layout: &Layout) -> Result<Segments> {
    let (n, c, h, w) = layout.shape().dims4()?;
    Segments::new([n, c, h, w])
}

/// Mean and biased variance of each channel of `x` `[N, C, H, W]`, contiguous; waits for the GPU.
pub(crate) fn channel_moments(x: &Tensor) -> Result<Vec<ChannelMoments>> {
    let segments = segments(x.layout())?;
    with_storages([x], |[x]| {
        let device = &x.0.device;
        let (pivots, parts) = raw::moment_parts(device, &view(x)?, segments, true)?;
        let sums = device.clone_dtoh(&raw::sum_parts(device, &parts, segments)?.both)?;
        let pivots = device.clone_dtoh(&pivots)?;
        let (sums, _) = sums.as_chunks::<2>();
        let moments = |(pivot, sums): (&f32, &[f64; 2])| {
            ChannelMoments::from_sums(f64::from(*pivot), *sums, segments.channel_values())
        };
        Ok(pivots.iter().zip(sums).map(moments).collect())
    })
}

/// Normalizes, activates and drops.
pub(crate) fn forward(
    normalization: Normalization,
    x: Argument,
    gain: Argument,
    bias: Argument,
) -> Result<(CudaStorage, Shape)> {
    let device = &x.0.device;
    let segments = segments(x.1)?;
    let coefficients = normalization.coefficients(segments, gain, bias)?;
    let out = raw::normalize(device, &view(x)?, segments, &coefficients)?;
    Ok((CudaStorage::wrap_cuda_slice(out, device.clone()), x.1.shape().clone()))
}

/// The gradients of x, gain and bias, where `out` is the result and `gradient` its gradient; all contiguous.
pub(crate) fn gradients(
    normalization: Normalization,
    x: &Tensor,
    gain: &Tensor,
    bias: &Tensor,
    out: &Tensor,
    gradient: &Tensor,
) -> Result<[Tensor; 3]> {
    let segments = segments(x.layout())?;
    with_storages([x, gain, bias, out, gradient], |[x_argument, gain, bias, out, gradient]| {
        let device = &x_argument.0.device;
        let coefficients = normalization.coefficients(segments, gain, bias)?;
        let views = [view(x_argument)?, view(out)?, view(gradient)?];
        let views = [&views[0], &views[1], &views[2]];
        let parts = raw::gradient_parts(device, views, segments, &coefficients)?;
        let sums = raw::sum_parts(device, &parts, segments)?;
        let share = if normalization.batch_statistics { segments.channel_values().recip() } else { 0.0 };
        let gradient_x = raw::gradient_input(device, views, segments, &coefficients, &sums, share)?;
        Ok([
            tensor(gradient_x, device, x.shape()),
            tensor(sums.second, device, x.dims()[1]),
            tensor(sums.first, device, x.dims()[1]),
        ])
    })
}
