//! Regions drawn as contours.

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
