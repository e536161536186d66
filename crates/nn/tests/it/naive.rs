//! The operations as their definitions read, in double precision, with their gradients.

/// A tensor's values in double precision, and its shape.
#[derive(Clone, Debug)]
pub(crate) struct Array {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f64>,
}

impl Array {
    pub(crate) fn zeros(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), values: vec![0.0; shape.iter().product()] }
    }
}

/// An operation that is linear in each argument: its value and gradients follow from a list of products.
///
/// A product is (output index, weight of the term, index into each argument).
pub(crate) type Product<const N: usize> = (usize, f64, [usize; N]);

/// The output, and the gradients of Σ coefficient · output.
pub(crate) fn evaluate<const N: usize>(
    arguments: [&Array; N],
    output: &[usize],
    products: &[Product<N>],
    coefficient: &[f64],
) -> (Array, [Array; N]) {
    let mut out = Array::zeros(output);
    let mut gradients = arguments.map(|argument| Array::zeros(&argument.shape));
    for (at, factor, places) in products {
        let values: [f64; N] = std::array::from_fn(|n| arguments[n].values[places[n]]);
        out.values[*at] += factor * values.iter().product::<f64>();
        for n in 0..N {
            let others: f64 = (0..N).filter(|m| *m != n).map(|m| values[m]).product();
            gradients[n].values[places[n]] += factor * coefficient[*at] * others;
        }
    }
    (out, gradients)
}

/// Kernel, stride, padding and dilation along depth, rows and columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conv {
    pub(crate) kernel: [usize; 3],
    pub(crate) stride: [usize; 3],
    pub(crate) padding: [usize; 3],
    pub(crate) dilation: [usize; 3],
}

impl Conv {
    /// Input positions from the kernel's first to its last tap.
    fn reach(&self, axis: usize) -> usize {
        self.dilation[axis] * (self.kernel[axis] - 1)
    }

    pub(crate) fn output(&self, input: [usize; 3]) -> Option<[usize; 3]> {
        let fits = (0..3).all(|a| input[a] + 2 * self.padding[a] > self.reach(a));
        fits.then(|| {
            std::array::from_fn(|a| (input[a] + 2 * self.padding[a] - self.reach(a) - 1) / self.stride[a] + 1)
        })
    }

    pub(crate) fn transposed_output(&self, input: [usize; 3], extra: [usize; 3]) -> Option<[usize; 3]> {
        let full = |a: usize| (input[a] - 1) * self.stride[a] + self.reach(a) + extra[a] + 1;
        let fits = (0..3).all(|a| full(a) > 2 * self.padding[a]);
        fits.then(|| std::array::from_fn(|a| full(a) - 2 * self.padding[a]))
    }

    /// Pairs of output and input positions, and the weight between them, counted row by row.
    fn positions(&self, input: [usize; 3], output: [usize; 3]) -> Vec<(usize, usize, usize)> {
        let axis = |a: usize| {
            let mut found = Vec::new();
            for y in 0..output[a] {
                for u in 0..self.kernel[a] {
                    if let Some(x) = (y * self.stride[a] + u * self.dilation[a]).checked_sub(self.padding[a])
                        && x < input[a]
                    {
                        found.push((y, x, u));
                    }
                }
            }
            found
        };
        let mut found = Vec::new();
        for (z, zz, t) in axis(0) {
            for (y, yy, u) in axis(1) {
                for (x, xx, v) in axis(2) {
                    found.push((
                        (z * output[1] + y) * output[2] + x,
                        (zz * input[1] + yy) * input[2] + xx,
                        (t * self.kernel[1] + u) * self.kernel[2] + v,
                    ));
                }
            }
        }
        found
    }

    /// The products of a convolution of `[images, inputs, input]` with weights `[outputs, inputs, kernel]`; of its
    /// transpose, from `[images, outputs, output]`, if `transposed`. The first argument is the image.
    pub(crate) fn products(
        &self,
        [images, outputs, inputs]: [usize; 3],
        input: [usize; 3],
        output: [usize; 3],
        transposed: bool,
    ) -> Vec<Product<2>> {
        let [input_plane, output_plane, kernel] =
            [input, output, self.kernel].map(|size| size.iter().product::<usize>());
        let mut products = Vec::new();
        for (y, x, w) in self.positions(input, output) {
            for n in 0..images {
                for o in 0..outputs {
                    for i in 0..inputs {
                        let output = (n * outputs + o) * output_plane + y;
                        let input = (n * inputs + i) * input_plane + x;
                        let weight = (o * inputs + i) * kernel + w;
                        products.push(if transposed {
                            (input, 1.0, [output, weight])
                        } else {
                            (output, 1.0, [input, weight])
                        });
                    }
                }
            }
        }
        products
    }
}
