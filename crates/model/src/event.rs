//! What a training tells while it runs.

use std::ops::ControlFlow;

/// Watches a training and may stop it.
///
/// Any closure `FnMut(&TrainEvent) -> ControlFlow<()>` is one.
pub trait TrainObserver {
    /// Takes note of an event; [`ControlFlow::Break`] stops the training and leaves a run that can be resumed.
    fn on_event(&mut self, event: &TrainEvent) -> ControlFlow<()>;
}

impl<F: FnMut(&TrainEvent) -> ControlFlow<()>> TrainObserver for F {
    fn on_event(&mut self, event: &TrainEvent) -> ControlFlow<()> {
        self(event)
    }
}

/// Watches nothing and never stops.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl TrainObserver for Unobserved {
    fn on_event(&mut self, _event: &TrainEvent) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// A moment of a training; epochs and steps are counted from 1.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TrainEvent {
    /// A case was brought onto the model grid.
    CasePrepared {
        /// The number of cases that are ready.
        n_ready: usize,
        /// The number of all cases.
        n_cases: usize,
        /// The case's identifier.
        id: String,
    },
    /// Everything is ready for the first step.
    Started {
        /// The number of epochs of the whole training.
        n_epochs: usize,
        /// The number of steps of an epoch.
        n_steps_per_epoch: usize,
        /// The number of steps that were made before a resumption.
        n_steps_done: usize,
        /// The number of values that are learned.
        n_parameters: usize,
        /// The number of training slices.
        n_train_slices: usize,
        /// The number of validation slices.
        n_validation_slices: usize,
        /// What it computes on, for instance `cpu, avx512-bf16, f32`.
        computed_on: String,
    },
    /// A step was made.
    Step {
        /// The epoch.
        epoch: usize,
        /// The step of the epoch.
        step: usize,
        /// The number of steps of the epoch.
        n_steps: usize,
        /// The batch's losses.
        losses: LossTerms,
    },
    /// An epoch ended with a look at the validation cases.
    EpochEnd {
        /// The epoch.
        epoch: usize,
        /// The number of epochs of the whole training.
        n_epochs: usize,
        /// The losses of the epoch's batches, averaged over slices.
        train: LossTerms,
        /// The losses of the validation slices after the epoch.
        validation: LossTerms,
        /// The best epoch so far.
        best_epoch: usize,
        /// Its validation loss, of those that epochs are compared by.
        best_validation_loss: f64,
    },
    /// The package is written.
    Finished,
}

/// The combined loss and its terms.
#[derive(Clone, Debug, PartialEq)]
pub struct LossTerms {
    /// The combined loss: what is minimized; of a pix2pix pair the generator's.
    pub total: f64,
    /// Each task's loss by name, without its weight: `body` or `whole` (MAE in units of 1000 HU), `bone_hu` (the same),
    /// `bone_mask` (Dice loss); with learnt weights each task's `log_variance_…`; of a pix2pix pair `l1` (images from −1 to
    /// 1), `adversarial` and `discriminator` (cross entropies).
    pub terms: Vec<(&'static str, f64)>,
}
