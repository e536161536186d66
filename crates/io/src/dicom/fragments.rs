//! Which fragments of encapsulated pixel data make up which frame (PS3.5 section A.4).

use std::ops::Range;

/// The fragments of each frame.
///
/// `starts` has the position of each fragment's item, counted from the first one's, and `first_bytes` what it begins with.
/// `offsets` is the offset table, basic or extended, and empty if there is none; without it either each frame has one
/// fragment, or the streams' own start marker tells.
pub(super) fn of_frames(
    starts: &[u64],
    offsets: &[u64],
    n_frames: usize,
    begins_a_frame: impl Fn(usize) -> bool,
) -> Result<Vec<Range<usize>>, String> {
    let n_fragments = starts.len();
    if n_fragments == 0 {
        return Err("its pixel data has no fragments".to_owned());
    }
    let first_fragments: Vec<usize> = if n_frames == 1 {
        vec![0]
    } else if n_fragments == n_frames {
        (0..n_frames).collect()
    } else if offsets.len() == n_frames {
        let place = |offset| {
            starts
                .binary_search(offset)
                .map_err(|_| format!("its offset table names byte {offset}, where no fragment starts"))
        };
        offsets.iter().map(place).collect::<Result<_, _>>()?
    } else {
        (0..n_fragments).filter(|&fragment| begins_a_frame(fragment)).collect()
    };
    let is_in_order =
        first_fragments.first() == Some(&0) && first_fragments.is_sorted_by(|left, right| left < right);
    if first_fragments.len() != n_frames || !is_in_order {
        return Err(format!(
            "its {n_fragments} fragments of pixel data cannot be assigned to {n_frames} frames"
        ));
    }
    let ends = first_fragments.iter().copied().skip(1).chain([n_fragments]);
    Ok(std::iter::zip(first_fragments.iter().copied(), ends).map(|(start, end)| start..end).collect())
}

#[cfg(test)]
mod tests {
    use super::of_frames;

    #[track_caller]
    fn check(offsets: &[u64], n_frames: usize, beginnings: &[usize], expected: Result<&[[usize; 2]], &str>) {
        let found = of_frames(&[0, 10, 30, 60], offsets, n_frames, |n| beginnings.contains(&n));
        match (found, expected) {
            (Ok(ranges), Ok(expected)) => {
                let expected: Vec<_> = expected.iter().map(|&[start, end]| start..end).collect();
                assert_eq!(ranges, expected);
            }
            (Err(error), Err(what)) => assert!(error.contains(what), "{error}"),
            (found, _) => panic!("{found:?}"),
        }
    }

    #[test]
    fn fragments_are_assigned_by_number_table_or_marker() {
        check(&[], 1, &[], Ok(&[[0, 4]]));
        check(&[], 4, &[], Ok(&[[0, 1], [1, 2], [2, 3], [3, 4]]));
        check(&[0, 30], 2, &[], Ok(&[[0, 2], [2, 4]]));
        check(&[], 3, &[0, 1, 3], Ok(&[[0, 1], [1, 3], [3, 4]]));
        check(&[0, 31], 2, &[], Err("names byte 31"));
        check(&[30, 0], 2, &[], Err("cannot be assigned"));
        check(&[], 3, &[0, 1], Err("4 fragments of pixel data cannot be assigned to 3 frames"));
        check(&[], 5, &[0], Err("cannot be assigned"));
    }
}
