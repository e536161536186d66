//! How the learning rate changes with the epochs.

use serde::{Deserialize, Serialize};

/// A factor of the learning rate for each epoch, a function of the epoch alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum LearningRateSchedule {
    /// The same in all epochs.
    #[default]
    Constant,
    /// From 1 in the first epoch along half a cosine to `final_factor` in the last one (Loshchilov and Hutter 2017,
    /// arXiv:1608.03983, without restarts).
    Cosine {
        /// The factor of the last epoch, in [0, 1].
        final_factor: f64,
    },
    /// 1 before the epoch `from_epoch`, counted from 1, and from there in equal steps towards 0, which it would reach after
    /// the last epoch (Isola et al. 2017, arXiv:1611.07004, as published code has it).
    Linear {
        /// The first epoch with a smaller rate.
        from_epoch: usize,
    },
}

impl LearningRateSchedule {
    /// Whether the settings can be used.
    pub(crate) fn is_usable(&self, n_epochs: usize) -> bool {
        match *self {
            Self::Constant => true,
            Self::Cosine { final_factor } => (0.0..=1.0).contains(&final_factor),
            Self::Linear { from_epoch } => (1..=n_epochs).contains(&from_epoch),
        }
    }

    /// The factor in an epoch, counted from 1.
    pub fn factor(&self, epoch: usize, n_epochs: usize) -> f64 {
        match *self {
            Self::Constant => 1.0,
            Self::Cosine { final_factor } => {
                let share = (epoch - 1) as f64 / (n_epochs.max(2) - 1) as f64;
                let fallen = 0.5 - 0.5 * (std::f64::consts::PI * share).cos();
                1.0 + fallen * (final_factor - 1.0)
            }
            Self::Linear { from_epoch } => {
                let n_small = (n_epochs + 1 - from_epoch) as f64;
                ((n_epochs + 1 - epoch) as f64 / (n_small + 1.0)).min(1.0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(schedule: LearningRateSchedule, n_epochs: usize, expected: &[(usize, f64)]) {
        for &(epoch, factor) in expected {
            let found = schedule.factor(epoch, n_epochs);
            assert!((found - factor).abs() < 1e-12, "{schedule:?}, epoch {epoch}: {found}");
        }
    }

    #[test]
    fn factors_are_as_defined() {
        check(LearningRateSchedule::Constant, 9, &[(1, 1.0), (9, 1.0)]);
        let cosine = LearningRateSchedule::Cosine { final_factor: 0.2 };
        check(cosine, 5, &[(1, 1.0), (2, 1.0 - 0.8 * (0.5 - 0.5 * 0.5_f64.sqrt())), (3, 0.6), (5, 0.2)]);
        check(cosine, 1, &[(1, 1.0)]);
        check(
            LearningRateSchedule::Linear { from_epoch: 3 },
            6,
            &[(1, 1.0), (2, 1.0), (3, 0.8), (4, 0.6), (5, 0.4), (6, 0.2)],
        );
    }

    #[test]
    fn bad_settings_are_told() {
        assert!(!LearningRateSchedule::Cosine { final_factor: -0.1 }.is_usable(3));
        assert!(!LearningRateSchedule::Linear { from_epoch: 4 }.is_usable(3));
        assert!(LearningRateSchedule::Linear { from_epoch: 3 }.is_usable(3));
    }
}
