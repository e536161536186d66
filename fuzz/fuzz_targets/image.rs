//! Any bytes as NIfTI, gzipped or not, or MetaImage.
#![no_main]

use libfuzzer_sys::fuzz_target;
use synthct_fuzz::with_file;
use synthct_io::{MissingGeometry, ReadOptions, describe, read_displacement_field, read_image};

fuzz_target!(|data: &[u8]| {
    with_file("image", data, |path| {
        let options = ReadOptions {
            missing_geometry: MissingGeometry::FromPixdim,
            frame: Some(0),
            ..ReadOptions::default()
        };
        let description = describe(path, &options);
        if read_image(path, &options).is_ok() {
            assert!(description.is_ok());
        }
        let _ = read_displacement_field(path);
    });
});
