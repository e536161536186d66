//! The three patient planes, and how an array's axes are shown in them.

use std::fmt;

use synthct_image::Grid;

/// A plane of patient space in radiological display: the patient's right on the image's left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plane {
    /// Seen from the feet: right on the image's left, anterior up.
    Axial,
    /// Seen from the front: right on the image's left, superior up.
    Coronal,
    /// Seen from the left: anterior on the image's left, superior up.
    Sagittal,
}

impl Plane {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Axial, Self::Coronal, Self::Sagittal];

    /// The LPS direction that points to the image's right.
    const fn image_right(self) -> [f64; 3] {
        match self {
            Self::Axial | Self::Coronal => [1.0, 0.0, 0.0],
            Self::Sagittal => [0.0, 1.0, 0.0],
        }
    }

    /// The LPS direction that points down the image.
    const fn image_down(self) -> [f64; 3] {
        match self {
            Self::Axial => [0.0, 1.0, 0.0],
            Self::Coronal | Self::Sagittal => [0.0, 0.0, -1.0],
        }
    }
}

impl fmt::Display for Plane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Axial => "axial",
            Self::Coronal => "coronal",
            Self::Sagittal => "sagittal",
        })
    }
}

/// One axis of a grid, forwards or backwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SignedAxis {
    /// 0 for i, 1 for j, 2 for k.
    pub(crate) axis: usize,
    /// Whether the image shows the axis against its direction.
    pub(crate) reversed: bool,
}

/// Which axes of a grid a plane shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlaneAxes {
    /// Along the image's columns, to the right.
    pub(crate) right: SignedAxis,
    /// Along the image's rows, down.
    pub(crate) down: SignedAxis,
    /// Through the image.
    pub(crate) through: usize,
}

impl PlaneAxes {
    /// The axes of `grid` closest to those of `plane`: of the six assignments of array axes to patient axes, the one with
    /// the largest sum of |cosines|, so that no axis is used twice however oblique the grid is.
    pub(crate) fn of(grid: &Grid, plane: Plane) -> Self {
        const ASSIGNMENTS: [[usize; 3]; 6] =
            [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        let direction = grid.direction();
        let cosine = |axis: usize, patient_axis: usize| direction.column(axis)[patient_axis];
        let closeness = |assigned: &[usize; 3]| {
            (0..3).map(|patient| cosine(assigned[patient], patient).abs()).sum::<f64>()
        };
        // The first of equally close ones, so that the choice is stable.
        let mut best = ASSIGNMENTS[0];
        for assigned in &ASSIGNMENTS[1..] {
            if closeness(assigned) > closeness(&best) + 1e-9 {
                best = *assigned;
            }
        }
        let shown = |towards: [f64; 3]| {
            let patient = (0..3).find(|&axis| towards[axis].abs() > 0.5).expect("because it is a unit axis");
            let axis = best[patient];
            SignedAxis { axis, reversed: cosine(axis, patient) * towards[patient] < 0.0 }
        };
        let (right, down) = (shown(plane.image_right()), shown(plane.image_down()));
        Self { right, down, through: 3 - right.axis - down.axis }
    }

    /// The names of the patient's sides at the image's edges.
    pub(crate) fn edge_labels(&self, grid: &Grid) -> EdgeLabels {
        let towards = |shown: SignedAxis, sign: f64| {
            let sign = if shown.reversed { -sign } else { sign };
            side_name(grid.direction().column(shown.axis).map(|c| sign * c))
        };
        EdgeLabels {
            left: towards(self.right, -1.0),
            right: towards(self.right, 1.0),
            top: towards(self.down, -1.0),
            bottom: towards(self.down, 1.0),
        }
    }
}

/// The patient's sides at the edges of a picture: one letter each, more where the axis is oblique by over 15°.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeLabels {
    /// At the left edge.
    pub left: String,
    /// At the right edge.
    pub right: String,
    /// At the top.
    pub top: String,
    /// At the bottom.
    pub bottom: String,
}

/// The letters of a direction, the strongest component first, as in DICOM Patient Orientation but with S and I for the
/// head and foot directions.
fn side_name(direction: [f64; 3]) -> String {
    let sin_15_deg = 15_f64.to_radians().sin();
    let mut components: Vec<(f64, char)> = std::iter::zip(direction, [['R', 'L'], ['A', 'P'], ['I', 'S']])
        .map(|(c, [below, above])| (c.abs(), if c > 0.0 { above } else { below }))
        .filter(|(size, _)| *size > sin_15_deg)
        .collect();
    components.sort_by(|a, b| b.0.total_cmp(&a.0));
    components.into_iter().map(|(_, letter)| letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use synthct_image::{ImageError, Matrix3, PointLps};

    #[test]
    fn labels_of_a_sagittal_acquisition_and_of_an_oblique_one() -> Result<(), ImageError> {
        let edges = |direction: Matrix3, plane| -> Result<[String; 4], ImageError> {
            let grid = Grid::new([3, 4, 5], [1.0, 2.0, 3.0], PointLps::ORIGIN, direction)?;
            let labels = PlaneAxes::of(&grid, plane).edge_labels(&grid);
            Ok([labels.left, labels.right, labels.top, labels.bottom])
        };
        // A sagittal acquisition: i to posterior, j to inferior, k to the right.
        let sagittal = Matrix3::from_columns([0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]);
        assert_eq!(edges(sagittal, Plane::Axial)?, ["R", "L", "A", "P"]);
        assert_eq!(edges(sagittal, Plane::Coronal)?, ["R", "L", "S", "I"]);
        assert_eq!(edges(sagittal, Plane::Sagittal)?, ["A", "P", "S", "I"]);
        // Tilted about x by 30°, as a brain along the AC-PC line.
        let (s, c) = 30_f64.to_radians().sin_cos();
        let tilted = Matrix3([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]]);
        assert_eq!(edges(tilted, Plane::Axial)?, ["R", "L", "AI", "PS"]);
        assert_eq!(edges(tilted, Plane::Sagittal)?, ["AI", "PS", "SA", "IP"]);
        Ok(())
    }

    #[test]
    fn no_axis_is_used_twice_at_any_angle() -> Result<(), ImageError> {
        for step in 0..72 {
            let (s, c) = (f64::from(step) * 5.0).to_radians().sin_cos();
            let about_z = Matrix3([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]);
            let about_x = Matrix3([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]]);
            let grid = Grid::new([3, 4, 5], [1.0; 3], PointLps::ORIGIN, about_x * about_z)?;
            for plane in Plane::ALL {
                let axes = PlaneAxes::of(&grid, plane);
                let mut used = [axes.right.axis, axes.down.axis, axes.through];
                used.sort_unstable();
                assert_eq!(used, [0, 1, 2], "{plane} at {} degrees", step * 5);
            }
        }
        Ok(())
    }
}
