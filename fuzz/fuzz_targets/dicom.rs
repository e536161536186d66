//! Any bytes as a DICOM file: elements, sequences, functional groups, fragments, DICOMDIR.
#![no_main]

use libfuzzer_sys::fuzz_target;
use synthct_fuzz::with_file;
use synthct_io::ReadOptions;
use synthct_io::dicom::{list_series, read_series_with};

fuzz_target!(|data: &[u8]| {
    with_file("file", data, |path| {
        let listing = list_series(path);
        let options = ReadOptions {
            frame: data.first().is_some_and(|byte| byte % 2 == 1).then_some(0),
            fill_gaps: true,
            untilt: true,
            philips_precise: true,
            ..ReadOptions::default()
        };
        if let Ok((volume, info)) = read_series_with(path, &options) {
            assert!(listing.is_ok() && info.grid.as_ref() == Some(volume.grid()));
        }
    });
});
