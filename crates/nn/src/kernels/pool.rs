//! Buffers that are used again: fresh memory costs the system more time than many a kernel.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use super::element::{ChannelPair, Half};

/// Values past the end of every buffer, so that a kernel may read whole vectors there.
const SLACK: usize = 64;
/// Bytes of a cache line: buffers begin on one, so that no vector of an aligned row crosses two.
const LINE: usize = 64;
/// A buffer this many times longer than asked for is left for others.
const LARGEST_WASTE: usize = 2;

/// Buffers that were given back, for the next ones of about their length.
///
/// It holds as many buffers as were ever in use at once; where none is long enough, the longest free one makes room for
/// a new one, so that a change of image size does not let the pool grow.
#[derive(Default)]
pub(crate) struct Pool {
    floats: Shelf<f32>,
    pairs: Shelf<ChannelPair>,
    halves: Shelf<Half>,
}

/// Free buffers of one type.
type Shelf<T> = Mutex<Vec<Vec<T>>>;

/// A type that the pool has buffers of.
pub(crate) trait Pooled: Copy + Default + Send + Sync + 'static {
    /// The free buffers of the type.
    fn shelf(pool: &Pool) -> &Shelf<Self>;
}

impl Pooled for f32 {
    fn shelf(pool: &Pool) -> &Shelf<Self> {
        &pool.floats
    }
}

impl Pooled for ChannelPair {
    fn shelf(pool: &Pool) -> &Shelf<Self> {
        &pool.pairs
    }
}

impl Pooled for Half {
    fn shelf(pool: &Pool) -> &Shelf<Self> {
        &pool.halves
    }
}

impl Pool {
    /// A buffer of `len` values, whatever they are.
    pub(crate) fn take<T: Pooled>(self: &Arc<Self>, len: usize) -> Buffer<T> {
        let needed = len + SLACK + LINE / size_of::<T>();
        let fitting = {
            let mut free = T::shelf(self).lock().unwrap_or_else(PoisonError::into_inner);
            let best = (0..free.len())
                .filter(|&idx| free[idx].len() >= needed && free[idx].len() <= LARGEST_WASTE * needed)
                .min_by_key(|&idx| free[idx].len());
            if let Some(idx) = best {
                Some(free.swap_remove(idx))
            } else {
                let too_short = (0..free.len()).filter(|&idx| free[idx].len() < needed);
                if let Some(idx) = too_short.max_by_key(|&idx| free[idx].len())
                    && LARGEST_WASTE * free[idx].len() > needed
                {
                    free.swap_remove(idx);
                }
                None
            }
        };
        let values = fitting.unwrap_or_else(|| vec![T::default(); needed]);
        let start = values.as_ptr().align_offset(LINE).min(LINE / size_of::<T>());
        Buffer { values, start, len, pool: Arc::clone(self) }
    }
}

/// A buffer that goes back to its pool.
pub(crate) struct Buffer<T: Pooled> {
    values: Vec<T>,
    start: usize,
    len: usize,
    pool: Arc<Pool>,
}

impl<T: Pooled> Buffer<T> {
    /// The values and what lies past them, for kernels that read whole vectors.
    pub(crate) fn with_slack(&self) -> &[T] {
        &self.values[self.start..self.start + self.len + SLACK]
    }
}

impl<T: Pooled> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.values[self.start..self.start + self.len]
    }
}

impl<T: Pooled> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.values[self.start..self.start + self.len]
    }
}

impl<T: Pooled> Drop for Buffer<T> {
    fn drop(&mut self) {
        let mut free = T::shelf(&self.pool).lock().unwrap_or_else(PoisonError::into_inner);
        free.push(std::mem::take(&mut self.values));
    }
}

#[cfg(test)]
impl Pool {
    /// Bytes of all free buffers.
    pub(crate) fn free_bytes(&self) -> usize {
        fn bytes<T: Pooled>(pool: &Pool) -> usize {
            let free = T::shelf(pool).lock().unwrap_or_else(PoisonError::into_inner);
            free.iter().map(|buffer| buffer.len() * size_of::<T>()).sum()
        }
        bytes::<f32>(self) + bytes::<ChannelPair>(self) + bytes::<Half>(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTRA: usize = SLACK + 16;

    fn free(pool: &Pool) -> Vec<usize> {
        let mut lens: Vec<usize> =
            f32::shelf(pool).lock().unwrap_or_else(PoisonError::into_inner).iter().map(Vec::len).collect();
        lens.sort_unstable();
        lens
    }

    #[test]
    fn buffers_are_used_again_and_do_not_pile_up() {
        let pool = Arc::new(Pool::default());
        for len in [1000, 1000, 900, 1500, 1000, 2000] {
            let buffers = [pool.take::<f32>(len), pool.take::<f32>(len)];
            assert!(
                buffers.iter().all(|buffer| buffer.len() == len && buffer.with_slack().len() == len + SLACK)
            );
        }
        assert_eq!(free(&pool), [2000 + EXTRA; 2]);
        drop(pool.take::<f32>(10));
        assert_eq!(
            free(&pool),
            [10 + EXTRA, 2000 + EXTRA, 2000 + EXTRA],
            "a large one is left for large ones"
        );
    }
}
