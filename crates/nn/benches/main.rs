//! Speed of the convolution engine and of a training step.

mod convolution;

criterion::criterion_main!(convolution::benches);
