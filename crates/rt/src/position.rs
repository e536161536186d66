//! How the patient lies on the couch.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use synthct_image::Matrix3;

use crate::RtError;

/// How the patient lies on the couch: DICOM's Patient Position (0018,5100), which relates patient and machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PatientPosition {
    /// Head first, supine.
    Hfs,
    /// Head first, prone.
    Hfp,
    /// Head first, right side down.
    Hfdr,
    /// Head first, left side down.
    Hfdl,
    /// Feet first, supine.
    Ffs,
    /// Feet first, prone.
    Ffp,
    /// Feet first, right side down.
    Ffdr,
    /// Feet first, left side down.
    Ffdl,
}

impl PatientPosition {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::Hfs, Self::Hfp, Self::Hfdr, Self::Hfdl, Self::Ffs, Self::Ffp, Self::Ffdr, Self::Ffdl];

    /// The axes of the machine's fixed system (IEC 61217) as columns in patient space (LPS), with the couch at 0°.
    ///
    /// The fixed system has x to the right of someone who faces the gantry, y from the isocenter to the gantry, and z up.
    /// For a patient who lies head first and supine x is to the left, y to superior and z to anterior.
    pub fn lps_from_fixed(self) -> Matrix3 {
        const LEFT: [f64; 3] = [1.0, 0.0, 0.0];
        const POSTERIOR: [f64; 3] = [0.0, 1.0, 0.0];
        const SUPERIOR: [f64; 3] = [0.0, 0.0, 1.0];
        let opposite = |v: [f64; 3]| v.map(|c| 0.0 - c);
        // To the gantry, and up; the third axis makes the system right-handed.
        let (to_gantry, up) = match self {
            Self::Hfs => (SUPERIOR, opposite(POSTERIOR)),
            Self::Hfp => (SUPERIOR, POSTERIOR),
            Self::Hfdr => (SUPERIOR, LEFT),
            Self::Hfdl => (SUPERIOR, opposite(LEFT)),
            Self::Ffs => (opposite(SUPERIOR), opposite(POSTERIOR)),
            Self::Ffp => (opposite(SUPERIOR), POSTERIOR),
            Self::Ffdr => (opposite(SUPERIOR), LEFT),
            Self::Ffdl => (opposite(SUPERIOR), opposite(LEFT)),
        };
        let [y, z] = [to_gantry, up];
        let x = [y[1] * z[2] - y[2] * z[1], y[2] * z[0] - y[0] * z[2], y[0] * z[1] - y[1] * z[0]];
        Matrix3::from_columns(x, y, z)
    }
}

impl fmt::Display for PatientPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hfs => "HFS",
            Self::Hfp => "HFP",
            Self::Hfdr => "HFDR",
            Self::Hfdl => "HFDL",
            Self::Ffs => "FFS",
            Self::Ffp => "FFP",
            Self::Ffdr => "FFDR",
            Self::Ffdl => "FFDL",
        })
    }
}

impl FromStr for PatientPosition {
    type Err = RtError;

    /// The position with DICOM's name, such as `HFS`.
    ///
    /// # Errors
    /// [`RtError::PatientPosition`].
    fn from_str(text: &str) -> Result<Self, RtError> {
        Self::ALL.into_iter().find(|position| position.to_string() == text.trim()).ok_or_else(|| {
            RtError::PatientPosition {
                found: text.to_owned(),
                known: Self::ALL.map(|position| position.to_string()).join(", "),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_right_handed_and_as_the_patient_lies() -> Result<(), RtError> {
        // What is up, and what is nearest to the gantry: unit vectors of x, y, z LPS.
        for (name, up, to_gantry) in [
            ("HFS", [0.0, -1.0, 0.0], [0.0, 0.0, 1.0]),
            ("HFP", [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]),
            ("HFDR", [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]),
            ("HFDL", [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]),
            ("FFS", [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]),
            ("FFP", [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]),
            ("FFDR", [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]),
            ("FFDL", [-1.0, 0.0, 0.0], [0.0, 0.0, -1.0]),
        ] {
            let position: PatientPosition = name.parse()?;
            let axes = position.lps_from_fixed();
            let same = |a: [f64; 3], b: [f64; 3]| std::iter::zip(a, b).all(|(a, b)| (a - b).abs() < 1e-15);
            assert!(same(axes.column(2), up) && same(axes.column(1), to_gantry), "{name}: {axes:?}");
            assert!((axes.determinant() - 1.0).abs() < 1e-15, "{name}");
        }
        // Facing the gantry, a supine patient's left is on the right if the head is at the gantry.
        assert!(PatientPosition::Hfs.lps_from_fixed().column(0)[0] > 0.0);
        assert!(PatientPosition::Ffs.lps_from_fixed().column(0)[0] < 0.0);
        assert!("hfs".parse::<PatientPosition>().is_err_and(|error| error.to_string().contains("HFDR")));
        Ok(())
    }
}
