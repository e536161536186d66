//! The beam's own coordinates in patient space.

use synthct_image::{Matrix3, PointLps, VectorLps};

use crate::{BeamAngles, PatientPosition};

/// Where source and collimator are in patient space, for one set of angles.
///
/// Beam coordinates are those of the beam limiting device of IEC 61217 with their origin at the isocenter: x along the
/// X jaws' travel, y along the Y jaws' travel, z from the isocenter to the source.
/// Gantry angles turn the head clockwise for someone who faces the gantry; the couch turns counterclockwise seen from
/// above.
///
/// # Examples
/// ```
/// use synthct_image::PointLps;
/// use synthct_rt::{BeamAngles, BeamFrame, PatientPosition};
/// let angles = BeamAngles { gantry_deg: 90.0, collimator_deg: 0.0, couch_deg: 0.0 };
/// let frame = BeamFrame::new(PatientPosition::Hfs, PointLps::new(10.0, 20.0, 30.0), angles, 1000.0);
/// // From the patient's left.
/// assert!(frame.source_lps().distance_mm(PointLps::new(1010.0, 20.0, 30.0)) < 1e-9);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BeamFrame {
    isocenter_lps: PointLps,
    lps_from_beam: Matrix3,
    source_axis_distance_mm: f64,
}

impl BeamFrame {
    /// The frame of a beam at these angles.
    ///
    /// `source_axis_distance_mm` is the distance of the source from the isocenter.
    pub fn new(
        position: PatientPosition,
        isocenter_lps: PointLps,
        angles: BeamAngles,
        source_axis_distance_mm: f64,
    ) -> Self {
        // The couch carries the patient: what is fixed in the room turns the other way in the patient.
        let support_from_fixed = about_z(-angles.couch_deg);
        let fixed_from_gantry = about_y(angles.gantry_deg);
        let gantry_from_beam = about_z(angles.collimator_deg);
        let lps_from_beam =
            position.lps_from_fixed() * support_from_fixed * fixed_from_gantry * gantry_from_beam;
        Self { isocenter_lps, lps_from_beam, source_axis_distance_mm }
    }

    /// The isocenter.
    pub const fn isocenter_lps(&self) -> PointLps {
        self.isocenter_lps
    }

    /// The beam's x, y and z axes as columns in patient space.
    pub const fn lps_from_beam_matrix(&self) -> Matrix3 {
        self.lps_from_beam
    }

    /// The distance of the source from the isocenter, mm.
    pub const fn source_axis_distance_mm(&self) -> f64 {
        self.source_axis_distance_mm
    }

    /// The source.
    pub fn source_lps(&self) -> PointLps {
        self.lps_from_beam([0.0, 0.0, self.source_axis_distance_mm])
    }

    /// The direction of the central axis, from the source to the isocenter.
    pub fn direction(&self) -> VectorLps {
        VectorLps::from(self.lps_from_beam.column(2)) * -1.0
    }

    /// A point in beam coordinates, mm.
    pub fn beam_from_lps(&self, point: PointLps) -> [f64; 3] {
        self.lps_from_beam.transposed().apply((point - self.isocenter_lps).to_array())
    }

    /// A point given in beam coordinates, mm.
    pub fn lps_from_beam(&self, point_mm: [f64; 3]) -> PointLps {
        self.isocenter_lps + VectorLps::from(self.lps_from_beam.apply(point_mm))
    }

    /// Where the ray from the source through a point crosses the plane of the isocenter: `[x, y]` in mm, in which jaws
    /// and leaves are given. None for a point at or behind the source.
    pub fn projected(&self, point: PointLps) -> Option<[f64; 2]> {
        let [x, y, z] = self.beam_from_lps(point);
        let distance_mm = self.source_axis_distance_mm - z;
        (distance_mm > 0.0).then(|| {
            let magnification = self.source_axis_distance_mm / distance_mm;
            [x * magnification, y * magnification]
        })
    }
}

/// A right-handed turn about y.
fn about_y(angle_deg: f64) -> Matrix3 {
    let (s, c) = sin_cos(angle_deg);
    Matrix3([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
}

/// A right-handed turn about z.
fn about_z(angle_deg: f64) -> Matrix3 {
    let (s, c) = sin_cos(angle_deg);
    Matrix3([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
}

/// Sine and cosine, exact for multiples of 90°, so that beams along the axes have axes without rounding.
fn sin_cos(angle_deg: f64) -> (f64, f64) {
    let quarter = angle_deg.rem_euclid(360.0) / 90.0;
    if quarter.fract() == 0.0 {
        match quarter as u8 % 4 {
            0 => (0.0, 1.0),
            1 => (1.0, 0.0),
            2 => (0.0, -1.0),
            _ => (-1.0, 0.0),
        }
    } else {
        angle_deg.to_radians().sin_cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ISOCENTER: PointLps = PointLps::new(5.0, -7.0, 11.0);

    fn frame(position: PatientPosition, gantry_deg: f64, collimator_deg: f64, couch_deg: f64) -> BeamFrame {
        let angles = BeamAngles { gantry_deg, collimator_deg, couch_deg };
        BeamFrame::new(position, ISOCENTER, angles, 1000.0)
    }

    #[track_caller]
    fn check_source(position: PatientPosition, gantry_deg: f64, couch_deg: f64, expected: [f64; 3]) {
        let source = frame(position, gantry_deg, 33.0, couch_deg).source_lps() - ISOCENTER;
        for (found, expected) in std::iter::zip(source.to_array(), expected) {
            let context = format!("{position} gantry {gantry_deg} couch {couch_deg}: {source:?}");
            assert!((found - 1000.0 * expected).abs() < 1e-9, "{context}");
        }
    }

    #[test]
    fn the_source_is_where_the_machine_puts_it() {
        use PatientPosition::{Ffp, Ffs, Hfdr, Hfp, Hfs};
        // Anterior, left, posterior, right of a supine patient with the head at the gantry.
        check_source(Hfs, 0.0, 0.0, [0.0, -1.0, 0.0]);
        check_source(Hfs, 90.0, 0.0, [1.0, 0.0, 0.0]);
        check_source(Hfs, 180.0, 0.0, [0.0, 1.0, 0.0]);
        check_source(Hfs, 270.0, 0.0, [-1.0, 0.0, 0.0]);
        check_source(Hfp, 0.0, 0.0, [0.0, 1.0, 0.0]);
        check_source(Hfp, 90.0, 0.0, [-1.0, 0.0, 0.0]);
        check_source(Ffs, 0.0, 0.0, [0.0, -1.0, 0.0]);
        check_source(Ffs, 90.0, 0.0, [-1.0, 0.0, 0.0]);
        check_source(Ffp, 90.0, 0.0, [1.0, 0.0, 0.0]);
        check_source(Hfdr, 0.0, 0.0, [1.0, 0.0, 0.0]);
        let (s, c) = 30_f64.to_radians().sin_cos();
        check_source(Hfs, 30.0, 0.0, [s, -c, 0.0]);
        // The couch turned by 90° counterclockwise from above puts the patient's head where the left hand points: at
        // gantry 90° the beam enters along the body, from the head for a supine patient with the head at the gantry.
        check_source(Hfs, 270.0, 90.0, [0.0, 0.0, 1.0]);
        check_source(Hfs, 90.0, 90.0, [0.0, 0.0, -1.0]);
        check_source(Hfs, 0.0, 90.0, [0.0, -1.0, 0.0]);
    }

    #[test]
    fn the_collimator_turns_about_the_beam() {
        // Gantry 0°: x is the patient's left, y to the head; a collimator of 90° turns x onto y.
        let straight = frame(PatientPosition::Hfs, 0.0, 0.0, 0.0);
        assert_eq!(straight.lps_from_beam([1.0, 2.0, 3.0]) - ISOCENTER, VectorLps::new(1.0, -3.0, 2.0));
        let turned = frame(PatientPosition::Hfs, 0.0, 90.0, 0.0);
        assert_eq!(turned.lps_from_beam([1.0, 0.0, 0.0]) - ISOCENTER, VectorLps::new(0.0, 0.0, 1.0));
    }

    #[test]
    fn projection_magnifies_to_the_isocenter() {
        let frame = frame(PatientPosition::Ffdl, 77.0, 12.0, 340.0);
        let point = frame.lps_from_beam([30.0, -20.0, -250.0]);
        let back = frame.beam_from_lps(point);
        assert!(std::iter::zip(back, [30.0, -20.0, -250.0]).all(|(a, b)| (a - b).abs() < 1e-9), "{back:?}");
        let projected = frame.projected(point);
        assert!(projected.is_some_and(|[x, y]| (x - 24.0).abs() < 1e-9 && (y + 16.0).abs() < 1e-9));
        assert_eq!(frame.projected(frame.lps_from_beam([3.0, 0.0, 1001.0])), None);
        let along = frame.source_lps() + frame.direction() * 1000.0;
        assert!(along.distance_mm(ISOCENTER) < 1e-9);
    }
}
