//! Any bytes as an ITK transform: text or MATLAB 4.
#![no_main]

use libfuzzer_sys::fuzz_target;
use synthct_fuzz::with_file;
use synthct_io::read_transform;

fuzz_target!(|data: &[u8]| {
    with_file("transform", data, |path| {
        let _ = read_transform(path);
    });
});
