//! How pixels are stored: each way gives the same volume, or an error that names it.

use dicom_core::{DataElement, PrimitiveValue, VR};
use dicom_dictionary_std::{tags, uids};
use synthct_image::VoxelIndex;
use synthct_io::IoError;
use synthct_io::dicom::read_series;

use super::files::{N_COLUMNS, N_ROWS, Slice, stored};

/// Explicit VR big endian, which is retired but not gone.
const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";

/// Reads one slice and checks every value.
#[track_caller]
fn check(slice: &Slice, transfer_syntax: &str, value: impl Fn(usize, usize) -> f32) {
    let folder = tempfile::tempdir().expect("because tests can write temporary files");
    let path = folder.path().join("slice");
    slice.write_as(&path, transfer_syntax).expect("because the data set can be written");
    let (volume, _) = read_series(&path, None).expect("a readable file");
    for j in 0..N_ROWS {
        for i in 0..N_COLUMNS {
            assert_eq!(volume[VoxelIndex::new(i, j, 0)], value(i, j), "i = {i}, j = {j}");
        }
    }
}

#[test]
fn uncompressed_and_deflated_syntaxes_agree() {
    for syntax in [
        uids::IMPLICIT_VR_LITTLE_ENDIAN,
        uids::EXPLICIT_VR_LITTLE_ENDIAN,
        BIG_ENDIAN,
        uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    ] {
        check(&Slice::ct(2), syntax, |i, j| 0.5 * f32::from(stored(i, j, 2)) - 1024.0);
    }
}

#[test]
fn signs_and_unused_bits() {
    let words: Vec<u16> = (0..12_u16).map(|n| 0xA000 | (0x0FFA + n) & 0x0FFF).collect();
    let mut slice = Slice::mr(0);
    slice.word(tags::PIXEL_REPRESENTATION, 1).pixels(&words);
    // Twelve bits: 0xFFA is −6; the four bits above are somebody else's.
    check(&slice, uids::EXPLICIT_VR_LITTLE_ENDIAN, |i, j| (j * N_COLUMNS + i) as f32 - 6.0);
    check(&slice, BIG_ENDIAN, |i, j| (j * N_COLUMNS + i) as f32 - 6.0);
}

#[test]
fn eight_and_thirty_two_bits() {
    let mut slice = Slice::mr(0);
    slice.word(tags::BITS_ALLOCATED, 8).word(tags::BITS_STORED, 8).word(tags::HIGH_BIT, 7);
    let bytes: Vec<u8> = (0..12).map(|n| 200 + n).collect();
    slice.0.put(DataElement::new(tags::PIXEL_DATA, VR::OB, PrimitiveValue::U8(bytes.into())));
    check(&slice, uids::EXPLICIT_VR_LITTLE_ENDIAN, |i, j| (200 + j * N_COLUMNS + i) as f32);

    let mut slice = Slice::mr(0);
    slice.word(tags::BITS_ALLOCATED, 32).word(tags::BITS_STORED, 32).word(tags::HIGH_BIT, 31);
    slice.word(tags::PIXEL_REPRESENTATION, 1);
    let words: Vec<u16> =
        (0..12_i32).map(|n| -70_000 * n).flat_map(|v| [v as u16, (v >> 16) as u16]).collect();
    slice.pixels(&words);
    check(&slice, uids::EXPLICIT_VR_LITTLE_ENDIAN, |i, j| -70_000.0 * (j * N_COLUMNS + i) as f32);
}

/// A fragment of two byte planes, by the rules of PS3.5 annex G.
fn run_length_fragment(planes: [&[u8]; 2]) -> Vec<u8> {
    let offsets = [2, 64, 64 + planes[0].len() as u32];
    let mut fragment: Vec<u8> = offsets.iter().flat_map(|word| word.to_le_bytes()).collect();
    fragment.resize(64, 0);
    fragment.extend(planes.concat());
    fragment
}

#[test]
fn run_lengths_repeat_and_copy() {
    // High bytes: 12 × 1, then padding. Low bytes: five 9s, a no-op, 1 2 3 4, three 7s.
    let fragment = run_length_fragment([
        &[(-11_i8) as u8, 1, 0x80, 0x80],
        &[(-4_i8) as u8, 9, 0x80, 3, 1, 2, 3, 4, (-2_i8) as u8, 7],
    ]);
    let low = [9, 9, 9, 9, 9, 1, 2, 3, 4, 7, 7, 7];
    check(Slice::mr(0).fragment(fragment), uids::RLE_LOSSLESS, |i, j| 256.0 + low[j * N_COLUMNS + i] as f32);
}

#[track_caller]
fn check_refused(slice: &Slice, transfer_syntax: &str, what: &str) {
    let folder = tempfile::tempdir().expect("because tests can write temporary files");
    let path = folder.path().join("slice");
    slice.write_as(&path, transfer_syntax).expect("because the data set can be written");
    let error = read_series(&path, None).expect_err("something that is not read");
    assert!(error.to_string().contains(what), "{error}");
    assert!(matches!(error, IoError::Unsupported { .. } | IoError::Malformed { .. }), "{error:?}");
}

#[test]
fn damaged_run_lengths_are_errors() {
    let check =
        |fragment: Vec<u8>, what| check_refused(Slice::mr(0).fragment(fragment), uids::RLE_LOSSLESS, what);
    check(vec![2, 0], "RLE table is cut off");
    check([255; 64].to_vec(), "4294967295 RLE segments");
    check(run_length_fragment([&[(-11_i8) as u8, 1], &[(-4_i8) as u8, 9]]), "ends after 5 of 12 samples");
    check(run_length_fragment([&[(-11_i8) as u8, 1], &[100, 9]]), "ends after 1 of 12 samples");
    let mut outside = run_length_fragment([&[(-11_i8) as u8, 1], &[(-11_i8) as u8, 1]]);
    outside[8] = 250;
    check(outside, "outside its 68 bytes");
}

#[test]
fn what_is_not_read_is_refused_by_name() {
    let plain = uids::EXPLICIT_VR_LITTLE_ENDIAN;
    let with = |change: &dyn Fn(&mut Slice)| {
        let mut slice = Slice::mr(0);
        change(&mut slice);
        slice
    };
    check_refused(Slice::mr(0).fragment(vec![0; 8]), uids::JPEGXL_LOSSLESS, "JPEG XL");
    check_refused(Slice::mr(0).fragment(vec![0; 8]), uids::JPEGLS_LOSSLESS, "does not start with SOI");
    check_refused(Slice::mr(0).fragment(vec![0; 8]), uids::JPEG2000_LOSSLESS, "no JPEG 2000 codestream");
    check_refused(Slice::mr(0).fragment(vec![0; 8]), uids::JPEG_BASELINE8_BIT, "JPEG header is damaged");
    let inverted = with(&|slice| {
        slice.text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME1");
    });
    check_refused(&inverted, plain, "MONOCHROME1");
    let color = with(&|slice| {
        slice.text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "RGB").word(tags::SAMPLES_PER_PIXEL, 3);
    });
    check_refused(&color, plain, "3 samples per pixel");
    let frames = with(&|slice| {
        slice.text(tags::NUMBER_OF_FRAMES, VR::IS, "10");
    });
    check_refused(&frames, plain, "multi-frame image (10 frames) that does not say where");
    let mosaic = with(&|slice| {
        slice.text(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\M\\MOSAIC");
    });
    check_refused(&mosaic, plain, "mosaic");
    let odd_bits = with(&|slice| {
        slice.word(tags::BITS_ALLOCATED, 12);
    });
    check_refused(&odd_bits, plain, "BitsAllocated = 12");
}
