//! Percentiles of the values of an image, without sorting it.

use synthct_image::{Mask, Volume};

use crate::PrepError;

/// A bin holds the values that share the upper half of their bits: sign, exponent and seven bits of the mantissa.
const BINS: usize = 1 << 16;
const UNWANTED: u16 = u16::MAX;

/// Percentiles of the values inside a mask or, without one, of the values above zero.
///
/// With n values x₀ ≤ … ≤ xₙ₋₁, percentile p is at rank r = p / 100 · (n − 1), linear between the two neighbours of r
/// (numpy's default, type 7 of Hyndman and Fan).
///
/// One pass counts values by the upper half of their bits, which are in the values' order.
/// Another collects the values of the few bins that a wanted rank falls into; only these are sorted.
///
/// # Errors
/// [`PrepError::Image`] if the grids differ, [`PrepError::EmptyMask`] or [`PrepError::NothingAboveZero`] if there is no
/// value, [`PrepError::NotFinite`] for one inside that is not finite (without a mask: infinite; NaN is not above zero).
pub(crate) fn percentiles(
    volume: &Volume<f32>,
    mask: Option<&Mask>,
    percents: &[f64],
    what: &'static str,
) -> Result<Vec<f64>, PrepError> {
    let values = volume.as_slice();
    match mask {
        Some(mask) => {
            volume.grid().require_match(mask.grid())?;
            let inside = || std::iter::zip(values, mask.as_slice()).filter(|(_, is_in)| **is_in);
            of_values(|| inside().map(|(&value, _)| value), percents).map_err(|fault| match fault {
                Fault::Nothing => PrepError::EmptyMask,
                Fault::NotFinite(n) => {
                    let at = mask.as_slice().iter().enumerate().filter(|(_, is_in)| **is_in).nth(n);
                    not_finite(volume, at.map_or(0, |(at, _)| at), what)
                }
            })
        }
        None => {
            of_values(|| values.iter().copied().filter(|&value| value > 0.0), percents).map_err(|fault| {
                match fault {
                    Fault::Nothing => PrepError::NothingAboveZero { what },
                    Fault::NotFinite(n) => {
                        let at = values.iter().enumerate().filter(|(_, value)| **value > 0.0).nth(n);
                        not_finite(volume, at.map_or(0, |(at, _)| at), what)
                    }
                }
            })
        }
    }
}

enum Fault {
    Nothing,
    /// The how many-th value it is.
    NotFinite(usize),
}

fn not_finite(volume: &Volume<f32>, at: usize, what: &'static str) -> PrepError {
    let [ni, nj, _] = volume.grid().size_ijk();
    let index_kji = [at / (ni * nj), at / ni % nj, at % ni];
    PrepError::NotFinite { what, index_kji, value: volume.as_slice()[at] }
}

fn of_values<I: Iterator<Item = f32>>(values: impl Fn() -> I, percents: &[f64]) -> Result<Vec<f64>, Fault> {
    let mut counts = vec![0_u32; BINS];
    let mut all_finite = true;
    for value in values() {
        all_finite &= value.is_finite();
        counts[bin(value)] += 1;
    }
    if !all_finite {
        return Err(Fault::NotFinite(values().position(|value| !value.is_finite()).unwrap_or(0)));
    }
    let n: usize = counts.iter().map(|&count| count as usize).sum();
    if n == 0 {
        return Err(Fault::Nothing);
    }
    let ranks: Vec<f64> = percents.iter().map(|percent| percent / 100.0 * (n - 1) as f64).collect();
    let mut wanted: Vec<usize> =
        ranks.iter().flat_map(|rank| [rank.floor() as usize, rank.ceil() as usize]).collect();
    wanted.sort_unstable();
    wanted.dedup();

    // The bins that hold a wanted rank, and how many values lie below each.
    let mut slot_of_bin = vec![UNWANTED; BINS];
    let mut slots: Vec<(usize, Vec<f32>)> = Vec::new();
    let mut below = 0;
    let mut next = wanted.iter().peekable();
    for (bin, &count) in counts.iter().enumerate() {
        let end = below + count as usize;
        if next.peek().is_some_and(|&&rank| rank < end) {
            slot_of_bin[bin] = slots.len() as u16;
            slots.push((below, Vec::with_capacity(count as usize)));
            while next.next_if(|&&rank| rank < end).is_some() {}
        }
        below = end;
    }
    for value in values() {
        let slot = slot_of_bin[bin(value)];
        if slot != UNWANTED {
            slots[slot as usize].1.push(value);
        }
    }
    for (_, values) in &mut slots {
        values.sort_unstable_by(f32::total_cmp);
    }
    let at_rank = |rank: usize| {
        let slot = slots.partition_point(|(below, _)| *below <= rank) - 1;
        let (below, values) = &slots[slot];
        f64::from(values[rank - below])
    };
    Ok(ranks
        .into_iter()
        .map(|rank| {
            let (low, high) = (at_rank(rank.floor() as usize), at_rank(rank.ceil() as usize));
            low + (high - low) * rank.fract()
        })
        .collect())
}

/// The upper half of a value's bits, turned so that they ascend with the value.
fn bin(value: f32) -> usize {
    let bits = value.to_bits();
    let ascending = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    (ascending >> 16) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use synthct_image::{Grid, PointLps, VoxelIndex};

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    /// Values over many orders of magnitude and of both signs, some of them equal.
    fn sample() -> Result<Volume<f32>, PrepError> {
        let grid = Grid::axis_aligned([13, 11, 7], [1.0, 2.0, 3.0], PointLps::ORIGIN)?;
        Ok(Volume::from_index_fn(&grid, |index| {
            let n = (index.i * 37 + index.j * 101 + index.k * 53) % 199;
            (n as f32 - 60.0) * 1.1_f32.powi((n % 90) as i32)
        }))
    }

    /// The plain way: all values sorted.
    fn by_sorting(mut values: Vec<f32>, percents: &[f64]) -> Vec<f64> {
        values.sort_unstable_by(f32::total_cmp);
        let at = |percent: f64| {
            let rank = percent / 100.0 * (values.len() - 1) as f64;
            let [low, high] = [rank.floor(), rank.ceil()].map(|r| f64::from(values[r as usize]));
            low + (high - low) * (rank - rank.floor())
        };
        percents.iter().map(|&percent| at(percent)).collect()
    }

    #[test]
    fn they_are_those_of_the_sorted_values() -> TestResult {
        let volume = sample()?;
        let percents = [0.0, 0.05, 1.0, 10.0, 33.3, 50.0, 50.1, 90.0, 99.0, 99.99, 100.0];
        let above: Vec<f32> = volume.as_slice().iter().copied().filter(|&value| value > 0.0).collect();
        assert_eq!(percentiles(&volume, None, &percents, "a test")?, by_sorting(above, &percents));
        let mask = Mask::new(Volume::from_index_fn(volume.grid(), |index| index.i != 3));
        let inside = std::iter::zip(volume.as_slice(), mask.as_slice());
        let inside: Vec<f32> = inside.filter(|(_, is_in)| **is_in).map(|(&value, _)| value).collect();
        assert_eq!(percentiles(&volume, Some(&mask), &percents, "a test")?, by_sorting(inside, &percents));
        let unsorted = percentiles(&volume, None, &[90.0, 10.0], "a test")?;
        assert!(unsorted[0] > unsorted[1], "as asked for, not sorted: {unsorted:?}");
        Ok(())
    }

    #[test]
    fn one_value_is_every_percentile() -> TestResult {
        let mut volume = sample()?.map(|_| -1.0_f32);
        volume[VoxelIndex::new(5, 6, 4)] = 7.5;
        assert_eq!(percentiles(&volume, None, &[0.0, 50.0, 100.0], "a test")?, [7.5; 3]);
        Ok(())
    }

    #[test]
    fn bad_input_is_refused() -> TestResult {
        let mut volume = sample()?;
        let nothing = Mask::full(volume.grid()).complement();
        assert!(matches!(percentiles(&volume, Some(&nothing), &[1.0], "a test"), Err(PrepError::EmptyMask)));
        let negative = volume.map(|_| -1.0_f32);
        let refused = percentiles(&negative, None, &[1.0], "a test");
        assert!(matches!(refused, Err(PrepError::NothingAboveZero { .. })));
        let elsewhere = Mask::full(&Grid::axis_aligned([13, 11, 7], [1.0; 3], PointLps::ORIGIN)?);
        assert!(matches!(percentiles(&volume, Some(&elsewhere), &[1.0], "a test"), Err(PrepError::Image(_))));
        let all = Mask::full(volume.grid());
        volume[VoxelIndex::new(2, 1, 3)] = f32::NAN;
        assert!(percentiles(&volume, None, &[1.0], "a test").is_ok(), "NaN is not above zero");
        let refused = percentiles(&volume, Some(&all), &[1.0], "a test");
        assert!(matches!(refused, Err(PrepError::NotFinite { index_kji: [3, 1, 2], .. })));
        volume[VoxelIndex::new(2, 1, 3)] = f32::INFINITY;
        let refused = percentiles(&volume, None, &[1.0], "a test");
        assert!(matches!(refused, Err(PrepError::NotFinite { index_kji: [3, 1, 2], .. })));
        Ok(())
    }
}
