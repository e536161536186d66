//! The taps of a convolution kernel: which neighbor each weight looks at.

/// One weight's place in the kernel and in the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tap {
    /// Index into the kernel, row by row.
    pub(crate) index: usize,
    /// Rows from the output to the input pixel.
    pub(crate) dy: isize,
    /// Columns from the output to the input pixel.
    pub(crate) dx: isize,
}

/// The taps that can touch an image of `height` × `width`, row by row; the others only ever see zeros.
///
/// `kernel` is `[height, width]`, both odd; the padding is "same". Reflected, the taps are those of the
/// convolution's transpose, which is the gradient with respect to the input.
pub(crate) fn taps(kernel: [usize; 2], dilation: usize, size: [usize; 2], reflected: bool) -> Vec<Tap> {
    let dilation = isize::try_from(dilation).unwrap_or(isize::MAX);
    let offset =
        |position: usize, length: usize| (position as isize - (length / 2) as isize).saturating_mul(dilation);
    let mut taps = Vec::with_capacity(kernel[0] * kernel[1]);
    for row in 0..kernel[0] {
        for column in 0..kernel[1] {
            let (dy, dx) = (offset(row, kernel[0]), offset(column, kernel[1]));
            if dy.unsigned_abs() < size[0] && dx.unsigned_abs() < size[1] {
                let place = row * kernel[1] + column;
                let index = if reflected { kernel[0] * kernel[1] - 1 - place } else { place };
                taps.push(Tap { index, dy, dx });
            }
        }
    }
    taps
}

/// The zeros a row needs on either side for these taps.
pub(crate) fn margin(taps: &[Tap]) -> usize {
    taps.iter().map(|tap| tap.dx.unsigned_abs()).max().unwrap_or(0)
}

/// The rows `y` of an image of `height` for which row `y + dy` exists.
pub(crate) fn valid_rows(dy: isize, height: usize) -> std::ops::Range<usize> {
    let first = (-dy).max(0) as usize;
    first..height.saturating_sub(dy.max(0) as usize).max(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_beyond_the_image_are_left_out() {
        assert_eq!(taps([5, 5], 8, [96, 80], false).len(), 25);
        assert_eq!(taps([5, 5], 8, [9, 17], false).len(), 3 * 5);
        let single = taps([5, 5], 8, [1, 1], false);
        assert_eq!(single, [Tap { index: 12, dy: 0, dx: 0 }]);
        assert_eq!(margin(&taps([3, 3], 8, [9, 9], false)), 8);
        for dilation in [usize::MAX / 2, usize::MAX] {
            assert_eq!(taps([3, 3], dilation, [9, 9], false).len(), 1, "dilation {dilation}");
        }
    }

    #[test]
    fn reflection_swaps_opposite_weights() {
        let plain = taps([3, 3], 1, [8, 8], false);
        let reflected = taps([3, 3], 1, [8, 8], true);
        for (a, b) in plain.iter().zip(&reflected) {
            assert_eq!((a.dy, a.dx), (b.dy, b.dx));
            assert_eq!(a.index + b.index, 8);
        }
    }

    #[test]
    fn rows_without_a_neighbor_are_not_valid() {
        assert_eq!(valid_rows(-2, 5), 2..5);
        assert_eq!(valid_rows(3, 5), 0..2);
        assert_eq!(valid_rows(0, 5), 0..5);
    }
}
