//! Radiotherapy objects as plain data: structures, plan, beams, control points.
//!
//! Start here: [`StructureSet`] (regions as contours, and [`Roi::mask`] on a grid), [`Plan`] (what a machine delivers),
//! [`BeamFrame`] (IEC 61217 angles in patient space).
//!
//! Angles and machine coordinates are those of IEC 61217, in degrees and millimetres at the isocenter; positions of the
//! patient are DICOM LPS in millimetres.
//!
//! This crate reads no file and computes no dose.

mod error;
mod frame;
mod plan;
mod position;
mod structure;

pub use error::RtError;
pub use frame::BeamFrame;
pub use plan::{
    Beam, BeamAngles, ControlPoint, Jaws, LeafPositions, Mlc, MlcAxis, PhotonEnergy, Plan, Prescription,
    Segment,
};
pub use position::PatientPosition;
pub use structure::{Contour, Roi, StructureSet};
