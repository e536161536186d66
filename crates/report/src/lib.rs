//! Pictures and pages from MR, CT and synthetic CT volumes.
//!
//! Start here: [`Report`] (one self-contained HTML page), [`Picture`] (a slice in radiological display),
//! [`comparison_panels`] (MR, CT, sCT and their difference in three planes), [`alignment_panel`] (how MR and CT lie to each
//! other before and after registration).
//!
//! This crate writes no file: [`Report::to_html`] and [`Picture::to_png`] give the content, the caller writes it.
//! It computes no metric; [`metrics_tables`] shows those of `synthct-eval`.

mod chart;
mod color;
mod error;
mod evaluation;
mod page;
mod panel;
mod picture;
mod plane;
mod preparation;
mod table;
mod text;

pub use chart::{LineChart, Scale, Series};
pub use color::{ColorMap, Rgb, Window};
pub use error::ReportError;
pub use evaluation::{Comparison, bone_dice_chart, comparison_panels, metrics_tables};
pub use page::{NOT_FOR_CLINICAL_USE, Report, Section};
pub use panel::{ColorBar, Panel};
pub use picture::{Picture, PictureStyle, PixelInterpolation, centroid_lps};
pub use plane::{EdgeLabels, Plane};
pub use preparation::{Alignment, alignment_panel, bias_panel, histogram_chart, overview_row};
pub use table::{Better, Cell, Column, Table};

use synthct_image::Grid;

/// Fails with both grids unless they match.
pub(crate) fn require_grid(
    expected: &Grid,
    grid: &Grid,
    image: &str,
    reference: &str,
) -> Result<(), ReportError> {
    expected.require_match(grid).map_err(|source| ReportError::GridMismatch {
        image: image.to_owned(),
        reference: reference.to_owned(),
        source: Box::new(source),
    })
}
