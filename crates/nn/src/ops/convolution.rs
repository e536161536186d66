//! Convolution of any kernel, stride, padding and dilation, and its transpose, as candle operations.

#[cfg(any(feature = "cudnn", test))]
mod cuda;
mod norm;

#[cfg(feature = "cudnn")]
use candle_core::CudaStorage;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Device, Layout, Result, Shape, Tensor, bail};
pub use norm::{conv_transpose2d_batch_norm, conv2d_batch_norm};

use super::CudaMath;
use super::tensor::{require_cpu, slice, with_slices};
use crate::kernels::convolution::{Convolution, channel_sums};
use crate::kernels::window::ConvShape;
use crate::simd::Level;

/// Stride, padding and dilation of [`conv2d`] along rows and columns, and its arithmetic on a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2dOptions {
    /// Input positions from one output to the next.
    pub stride: [usize; 2],
    /// Zeros before the first and after the last position.
    pub padding: [usize; 2],
    /// Input positions from one tap of the kernel to the next.
    pub dilation: [usize; 2],
    /// What a GPU multiplies with.
    pub math: CudaMath,
}

impl Default for Conv2dOptions {
    /// Stride 1, no padding, dilation 1, as in PyTorch; `f32` throughout.
    fn default() -> Self {
        Self { stride: [1; 2], padding: [0; 2], dilation: [1; 2], math: CudaMath::Full }
    }
}

impl Conv2dOptions {
    /// Stride 1 and the padding that keeps the image's size under a square kernel of odd `kernel_size`.
    pub fn same(kernel_size: usize, dilation: usize) -> Self {
        let padding = dilation.saturating_mul(kernel_size / 2);
        Self { padding: [padding; 2], dilation: [dilation; 2], ..Self::default() }
    }
}

/// Stride, padding and dilation of [`conv_transpose2d`] along rows and columns, and its arithmetic on a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvTranspose2dOptions {
    /// Output positions from one input to the next.
    pub stride: [usize; 2],
    /// Positions cut off at both ends of the output.
    pub padding: [usize; 2],
    /// Positions added at the end of the output; less than the larger of stride and dilation.
    pub output_padding: [usize; 2],
    /// Output positions from one tap of the kernel to the next.
    pub dilation: [usize; 2],
    /// What a GPU multiplies with.
    pub math: CudaMath,
}

impl Default for ConvTranspose2dOptions {
    /// Stride 1, no padding, dilation 1, as in PyTorch; `f32` throughout.
    fn default() -> Self {
        Self {
            stride: [1; 2],
            padding: [0; 2],
            output_padding: [0; 2],
            dilation: [1; 2],
            math: CudaMath::Full,
        }
    }
}

/// Stride, padding and dilation of [`conv3d`] along depth, rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv3dOptions {
    /// Input positions from one output to the next.
    pub stride: [usize; 3],
    /// Zeros before the first and after the last position.
    pub padding: [usize; 3],
    /// Input positions from one tap of the kernel to the next.
    pub dilation: [usize; 3],
}

impl Default for Conv3dOptions {
    /// Stride 1, no padding, dilation 1, as in PyTorch.
    fn default() -> Self {
        Self { stride: [1; 3], padding: [0; 3], dilation: [1; 3] }
    }
}

/// 2-D convolution (cross-correlation, as in PyTorch) with zeros around the image.
///
/// out\[n, o, y, x\] = b\[o\] + Σ w\[o, i, u, v\] · x\[n, i, y·s − p + u·d, x·s − p + v·d\] with stride s, padding p
/// and dilation d of each axis.
///
/// # Shapes
/// `x` `[N, I, H, W]`, `weight` `[O, I, U, V]`, `bias` `[O]`; the result is `[N, O, H', W']` with
/// H' = ⌊(H + 2p − d·(U − 1) − 1) / s⌋ + 1 and likewise W'.
///
/// # Errors
/// Shapes that do not fit, an empty tensor, a kernel larger than the padded image, a stride or dilation of zero, a
/// tensor that is not `f32`, tensors on several devices, a GPU in a build without the feature `cudnn`.
pub fn conv2d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, options: &Conv2dOptions) -> Result<Tensor> {
    ConvOp::from(*options).apply(x, weight, bias)
}

/// Transposed 2-D convolution, as in PyTorch: the gradient of [`conv2d`] with respect to its input.
///
/// out\[n, o, y·s − p + u·d, x·s − p + v·d\] = b\[o\] + Σ w\[i, o, u, v\] · x\[n, i, y, x\].
///
/// # Shapes
/// `x` `[N, I, H, W]`, `weight` `[I, O, U, V]`, `bias` `[O]`; the result is `[N, O, H', W']` with
/// H' = (H − 1)·s − 2p + d·(U − 1) + output padding + 1 and likewise W'.
///
/// # Errors
/// Shapes that do not fit, an empty tensor or result, a stride or dilation of zero, an output padding that is
/// neither less than the stride nor than the dilation, or on a GPU not less than the stride; a tensor that is not
/// `f32`, tensors on several devices, a GPU in a build without the feature `cudnn`.
pub fn conv_transpose2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    options: &ConvTranspose2dOptions,
) -> Result<Tensor> {
    ConvOp::from(*options).apply(x, weight, bias)
}

/// 3-D convolution (cross-correlation, as in PyTorch) with zeros around the volume; see [`conv2d`].
///
/// # Shapes
/// `x` `[N, I, D, H, W]`, `weight` `[O, I, T, U, V]`, `bias` `[O]`; the result is `[N, O, D', H', W']`.
///
/// # Errors
/// As [`conv2d`]; any GPU, since volumes are convolved on the CPU only.
pub fn conv3d(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>, options: &Conv3dOptions) -> Result<Tensor> {
    let Conv3dOptions { stride, padding, dilation } = *options;
    let op = ConvOp {
        name: "conv3d",
        axes: 3,
        stride,
        padding,
        dilation,
        direction: Direction::Forward,
        math: CudaMath::Full,
        level: Level::best(),
    };
    op.apply(x, weight, bias)
}

/// Values of rows and columns, and `depth` for the depth that an image does not have.
fn flat([height, width]: [usize; 2], depth: usize) -> [usize; 3] {
    [depth, height, width]
}

/// Which way the weights lead.
#[derive(Clone, Copy, Debug)]
enum Direction {
    Forward,
    /// From what would be the convolution's output to what would be its input.
    Transposed {
        output_padding: [usize; 3],
    },
}

#[derive(Clone, Copy, Debug)]
struct ConvOp {
    name: &'static str,
    /// Axes of the image: 2 or 3.
    axes: usize,
    stride: [usize; 3],
    padding: [usize; 3],
    dilation: [usize; 3],
    direction: Direction,
    #[cfg_attr(not(feature = "cudnn"), expect(dead_code, reason = "the CPU has one way to multiply"))]
    math: CudaMath,
    level: Level,
}

impl From<Conv2dOptions> for ConvOp {
    fn from(options: Conv2dOptions) -> Self {
        let Conv2dOptions { stride, padding, dilation, math } = options;
        Self {
            name: "conv2d",
            axes: 2,
            stride: flat(stride, 1),
            padding: flat(padding, 0),
            dilation: flat(dilation, 1),
            direction: Direction::Forward,
            math,
            level: Level::best(),
        }
    }
}

impl From<ConvTranspose2dOptions> for ConvOp {
    fn from(options: ConvTranspose2dOptions) -> Self {
        let ConvTranspose2dOptions { stride, padding, output_padding, dilation, math } = options;
        Self {
            name: "conv_transpose2d",
            axes: 2,
            stride: flat(stride, 1),
            padding: flat(padding, 0),
            dilation: flat(dilation, 1),
            direction: Direction::Transposed { output_padding: flat(output_padding, 0) },
            math,
            level: Level::best(),
        }
    }
}

/// Values in a tensor, and positions in a stride, padding or dilation: so that no offset wraps.
const LARGEST: usize = 1 << 40;

type Argument<'a> = (&'a CpuStorage, &'a Layout);

impl ConvOp {
    fn apply(self, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        self.check_device(x.device())?;
        let (x, weight) = (x.contiguous()?, weight.contiguous()?);
        match bias {
            Some(bias) => x.apply_op3(&weight, &bias.contiguous()?, self),
            None => x.apply_op2(&weight, self),
        }
    }

    /// Fails for a device that it does not run on.
    fn check_device(&self, device: &Device) -> Result<()> {
        if self.axes == 3 || !device.is_cuda() {
            return require_cpu(self.name, device);
        }
        if !cfg!(feature = "cudnn") {
            bail!("{}: convolution on a GPU needs a build with the feature `cudnn`", self.name);
        }
        Ok(())
    }

    /// The two leading dimensions of a tensor, and its depth, height and width.
    fn sizes(&self, what: &str, layout: &Layout) -> Result<([usize; 2], [usize; 3])> {
        let dims = layout.dims();
        if dims.len() != 2 + self.axes || dims.contains(&0) {
            bail!("{}: the {what} {dims:?} must have {} dimensions, none empty", self.name, 2 + self.axes);
        }
        let mut size = [1; 3];
        size[3 - self.axes..].copy_from_slice(&dims[2..]);
        Ok(([dims[0], dims[1]], size))
    }

    /// The convolution, of which this operation may be the transpose.
    fn convolution(&self, x: &Layout, weight: &Layout) -> Result<Convolution> {
        let Self { name, stride, padding, dilation, level, .. } = *self;
        let ([images, channels], size) = self.sizes("input", x)?;
        let ([outputs, inputs], kernel) = self.sizes("weight", weight)?;
        if stride.contains(&0) || dilation.contains(&0) {
            bail!("{name}: stride {stride:?} and dilation {dilation:?} must be at least 1");
        }
        let shape = ConvShape { kernel, stride, padding, dilation };
        let (expected, input, output) = match self.direction {
            Direction::Forward => {
                let Some(output) = shape.output(size) else {
                    bail!(
                        "{name}: the kernel {:?} with dilation {dilation:?} is larger than the input {:?} with padding {padding:?}",
                        weight.dims(),
                        x.dims()
                    );
                };
                (inputs, size, output)
            }
            Direction::Transposed { output_padding } => {
                if (0..3).any(|axis| output_padding[axis] >= stride[axis].max(dilation[axis])) {
                    bail!(
                        "{name}: the output padding {output_padding:?} must be less than stride or dilation"
                    );
                }
                let Some(input) = shape.transposed_output(size, output_padding) else {
                    bail!(
                        "{name}: padding {padding:?} leaves nothing of the output of {:?} for the kernel {:?}",
                        x.dims(),
                        weight.dims()
                    );
                };
                (outputs, input, size)
            }
        };
        if channels != expected {
            bail!("{name}: the weight {:?} does not fit the input {:?}", weight.dims(), x.dims());
        }
        let is_small = |values: &[usize]| {
            let product = values.iter().try_fold(1usize, |product, value| product.checked_mul(*value));
            product.is_some_and(|product| product <= LARGEST)
        };
        let values = |channels: usize, [depth, height, width]: [usize; 3]| {
            is_small(&[images, channels, depth, height, width])
        };
        let steps = stride.iter().chain(&padding).chain(&dilation);
        if !values(inputs, input)
            || !values(outputs, output)
            || steps.max().is_some_and(|step| *step > LARGEST)
        {
            bail!("{name}: {self:?} of the input {:?} is too large", x.dims());
        }
        Ok(Convolution { level, shape, images, inputs, outputs, input, output })
    }

    /// Channels and size of the result.
    fn result(&self, convolution: &Convolution) -> (usize, [usize; 3]) {
        match self.direction {
            Direction::Forward => (convolution.outputs, convolution.output),
            Direction::Transposed { .. } => (convolution.inputs, convolution.input),
        }
    }

    /// Fails for a bias that is not one value a channel of the result.
    fn check_bias(&self, channels: usize, bias: Option<&Layout>) -> Result<()> {
        match bias {
            Some(layout) if layout.dims() != [channels] => {
                bail!("{}: bias {:?} does not fit {channels} output channels", self.name, layout.dims())
            }
            _ => Ok(()),
        }
    }

    fn forward(&self, x: Argument, weight: Argument, bias: Option<Argument>) -> Result<(CpuStorage, Shape)> {
        let convolution = self.convolution(x.1, weight.1)?;
        let (channels, size) = self.result(&convolution);
        self.check_bias(channels, bias.map(|(_, layout)| layout))?;
        let bias = bias.map(|(storage, layout)| slice(storage, layout)).transpose()?;
        let values = self.run(&convolution, slice(x.0, x.1)?, slice(weight.0, weight.1)?, bias);
        let mut dims = vec![convolution.images, channels];
        dims.extend(&size[3 - self.axes..]);
        Ok((CpuStorage::F32(values), Shape::from(dims)))
    }

    /// The result's values.
    fn run(&self, convolution: &Convolution, x: &[f32], weight: &[f32], bias: Option<&[f32]>) -> Vec<f32> {
        match self.direction {
            Direction::Forward => convolution.forward(x, weight, bias),
            Direction::Transposed { .. } => convolution.transposed(x, weight, bias),
        }
    }

    /// Gradients with respect to `x` and `weight`, as far as they are needed, from that of the result.
    fn gradients(
        &self,
        convolution: &Convolution,
        [x, weight]: [&Tensor; 2],
        gradient: &[f32],
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        with_slices([x, weight], |[x_values, weight_values]| {
            let for_x = || match self.direction {
                Direction::Forward => convolution.transposed(gradient, weight_values, None),
                Direction::Transposed { .. } => convolution.forward(gradient, weight_values, None),
            };
            let for_weight = || match self.direction {
                Direction::Forward => convolution.weight_gradient(x_values, gradient),
                Direction::Transposed { .. } => convolution.weight_gradient(gradient, x_values),
            };
            let tensor = |of: &Tensor, values: &dyn Fn() -> Vec<f32>| {
                of.track_op().then(|| Tensor::from_vec(values(), of.shape(), &Device::Cpu)).transpose()
            };
            Ok((tensor(x, &for_x)?, tensor(weight, &for_weight)?))
        })
    }

    /// The same on any device.
    fn backward(
        &self,
        x: &Tensor,
        weight: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        #[cfg(feature = "cudnn")]
        if gradient.device().is_cuda() {
            return self.cuda_backward(x, weight, gradient);
        }
        let convolution = self.convolution(x.layout(), weight.layout())?;
        with_slices([gradient], |[gradient]| self.gradients(&convolution, [x, weight], gradient))
    }
}

impl CustomOp2 for ConvOp {
    fn name(&self) -> &'static str {
        self.name
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

    #[cfg(feature = "cudnn")]
    fn cuda_fwd(
        &self,
        s1: &CudaStorage,
        l1: &Layout,
        s2: &CudaStorage,
        l2: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.cuda_forward((s1, l1), (s2, l2), None)
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _res: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        self.backward(x, weight, &grad.contiguous()?)
    }
}

impl CustomOp3 for ConvOp {
    fn name(&self) -> &'static str {
        self.name
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

    #[cfg(feature = "cudnn")]
    fn cuda_fwd(
        &self,
        s1: &CudaStorage,
        l1: &Layout,
        s2: &CudaStorage,
        l2: &Layout,
        s3: &CudaStorage,
        l3: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.cuda_forward((s1, l1), (s2, l2), Some((s3, l3)))
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
        let (gradient_x, gradient_weight) = self.backward(x, weight, &grad)?;
        let gradient_bias = if bias.track_op() { Some(bias_gradient(&grad)?) } else { None };
        Ok((gradient_x, gradient_weight, gradient_bias))
    }
}

/// The gradient of a bias: the sum of each channel.
fn bias_gradient(gradient: &Tensor) -> Result<Tensor> {
    #[cfg(feature = "cudnn")]
    if gradient.device().is_cuda() {
        return crate::cuda::conv::bias_gradient(gradient);
    }
    let channels = gradient.dim(1)?;
    let plane = gradient.dims()[2..].iter().product();
    let sums = with_slices([gradient], |[gradient]| Ok(channel_sums(gradient, channels, plane)))?;
    Tensor::from_vec(sums, channels, &Device::Cpu)
}
