//! Making the next item while the present one is in use.

use std::ops::{ControlFlow, Range};
use std::sync::mpsc::sync_channel;
use std::thread;

use crate::ModelError;

/// Makes an item for each number of `range` on a thread of its own and hands them to `take` in order, until it breaks.
///
/// While one item is in use the next one is made, and then waits: no more than two exist at a time.
/// `make` must not depend on what `take` does; then the result does not depend on the timing.
///
/// # Errors
/// The first error of `make`, once the items before it are taken, or of `take`.
pub(crate) fn made_ahead<T: Send>(
    range: Range<usize>,
    make: impl Fn(usize) -> Result<T, ModelError> + Send,
    mut take: impl FnMut(usize, T) -> Result<ControlFlow<()>, ModelError>,
) -> Result<ControlFlow<()>, ModelError> {
    thread::scope(|scope| {
        // Without room in the channel: an item that is ready waits in the hands of its maker.
        let (sender, receiver) = sync_channel(0);
        let numbers = range.clone();
        scope.spawn(move || {
            for n in numbers {
                let item = make(n);
                let is_last = item.is_err();
                // Nobody takes any more when the receiver is gone.
                if sender.send(item).is_err() || is_last {
                    break;
                }
            }
        });
        for n in range {
            // The maker is gone early only if it panicked, and the scope passes that on.
            let Ok(item) = receiver.recv() else { break };
            if take(n, item?)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    })
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    #[test]
    fn items_come_in_order_and_the_next_one_is_made_meanwhile() -> Result<(), ModelError> {
        let (made, is_made) = channel();
        let mut taken = Vec::new();
        let make = move |n: usize| {
            // The test may be over when the last one is made.
            let _ = made.send(n);
            Ok(10 * n)
        };
        let outcome = made_ahead(3..7, make, |n, item| {
            taken.push((n, item));
            if n < 6 {
                // Waits until the next item is made: forever, if it were made only after this one is let go.
                while is_made.recv_timeout(Duration::from_mins(1)).expect("the next item is made") != n + 1 {}
            }
            Ok(ControlFlow::Continue(()))
        })?;
        assert!(outcome.is_continue());
        assert_eq!(taken, [(3, 30), (4, 40), (5, 50), (6, 60)]);
        Ok(())
    }

    /// Counts how many of it there are.
    struct Counted<'a>(&'a AtomicUsize);

    impl<'a> Counted<'a> {
        fn new(alive: &'a AtomicUsize, most: &AtomicUsize) -> Self {
            most.fetch_max(alive.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            Self(alive)
        }
    }

    impl Drop for Counted<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn no_more_than_two_items_exist_and_none_is_left() -> Result<(), ModelError> {
        for n_taken in [0, 1, 5, 100] {
            let (alive, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let outcome = made_ahead(
                0..100,
                |_| Ok(Counted::new(&alive, &most)),
                |n, item| {
                    thread::sleep(Duration::from_micros(50));
                    drop(item);
                    Ok(if n == n_taken { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
                },
            )?;
            assert_eq!(outcome.is_break(), n_taken < 100);
            assert!(most.into_inner() <= 2);
            assert_eq!(alive.into_inner(), 0);
        }
        Ok(())
    }

    #[test]
    fn errors_of_both_sides_reach_the_caller() {
        let mut taken = Vec::new();
        let make = |n| if n == 2 { Err(ModelError::Stopped) } else { Ok(n) };
        let made = made_ahead(0..9, make, |n, _| {
            taken.push(n);
            Ok(ControlFlow::Continue(()))
        });
        assert!(matches!(made, Err(ModelError::Stopped)), "{made:?}");
        assert_eq!(taken, [0, 1]);
        let used = made_ahead(0..9, Ok, |n, _| {
            if n == 1 { Err(ModelError::Stopped) } else { Ok(ControlFlow::Continue(())) }
        });
        assert!(matches!(used, Err(ModelError::Stopped)), "{used:?}");
    }

    #[test]
    fn a_panic_of_the_maker_is_passed_on() {
        let make = |n: usize| if n == 1 { panic!("on purpose") } else { Ok(n) };
        let run = || made_ahead(0..9, make, |_, _| Ok(ControlFlow::Continue(())));
        assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
    }
}
