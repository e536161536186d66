//! Convolution as a candle operation.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Device, Layout, Result, Shape, Tensor, bail};

use super::convolution::{Conv2dOptions, bias_gradient};
use super::tensor::{image_shape, slice, with_slices};
use crate::kernels::conv::{Output, PackedWeights, Start, convolve};
use crate::kernels::planes::PaddedPlanes;
use crate::kernels::taps::{margin, taps};
use crate::kernels::weight_gradient::weight_gradient;
use crate::simd::Level;

/// Channels, in or out, up to which the direct kernels are used; with 256 of each the panels were a fifth faster.
const MAX_DIRECT_CHANNELS: usize = 64;

/// True if [`conv2d_same`] should run: stride 1, the image's size kept around an odd kernel, and few channels.
pub(super) fn is_same(weight: &Tensor, options: &Conv2dOptions) -> bool {
    let Conv2dOptions { stride, padding, dilation, .. } = *options;
    let Ok((outputs, inputs, height, width)) = weight.dims4() else {
        return false;
    };
    if inputs.min(outputs) > MAX_DIRECT_CHANNELS {
        return false;
    }
    let centred =
        [height, width].map(|size| (size % 2 == 1).then(|| dilation[0].checked_mul(size / 2)).flatten());
    stride == [1; 2] && dilation[0] == dilation[1] && centred == padding.map(Some)
}

/// 2-D convolution with stride 1 and "same" padding by zeros, for wide images of few channels.
///
/// # Shapes
/// `x` `[N, I, H, W]`, `weight` `[O, I, U, V]` with odd U and V, `bias` `[O]`; the result is `[N, O, H, W]`.
///
/// # Errors
/// As [`conv2d`](super::conv2d); an even kernel.
pub(super) fn conv2d_same(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    dilation: usize,
) -> Result<Tensor> {
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    let op = Conv2d { dilation, level: Level::best() };
    match bias {
        Some(bias) => x.apply_op3(&weight, &bias.contiguous()?, op),
        None => x.apply_op2(&weight, op),
    }
}

struct Conv2d {
    dilation: usize,
    level: Level,
}

/// The sizes of one convolution.
struct Filter {
    outputs: usize,
    inputs: usize,
    kernel: [usize; 2],
    dilation: usize,
}

impl Filter {
    fn new(layout: &Layout, dilation: usize, input: [usize; 4]) -> Result<Self> {
        let (outputs, inputs, height, width) = layout.shape().dims4()?;
        if inputs != input[1] || outputs == 0 {
            bail!(
                "conv2d: weight [O, I, U, V] = {:?} does not fit input [N, C, H, W] = {input:?}",
                layout.dims()
            );
        }
        if height % 2 == 0 || width % 2 == 0 {
            bail!("conv2d: the kernel {height}×{width} must be odd for \"same\" padding");
        }
        if dilation == 0 {
            bail!("conv2d: the dilation must be at least 1");
        }
        Ok(Self { outputs, inputs, kernel: [height, width], dilation })
    }

    fn taps(&self, input: [usize; 4], reflected: bool) -> Vec<crate::kernels::taps::Tap> {
        taps(self.kernel, self.dilation, [input[2], input[3]], reflected)
    }

    fn margin(&self, input: [usize; 4]) -> usize {
        margin(&self.taps(input, false))
    }

    /// Convolves into the channels of `output`.
    fn forward(&self, level: Level, input: &PaddedPlanes, weight: &[f32], start: Start, output: Output) {
        let taps = self.taps(shape_of(input), false);
        let packed = PackedWeights::forward(level, weight, self.outputs, self.inputs, taps);
        convolve(level, input, 0, &packed, start, output);
    }

    /// Writes or adds the input's gradient; `gradient`'s channels from `first_output` are this filter's.
    fn input_gradient(
        &self,
        level: Level,
        gradient: &PaddedPlanes,
        first_output: usize,
        weight: &[f32],
        start: Start,
        result: &mut [f32],
    ) {
        let taps = self.taps(shape_of(gradient), true);
        let packed = PackedWeights::transposed(level, weight, self.outputs, self.inputs, taps);
        let output = Output { values: result, channels: self.inputs, first: 0 };
        convolve(level, gradient, first_output, &packed, start, output);
    }

    fn weight_gradient(
        &self,
        level: Level,
        input: &PaddedPlanes,
        gradient: &PaddedPlanes,
        first_output: usize,
    ) -> Result<Tensor> {
        let taps = self.taps(shape_of(input), false);
        let kernel = self.kernel[0] * self.kernel[1];
        let values = weight_gradient(level, input, gradient, first_output, self.outputs, &taps, kernel);
        Tensor::from_vec(values, (self.outputs, self.inputs, self.kernel[0], self.kernel[1]), &Device::Cpu)
    }
}

fn shape_of(planes: &PaddedPlanes) -> [usize; 4] {
    [planes.images, planes.channels, planes.height, planes.width]
}

impl Conv2d {
    fn forward(
        &self,
        x: (&CpuStorage, &Layout),
        weight: (&CpuStorage, &Layout),
        bias: Option<(&CpuStorage, &Layout)>,
    ) -> Result<(CpuStorage, Shape)> {
        let shape = image_shape("conv2d", x.1)?;
        let filter = Filter::new(weight.1, self.dilation, shape)?;
        let start = match bias {
            None => Start::Zero,
            Some((storage, layout)) => {
                if layout.dims() != [filter.outputs] {
                    bail!("conv2d: bias {:?} does not fit {} output channels", layout.dims(), filter.outputs);
                }
                Start::Bias(slice(storage, layout)?)
            }
        };
        let planes = PaddedPlanes::new(slice(x.0, x.1)?, shape, filter.margin(shape));
        let [n, _, h, w] = shape;
        let mut output = vec![0.0f32; n * filter.outputs * h * w];
        let weight = slice(weight.0, weight.1)?;
        let slots = Output { values: &mut output, channels: filter.outputs, first: 0 };
        filter.forward(self.level, &planes, weight, start, slots);
        Ok((CpuStorage::F32(output), Shape::from((n, filter.outputs, h, w))))
    }

    fn backward(
        &self,
        x: &Tensor,
        weight: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let gradient = gradient.contiguous()?;
        let shape = image_shape("conv2d", x.layout())?;
        let filter = Filter::new(weight.layout(), self.dilation, shape)?;
        let gradient_shape = [shape[0], filter.outputs, shape[2], shape[3]];
        let margin = filter.margin(shape);
        let weight_tracked = weight.track_op();
        with_slices([x, weight, &gradient], |[x_values, weight, gradient]| {
            let gradient = PaddedPlanes::new(gradient, gradient_shape, margin);
            let gradient_x = if x.track_op() {
                let mut result = vec![0.0f32; x_values.len()];
                filter.input_gradient(self.level, &gradient, 0, weight, Start::Zero, &mut result);
                Some(Tensor::from_vec(result, &shape, &Device::Cpu)?)
            } else {
                None
            };
            let gradient_weight = if weight_tracked {
                let x = PaddedPlanes::new(x_values, shape, margin);
                Some(filter.weight_gradient(self.level, &x, &gradient, 0)?)
            } else {
                None
            };
            Ok((gradient_x, gradient_weight))
        })
    }
}

impl CustomOp2 for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d-same"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward((s1, l1), (s2, l2), None)
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _res: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        self.backward(x, weight, grad)
    }
}

impl CustomOp3 for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d-same-bias"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward((s1, l1), (s2, l2), Some((s3, l3)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _res: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (x, weight) = self.backward(x, weight, &grad)?;
        let bias = if bias.track_op() { Some(bias_gradient(&grad)?) } else { None };
        Ok((x, weight, bias))
    }
}
