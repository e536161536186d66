//! The crate seen from outside.

mod egsnrc;
mod physics;
mod slab;
mod template;
