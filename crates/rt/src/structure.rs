//! Regions drawn as contours.

mod outline;
mod raster;

use serde::{Deserialize, Serialize};
use synthct_image::{Grid, Mask, PointLps, Volume};

use crate::RtError;

/// Regions of one patient, as in a DICOM RT Structure Set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StructureSet {
    /// The frame of reference that the points are in (DICOM UID), if known.
    pub frame_of_reference_uid: Option<String>,
    /// The regions.
    pub rois: Vec<Roi>,
}

/// A region of interest.
#[derive(Clone, Debug, PartialEq)]
pub struct Roi {
    /// DICOM's ROI Number.
    pub number: i32,
    /// Its name.
    pub name: String,
    /// DICOM's RT ROI Interpreted Type, such as `PTV`, `ORGAN`, `EXTERNAL`.
    pub interpreted_type: Option<String>,
    /// The colour it is drawn in: red, green, blue.
    pub color: Option<[u8; 3]>,
    /// Its contours, in parallel planes.
    pub contours: Vec<Contour>,
}

/// A closed polygon in a plane; the last point is joined to the first.
///
/// Stored points are checked as they are read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<[f64; 3]>", into = "Vec<[f64; 3]>")]
pub struct Contour {
    points_lps: Vec<PointLps>,
}

impl Contour {
    /// The polygon through these points.
    ///
    /// # Errors
    /// [`RtError::Contour`] for fewer than three points or one that is not finite.
    pub fn new(points_lps: Vec<PointLps>) -> Result<Self, RtError> {
        let wrong = |problem: String| RtError::Contour { roi: String::new(), contour: 0, problem };
        if points_lps.len() < 3 {
            return Err(wrong(format!("it has {} points, at least 3 are needed", points_lps.len())));
        }
        if let Some(n) = points_lps.iter().position(|p| !p.to_array().iter().all(|c| c.is_finite())) {
            return Err(wrong(format!("point {n} is {:?}", points_lps[n].to_array())));
        }
        Ok(Self { points_lps })
    }

    /// The corners, in order.
    pub fn points_lps(&self) -> &[PointLps] {
        &self.points_lps
    }
}

impl TryFrom<Vec<[f64; 3]>> for Contour {
    type Error = RtError;
    fn try_from(points: Vec<[f64; 3]>) -> Result<Self, RtError> {
        Self::new(points.into_iter().map(PointLps::from).collect())
    }
}

impl From<Contour> for Vec<[f64; 3]> {
    fn from(contour: Contour) -> Self {
        contour.points_lps.into_iter().map(PointLps::to_array).collect()
    }
}

impl StructureSet {
    /// The region with this name; case and blanks at the ends do not count, an exact match goes first.
    ///
    /// # Errors
    /// [`RtError::NoSuchRoi`] with the names that there are.
    pub fn roi(&self, name: &str) -> Result<&Roi, RtError> {
        let folded = |text: &str| text.trim().to_lowercase();
        (self.rois.iter().find(|roi| roi.name == name))
            .or_else(|| self.rois.iter().find(|roi| folded(&roi.name) == folded(name)))
            .ok_or_else(|| RtError::NoSuchRoi {
                wanted: name.to_owned(),
                present: self.rois.iter().map(|roi| format!("`{}`", roi.name)).collect::<Vec<_>>().join(", "),
            })
    }
}

impl Roi {
    /// The outlines of a mask in the planes of its slices.
    ///
    /// Outlines pass halfway between the centres of voxels inside and of their neighbours outside, so that
    /// [`mask`](Self::mask) gives the same voxels back on the same grid. Voxels that touch at a corner only are apart.
    /// A hole is joined to the outline around it by a keyhole, which every reader of contours understands.
    /// Slices are the planes of the grid's i and j axes, whatever their direction in the patient.
    ///
    /// # Errors
    /// [`RtError::NoContour`] for an empty mask.
    pub fn from_mask(number: i32, name: &str, mask: &Mask) -> Result<Self, RtError> {
        let contours = outline::outlines(mask)?;
        if contours.is_empty() {
            return Err(RtError::NoContour { roi: name.to_owned() });
        }
        Ok(Self { number, name: name.to_owned(), interpreted_type: None, color: None, contours })
    }

    /// A grid that holds the whole region: of the axes of another grid, whose voxels are divided evenly along each axis until
    /// they are no longer than `largest_spacing_mm`.
    ///
    /// Edges of the other grid's voxels are edges here, so that an average over voxels here is one over parts of voxels there.
    ///
    /// # Errors
    /// As [`mask`](Self::mask) but for a region outside the other grid;
    /// [`ImageError::Parameter`](synthct_image::ImageError) for a spacing that is not above zero, and the errors of
    /// [`Grid::new`] for one so fine that the grid would be too large.
    pub fn sampling_grid(&self, like: &Grid, largest_spacing_mm: f64) -> Result<Grid, RtError> {
        if !(largest_spacing_mm.is_finite() && largest_spacing_mm > 0.0) {
            return Err(RtError::Image(synthct_image::ImageError::Parameter {
                name: "largest_spacing_mm",
                value: largest_spacing_mm,
                allowed: "finite and above zero",
            }));
        }
        let corners = raster::extent(self, like)?;
        let parts = like.spacing_mm().map(|mm| (mm / largest_spacing_mm - 1e-9).ceil().max(1.0));
        // In parts of voxels from the edge of the other grid's first voxel.
        let [low, high] = [f64::min, f64::max].map(|pick| {
            [0, 1, 2].map(|axis| {
                let of = |at: &synthct_image::ContinuousIndex| ([at.i, at.j, at.k][axis] + 0.5) * parts[axis];
                corners.iter().map(of).reduce(pick).unwrap_or(0.0)
            })
        });
        let first = low.map(|at| (at + 1e-6).floor());
        let size = [0, 1, 2].map(|axis| ((high[axis] - 1e-6).ceil() - first[axis]).max(1.0) as usize);
        let [i, j, k] = [0, 1, 2].map(|axis| (first[axis] + 0.5) / parts[axis] - 0.5);
        let origin = like.lps_from_index(synthct_image::ContinuousIndex::new(i, j, k));
        let spacing = [0, 1, 2].map(|axis| like.spacing_mm()[axis] / parts[axis]);
        Ok(Grid::new(size, spacing, origin, *like.direction())?)
    }

    /// The voxels whose centres lie inside.
    ///
    /// Conventions:
    /// - In a plane a point is inside if a ray from it crosses an odd number of edges, of all contours of that plane
    ///   together: holes may be contours of their own or be joined to the outline by a keyhole.
    ///   A centre on an edge belongs to one of the two sides, always the same, so that regions that share an edge share no
    ///   voxel.
    /// - Across planes a contour stands for the slab that reaches halfway to its neighbours.
    ///   The outermost planes reach half the smallest distance of two planes beyond themselves; so do planes that are more
    ///   than three times that distance apart, between which there is a gap.
    ///   A single plane is as thick as the grid's voxels are along its normal.
    /// - Planes need not be those of the grid, which may be oblique.
    /// - What lies outside the grid is left out.
    ///
    /// # Errors
    /// [`RtError::NoContour`], [`RtError::Contour`] if no contour encloses an area, [`RtError::ContourPlanes`] for points
    /// more than 0.1 mm off their contour's plane, [`RtError::OutsideGrid`] if the region and the grid have nothing in
    /// common.
    pub fn mask(&self, grid: &Grid) -> Result<Mask, RtError> {
        let inside = raster::samples_inside(self, grid, 1)?;
        Ok(Mask::from_values(&inside, |&n| n > 0))
    }

    /// The fraction of each voxel that lies inside, in [0, 1], from `samples_per_axis`³ points a voxel.
    ///
    /// The conventions are those of [`mask`](Self::mask), of which this is the finer form for regions that are small
    /// beside the grid's voxels; 3 to 5 samples along each axis are usual.
    ///
    /// # Errors
    /// As [`mask`](Self::mask); a number of samples outside 1 to 16 is an [`ImageError::Parameter`](synthct_image::ImageError).
    pub fn fractions(&self, grid: &Grid, samples_per_axis: usize) -> Result<Volume<f32>, RtError> {
        if !(1..=16).contains(&samples_per_axis) {
            return Err(RtError::Image(synthct_image::ImageError::Parameter {
                name: "samples_per_axis",
                value: samples_per_axis as f64,
                allowed: "from 1 to 16",
            }));
        }
        let inside = raster::samples_inside(self, grid, samples_per_axis)?;
        let all = samples_per_axis.pow(3) as f32;
        Ok(inside.map(|&n| f32::from(n) / all))
    }
}
