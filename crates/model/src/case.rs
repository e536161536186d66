//! A case: the aligned images of one patient.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use synthct_image::{Mask, Volume};

use crate::sha256::hex;
use crate::{CaseProblem, ModelError};

/// The images of one patient, all on one grid: what a network learns from.
#[derive(Clone, Debug)]
pub struct Case {
    /// The patient's identifier, unique among the cases of a run.
    pub id: String,
    /// The MR images, one a channel, in the order of the configuration's channels; arbitrary units.
    pub mr: Vec<Volume<f32>>,
    /// The CT that is aligned to the MR, in HU.
    pub ct: Volume<f32>,
    /// The body: where the loss looks.
    pub body: Mask,
}

impl Case {
    /// SHA-256 of the geometry and all values, in hexadecimal: the same data give the same text.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update((self.mr.len() as u64).to_le_bytes());
        let grid = self.ct.grid();
        for n in grid.size_ijk() {
            hash.update((n as u64).to_le_bytes());
        }
        let lengths = grid.spacing_mm().into_iter().chain(grid.origin_lps().to_array());
        for value in lengths.chain(grid.direction().0.into_iter().flatten()) {
            hash.update(value.to_le_bytes());
        }
        for volume in self.mr.iter().chain([&self.ct]) {
            let mut bytes = Vec::with_capacity(1 << 16);
            for values in volume.as_slice().chunks(1 << 14) {
                bytes.clear();
                bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
                hash.update(&bytes);
            }
        }
        for values in self.body.as_slice().chunks(1 << 16) {
            hash.update(values.iter().map(|&inside| u8::from(inside)).collect::<Vec<_>>());
        }
        hex(hash)
    }

    /// What is wrong with this case alone.
    fn problems(&self, channels: &[String]) -> Vec<String> {
        let mut problems = Vec::new();
        if self.mr.len() != channels.len() {
            let (found, expected) = (self.mr.len(), channels.len());
            problems.push(format!(
                "{found} MR image(s), but {expected} channel(s) are configured ({})",
                channels.join(", ")
            ));
        }
        let grid = self.ct.grid();
        let named = self.mr.iter().zip(0..).map(|(volume, n)| (format!("MR image {}", n + 1), volume));
        for (name, volume) in named.chain([("CT".to_owned(), &self.ct)]) {
            if !volume.grid().matches(grid) {
                problems.push(format!("{name} is on {}, but the CT on {grid}", volume.grid()));
            }
            let n_bad = count_not_finite(volume);
            if n_bad > 0 {
                problems.push(format!("{name} has {n_bad} voxel(s) that are infinite or NaN"));
            }
        }
        if !self.body.grid().matches(grid) {
            problems.push(format!("the body mask is on {}, but the CT on {grid}", self.body.grid()));
        }
        if self.body.count() == 0 {
            problems.push("the body mask is empty".to_owned());
        }
        problems
    }
}

/// The number of values that are infinite or NaN.
pub(crate) fn count_not_finite(volume: &Volume<f32>) -> usize {
    volume.as_slice().iter().filter(|value| !value.is_finite()).count()
}

/// Checks all cases before anything slow: grids, channels, values, bodies, and that no patient is on both sides.
///
/// # Errors
/// [`ModelError::Cases`] with every problem found.
pub fn check_cases(train: &[Case], validation: &[Case], channels: &[String]) -> Result<(), ModelError> {
    let mut problems = Vec::new();
    if train.is_empty() {
        problems.push(CaseProblem { id: "-".to_owned(), what: "there are no training cases".to_owned() });
    }
    let mut sides: BTreeMap<&str, &str> = BTreeMap::new();
    for (side, case) in
        train.iter().map(|case| ("training", case)).chain(validation.iter().map(|case| ("validation", case)))
    {
        let mut add = |what: String| problems.push(CaseProblem { id: case.id.clone(), what });
        if case.id.is_empty() {
            add("the identifier is empty".to_owned());
        }
        if let Some(other) = sides.insert(&case.id, side) {
            add(format!("the identifier occurs twice (for {other} and for {side})"));
        }
        case.problems(channels).into_iter().for_each(add);
    }
    if problems.is_empty() { Ok(()) } else { Err(ModelError::Cases { problems }) }
}
