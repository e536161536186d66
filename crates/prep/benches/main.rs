//! Speed of N4, intensity normalisation and augmentation.
//!
//! Compare figures of one run only: they depend on the machine and its load.

mod augment;
mod n4;
mod nyul;

criterion::criterion_main!(n4::benches, nyul::benches, augment::benches);
