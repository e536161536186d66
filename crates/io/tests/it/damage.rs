//! Small valid files, damaged in every simple way: an error or an image, never a panic nor a huge allocation.

use std::error::Error;
use std::path::Path;

use synthct_io::{ReadOptions, describe, read_image};

use crate::goldens::folder;

const NAMES: [&str; 10] = [
    "nifti1_u1.nii",
    "nifti1_f8.nii",
    "nifti1_qform_only.nii",
    "nifti1_extension.nii",
    "nifti1_4d_two_frames.nii",
    "nifti2_big_endian.nii",
    "nifti1_sform_left_handed.nii.gz",
    "metaimage_i2.mha",
    "metaimage_compressed.mha",
    "metaimage_spacing_over_size.mha",
];

/// A folder for thousands of short-lived files: in memory where Linux has such a place, since disks take their time.
fn scratch_in_memory() -> std::io::Result<tempfile::TempDir> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
}

/// Whether the image could be read. A file that can be read can also be described.
fn reads(path: &Path) -> bool {
    let options = ReadOptions { frame: Some(0), ..ReadOptions::default() };
    let is_read = read_image(path, &options).is_ok();
    let description = describe(path, &options);
    assert!(!is_read || description.is_ok_and(|info| info.grid.is_some()), "{}", path.display());
    is_read
}

#[test]
fn a_truncated_file_is_an_error_at_every_length() -> Result<(), Box<dyn Error>> {
    let scratch = scratch_in_memory()?;
    for name in NAMES {
        let bytes = std::fs::read(folder().join(name))?;
        let path = scratch.path().join(name);
        // The last frame of two is not read here, so that its loss cannot be seen.
        let n_needed = if name.contains("two_frames") { bytes.len() - 60 } else { bytes.len() };
        for n_kept in 0..n_needed {
            std::fs::write(&path, &bytes[..n_kept])?;
            assert!(!reads(&path), "{name} was read from {n_kept} of {n_needed} bytes");
        }
    }
    Ok(())
}

#[test]
fn a_changed_byte_never_panics_nor_allocates_much() -> Result<(), Box<dyn Error>> {
    let scratch = scratch_in_memory()?;
    let mut n_errors = 0;
    let before_kib = peak_virtual_kib();
    for name in NAMES {
        let bytes = std::fs::read(folder().join(name))?;
        let path = scratch.path().join(name);
        for offset in 0..bytes.len().min(600) {
            for mask in [0x81, 0xff] {
                let mut damaged = bytes.clone();
                damaged[offset] ^= mask;
                std::fs::write(&path, &damaged)?;
                n_errors += usize::from(!reads(&path));
            }
        }
    }
    assert!(n_errors > 1000, "only {n_errors} of the changed files were refused");
    if let (Some(before_kib), Some(after_kib)) = (before_kib, peak_virtual_kib()) {
        // Threads of other tests running meanwhile reserve some; a believed header would ask for far more.
        assert!(after_kib - before_kib < 2 << 20, "the peak rose from {before_kib} to {after_kib} KiB");
    }
    Ok(())
}

/// The largest amount of memory this process ever had reserved, where the system tells (Linux).
fn peak_virtual_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[test]
fn a_damaged_checksum_is_noticed() -> Result<(), Box<dyn Error>> {
    let scratch = tempfile::tempdir()?;
    for name in ["nifti1_sform_left_handed.nii.gz", "metaimage_compressed.mha"] {
        let mut bytes = std::fs::read(folder().join(name))?;
        // gzip ends with CRC32 and length, zlib with Adler-32.
        let offset = bytes.len() - if name.ends_with("gz") { 8 } else { 4 };
        bytes[offset] ^= 1;
        let path = scratch.path().join(name);
        std::fs::write(&path, &bytes)?;
        assert!(!reads(&path), "{name}");
    }
    Ok(())
}

#[test]
fn gzip_members_are_joined_and_garbage_after_them_is_passed_over() -> Result<(), Box<dyn Error>> {
    let scratch = tempfile::tempdir()?;
    let pack = |bytes: &[u8]| -> std::io::Result<Vec<u8>> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, bytes)?;
        encoder.finish()
    };
    let plain = std::fs::read(folder().join("nifti1_i2.nii"))?;
    let (start, end) = plain.split_at(400);
    let path = scratch.path().join("joined.nii.gz");
    std::fs::write(&path, [pack(start)?, pack(end)?].concat())?;
    let image = read_image(&path, &ReadOptions::default())?;
    assert_eq!(image.volume, read_image(&folder().join("nifti1_i2.nii"), &ReadOptions::default())?.volume);
    assert_eq!(image.info.warnings, Vec::<String>::new());

    std::fs::write(&path, [pack(&plain)?, b"garbage".to_vec()].concat())?;
    let image = read_image(&path, &ReadOptions::default())?;
    assert_eq!(image.info.warnings, ["there are further bytes after the last voxel"]);
    Ok(())
}

#[test]
fn a_bomb_is_read_no_further_than_its_header_says() -> Result<(), Box<dyn Error>> {
    let scratch = tempfile::tempdir()?;
    let plain = std::fs::read(folder().join("nifti1_i2.nii"))?;
    let path = scratch.path().join("bomb.nii.gz");
    let mut encoder =
        flate2::write::GzEncoder::new(std::fs::File::create(&path)?, flate2::Compression::fast());
    std::io::Write::write_all(&mut encoder, &plain)?;
    let zeros = vec![0_u8; 1 << 20];
    for _ in 0..64 {
        std::io::Write::write_all(&mut encoder, &zeros)?;
    }
    encoder.finish()?;
    let image = read_image(&path, &ReadOptions::default())?;
    assert_eq!(image.volume.grid().size_ijk(), [3, 4, 5]);
    assert_eq!(image.info.warnings, ["there are further bytes after the last voxel"]);
    Ok(())
}
