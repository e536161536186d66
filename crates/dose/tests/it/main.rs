//! The crate seen from outside.

mod egsnrc;
mod monte_carlo;
mod physics;
mod slab;
mod template;
