//! The convolutions on a GPU: which of cuDNN's three operations they are, on which sizes.

#[cfg(feature = "cudnn")]
use candle_core::cuda_backend::cudarc::driver::CudaSlice;
#[cfg(feature = "cudnn")]
use candle_core::{CudaStorage, Shape, Tensor};
use candle_core::{Layout, Result, bail};

use super::ConvOp;
#[cfg(feature = "cudnn")]
use super::Direction;
use crate::cuda::geometry::ConvGeometry;
#[cfg(feature = "cudnn")]
use crate::cuda::{
    conv::{convolve, transpose, weight_gradient, with_bias},
    geometry::PlanKey,
    tensor::{Argument, tensor, with_storages},
};

impl ConvOp {
    /// The convolution of images, of which this operation may be the transpose, in cuDNN's numbers.
    pub(super) fn geometry(&self, x: &Layout, weight: &Layout) -> Result<ConvGeometry> {
        let convolution = self.convolution(x, weight)?;
        let (images, shape) = (convolution.images, convolution.shape);
        let flat = |[_, height, width]: [usize; 3]| [height, width];
        let image = |channels: usize, [_, height, width]: [usize; 3]| [images, channels, height, width];
        let [_, height, width] = shape.kernel;
        let geometry = ConvGeometry {
            input: image(convolution.inputs, convolution.input),
            weight: [convolution.outputs, convolution.inputs, height, width],
            stride: flat(shape.stride),
            padding: flat(shape.padding),
            dilation: flat(shape.dilation),
        };
        // Only an output padding of a whole stride leads to a result that convolves to a larger image.
        if geometry.output()? != image(convolution.outputs, convolution.output) {
            bail!(
                "{}: on a GPU the output padding must be less than the stride {:?}",
                self.name,
                geometry.stride
            );
        }
        Ok(geometry)
    }
}

#[cfg(feature = "cudnn")]
impl ConvOp {
    fn plan_key(&self, x: &Layout, weight: &Layout) -> Result<PlanKey> {
        Ok(PlanKey { geometry: self.geometry(x, weight)?, math: self.math })
    }

    pub(super) fn cuda_forward(
        &self,
        x: Argument,
        weight: Argument,
        bias: Option<Argument>,
    ) -> Result<(CudaStorage, Shape)> {
        let key = self.plan_key(x.1, weight.1)?;
        let shape = match self.direction {
            Direction::Forward => key.geometry.output()?,
            Direction::Transposed { .. } => key.geometry.input,
        };
        self.check_bias(shape[1], bias.map(|(_, layout)| layout))?;
        let values = match self.direction {
            Direction::Forward => convolve(key, x, weight)?,
            Direction::Transposed { .. } => transpose(key, weight, x)?,
        };
        with_bias(&x.0.device, values, shape, bias)
    }

    /// Gradients with respect to the input and the weight, as far as they are needed; all tensors contiguous.
    pub(super) fn cuda_backward(
        &self,
        x: &Tensor,
        weight: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let key = self.plan_key(x.layout(), weight.layout())?;
        with_storages([x, weight, gradient], |[x_values, weight_values, gradient]| {
            let for_x = || match self.direction {
                Direction::Forward => transpose(key, weight_values, gradient),
                Direction::Transposed { .. } => convolve(key, gradient, weight_values),
            };
            let for_weight = || match self.direction {
                Direction::Forward => weight_gradient(key, x_values, gradient),
                Direction::Transposed { .. } => weight_gradient(key, gradient, x_values),
            };
            let device = &gradient.0.device;
            let needed = |of: &Tensor, values: &dyn Fn() -> Result<CudaSlice<f32>>| {
                let tensor = |values| tensor(values, device, of.shape());
                of.track_op().then(|| values().map(tensor)).transpose()
            };
            Ok((needed(x, &for_x)?, needed(weight, &for_weight)?))
        })
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Shape;

    use super::*;
    use crate::ops::CudaMath;
    use crate::ops::convolution::Direction;
    use crate::simd::Level;

    /// Rows and columns of a convolution, which differ in everything.
    fn op(stride: usize, padding: usize, dilation: usize, direction: Direction) -> ConvOp {
        ConvOp {
            name: "conv",
            axes: 2,
            stride: [1, stride, 2],
            padding: [0, padding, 1],
            dilation: [1, dilation, 1],
            direction,
            math: CudaMath::Full,
            level: Level::Portable,
        }
    }

    fn geometry(op: ConvOp, x: [usize; 4], weight: [usize; 4]) -> Result<ConvGeometry> {
        let layout = |dims: [usize; 4]| Layout::contiguous(Shape::from(&dims[..]));
        op.geometry(&layout(x), &layout(weight))
    }

    /// All rows: stride, padding, dilation, taps and size.
    fn rows() -> impl Iterator<Item = [usize; 5]> {
        let range = |last: usize| 1..=last;
        range(3).flat_map(move |stride| {
            range(3).flat_map(move |padding| {
                range(3).flat_map(move |dilation| {
                    range(4).flat_map(move |taps| {
                        range(7).map(move |size| [stride, padding - 1, dilation, taps, size])
                    })
                })
            })
        })
    }

    #[test]
    fn a_convolution_starts_at_its_argument() -> Result<()> {
        for [stride, padding, dilation, taps, size] in rows() {
            let (x, weight) = ([2, 5, size, 6], [7, 5, taps, 4]);
            let found = geometry(op(stride, padding, dilation, Direction::Forward), x, weight);
            let Some(room) = (size + 2 * padding).checked_sub(dilation * (taps - 1) + 1) else {
                assert!(found.is_err(), "{found:?}");
                continue;
            };
            let found = found?;
            assert_eq!((found.input, found.weight), (x, weight));
            assert_eq!(found.output()?, [2, 7, room / stride + 1, 3], "{found:?}");
        }
        Ok(())
    }

    #[test]
    fn a_transposed_convolution_ends_at_its_argument() -> Result<()> {
        for [stride, padding, dilation, taps, size] in rows() {
            for output_padding in 0..=3 {
                let direction = Direction::Transposed { output_padding: [0, output_padding, 0] };
                let (x, weight) = ([2, 7, size, 6], [7, 5, taps, 4]);
                let found = geometry(op(stride, padding, dilation, direction), x, weight);
                let whole = (size - 1) * stride + dilation * (taps - 1) + 1 + output_padding;
                let fits = output_padding < stride && whole > 2 * padding;
                assert_eq!(found.is_ok(), fits, "{found:?}, output padding {output_padding}, size {size}");
                if let Ok(found) = found {
                    assert_eq!((found.input, found.weight), ([2, 5, whole - 2 * padding, 12], weight));
                    assert_eq!(found.output()?, x, "{found:?}");
                }
            }
        }
        Ok(())
    }

    #[test]
    fn an_output_padding_of_a_stride_is_named() {
        let direction = Direction::Transposed { output_padding: [0, 1, 0] };
        let error = geometry(op(1, 0, 2, direction), [1, 1, 3, 6], [1, 1, 2, 4]).map(|_| ());
        let error = error.expect_err("cuDNN has no such convolution").to_string();
        assert!(error.contains("conv: on a GPU the output padding must be less than the stride"), "{error}");
    }

    /// What stands for a GPU in a build without CUDA knows its kind and nothing else.
    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_gpu_is_refused_with_the_reason() {
        use candle_core::{CudaDevice, Device};

        let refused = |op: &ConvOp| {
            op.check_device(&Device::Cuda(CudaDevice)).expect_err("there is no cuDNN").to_string()
        };
        let image = op(1, 0, 1, Direction::Forward);
        assert!(
            refused(&image).contains("conv: convolution on a GPU needs a build with the feature `cudnn`")
        );
        let volume = ConvOp { axes: 3, ..image };
        assert!(refused(&volume).contains("conv: it does not run on the device CUDA"));
        assert!(image.check_device(&Device::Cpu).is_ok() && volume.check_device(&Device::Cpu).is_ok());
    }
}
