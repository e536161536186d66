//! What is wrong or remarkable about a series.

use std::fmt;
use std::path::PathBuf;

/// Something about a series that keeps it from being one volume, or that its user should know.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SeriesProblem {
    /// A file of the series cannot be used; the text is the error's.
    #[error("{message}{}", further(*n_files))]
    UnusableFile {
        /// What is wrong with the first such file.
        message: String,
        /// How many files of the series cannot be used.
        n_files: usize,
    },
    /// Positions shift sideways from slice to slice: the stack is sheared, as a CT with tilted gantry is.
    #[error(
        "slices are sheared: the stack leans {tilt_deg:.2}° from the slice normal (gantry tilt); a grid has no shear, so \
         the series must be resampled to upright slices first"
    )]
    GantryTilt {
        /// The angle between the slice normal and the line through the positions, in degrees.
        tilt_deg: f64,
    },
    /// Positions that are on no straight line.
    #[error("slice positions leave a straight line by {deviation_mm:.3} mm (allowed: {allowed_mm} mm), first in `{}`", file.display())]
    CrookedPositions {
        /// The largest distance from the line, in mm.
        deviation_mm: f64,
        /// What is allowed, in mm.
        allowed_mm: f64,
        /// The slice that is furthest off.
        file: PathBuf,
    },
    /// Slices are missing or unevenly spaced.
    #[error("slices are not evenly spaced: most are {typical_mm:.3} mm apart, but {}", list(gaps))]
    UnevenSpacing {
        /// The median distance between neighbors, in mm.
        typical_mm: f64,
        /// Every distance that departs from it.
        gaps: Vec<SliceGap>,
    },
    /// Several slices at one place.
    #[error("{n_positions} of the slice positions occur more than once, first at {position_mm:.3} mm along the normal: {}{}",
        list(files.iter().map(|file| format!("`{}`", file.display()))), differ(distinctions))]
    DuplicatePositions {
        /// The first such position, in mm along the slice normal.
        position_mm: f64,
        /// The files at that position.
        files: Vec<PathBuf>,
        /// The number of positions with more than one slice.
        n_positions: usize,
        /// Attributes in which these files differ: what may tell several volumes apart.
        distinctions: Vec<String>,
    },
    /// The series holds images that do not belong to one volume.
    #[error("it mixes images that differ in {attribute}: {}", list(values))]
    MixedImages {
        /// What they differ in.
        attribute: &'static str,
        /// Each value with its number of files.
        values: Vec<String>,
    },
    /// Scout views were left out.
    #[error("{n_files} localizer image(s) in the series were left out")]
    LocalizersLeftOut {
        /// How many.
        n_files: usize,
    },
    /// A single slice: its extent along k comes from an attribute that describes something else.
    #[error("a single slice: its spacing along k is taken from {attribute} = {spacing_mm} mm")]
    SingleSlice {
        /// `SpacingBetweenSlices` or `SliceThickness`.
        attribute: &'static str,
        /// Its value.
        spacing_mm: f64,
    },
    /// Files do not say which frame of reference their positions belong to.
    #[error("the files have no FrameOfReferenceUID: positions cannot be related to other series")]
    NoFrameOfReference,
    /// Padding outside the reconstruction circle was set to air.
    #[error("{n_voxels} padding voxels (stored as {padding_hu} HU) were set to {air_hu} HU, air")]
    PaddingToAir {
        /// How many voxels.
        n_voxels: usize,
        /// What they were.
        padding_hu: f64,
        /// What they are now.
        air_hu: f64,
    },
    /// A padding value that could be tissue was left alone.
    #[error(
        "the files declare {padding_hu} HU to be padding, which tissue can have as well: it was left as it is"
    )]
    PaddingKept {
        /// The declared value.
        padding_hu: f64,
    },
    /// Values that are not HU although the modality is CT.
    #[error("RescaleType is `{rescale_type}`: the values may not be HU")]
    NotHu {
        /// The attribute's value.
        rescale_type: String,
    },
    /// The pixels went through lossy compression.
    #[error("the images were compressed with loss: values are approximate")]
    LossyCompression,
}

impl SeriesProblem {
    /// Whether the series cannot be read as one volume because of this.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::UnusableFile { .. }
            | Self::GantryTilt { .. }
            | Self::CrookedPositions { .. }
            | Self::UnevenSpacing { .. }
            | Self::DuplicatePositions { .. }
            | Self::MixedImages { .. } => true,
            Self::LocalizersLeftOut { .. }
            | Self::SingleSlice { .. }
            | Self::NoFrameOfReference
            | Self::PaddingToAir { .. }
            | Self::PaddingKept { .. }
            | Self::NotHu { .. }
            | Self::LossyCompression => false,
        }
    }
}

/// Two neighboring slices that are not one slice distance apart.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct SliceGap {
    /// Position of the lower slice along the normal, in mm.
    pub from_mm: f64,
    /// Position of the upper slice along the normal, in mm.
    pub to_mm: f64,
    /// How many slices would fit between them, if a whole number does.
    pub n_missing: Option<usize>,
}

impl fmt::Display for SliceGap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} mm from {:.3} to {:.3} mm", self.to_mm - self.from_mm, self.from_mm, self.to_mm)?;
        match self.n_missing {
            Some(1) => f.write_str(" (1 slice missing)"),
            Some(n) => write!(f, " ({n} slices missing)"),
            None => Ok(()),
        }
    }
}

/// At most this many items of a list are spelled out.
const MAX_LISTED: usize = 6;

fn list<T: fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    match items.get(..MAX_LISTED) {
        Some(first) if items.len() > MAX_LISTED => {
            format!("{} and {} more", first.join(", "), items.len() - MAX_LISTED)
        }
        _ => items.join(", "),
    }
}

fn differ(distinctions: &[String]) -> String {
    if distinctions.is_empty() {
        return "; remove the copies".to_owned();
    }
    format!("; they may be several volumes, which differ in {}", list(distinctions))
}

fn further(n_files: usize) -> String {
    if n_files < 2 {
        String::new()
    } else {
        format!(" (and {} more of its files cannot be used)", n_files - 1)
    }
}
