//! Which input positions a convolution reads, along depth, rows and columns.
//!
//! Along each axis output position y reads input position y·s − p + u·d for the kernel's position u, with stride
//! s, padding p and dilation d. Its transpose, which is also its gradient with respect to the input, is a
//! convolution with stride 1 for each of the s phases that an input position can have: position k·s + r reads
//! output positions k + (r + p − u·d) / s, for those u for which that is whole.

/// Kernel, stride, padding and dilation along depth, rows and columns; in 2-D the depth has kernel 1, stride 1,
/// no padding and dilation 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConvShape {
    pub(crate) kernel: [usize; 3],
    pub(crate) stride: [usize; 3],
    pub(crate) padding: [usize; 3],
    pub(crate) dilation: [usize; 3],
}

/// One weight's place in the kernel, and what it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WindowTap {
    /// Index into the kernel, row by row.
    pub(crate) index: usize,
    /// The input position that output position 0 reads.
    pub(crate) offset: [isize; 3],
}

/// One of the windows that are computed side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Where it writes the value of grid position 0.
    pub(crate) first: [usize; 3],
    /// Those that touch what they read; the others would only ever read zeros.
    pub(crate) taps: Vec<WindowTap>,
}

impl ConvShape {
    /// The output's size, or none if the kernel does not fit into the padded input.
    pub(crate) fn output(&self, input: [usize; 3]) -> Option<[usize; 3]> {
        let mut output = [0; 3];
        for axis in 0..3 {
            let padded = self.padding[axis].checked_mul(2)?.checked_add(input[axis])?;
            let reach = self.reach(axis)?;
            output[axis] = padded.checked_sub(reach)?.checked_sub(1)? / self.stride[axis] + 1;
        }
        Some(output)
    }

    /// The size of the transpose's output, or none if it would be empty.
    pub(crate) fn transposed_output(
        &self,
        input: [usize; 3],
        output_padding: [usize; 3],
    ) -> Option<[usize; 3]> {
        let mut output = [0; 3];
        for axis in 0..3 {
            let stretched = input[axis].checked_sub(1)?.checked_mul(self.stride[axis])?;
            let full = stretched.checked_add(self.reach(axis)?)?.checked_add(output_padding[axis])?;
            let cut = self.padding[axis].checked_mul(2)?;
            output[axis] = full.checked_add(1)?.checked_sub(cut).filter(|size| *size > 0)?;
        }
        Some(output)
    }

    /// Positions from the kernel's first to its last tap.
    fn reach(&self, axis: usize) -> Option<usize> {
        self.kernel[axis].checked_sub(1)?.checked_mul(self.dilation[axis])
    }

    /// The convolution's window, whose grid is the output: position y reads y · stride + offset, for each tap's offset.
    pub(crate) fn window(&self, input: [usize; 3], output: [usize; 3]) -> Part {
        let taps = self.taps(|axis, position| {
            let offset = signed(position * self.dilation[axis]) - signed(self.padding[axis]);
            touches(output[axis], input[axis], self.stride[axis], offset).then_some(offset)
        });
        Part { first: [0; 3], taps }
    }

    /// The transpose's windows, all with stride 1: from a tensor of the convolution's `output` size to one of its `input`
    /// size, of which each computes every `stride`-th position from its first. Their grid is the first one's.
    pub(crate) fn transposed_windows(&self, input: [usize; 3], output: [usize; 3]) -> Vec<Part> {
        let [depth, height, width] = self.stride;
        let firsts = (0..depth * height * width)
            .map(|phase| [phase / (height * width), phase / width % height, phase % width]);
        firsts
            .filter(|first| (0..3).all(|axis| first[axis] < input[axis]))
            .map(|first| {
                let size: [usize; 3] =
                    std::array::from_fn(|axis| (input[axis] - first[axis]).div_ceil(self.stride[axis]));
                let taps = self.taps(|axis, position| {
                    let distance =
                        signed(first[axis] + self.padding[axis]) - signed(position * self.dilation[axis]);
                    let stride = signed(self.stride[axis]);
                    let offset = distance.div_euclid(stride);
                    (distance.rem_euclid(stride) == 0 && touches(size[axis], output[axis], 1, offset))
                        .then_some(offset)
                });
                Part { first, taps }
            })
            .collect()
    }

    /// The taps for which `offset(axis, position in the kernel)` is something on every axis, row by row.
    fn taps(&self, offset: impl Fn(usize, usize) -> Option<isize>) -> Vec<WindowTap> {
        let along: [Vec<(usize, isize)>; 3] = std::array::from_fn(|axis| {
            (0..self.kernel[axis]).filter_map(|at| offset(axis, at).map(|offset| (at, offset))).collect()
        });
        let mut taps = Vec::new();
        for (t, dz) in &along[0] {
            for (u, dy) in &along[1] {
                for (v, dx) in &along[2] {
                    let index = (t * self.kernel[1] + u) * self.kernel[2] + v;
                    taps.push(WindowTap { index, offset: [*dz, *dy, *dx] });
                }
            }
        }
        taps
    }

    /// Weights that belong to a pair of channels.
    pub(crate) fn weights(&self) -> usize {
        self.kernel.iter().product()
    }
}

/// Sizes are checked before, so that this does not wrap.
fn signed(value: usize) -> isize {
    value as isize
}

/// True if some output position in `0..output` reads an input position in `0..input`.
fn touches(output: usize, input: usize, stride: usize, offset: isize) -> bool {
    let first = (-offset).max(0) as usize;
    let first = first.div_ceil(stride);
    first < output && signed(first * stride) + offset < signed(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(kernel: usize, stride: usize, padding: usize, dilation: usize) -> ConvShape {
        ConvShape {
            kernel: [1, 1, kernel],
            stride: [1, 1, stride],
            padding: [0, 0, padding],
            dilation: [1, 1, dilation],
        }
    }

    #[test]
    fn sizes_follow_the_formula() {
        let output = |conv: ConvShape, width| conv.output([1, 1, width]).map(|[_, _, width]| width);
        assert_eq!(output(shape(4, 2, 1, 1), 256), Some(128));
        assert_eq!(output(shape(3, 2, 1, 1), 33), Some(17));
        assert_eq!(output(shape(3, 1, 0, 2), 5), Some(1));
        assert_eq!(output(shape(3, 1, 0, 2), 4), None);
        assert_eq!(output(shape(3, 1, usize::MAX, 1), 4), None);
        assert_eq!(output(shape(3, 1, 1, usize::MAX), 4), None);
        let transposed = |conv: ConvShape, width, extra| {
            conv.transposed_output([1, 1, width], [0, 0, extra]).map(|[_, _, width]| width)
        };
        assert_eq!(transposed(shape(4, 2, 1, 1), 128, 0), Some(256));
        assert_eq!(transposed(shape(3, 2, 1, 1), 17, 1), Some(34));
        assert_eq!(transposed(shape(1, 1, 1, 1), 2, 0), None);
    }

    /// Every product of the convolution appears once in its window and once in its transpose's.
    #[test]
    fn windows_hold_the_products_of_the_definition() {
        for (kernel, stride, padding, dilation, width) in [
            (4, 2, 1, 1, 8),
            (3, 2, 1, 1, 7),
            (3, 3, 4, 2, 9),
            (1, 2, 0, 1, 5),
            (2, 5, 1, 3, 11),
            (5, 1, 9, 1, 2),
        ] {
            let conv = shape(kernel, stride, padding, dilation);
            let output = conv.output([1, 1, width]).expect("the kernel fits");
            let mut expected = Vec::new();
            for y in 0..output[2] {
                for u in 0..kernel {
                    let x = (y * stride + u * dilation) as isize - padding as isize;
                    if (0..width as isize).contains(&x) {
                        expected.push((u, y, x as usize));
                    }
                }
            }
            expected.sort_unstable();

            let window = conv.window([1, 1, width], output);
            let mut found = Vec::new();
            for tap in &window.taps {
                for y in 0..output[2] {
                    let x = (y * stride) as isize + tap.offset[2];
                    if (0..width as isize).contains(&x) {
                        found.push((tap.index, y, x as usize));
                    }
                }
            }
            found.sort_unstable();
            assert_eq!(found, expected, "{conv:?}");

            let mut transposed = Vec::new();
            for Part { first, taps } in conv.transposed_windows([1, 1, width], output) {
                for tap in &taps {
                    for k in 0..(width - first[2]).div_ceil(stride) {
                        let y = k as isize + tap.offset[2];
                        if (0..output[2] as isize).contains(&y) {
                            transposed.push((tap.index, y as usize, k * stride + first[2]));
                        }
                    }
                }
            }
            transposed.sort_unstable();
            assert_eq!(transposed, expected, "transpose of {conv:?}");
        }
    }

    #[test]
    fn taps_that_only_read_zeros_are_left_out() {
        let conv = shape(3, 1, 100, 100);
        assert_eq!(conv.window([1, 1, 9], [1, 1, 9]).taps, [WindowTap { index: 1, offset: [0, 0, 0] }]);
    }
}
