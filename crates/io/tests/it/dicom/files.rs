//! Small DICOM series, written with dicom-object.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use dicom_core::value::{PixelFragmentSequence, Value};
use dicom_core::{DataElement, PrimitiveValue, Tag, VR};
use dicom_dictionary_std::{tags, uids};
use dicom_object::{FileMetaTableBuilder, InMemDicomObject};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use synthct_image::{Matrix3, PointLps};

pub(crate) type TestResult = Result<(), Box<dyn Error>>;

pub(crate) const N_COLUMNS: usize = 3;
pub(crate) const N_ROWS: usize = 4;
/// Spacing along i, j, k.
pub(crate) const SPACING_MM: [f64; 3] = [0.75, 1.5, 2.25];
pub(crate) const ORIGIN: [f64; 3] = [-31.5, 12.25, 101.0];

/// Rotations by 20° about z and 35° about x: no axis along another, no sign or transposition hides.
pub(crate) fn direction() -> Matrix3 {
    let (sz, cz) = 20_f64.to_radians().sin_cos();
    let (sx, cx) = 35_f64.to_radians().sin_cos();
    let about_z = Matrix3([[cz, -sz, 0.0], [sz, cz, 0.0], [0.0, 0.0, 1.0]]);
    let about_x = Matrix3([[1.0, 0.0, 0.0], [0.0, cx, -sx], [0.0, sx, cx]]);
    about_x * about_z
}

/// Where voxel (i, j, k) is, by the formula.
pub(crate) fn point(i: usize, j: usize, k: usize) -> PointLps {
    let step =
        direction().apply([i as f64 * SPACING_MM[0], j as f64 * SPACING_MM[1], k as f64 * SPACING_MM[2]]);
    PointLps::new(ORIGIN[0] + step[0], ORIGIN[1] + step[1], ORIGIN[2] + step[2])
}

/// What is stored at voxel (i, j, k).
pub(crate) fn stored(i: usize, j: usize, k: usize) -> u16 {
    (100 * k + 10 * j + i) as u16
}

/// A data set under construction.
pub(crate) struct Slice(pub(crate) InMemDicomObject);

impl Slice {
    /// Slice `k` of the oblique MR series.
    pub(crate) fn mr(k: usize) -> Self {
        let words: Vec<u16> =
            (0..N_ROWS).flat_map(|j| (0..N_COLUMNS).map(move |i| stored(i, j, k))).collect();
        let mut slice = Self(InMemDicomObject::new_empty());
        let m = direction();
        let (row, column) = (m.column(0), m.column(1));
        slice
            .text(tags::SOP_CLASS_UID, VR::UI, uids::MR_IMAGE_STORAGE)
            .text(tags::SOP_INSTANCE_UID, VR::UI, &format!("1.2.3.4.{k}"))
            .text(tags::STUDY_INSTANCE_UID, VR::UI, "1.2.3")
            .text(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.3.4")
            .text(tags::FRAME_OF_REFERENCE_UID, VR::UI, "1.2.3.5")
            .text(tags::MODALITY, VR::CS, "MR")
            .text(tags::SERIES_DESCRIPTION, VR::LO, "oblique")
            .text(tags::MAGNETIC_FIELD_STRENGTH, VR::DS, "1.5")
            .numbers(tags::IMAGE_ORIENTATION_PATIENT, &[row, column].concat())
            .numbers(tags::IMAGE_POSITION_PATIENT, &point(0, 0, k).to_array())
            .numbers(tags::PIXEL_SPACING, &[SPACING_MM[1], SPACING_MM[0]])
            .text(tags::SLICE_THICKNESS, VR::DS, "9.0")
            .word(tags::SAMPLES_PER_PIXEL, 1)
            .text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2")
            .word(tags::ROWS, N_ROWS as u16)
            .word(tags::COLUMNS, N_COLUMNS as u16)
            .word(tags::BITS_ALLOCATED, 16)
            .word(tags::BITS_STORED, 12)
            .word(tags::HIGH_BIT, 11)
            .word(tags::PIXEL_REPRESENTATION, 0)
            .pixels(&words);
        slice
    }

    /// The same slice as a CT, HU = 0.5 · stored − 1024.
    pub(crate) fn ct(k: usize) -> Self {
        let mut slice = Self::mr(k);
        slice
            .text(tags::SOP_CLASS_UID, VR::UI, uids::CT_IMAGE_STORAGE)
            .text(tags::MODALITY, VR::CS, "CT")
            .text(tags::RESCALE_SLOPE, VR::DS, "0.5")
            .text(tags::RESCALE_INTERCEPT, VR::DS, "-1024");
        slice
    }

    pub(crate) fn text(&mut self, tag: Tag, vr: VR, text: &str) -> &mut Self {
        self.0.put(DataElement::new(tag, vr, PrimitiveValue::from(text)));
        self
    }

    pub(crate) fn word(&mut self, tag: Tag, word: u16) -> &mut Self {
        self.0.put(DataElement::new(tag, VR::US, PrimitiveValue::from(word)));
        self
    }

    pub(crate) fn numbers(&mut self, tag: Tag, numbers: &[f64]) -> &mut Self {
        let text: Vec<String> = numbers.iter().map(ToString::to_string).collect();
        self.text(tag, VR::DS, &text.join("\\"))
    }

    pub(crate) fn position(&mut self, position: PointLps) -> &mut Self {
        self.numbers(tags::IMAGE_POSITION_PATIENT, &position.to_array())
    }

    pub(crate) fn pixels(&mut self, words: &[u16]) -> &mut Self {
        self.0.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(words.into())));
        self
    }

    pub(crate) fn without(&mut self, tag: Tag) -> &mut Self {
        self.0.remove_element(tag);
        self
    }

    /// Encapsulated pixel data: an empty offset table and one fragment.
    pub(crate) fn fragment(&mut self, fragment: Vec<u8>) -> &mut Self {
        let sequence = PixelFragmentSequence::new(Vec::<u32>::new(), vec![fragment]);
        self.0.put(DataElement::new(tags::PIXEL_DATA, VR::OB, Value::PixelSequence(sequence)));
        self
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), Box<dyn Error>> {
        self.write_as(path, uids::EXPLICIT_VR_LITTLE_ENDIAN)
    }

    pub(crate) fn write_as(&self, path: &Path, transfer_syntax: &str) -> Result<(), Box<dyn Error>> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let as_syntax =
            |uid: &str| self.0.clone().with_meta(FileMetaTableBuilder::new().transfer_syntax(uid));
        let file = as_syntax(transfer_syntax)?;
        if transfer_syntax != uids::DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN {
            file.write_to_file(path)?;
            return Ok(());
        }
        // dicom-object deflates only with a feature of its registry.
        let mut bytes = vec![0; 128];
        bytes.extend(b"DICM");
        file.meta().write(&mut bytes)?;
        let mut deflated = DeflateEncoder::new(bytes, Compression::default());
        as_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)?.write_dataset(&mut deflated)?;
        fs::write(path, deflated.finish()?)?;
        Ok(())
    }
}

/// Writes slices 0..n as `make` gives them, and returns their paths.
pub(crate) fn write_series(
    folder: &Path,
    n: usize,
    mut make: impl FnMut(usize) -> Slice,
) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    (0..n)
        .map(|k| {
            // Names whose order is not that of the slices.
            let path = folder.join(format!("image{}.dcm", (k * 7 + 3) % 10));
            make(k).write(&path)?;
            Ok(path)
        })
        .collect()
}
