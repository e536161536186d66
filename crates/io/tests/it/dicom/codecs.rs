//! Compressed images written and decoded by other programs; see `golden/codecs/provenance.toml`.

use std::path::{Path, PathBuf};

use flate2::Crc;
use synthct_io::dicom::read_series;

use super::files::TestResult;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/codecs")
}

#[test]
fn every_compression_gives_what_other_programs_decode() -> TestResult {
    let expected = std::fs::read_to_string(folder().join("expected.tsv"))?;
    assert!(expected.lines().count() >= 29);
    for line in expected.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [name, tolerance, crc] = fields[..] else { panic!("a line of another form: {line}") };
        let (volume, _) = read_series(&folder().join(format!("{name}.dcm")), None)
            .map_err(|error| format!("{name}: {error}"))?;
        assert_eq!(volume.grid().size_ijk(), [43, 37, 1], "{name}");
        if tolerance == "0" {
            let mut hash = Crc::new();
            for &value in volume.as_slice() {
                hash.update(&(value as i32).to_le_bytes());
            }
            assert_eq!(format!("{:08x}", hash.sum()), crc, "{name}: values differ");
            continue;
        }
        let words = std::fs::read(folder().join(format!("{name}.raw")))?;
        let expected = words.as_chunks().0.iter().map(|&word| f32::from(i16::from_le_bytes(word)));
        for (voxel, (&found, expected)) in std::iter::zip(volume.as_slice(), expected).enumerate() {
            let difference = (found - expected).abs();
            assert!(difference <= tolerance.parse()?, "{name}: voxel {voxel} is {found}, not {expected}");
        }
    }
    Ok(())
}

#[test]
fn compressed_data_that_is_cut_off_or_changed_is_an_error_or_an_image() -> TestResult {
    let scratch = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?;
    let path = scratch.path().join("slice");
    for name in [
        "jpeg_lossless_16bit",
        "jpeg_extended_12bit",
        "jpeg_ls_12bit_signed",
        "jpeg_ls_near7_16bit",
        "jpeg_2000_16bit",
    ] {
        let whole = std::fs::read(folder().join(format!("{name}.dcm")))?;
        for n_kept in (600..whole.len()).step_by(7) {
            std::fs::write(&path, &whole[..n_kept])?;
            let error = read_series(&path, None).expect_err("its last fragment is not whole");
            assert!(error.to_string().len() > 20, "{name} {n_kept}: {error}");
        }
        let mut n_errors = 0;
        for at in (600..whole.len()).step_by(3) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x55;
            std::fs::write(&path, &damaged)?;
            n_errors += usize::from(read_series(&path, None).is_err());
        }
        // Most changed bits of an entropy code only change values; those of headers and markers are noticed.
        assert!(n_errors > 5, "{name}: only {n_errors} noticed");
    }
    Ok(())
}
