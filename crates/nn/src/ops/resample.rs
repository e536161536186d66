//! Average pooling and upsampling: linear maps that treat rows and columns apart.

use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::tensor::{image_shape, require_cpu, slice, with_slices};

/// For each output position of an axis the input positions it reads, and their weights.
type AxisMap = Vec<Vec<(usize, f32)>>;

/// Means over windows of `kernel`, `stride` apart, without padding; what is left over at the end is not read.
///
/// # Shapes
/// `x` `[N, C, H, W]`; the result is `[N, C, H', W']` with H' = ⌊(H − kernel) / stride⌋ + 1 and likewise W'.
///
/// # Errors
/// An empty input, a kernel or stride of zero, a kernel larger than the image, a tensor that is not `f32` on the
/// CPU.
pub fn avg_pool2d(x: &Tensor, kernel: [usize; 2], stride: [usize; 2]) -> Result<Tensor> {
    require_cpu("avg_pool2d", x.device())?;
    let x = x.contiguous()?;
    let shape = image_shape("avg_pool2d", x.layout())?;
    let output = pooled("avg_pool2d", shape, kernel, stride)?;
    let maps = std::array::from_fn(|axis| {
        let weight = 1.0 / kernel[axis] as f32;
        let reads = |y: usize| (0..kernel[axis]).map(|u| (y * stride[axis] + u, weight)).collect();
        (0..output[axis]).map(reads).collect()
    });
    x.apply_op1(Resample { name: "avg_pool2d", maps })
}

/// The size that pooling leaves.
pub(super) fn pooled(
    op: &str,
    shape: [usize; 4],
    kernel: [usize; 2],
    stride: [usize; 2],
) -> Result<[usize; 2]> {
    let [_, _, height, width] = shape;
    if kernel.contains(&0) || stride.contains(&0) {
        bail!("{op}: kernel {kernel:?} and stride {stride:?} must be at least 1");
    }
    if kernel[0] > height || kernel[1] > width {
        bail!("{op}: the kernel {kernel:?} is larger than the image [{height}, {width}]");
    }
    Ok([(height - kernel[0]) / stride[0] + 1, (width - kernel[1]) / stride[1] + 1])
}

/// Resizes an image to `size` `[H', W']` by the nearest position: output y reads input ⌊y · H / H'⌋, as in PyTorch,
/// in whole numbers. It also makes images smaller.
///
/// # Errors
/// An empty input or size, a tensor that is not `f32` on the CPU.
pub fn upsample_nearest2d(x: &Tensor, size: [usize; 2]) -> Result<Tensor> {
    resize("upsample_nearest2d", x, size, |y, input, output| {
        vec![((y as u128 * input as u128 / output as u128) as usize, 1.0)]
    })
}

/// Resizes an image to `size` `[H', W']` by linear interpolation along rows and columns, as in PyTorch.
///
/// With `align_corners` the centres of the corner pixels stay where they are: output y reads position
/// y · (H − 1) / (H' − 1). Without it the image's edges do: (y + ½) · H / H' − ½, and the edge's value beyond.
///
/// # Errors
/// An empty input or size, a tensor that is not `f32` on the CPU.
pub fn upsample_bilinear2d(x: &Tensor, size: [usize; 2], align_corners: bool) -> Result<Tensor> {
    resize("upsample_bilinear2d", x, size, |y, input, output| {
        let position = if !align_corners {
            ((y as f64 + 0.5) * input as f64 / output as f64 - 0.5).max(0.0)
        } else if output > 1 {
            y as f64 * (input - 1) as f64 / (output - 1) as f64
        } else {
            0.0
        };
        let first = (position as usize).min(input - 1);
        let share = (position - first as f64).clamp(0.0, 1.0) as f32;
        vec![(first, 1.0 - share), ((first + 1).min(input - 1), share)]
    })
}

/// Resizes by what `reads(output position, input length, output length)`.
fn resize(
    name: &'static str,
    x: &Tensor,
    size: [usize; 2],
    reads: impl Fn(usize, usize, usize) -> Vec<(usize, f32)>,
) -> Result<Tensor> {
    require_cpu(name, x.device())?;
    let x = x.contiguous()?;
    let [images, channels, height, width] = image_shape(name, x.layout())?;
    let count = size.iter().try_fold(images * channels, |count, size| count.checked_mul(*size));
    if size.contains(&0) || count.is_none_or(|count| count > 1 << 40) {
        bail!("{name}: the size {size:?} is empty or too large for {images} images of {channels} channels");
    }
    let map = |output: usize, input: usize| (0..output).map(|y| reads(y, input, output)).collect();
    x.apply_op1(Resample { name, maps: [map(size[0], height), map(size[1], width)] })
}

/// out\[y, x\] = Σ rows\[y\] · columns\[x\] · input, for the maps of rows and columns.
struct Resample {
    name: &'static str,
    maps: [AxisMap; 2],
}

impl CustomOp1 for Resample {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let [images, channels, height, width] = image_shape(self.name, layout)?;
        let [rows, columns] = &self.maps;
        let mut out = vec![0.0f32; images * channels * rows.len() * columns.len()];
        out.par_chunks_exact_mut(rows.len() * columns.len())
            .zip(slice(storage, layout)?.par_chunks_exact(height * width))
            .for_each_init(
                || vec![0.0f32; width],
                |row, (out, plane)| {
                    for (out, reads) in out.chunks_exact_mut(columns.len()).zip(rows) {
                        row.fill(0.0);
                        for (y, weight) in reads {
                            add_scaled(row, &plane[y * width..][..width], *weight);
                        }
                        for (out, reads) in out.iter_mut().zip(columns) {
                            *out = reads.iter().map(|(x, weight)| weight * row[*x]).sum();
                        }
                    }
                },
            );
        Ok((CpuStorage::F32(out), Shape::from((images, channels, rows.len(), columns.len()))))
    }

    fn bwd(&self, x: &Tensor, _res: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let [images, channels, height, width] = image_shape(self.name, x.layout())?;
        let [rows, columns] = &self.maps;
        let mut result = vec![0.0f32; images * channels * height * width];
        with_slices([&grad.contiguous()?], |[grad]| {
            result
                .par_chunks_exact_mut(height * width)
                .zip(grad.par_chunks_exact(rows.len() * columns.len()))
                .for_each_init(
                    || vec![0.0f32; width],
                    |row, (result, grad)| {
                        for (grad, reads) in grad.chunks_exact(columns.len()).zip(rows) {
                            row.fill(0.0);
                            for (grad, reads) in grad.iter().zip(columns) {
                                for (x, weight) in reads {
                                    row[*x] += weight * grad;
                                }
                            }
                            for (y, weight) in reads {
                                add_scaled(&mut result[y * width..][..width], row, *weight);
                            }
                        }
                    },
                );
            Ok(())
        })?;
        Ok(Some(Tensor::from_vec(result, x.shape(), &Device::Cpu)?))
    }
}

fn add_scaled(sum: &mut [f32], values: &[f32], factor: f32) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum += factor * value;
    }
}
