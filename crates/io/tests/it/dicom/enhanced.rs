//! Enhanced multi-frame images: shared and per-frame functional groups.

use dicom_core::value::{DataSetSequence, PixelFragmentSequence, Value};
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::InMemDicomObject;
use synthct_image::VoxelIndex;
use synthct_io::dicom::{SeriesProblem, list_series, read_series, read_series_with};
use synthct_io::{IoError, ReadOptions};

use super::files::{N_COLUMNS, N_ROWS, SPACING_MM, Slice, TestResult, direction, point, stored};

type Item = InMemDicomObject;

fn sequence(tag: Tag, items: Vec<Item>) -> DataElement<InMemDicomObject> {
    DataElement::new(tag, VR::SQ, DataSetSequence::from(items))
}

fn decimal(tag: Tag, numbers: &[f64]) -> DataElement<InMemDicomObject> {
    let text: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    DataElement::new(tag, VR::DS, PrimitiveValue::from(text.join("\\")))
}

fn item(elements: impl IntoIterator<Item = DataElement<InMemDicomObject>>) -> Item {
    Item::from_element_iter(elements)
}

/// What a frame says of itself: its place, rescale, stack and time.
struct Frame {
    k: usize,
    slope: f64,
    stack: &'static str,
    time: u32,
}

/// An enhanced image with these frames, whose pixels are those of slice k.
fn enhanced(frames: &[Frame]) -> Slice {
    let mut slice = Slice::mr(0);
    for tag in [
        tags::IMAGE_POSITION_PATIENT,
        tags::IMAGE_ORIENTATION_PATIENT,
        tags::PIXEL_SPACING,
        tags::SLICE_THICKNESS,
    ] {
        slice.without(tag);
    }
    let m = direction();
    let shared = item([
        sequence(
            tags::PLANE_ORIENTATION_SEQUENCE,
            vec![item([decimal(tags::IMAGE_ORIENTATION_PATIENT, &[m.column(0), m.column(1)].concat())])],
        ),
        sequence(
            tags::PIXEL_MEASURES_SEQUENCE,
            vec![item([decimal(tags::PIXEL_SPACING, &[SPACING_MM[1], SPACING_MM[0]])])],
        ),
    ]);
    let per_frame = |frame: &Frame| {
        item([
            sequence(
                tags::PLANE_POSITION_SEQUENCE,
                vec![item([decimal(tags::IMAGE_POSITION_PATIENT, &point(0, 0, frame.k).to_array())])],
            ),
            sequence(
                tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE,
                vec![item([
                    decimal(tags::RESCALE_SLOPE, &[frame.slope]),
                    decimal(tags::RESCALE_INTERCEPT, &[-3.0]),
                ])],
            ),
            sequence(
                tags::FRAME_CONTENT_SEQUENCE,
                vec![item([
                    DataElement::new(tags::STACK_ID, VR::SH, PrimitiveValue::from(frame.stack)),
                    DataElement::new(tags::TEMPORAL_POSITION_INDEX, VR::UL, PrimitiveValue::from(frame.time)),
                ])],
            ),
        ])
    };
    slice.text(tags::SOP_CLASS_UID, VR::UI, uids::ENHANCED_MR_IMAGE_STORAGE);
    slice.text(tags::NUMBER_OF_FRAMES, VR::IS, &frames.len().to_string());
    slice.0.put(sequence(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared]));
    slice.0.put(sequence(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, frames.iter().map(per_frame).collect()));
    slice.pixels(&frames.iter().flat_map(|frame| words(frame.k)).collect::<Vec<u16>>());
    slice
}

fn words(k: usize) -> Vec<u16> {
    (0..N_ROWS).flat_map(|j| (0..N_COLUMNS).map(move |i| stored(i, j, k))).collect()
}

fn frames(ks: &[usize]) -> Vec<Frame> {
    ks.iter().map(|&k| Frame { k, slope: 1.0 + k as f64, stack: "1", time: 1 }).collect()
}

#[track_caller]
fn check(slice: &Slice, transfer_syntax: &str) {
    let folder = tempfile::tempdir().expect("because tests can write temporary files");
    let path = folder.path().join("enhanced");
    slice.write_as(&path, transfer_syntax).expect("because the data set can be written");
    let (volume, info) = read_series(folder.path(), None).expect("a readable file");
    assert_eq!((volume.grid().size_ijk(), info.n_files), ([N_COLUMNS, N_ROWS, 4], 1));
    assert_eq!(info.problems, []);
    for k in 0..4 {
        for j in 0..N_ROWS {
            for i in 0..N_COLUMNS {
                let index = VoxelIndex::new(i, j, k);
                assert!(volume.grid().point_of(index).distance_mm(point(i, j, k)) < 1e-9, "{index:?}");
                assert_eq!(volume[index], (1 + k) as f32 * f32::from(stored(i, j, k)) - 3.0, "{index:?}");
            }
        }
    }
}

#[test]
fn frames_are_placed_by_their_own_groups_whatever_their_order() {
    let slice = enhanced(&frames(&[2, 0, 3, 1]));
    for syntax in [
        uids::IMPLICIT_VR_LITTLE_ENDIAN,
        uids::EXPLICIT_VR_LITTLE_ENDIAN,
        "1.2.840.10008.1.2.2",
        uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    ] {
        check(&slice, syntax);
    }
}

/// Slice k in RLE: both byte planes copied literally.
fn run_lengths(k: usize) -> Vec<u8> {
    let plane = |byte: usize| {
        let bytes = words(k).into_iter().map(move |word| word.to_le_bytes()[byte]);
        [11].into_iter().chain(bytes).chain([0x80])
    };
    let mut fragment: Vec<u8> = [2_u32, 64, 64 + 14].iter().flat_map(|word| word.to_le_bytes()).collect();
    fragment.resize(64, 0);
    fragment.extend(plane(1));
    fragment.extend(plane(0));
    fragment
}

#[test]
fn compressed_frames_are_found_with_and_without_an_offset_table() {
    let order = [2, 0, 3, 1];
    let mut slice = enhanced(&frames(&order));
    let fragments: Vec<Vec<u8>> = order.iter().map(|&k| run_lengths(k)).collect();
    let put = |slice: &mut Slice, offsets: Vec<u32>, fragments: Vec<Vec<u8>>| {
        let pixels = PixelFragmentSequence::new(offsets, fragments);
        slice.0.put(DataElement::new(tags::PIXEL_DATA, VR::OB, Value::PixelSequence(pixels)));
    };
    put(&mut slice, Vec::new(), fragments.clone());
    check(&slice, uids::RLE_LOSSLESS);
    // Each frame in two fragments: only the table tells where a frame starts.
    let halves = |fragment: &Vec<u8>| [fragment[..70].to_vec(), fragment[70..].to_vec()];
    let halved: Vec<Vec<u8>> = fragments.iter().flat_map(halves).collect();
    let bytes = |n: usize| (8 + 70 + 8 + fragments[0].len() - 70) as u32 * n as u32;
    put(&mut slice, (0..4).map(bytes).collect(), halved.clone());
    check(&slice, uids::RLE_LOSSLESS);

    let folder = tempfile::tempdir().expect("because tests can write temporary files");
    let path = folder.path().join("enhanced");
    put(&mut slice, Vec::new(), halved);
    slice.write_as(&path, uids::RLE_LOSSLESS).expect("because the data set can be written");
    let error = read_series(&path, None).expect_err("nothing tells where a frame starts");
    assert!(
        error.to_string().contains("8 fragments of pixel data cannot be assigned to 4 frames"),
        "{error}"
    );
}

#[test]
fn stacks_and_time_points_are_chosen_from() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("enhanced");
    let mut all = frames(&[0, 1, 2, 3, 0, 1, 2, 3]);
    for frame in &mut all[4..] {
        (frame.time, frame.slope) = (2, 10.0);
    }
    enhanced(&all).write(&path)?;
    let listing = list_series(&path)?;
    let labels: Vec<&str> = listing.series[0].volumes.iter().map(|volume| volume.label.as_str()).collect();
    assert_eq!(labels, [1, 2].map(|n| format!("TemporalPositionIndex (0020,9128) = {n}")));
    let second = ReadOptions { frame: Some(1), ..ReadOptions::default() };
    let (volume, _) = read_series_with(&path, &second)?;
    assert_eq!(volume[VoxelIndex::new(1, 2, 3)], 10.0 * f32::from(stored(1, 2, 3)) - 3.0);

    for frame in &mut all[4..] {
        frame.stack = "2";
    }
    enhanced(&all).write(&path)?;
    let error = read_series(&path, None).expect_err("two stacks");
    assert!(error.to_string().contains("0: StackID (0020,9056) = 1 (4 images)"), "{error}");
    Ok(())
}

#[test]
fn frames_that_are_missing_or_not_described_are_errors() -> TestResult {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("enhanced");
    let check = |slice: &Slice, what: &str| -> TestResult {
        slice.write(&path)?;
        let error = read_series(&path, None).expect_err("a damaged image");
        assert!(error.to_string().contains(what), "{error}");
        Ok(())
    };
    let mut slice = enhanced(&frames(&[0, 1, 2]));
    check(slice.text(tags::NUMBER_OF_FRAMES, VR::IS, "4"), "describes 3 frames, but NumberOfFrames is 4")?;
    let mut slice = enhanced(&frames(&[0, 1, 2]));
    check(slice.pixels(&words(0)), "announces 48 bytes of voxels, but it holds no more than 24")?;
    let mut slice = enhanced(&frames(&[0, 1, 2]));
    check(slice.without(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE), "ImageOrientationPatient")?;
    enhanced(&frames(&[0, 1, 3])).write(&path)?;
    let error = read_series(&path, None).expect_err("a gap");
    let IoError::SeriesGeometry { problems, .. } = &error else { panic!("{error}") };
    assert!(matches!(problems[..], [SeriesProblem::UnevenSpacing { .. }]), "{error}");
    Ok(())
}
