//! One series, several volumes: sorting images into those that belong together.

use std::collections::BTreeMap;

use synthct_image::VectorLps;

use super::geometry::{POSITION_TOLERANCE_MM, Plane};
use super::image::ImageHeader;

/// Images that may make one volume.
#[derive(Debug)]
pub(super) struct Group {
    /// What tells it from the other groups of its series, with its number of images.
    pub(super) label: String,
    pub(super) headers: Vec<ImageHeader>,
}

/// Largest difference of a direction cosine between images of one volume; exporters round to six digits.
const COSINE_TOLERANCE: f64 = 1e-4;
/// Largest relative difference of PixelSpacing between images of one volume.
const SPACING_TOLERANCE: f64 = 1e-5;

/// What the images of a volume must share: its name, whether two images do, and its value as text.
type Trait = (&'static str, fn(&ImageHeader, &ImageHeader) -> bool, fn(&ImageHeader) -> String);

const SHARED: [Trait; 6] = [
    ("Modality", |a, b| a.modality == b.modality, |h| h.modality.clone()),
    (
        "Rows and Columns",
        |a, b| (a.rows, a.columns) == (b.rows, b.columns),
        |h| format!("{}×{}", h.rows.unwrap_or(0), h.columns.unwrap_or(0)),
    ),
    (
        "PhotometricInterpretation",
        |a, b| a.photometric == b.photometric,
        |h| h.photometric.clone().unwrap_or_else(|| "absent".to_owned()),
    ),
    ("ImageOrientationPatient", same_orientation, |h| {
        h.orientation.map_or_else(|| "absent".to_owned(), |orientation| format!("{orientation:?}"))
    }),
    ("PixelSpacing", same_spacing, |h| {
        h.pixel_spacing_mm.map_or_else(|| "absent".to_owned(), |spacing| format!("{spacing:?}"))
    }),
    (
        "FrameOfReferenceUID",
        |a, b| a.frame_of_reference_uid == b.frame_of_reference_uid,
        |h| h.frame_of_reference_uid.clone().unwrap_or_else(|| "absent".to_owned()),
    ),
];

fn near(left: &[f64], right: &[f64], tolerance: f64) -> bool {
    std::iter::zip(left, right).all(|(left, right)| (left - right).abs() <= tolerance)
}

/// An image that lacks the attribute stays with the others, so that the error names it.
fn same_orientation(left: &ImageHeader, right: &ImageHeader) -> bool {
    match (left.orientation, right.orientation) {
        (Some(left), Some(right)) => near(&left, &right, COSINE_TOLERANCE),
        _ => true,
    }
}

fn same_spacing(left: &ImageHeader, right: &ImageHeader) -> bool {
    match (left.pixel_spacing_mm, right.pixel_spacing_mm) {
        (Some(left), Some(right)) => near(&left, &right, SPACING_TOLERANCE * left[0].max(left[1])),
        _ => true,
    }
}

/// Sorts images by what a volume's must share; in the order in which each kind first occurs.
pub(super) fn by_shared_traits(headers: Vec<ImageHeader>) -> Vec<Group> {
    let mut kinds: Vec<Vec<ImageHeader>> = Vec::new();
    for header in headers {
        let is_kin = |kind: &&mut Vec<ImageHeader>| SHARED.iter().all(|(_, same, _)| same(&kind[0], &header));
        match kinds.iter_mut().find(is_kin) {
            Some(kind) => kind.push(header),
            None => kinds.push(vec![header]),
        }
    }
    let firsts: Vec<&ImageHeader> = kinds.iter().map(|kind| &kind[0]).collect();
    let differing: Vec<&Trait> =
        SHARED.iter().filter(|(_, same, _)| firsts.iter().any(|first| !same(firsts[0], first))).collect();
    let label = |first: &ImageHeader| {
        differing
            .iter()
            .map(|(name, _, text)| format!("{name} = {}", text(first)))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let labels: Vec<String> = firsts.iter().map(|first| label(first)).collect();
    std::iter::zip(labels, kinds).map(|(label, headers)| Group { label, headers }).collect()
}

/// Sorts images at the same places into volumes that differ in one or two attributes.
///
/// A volume has no two images at one place. The first attribute that makes such volumes is taken; if there is none, the
/// images stay together. Volumes are in the order of their values, numbers by size.
pub(super) fn by_distinctions(headers: Vec<ImageHeader>, planes: &[Plane]) -> Vec<Group> {
    let together = |headers| vec![Group { label: String::new(), headers }];
    let Some(first) = planes.first() else { return together(headers) };
    let depths_mm = depths(planes, first.normal());
    if !has_duplicates(depths_mm.clone()) {
        return together(headers);
    }
    let mut names: Vec<&str> = Vec::new();
    for header in &headers {
        for (name, _) in &header.distinctions {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
    }
    let singles = names.iter().map(|&name| vec![name]);
    let pairs = names
        .iter()
        .enumerate()
        .flat_map(|(n, &one)| names[n + 1..].iter().map(move |&other| vec![one, other]));
    for key in singles.chain(pairs) {
        if let Some(places) = partition(&headers, &depths_mm, &key) {
            return groups(headers.clone(), places);
        }
    }
    together(headers)
}

/// Labels and places of the images of each volume, if these attributes make volumes without duplicates.
fn partition(
    headers: &[ImageHeader],
    depths_mm: &[f64],
    names: &[&str],
) -> Option<Vec<(String, Vec<usize>)>> {
    let mut volumes: BTreeMap<Vec<Key>, Vec<usize>> = BTreeMap::new();
    for (place, header) in headers.iter().enumerate() {
        let key = names.iter().map(|name| Key::new(header.distinction(name))).collect();
        volumes.entry(key).or_default().push(place);
    }
    let is_sound =
        |places: &Vec<usize>| !has_duplicates(places.iter().map(|&place| depths_mm[place]).collect());
    if volumes.len() < 2 || !volumes.values().all(is_sound) {
        return None;
    }
    let label = |key: &[Key]| {
        std::iter::zip(names, key)
            .map(|(name, key)| format!("{name} = {}", key.text))
            .collect::<Vec<_>>()
            .join(", ")
    };
    Some(volumes.into_iter().map(|(key, places)| (label(&key), places)).collect())
}

fn groups(headers: Vec<ImageHeader>, places: Vec<(String, Vec<usize>)>) -> Vec<Group> {
    let mut headers: Vec<Option<ImageHeader>> = headers.into_iter().map(Some).collect();
    places
        .into_iter()
        .map(|(label, places)| Group {
            label,
            headers: places.into_iter().filter_map(|place| headers[place].take()).collect(),
        })
        .collect()
}

/// A value that sorts as a number if it is one.
#[derive(Clone, Debug, PartialEq)]
struct Key {
    number: Option<f64>,
    text: String,
}

impl Key {
    fn new(text: &str) -> Self {
        Self { number: text.parse().ok(), text: text.to_owned() }
    }
}

impl Eq for Key {}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let number = |key: &Self| key.number.unwrap_or(f64::INFINITY);
        number(self).total_cmp(&number(other)).then_with(|| self.text.cmp(&other.text))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

fn depths(planes: &[Plane], normal: VectorLps) -> Vec<f64> {
    planes.iter().map(|plane| plane.depth_mm(normal)).collect()
}

fn has_duplicates(mut depths_mm: Vec<f64>) -> bool {
    depths_mm.sort_by(f64::total_cmp);
    depths_mm.windows(2).any(|pair| pair[1] - pair[0] <= POSITION_TOLERANCE_MM)
}
