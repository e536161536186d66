//! Speed of intensity normalisation and augmentation.
//!
//! Compare figures of one run only: they depend on the machine and its load.

mod augment;
mod nyul;

criterion::criterion_main!(nyul::benches, augment::benches);
