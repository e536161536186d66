//! Buffers that outlive the operation that used them: fresh memory costs more than filling it.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// Buffers that a thread keeps for its next operations; a backward pass has four alive at once.
const MAX_KEPT: usize = 4;
/// Bytes of a cache line: a buffer begins on one, so that no vector of an aligned row crosses two.
pub(crate) const LINE: usize = 64;
/// Values of a cache line.
const LINE_VALUES: usize = LINE / size_of::<f32>();

thread_local! {
    static KEPT: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer whose values are whatever its last user left; given back to the thread when dropped.
pub(crate) struct Scratch {
    values: Vec<f32>,
    /// Where the first cache line begins.
    start: usize,
    len: usize,
}

impl Scratch {
    /// A buffer of `len` values.
    pub(crate) fn new(len: usize) -> Self {
        let needed = len + LINE_VALUES;
        let kept = KEPT.with_borrow_mut(|kept| {
            // They are ordered by length, so this is the smallest that is large enough.
            let idx = kept.partition_point(|buffer| buffer.len() < needed);
            if idx < kept.len() { Some(kept.remove(idx)) } else { None }
        });
        let values = kept.unwrap_or_else(|| vec![0.0; needed]);
        let start = values.as_ptr().align_offset(LINE).min(LINE_VALUES);
        Self { values, start, len }
    }
}

impl Deref for Scratch {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[self.start..self.start + self.len]
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[self.start..self.start + self.len]
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.values);
        KEPT.with_borrow_mut(|kept| {
            let idx = kept.partition_point(|other| other.len() < buffer.len());
            kept.insert(idx, buffer);
            if kept.len() > MAX_KEPT {
                kept.remove(0);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_and_the_smallest_that_fits_is_taken() {
        let [large, small] = [Scratch::new(1000), Scratch::new(100)];
        let [large_at, small_at] = [large.as_ptr(), small.as_ptr()];
        assert_eq!([large_at, small_at].map(|at| at.align_offset(LINE)), [0; 2]);
        drop((large, small));
        let again = Scratch::new(50);
        assert_eq!((again.as_ptr(), again.len()), (small_at, 50));
        assert_eq!(Scratch::new(101).as_ptr(), large_at);
    }
}
