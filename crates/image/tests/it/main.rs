//! Geometry, resampling and morphology against reference values of the field's tools, stored in `tests/golden`.

mod golden;
mod morphology;
mod resampling;
mod smoothing;
mod threads;
