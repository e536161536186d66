//! Medical images, transforms and radiotherapy objects from files and back: NIfTI, MetaImage, DICOM and ITK transform files.
//!
//! Start here: [`read_volume`] (any format, known by its content), [`write_volume`] (format by extension),
//! [`describe`] (what a file says about itself), [`read_transform`] and [`write_transform`]; [`dicom`] for structures, plans
//! and doses, and for writing DICOM.
//!
//! Whatever a file holds comes out as a [`Grid`](synthct_image::Grid) in DICOM patient space (LPS, mm) and `f32` values in true units.
//! What a grid cannot represent (shear, missing slices, uneven spacing, several volumes) and what a file does not say
//! (no orientation, no voxel size) is an error that says what and where; nothing is guessed unless [`ReadOptions`] asks for it.
//!
//! This crate leaves out: resampling, any meaning of the values (MR or CT), and formats of no use here (Analyze 7.5, MGH, NRRD).

pub mod dicom;
mod element;
mod error;
mod format;
mod geometry;
mod gzip;
mod info;
mod metaimage;
mod nifti;
mod output;
mod stream;
mod transform;

pub use element::{ByteOrder, ElementType, OutputType, Scaling};
pub use error::IoError;
pub use format::{
    describe, detect_format, read_image, read_label_map, read_mask, read_volume, read_volume_frame,
    read_volume_with, write_label_map, write_mask, write_volume,
};
pub use info::{Image, ImageFormat, ImageInfo, MissingGeometry, ReadOptions, Storage};
pub use transform::{read_displacement_field, read_transform, write_displacement_field, write_transform};
