//! Writing DICOM objects: the parts that images, structure sets and doses share.

mod decimal;
mod dose;
mod object;
mod origin;
mod plan;
mod series;
mod structure_set;
mod uid;

pub use self::dose::{DoseText, write_dose};
pub use self::origin::Origin;
pub use self::plan::{PlanText, write_plan};
pub use self::series::{ImageKind, SeriesText, WrittenSeries, write_series};
pub use self::structure_set::{StructureText, write_structure_set};

/// What is said in every object, wherever a reader may look.
const NOT_FOR_CLINICAL_USE: &str = "Research only. Not for clinical use.";
/// The manufacturer and model that objects name as the equipment that made them.
const MANUFACTURER: &str = "synthct (research software)";
const MODEL: &str = "synthct";
const VERSION: &str = env!("CARGO_PKG_VERSION");
