//! From the positions of slices to a grid (PS3.3 section C.7.6.2.1.1).
//!
//! The slice axis comes from the positions alone: SliceThickness says how thick a slice is, not how far the next one is.

use dicom_dictionary_std::tags;
use synthct_image::{Grid, Matrix3, PointLps, VectorLps};

use super::image::ImageHeader;
use super::problem::{SeriesProblem, SliceGap};
use crate::IoError;

/// How far a slice may be from its place in an even, straight stack, in mm.
///
/// Scanners and exporters round positions to hundredths of a millimeter, which moves a slice and the ends of the stack by
/// up to 0.005 mm each; distances of real gaps are tens of times larger.
pub(super) const POSITION_TOLERANCE_MM: f64 = 0.02;

/// The lean of a stack, as the sine of its angle, that a grid can represent (see [`Grid::DIRECTION_TOLERANCE`]).
pub(super) const MAX_SHEAR: f64 = 0.9 * Grid::DIRECTION_TOLERANCE;

/// Where and how one image lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plane {
    pub(super) position: PointLps,
    /// Direction of the i axis.
    pub(super) along_row: VectorLps,
    /// Direction of the j axis.
    pub(super) along_column: VectorLps,
    /// Spacing along i, then j.
    pub(super) spacing_ij_mm: [f64; 2],
}

impl Plane {
    /// The plane of an image.
    ///
    /// # Errors
    /// [`IoError::MissingAttribute`] for position, orientation and spacing; [`IoError::Malformed`] if they make no plane.
    pub(super) fn of(header: &ImageHeader) -> Result<Self, IoError> {
        const HINT: &str =
            "voxels have no place in the patient without it; export the series again with its geometry";
        let position =
            header.position_lps.ok_or_else(|| header.missing(tags::IMAGE_POSITION_PATIENT, HINT))?;
        let orientation =
            header.orientation.ok_or_else(|| header.missing(tags::IMAGE_ORIENTATION_PATIENT, HINT))?;
        let [between_rows_mm, between_columns_mm] =
            header.pixel_spacing_mm.ok_or_else(|| header.missing(tags::PIXEL_SPACING, HINT))?;
        if !(between_rows_mm > 0.0 && between_columns_mm > 0.0) {
            return Err(header.malformed(format!(
                "PixelSpacing {between_rows_mm}\\{between_columns_mm} is not above zero"
            )));
        }
        let [rx, ry, rz, cx, cy, cz] = orientation;
        let plane = Self {
            position: position.into(),
            along_row: VectorLps::new(rx, ry, rz),
            along_column: VectorLps::new(cx, cy, cz),
            spacing_ij_mm: [between_columns_mm, between_rows_mm],
        };
        let departure = (plane.along_row.norm_mm() - 1.0)
            .abs()
            .max((plane.along_column.norm_mm() - 1.0).abs())
            .max(plane.along_row.dot(plane.along_column).abs());
        // Half the grid's tolerance, because its measure is that of squared lengths.
        if departure > 0.5 * Grid::DIRECTION_TOLERANCE {
            return Err(header.malformed(format!(
                "ImageOrientationPatient {orientation:?} is no pair of orthogonal unit vectors"
            )));
        }
        Ok(plane)
    }

    /// The unit normal, right-handed with the row and column directions.
    pub(super) fn normal(&self) -> VectorLps {
        let cross = self.along_row.cross(self.along_column);
        cross * (1.0 / cross.norm_mm())
    }

    /// Position along `normal`, in mm.
    pub(super) fn depth_mm(&self, normal: VectorLps) -> f64 {
        (self.position - PointLps::ORIGIN).dot(normal)
    }
}

/// A slice with its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slice<'a> {
    pub(super) header: &'a ImageHeader,
    pub(super) plane: Plane,
    /// Position along the normal of the stack, in mm.
    pub(super) depth_mm: f64,
}

/// Why slices make no grid.
pub(super) enum StackError {
    /// One file is to blame.
    File(IoError),
    /// Their positions do not fit together.
    Stack(Vec<SeriesProblem>),
}

/// The grid of slices that share size, orientation and spacing, and are sorted by depth; or all that is wrong with them.
///
/// Axis k points along the normal, in the order of the slices, so the grid is right-handed.
pub(super) fn stack(slices: &[Slice]) -> Result<(Grid, Option<SeriesProblem>), StackError> {
    let (first, last) = (&slices[0], &slices[slices.len() - 1]);
    let normal = first.plane.normal();
    let duplicates = duplicates(slices);
    if !duplicates.is_empty() {
        return Err(StackError::Stack(duplicates));
    }
    let mut warning = None;
    let (axis, spacing_mm) = if slices.len() == 1 {
        let (attribute, spacing_mm) = single_slice_spacing(first.header).map_err(StackError::File)?;
        warning = Some(SeriesProblem::SingleSlice { attribute, spacing_mm });
        (normal, spacing_mm)
    } else {
        let mut problems = Vec::new();
        let axis = stack_axis(slices, normal).unwrap_or_else(|problem| {
            problems.push(problem);
            normal
        });
        problems.extend(uneven(slices));
        if !problems.is_empty() {
            return Err(StackError::Stack(problems));
        }
        (axis, (last.plane.position - first.plane.position).norm_mm() / (slices.len() - 1) as f64)
    };
    let usable = |value: Option<u16>| value.map_or(0, usize::from);
    let size_ijk = [usable(first.header.columns), usable(first.header.rows), slices.len()];
    let plane = &first.plane;
    let direction =
        Matrix3::from_columns(plane.along_row.to_array(), plane.along_column.to_array(), axis.to_array());
    let [i_mm, j_mm] = plane.spacing_ij_mm;
    let grid = Grid::new(size_ijk, [i_mm, j_mm, spacing_mm], plane.position, direction)
        .map_err(IoError::geometry(&first.header.path))
        .map_err(StackError::File)?;
    Ok((grid, warning))
}

/// A direction through all positions: the normal, or the line from first to last if the stack leans a hair.
fn stack_axis(slices: &[Slice], normal: VectorLps) -> Result<VectorLps, SeriesProblem> {
    let origin = slices[0].plane.position;
    let last = &slices[slices.len() - 1];
    // The position furthest from the line through the first along `axis`.
    let furthest = |axis: VectorLps| {
        let distances = slices.iter().map(|slice| {
            let step = slice.plane.position - origin;
            ((step + axis * -step.dot(axis)).norm_mm(), slice)
        });
        distances.max_by(|(left, _), (right, _)| left.total_cmp(right))
    };
    let off_by = |axis| furthest(axis).map_or(0.0, |(distance_mm, _)| distance_mm);
    if off_by(normal) <= POSITION_TOLERANCE_MM {
        return Ok(normal);
    }
    let whole = last.plane.position - origin;
    let axis = whole * (1.0 / whole.norm_mm());
    if let Some((deviation_mm, slice)) =
        furthest(axis).filter(|(distance_mm, _)| *distance_mm > POSITION_TOLERANCE_MM)
    {
        return Err(SeriesProblem::CrookedPositions {
            deviation_mm,
            allowed_mm: POSITION_TOLERANCE_MM,
            file: slice.header.path.clone(),
        });
    }
    let lean = (axis + normal * -axis.dot(normal)).norm_mm();
    if lean > MAX_SHEAR {
        return Err(SeriesProblem::GantryTilt { tilt_deg: lean.min(1.0).asin().to_degrees() });
    }
    Ok(axis)
}

/// Distances between neighbors that do not make an even stack.
fn uneven(slices: &[Slice]) -> Option<SeriesProblem> {
    let first_mm = slices[0].depth_mm;
    let n_steps = slices.len() - 1;
    let mean_mm = (slices[n_steps].depth_mm - first_mm) / n_steps as f64;
    let is_even = slices
        .iter()
        .enumerate()
        .all(|(k, slice)| (slice.depth_mm - first_mm - k as f64 * mean_mm).abs() <= POSITION_TOLERANCE_MM);
    if is_even {
        return None;
    }
    let distance = |pair: &[Slice]| pair[1].depth_mm - pair[0].depth_mm;
    let mut distances: Vec<f64> = slices.windows(2).map(distance).collect();
    distances.sort_by(f64::total_cmp);
    let typical_mm = distances[(distances.len() - 1) / 2];
    let mut gaps: Vec<SliceGap> = Vec::new();
    for pair in slices.windows(2) {
        let distance_mm = distance(pair);
        if (distance_mm - typical_mm).abs() <= POSITION_TOLERANCE_MM {
            continue;
        }
        let n_steps = (distance_mm / typical_mm).round();
        let is_whole =
            n_steps >= 2.0 && (distance_mm - n_steps * typical_mm).abs() <= POSITION_TOLERANCE_MM * n_steps;
        gaps.push(SliceGap {
            from_mm: pair[0].depth_mm,
            to_mm: pair[1].depth_mm,
            n_missing: is_whole.then_some(n_steps as usize - usize::from(is_whole)),
        });
    }
    if gaps.is_empty() {
        // Small errors of one sign add up: every distance is near the median, but the stack is not even.
        let pairs = slices.windows(2);
        let largest = pairs.max_by(|left, right| {
            (distance(left) - typical_mm).abs().total_cmp(&(distance(right) - typical_mm).abs())
        })?;
        gaps.push(SliceGap { from_mm: largest[0].depth_mm, to_mm: largest[1].depth_mm, n_missing: None });
    }
    Some(SeriesProblem::UnevenSpacing { typical_mm, gaps })
}

/// Slices that are at the same depth as their neighbor.
fn duplicates(slices: &[Slice]) -> Vec<SeriesProblem> {
    let groups: Vec<&[Slice]> = slices
        .chunk_by(|left, right| right.depth_mm - left.depth_mm <= POSITION_TOLERANCE_MM)
        .filter(|group| group.len() > 1)
        .collect();
    let Some(group) = groups.first() else { return Vec::new() };
    let mut distinctions = Vec::new();
    let one = group[0].header;
    for other in &group[1..] {
        let names = one.distinctions.iter().chain(&other.header.distinctions).map(|(name, _)| name);
        for name in names.filter(|name| one.distinction(name) != other.header.distinction(name)) {
            for header in [one, other.header] {
                let text = format!("{name} = {}", header.distinction(name));
                if !distinctions.contains(&text) {
                    distinctions.push(text);
                }
            }
        }
    }
    vec![SeriesProblem::DuplicatePositions {
        position_mm: group[0].depth_mm,
        files: group.iter().map(|slice| slice.header.path.clone()).collect(),
        n_positions: groups.len(),
        distinctions,
    }]
}

/// The extent of a lone slice along k.
fn single_slice_spacing(header: &ImageHeader) -> Result<(&'static str, f64), IoError> {
    let candidates = [
        ("SpacingBetweenSlices", header.spacing_between_slices_mm),
        ("SliceThickness", header.slice_thickness_mm),
    ];
    candidates
        .into_iter()
        .find_map(|(attribute, value)| Some((attribute, value.filter(|&mm| mm > 0.0)?)))
        .ok_or_else(|| {
            header.missing(
                tags::SLICE_THICKNESS,
                "a single slice has no spacing along k without it or SpacingBetweenSlices",
            )
        })
}
