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
         the series must be resampled onto upright slices"
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
    /// The series holds several volumes.
    #[error("it holds {} volumes: {}", volumes.len(), numbered(volumes))]
    SeveralVolumes {
        /// What tells each from the others, with its number of images.
        volumes: Vec<String>,
    },
    /// Copies of images were left out.
    #[error("{n_images} image(s) are copies of others, value for value, and were left out")]
    CopiesLeftOut {
        /// How many.
        n_images: usize,
    },
    /// A tilted stack was resampled onto upright slices, as was asked for.
    #[error(
        "the gantry tilt of {tilt_deg:.2}° was removed by resampling onto upright slices {spacing_mm:.3} mm apart"
    )]
    TiltRemoved {
        /// The angle between the slice normal and the line through the positions, in degrees.
        tilt_deg: f64,
        /// The distance of the new slices, in mm.
        spacing_mm: f64,
    },
    /// Missing or unevenly spaced slices were interpolated, as was asked for.
    #[error(
        "unevenly spaced slices were resampled {spacing_mm:.3} mm apart; the widest gap that was bridged is {widest_mm:.3} mm"
    )]
    GapsFilled {
        /// The distance of the new slices along the old normal, in mm.
        spacing_mm: f64,
        /// The largest distance between two given slices, in mm.
        widest_mm: f64,
    },
    /// A Philips image with private scaling.
    #[error("{}", philips(*least_factor, *largest_factor, *is_applied))]
    PhilipsScaling {
        /// What turns displayed values (standard rescale) into precise ones: the least among the slices.
        least_factor: f64,
        /// The largest among the slices.
        largest_factor: f64,
        /// Whether the values that were read are the precise ones.
        is_applied: bool,
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
            | Self::SeveralVolumes { .. } => true,
            Self::LocalizersLeftOut { .. }
            | Self::CopiesLeftOut { .. }
            | Self::TiltRemoved { .. }
            | Self::GapsFilled { .. }
            | Self::PhilipsScaling { .. }
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
        return "; their values differ, so that one must be removed".to_owned();
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

fn numbered(volumes: &[String]) -> String {
    list(volumes.iter().enumerate().map(|(n, volume)| format!("{n}: {volume}")))
}

fn philips(least: f64, largest: f64, is_applied: bool) -> String {
    let is_one = least.total_cmp(&largest).is_eq();
    let factor = if is_one { format!("{least:.6}") } else { format!("{least:.6} to {largest:.6}") };
    match (is_applied, is_one) {
        (true, _) => format!("Philips' precise values were read: displayed values × {factor}"),
        (false, true) => {
            format!("Philips' private scaling is not applied: precise values are displayed values × {factor}")
        }
        (false, false) => format!(
            "slices differ in Philips' private scaling, which is not applied: precise values are displayed values × {factor}"
        ),
    }
}
