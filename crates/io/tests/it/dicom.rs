//! DICOM series: synthetic ones against closed forms, real ones against other readers.

#![expect(clippy::float_cmp, reason = "voxels of a few bits and decimal headers have exact values")]

mod codecs;
mod damage;
mod encodings;
mod enhanced;
pub(crate) mod files;
mod geometry;
mod real;
mod regrid;
mod series;
mod volumes;
