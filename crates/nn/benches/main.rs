//! Speed of the convolution engine and of a training step.
//!
//! Compare figures of one run only: they depend on the machine, its load and the allocator's settings.

mod convolution;
mod strided;
mod training_step;

criterion::criterion_main!(convolution::benches, strided::benches, training_step::benches);
