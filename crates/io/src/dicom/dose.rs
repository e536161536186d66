//! RT Doses (PS3.3 section A.18.3).

use std::path::{Path, PathBuf};

use dicom_dictionary_std::tags;
use synthct_image::{Grid, Matrix3, PointLps, VectorLps, Volume};

use super::dataset::DataSet;
use super::object::{RtKind, read_object};
use crate::IoError;

/// How far a dose plane may be from its place in an even stack, mm.
const OFFSET_TOLERANCE_MM: f64 = 0.02;

/// A dose and what its file says about itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DoseFile {
    /// The file.
    pub path: PathBuf,
    /// The dose, Gy; axis k points along the normal of the planes, whatever their order.
    pub dose_gy: Volume<f32>,
    /// DoseSummationType, such as `PLAN` or `BEAM`; empty if the file has none.
    pub summation: String,
    /// FrameOfReferenceUID, if the file says it.
    pub frame_of_reference_uid: Option<String>,
    /// The plan that the dose is of, if the file says it.
    pub plan_uid: Option<String>,
    /// What a user should know, a line each.
    pub notes: Vec<String>,
}

/// Reads an RT Dose of 16 or 32 bits: a file, or a folder that holds one.
///
/// GridFrameOffsetVector may start at zero, and is then relative to ImagePositionPatient along the normal (rows × columns);
/// or it holds the planes' z, and then starts with that of ImagePositionPatient (PS3.3 section C.8.8.3.2). Planes may ascend or descend.
///
/// A single plane without SliceThickness is taken to be as thick as its pixels are wide, which is noted.
///
/// # Errors
/// [`IoError::Unsupported`] for relative doses, dose errors, compressed pixels and uneven planes; [`IoError::MissingAttribute`],
/// [`IoError::Malformed`] and [`IoError::Truncated`] name the attribute.
pub fn read_dose(path: &Path) -> Result<DoseFile, IoError> {
    let set = read_object(path, RtKind::Dose)?;
    let mut notes = Vec::new();
    require_absorbed_dose(&set, &mut notes)?;
    let planes = Planes::of(&set, &mut notes)?;
    let dose_gy =
        Volume::from_vec(planes.grid(&set)?, planes.values_gy(&set)?).map_err(IoError::geometry(path))?;
    let plan = set.items(tags::REFERENCED_RT_PLAN_SEQUENCE).first();
    Ok(DoseFile {
        path: set.path().to_owned(),
        dose_gy,
        summation: set.text(tags::DOSE_SUMMATION_TYPE).unwrap_or_default(),
        frame_of_reference_uid: set.text(tags::FRAME_OF_REFERENCE_UID),
        plan_uid: plan.and_then(|item| item.text(tags::REFERENCED_SOP_INSTANCE_UID)),
        notes,
    })
}

/// The grid of an RT Dose whose values may be missing, and what a user should know of it.
///
/// # Errors
/// As [`read_dose`].
pub fn read_dose_grid(path: &Path) -> Result<(Grid, Vec<String>), IoError> {
    let set = read_object(path, RtKind::Dose)?;
    let mut notes = Vec::new();
    let grid = Planes::of(&set, &mut notes)?.grid(&set)?;
    Ok((grid, notes))
}

fn require_absorbed_dose(set: &DataSet, notes: &mut Vec<String>) -> Result<(), IoError> {
    match set.text(tags::DOSE_UNITS).as_deref() {
        Some("GY") => {}
        Some(other) => {
            return Err(set.unsupported(format!("a dose in `{other}` (DoseUnits (3004,0002)); only GY is")));
        }
        None => return Err(set.missing(tags::DOSE_UNITS, "the dose has no unit without it")),
    }
    match set.text(tags::DOSE_TYPE).as_deref() {
        Some("ERROR") => Err(set.unsupported("a difference of doses (DoseType (3004,0004) `ERROR`)")),
        Some("EFFECTIVE") => {
            notes.push("the dose is weighted for its biological effect (DoseType EFFECTIVE)".to_owned());
            Ok(())
        }
        _ => Ok(()),
    }
}

/// How the planes lie and are stored.
struct Planes {
    n_rows: usize,
    n_columns: usize,
    position_lps: PointLps,
    along_row: VectorLps,
    along_column: VectorLps,
    /// Spacing along i, then j.
    spacing_ij_mm: [f64; 2],
    /// The distance of each plane from the first along the normal, in the order of the file.
    depths_mm: Vec<f64>,
    /// Between planes.
    spacing_k_mm: f64,
}

impl Planes {
    fn of(set: &DataSet, notes: &mut Vec<String>) -> Result<Self, IoError> {
        const PLACE: &str = "the dose has no place in the patient without it";
        const SIZE: &str = "the dose cannot be decoded without it";
        let size = |tag| -> Result<usize, IoError> {
            match set.word(tag)? {
                Some(n) if n > 0 => Ok(usize::from(n)),
                Some(_) => Err(set.malformed(tag, "it is 0")),
                None => Err(set.missing(tag, SIZE)),
            }
        };
        let (n_rows, n_columns) = (size(tags::ROWS)?, size(tags::COLUMNS)?);
        let [rx, ry, rz, cx, cy, cz] = set.required_array(tags::IMAGE_ORIENTATION_PATIENT, PLACE)?;
        let [between_rows_mm, between_columns_mm] = set.required_array(tags::PIXEL_SPACING, PLACE)?;
        let position_lps = PointLps::from(set.required_array::<3>(tags::IMAGE_POSITION_PATIENT, PLACE)?);
        let (along_row, along_column) = (VectorLps::new(rx, ry, rz), VectorLps::new(cx, cy, cz));
        let departure = (along_row.norm_mm() - 1.0)
            .abs()
            .max((along_column.norm_mm() - 1.0).abs())
            .max(along_row.dot(along_column).abs());
        if departure > 0.5 * Grid::DIRECTION_TOLERANCE {
            return Err(set.malformed(
                tags::IMAGE_ORIENTATION_PATIENT,
                &format!("{:?} is no pair of orthogonal unit vectors", [rx, ry, rz, cx, cy, cz]),
            ));
        }
        let n_planes = match set.integer(tags::NUMBER_OF_FRAMES)? {
            None => 1,
            Some(n) => usize::try_from(n).ok().filter(|n| *n > 0).ok_or_else(|| {
                set.malformed(tags::NUMBER_OF_FRAMES, &format!("{n} is no number of planes"))
            })?,
        };
        let normal = along_row.cross(along_column);
        let depths_mm = depths(set, n_planes, position_lps, normal)?;
        let mut planes = Self {
            n_rows,
            n_columns,
            position_lps,
            along_row,
            along_column,
            spacing_ij_mm: [between_columns_mm, between_rows_mm],
            depths_mm,
            spacing_k_mm: 0.0,
        };
        planes.spacing_k_mm = planes.even_spacing(set, notes)?;
        Ok(planes)
    }

    /// The distance of neighbouring planes, which must be the same throughout.
    fn even_spacing(&self, set: &DataSet, notes: &mut Vec<String>) -> Result<f64, IoError> {
        let depths = &self.depths_mm;
        let n_steps = depths.len() - 1;
        if n_steps == 0 {
            if let Some(mm) = set.number(tags::SLICE_THICKNESS)?.filter(|mm| *mm > 0.0) {
                return Ok(mm);
            }
            let [mm, _] = self.spacing_ij_mm;
            notes.push(format!(
                "the dose is a single plane without a thickness: {mm} mm, as its pixels, are taken"
            ));
            return Ok(mm);
        }
        let step_mm = depths[n_steps] / n_steps as f64;
        let off = |(n, depth): (usize, &f64)| (depth - n as f64 * step_mm).abs();
        let worst = depths.iter().enumerate().map(off).fold(0.0, f64::max);
        if worst > OFFSET_TOLERANCE_MM || step_mm == 0.0 {
            let steps: Vec<f64> = depths.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let (least, most) =
                steps.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), s| (a.min(*s), b.max(*s)));
            return Err(set.unsupported(format!(
                "a dose whose planes lie unevenly (GridFrameOffsetVector (3004,000C): steps from {least} to {most} mm)"
            )));
        }
        Ok(step_mm.abs())
    }

    fn descends(&self) -> bool {
        self.depths_mm.last().is_some_and(|last| *last < 0.0)
    }

    fn grid(&self, set: &DataSet) -> Result<Grid, IoError> {
        let normal = self.along_row.cross(self.along_column);
        let first_mm = if self.descends() { *self.depths_mm.last().unwrap_or(&0.0) } else { 0.0 };
        let [i_mm, j_mm] = self.spacing_ij_mm;
        Grid::new(
            [self.n_columns, self.n_rows, self.depths_mm.len()],
            [i_mm, j_mm, self.spacing_k_mm],
            self.position_lps + normal * first_mm,
            Matrix3::from_columns(self.along_row.to_array(), self.along_column.to_array(), normal.to_array()),
        )
        .map_err(IoError::geometry(set.path()))
    }

    /// The doses in Gy, in the grid's order.
    fn values_gy(&self, set: &DataSet) -> Result<Vec<f32>, IoError> {
        const BITS: &str = "the dose cannot be decoded without it";
        const SCALING: &str = "stored values cannot be turned into Gy without it";
        let bits = set.word(tags::BITS_ALLOCATED)?.ok_or_else(|| set.missing(tags::BITS_ALLOCATED, BITS))?;
        let stored_bits = set.word(tags::BITS_STORED)?.unwrap_or(bits);
        if !matches!(bits, 16 | 32) || stored_bits != bits {
            return Err(set.unsupported(format!(
                "a dose of {stored_bits} bits in {bits} (BitsStored, BitsAllocated); 16 and 32 full bits are"
            )));
        }
        if set.word(tags::SAMPLES_PER_PIXEL)?.is_some_and(|n| n != 1) {
            return Err(set.unsupported("a dose in color (SamplesPerPixel (0028,0002))"));
        }
        let is_signed = set.word(tags::PIXEL_REPRESENTATION)?.is_some_and(|word| word == 1);
        let scaling = set.required_number(tags::DOSE_GRID_SCALING, SCALING)?;
        if scaling <= 0.0 {
            return Err(set.malformed(tags::DOSE_GRID_SCALING, &format!("{scaling} is not above zero")));
        }
        let Some(bytes) = set.bytes(tags::PIXEL_DATA) else {
            return Err(set.missing(
                tags::PIXEL_DATA,
                "the file holds no dose, or a compressed one; export it uncompressed",
            ));
        };
        let n_plane = self.n_rows * self.n_columns;
        let n_bytes = usize::from(bits / 8);
        // A file of 16 bits is at most a few hundred megabytes, but what its header says may be anything.
        let expected =
            (n_plane as u64).saturating_mul(self.depths_mm.len() as u64).saturating_mul(n_bytes as u64);
        if (bytes.len() as u64) < expected {
            return Err(IoError::Truncated {
                path: set.path().to_owned(),
                expected,
                found: bytes.len() as u64,
            });
        }
        let big_endian = set.is_big_endian();
        let gy = |word: &[u8]| {
            let at = |n: usize| u32::from(word[if big_endian { n_bytes - 1 - n } else { n }]);
            let stored = (0..n_bytes).map(|n| at(n) << (8 * n)).sum::<u32>();
            let stored = match (is_signed, n_bytes) {
                (false, _) => f64::from(stored),
                (true, 2) => f64::from(stored as u16 as i16),
                (true, _) => f64::from(stored as i32),
            };
            (stored * scaling) as f32
        };
        let mut values = Vec::with_capacity(n_plane * self.depths_mm.len());
        for k in 0..self.depths_mm.len() {
            let plane = if self.descends() { self.depths_mm.len() - 1 - k } else { k };
            let words = &bytes[plane * n_plane * n_bytes..][..n_plane * n_bytes];
            values.extend(words.chunks_exact(n_bytes).map(gy));
        }
        Ok(values)
    }
}

/// The distance of each plane from the first along the normal, mm.
fn depths(
    set: &DataSet,
    n_planes: usize,
    position: PointLps,
    normal: VectorLps,
) -> Result<Vec<f64>, IoError> {
    const OFFSETS: &str = "the planes of the dose have no place without it";
    let Some(offsets) = set.numbers(tags::GRID_FRAME_OFFSET_VECTOR)? else {
        return if n_planes == 1 {
            Ok(vec![0.0])
        } else {
            Err(set.missing(tags::GRID_FRAME_OFFSET_VECTOR, OFFSETS))
        };
    };
    let wrong = |what: String| Err(set.malformed(tags::GRID_FRAME_OFFSET_VECTOR, &what));
    if offsets.len() != n_planes {
        return wrong(format!(
            "it has {} offsets for {n_planes} planes (NumberOfFrames (0028,0008))",
            offsets.len()
        ));
    }
    let first = offsets[0];
    if first.abs() <= 1e-6 {
        return Ok(offsets);
    }
    // The planes' own z, which is only defined for planes across z.
    if normal.z.abs() < 1.0 - 1e-4 {
        return wrong(format!(
            "it starts at {first} instead of 0, but its planes do not lie across the patient's z axis"
        ));
    }
    if (first - position.z).abs() > OFFSET_TOLERANCE_MM {
        return wrong(format!(
            "it starts at {first}, which is neither 0 nor the z of ImagePositionPatient (0020,0032), {}",
            position.z
        ));
    }
    Ok(offsets.iter().map(|z| (z - first) * normal.z.signum()).collect())
}
