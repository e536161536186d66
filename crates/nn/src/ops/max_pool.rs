//! Maximum pooling.

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::resample::pooled;
use super::tensor::{image_shape, require_cpu, slice, with_slices};

/// Maxima over windows of `kernel`, `stride` apart, without padding; what is left over at the end is not read.
///
/// Among equal values the first, row by row, is the maximum and gets the whole gradient; a NaN is larger than any
/// number. Both are as in PyTorch.
///
/// # Shapes
/// `x` `[N, C, H, W]`; the result is `[N, C, H', W']` with H' = ⌊(H − kernel) / stride⌋ + 1 and likewise W'.
///
/// # Errors
/// An empty input, a kernel or stride of zero, a kernel larger than the image, a tensor that is not `f32` on the
/// CPU.
pub fn max_pool2d(x: &Tensor, kernel: [usize; 2], stride: [usize; 2]) -> Result<Tensor> {
    require_cpu("max_pool2d", x.device())?;
    x.contiguous()?.apply_op1(MaxPool { kernel, stride })
}

struct MaxPool {
    kernel: [usize; 2],
    stride: [usize; 2],
}

impl MaxPool {
    fn sizes(&self, layout: &Layout) -> Result<([usize; 4], [usize; 2])> {
        let shape = image_shape("max_pool2d", layout)?;
        Ok((shape, pooled("max_pool2d", shape, self.kernel, self.stride)?))
    }

    /// Where the maximum of output row `y`, column `x` lies in a plane.
    fn place(&self, plane: &[f32], width: usize, y: usize, x: usize) -> usize {
        let first = y * self.stride[0] * width + x * self.stride[1];
        let mut best = first;
        for row in 0..self.kernel[0] {
            for column in 0..self.kernel[1] {
                let at = first + row * width + column;
                if plane[at] > plane[best] || (plane[at].is_nan() && !plane[best].is_nan()) {
                    best = at;
                }
            }
        }
        best
    }
}

impl CustomOp1 for MaxPool {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let ([images, channels, height, width], [rows, columns]) = self.sizes(layout)?;
        let mut out = vec![0.0f32; images * channels * rows * columns];
        out.par_chunks_exact_mut(rows * columns)
            .zip(slice(storage, layout)?.par_chunks_exact(height * width))
            .for_each(|(out, plane)| {
                for (idx, out) in out.iter_mut().enumerate() {
                    *out = plane[self.place(plane, width, idx / columns, idx % columns)];
                }
            });
        Ok((CpuStorage::F32(out), Shape::from((images, channels, rows, columns))))
    }

    fn bwd(&self, x: &Tensor, _res: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let ([_, _, height, width], [rows, columns]) = self.sizes(x.layout())?;
        let result = with_slices([x, &grad.contiguous()?], |[x, grad]| {
            let mut result = vec![0.0f32; x.len()];
            result
                .par_chunks_exact_mut(height * width)
                .zip(x.par_chunks_exact(height * width).zip(grad.par_chunks_exact(rows * columns)))
                .for_each(|(result, (plane, grad))| {
                    for (idx, grad) in grad.iter().enumerate() {
                        result[self.place(plane, width, idx / columns, idx % columns)] += grad;
                    }
                });
            Ok(result)
        })?;
        Ok(Some(Tensor::from_vec(result, x.shape(), &Device::Cpu)?))
    }
}
