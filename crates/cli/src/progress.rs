//! Progress bars and the log, both on stderr.

use std::io::IsTerminal as _;
use std::ops::ControlFlow;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use sct::model::{PredictProgress, TrainEvent, TrainObserver};
use sct::pipeline::{DoseProgress, DoseSettings, Observer};
use tracing_subscriber::filter::LevelFilter;

/// What the user wants to see on stderr.
pub(crate) struct Ui {
    quiet: bool,
    bars: bool,
}

impl Ui {
    /// Sets up the log and decides about bars: none without a terminal.
    pub(crate) fn new(quiet: bool, no_progress: bool, verbose: u8) -> Self {
        let level = match (quiet, verbose) {
            (true, _) => LevelFilter::ERROR,
            (false, 0) => LevelFilter::WARN,
            (false, 1) => LevelFilter::INFO,
            (false, _) => LevelFilter::DEBUG,
        };
        let terminal = std::io::stderr().is_terminal();
        tracing_subscriber::fmt()
            .with_max_level(level)
            .with_writer(std::io::stderr)
            .with_ansi(terminal && std::env::var_os("NO_COLOR").is_none())
            .with_target(false)
            .without_time()
            .init();
        Self { quiet, bars: !quiet && !no_progress && terminal }
    }

    /// A line for the user.
    #[expect(clippy::print_stderr, reason = "the user's log")]
    pub(crate) fn say(&self, line: &str) {
        if !self.quiet {
            eprintln!("{line}");
        }
    }

    /// Runs something short whose length is not known.
    pub(crate) fn spin<T>(&self, what: &str, run: impl FnOnce() -> T) -> T {
        let bar = self.bar(what, None);
        bar.enable_steady_tick(Duration::from_millis(100));
        let result = run();
        bar.finish_and_clear();
        result
    }

    /// Runs what computes doses, with a bar once Monte Carlo says how far it is.
    pub(crate) fn dose<T>(
        &self,
        what: &str,
        settings: &DoseSettings,
        run: impl FnOnce(&DoseSettings) -> T,
    ) -> T {
        let bar = self.bar(what, None);
        bar.enable_steady_tick(Duration::from_millis(100));
        let shown = bar.clone();
        let progress = DoseProgress::new(move |progress| {
            if shown.length().is_none() {
                shown.set_style(steps_style());
            }
            shown.set_length(progress.n_expected);
            shown.set_position(progress.n_done);
            shown.set_message(format!("noise {:.2} %", progress.uncertainty_percent));
        });
        let result = run(&DoseSettings { progress, ..settings.clone() });
        bar.finish_and_clear();
        result
    }

    /// A bar for something with about so many steps.
    pub(crate) fn steps(&self, what: &str, n_steps: u64) -> Steps {
        Steps { bar: self.bar(what, Some(n_steps)) }
    }

    fn bar(&self, what: &str, length: Option<u64>) -> ProgressBar {
        if !self.bars {
            return ProgressBar::hidden();
        }
        let bar = match length {
            Some(length) => ProgressBar::new(length).with_style(steps_style()),
            None => ProgressBar::new_spinner().with_style(style("{prefix} {spinner} {msg}")),
        };
        bar.set_prefix(what.to_owned());
        bar
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("because the template is a constant")
}

/// How something looks whose number of steps is known.
fn steps_style() -> ProgressStyle {
    style("{prefix} {wide_bar} {pos}/{len}  {msg}  {elapsed} gone, {eta} left")
}

/// The bar of one step of work, cleared when it is dropped.
pub(crate) struct Steps {
    bar: ProgressBar,
}

impl Steps {
    /// Shows how far it is, and a few words.
    pub(crate) fn at(&mut self, n_done: u64, what: &str) {
        self.bar.set_position(n_done);
        self.bar.set_message(what.to_owned());
    }

    /// Sets how many steps there are.
    pub(crate) fn of(&mut self, n_steps: u64) {
        self.bar.set_length(n_steps);
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The bars of a line with several stages, trainings among them.
///
/// Without a terminal it writes a line a stage and a line an epoch instead.
pub(crate) struct StageBars<'a> {
    ui: &'a Ui,
    stage: String,
    bar: ProgressBar,
    last_best: Option<usize>,
}

impl<'a> StageBars<'a> {
    pub(crate) fn new(ui: &'a Ui) -> Self {
        Self { ui, stage: String::new(), bar: ProgressBar::hidden(), last_best: None }
    }

    /// Shows how far a prediction is.
    pub(crate) fn predicting(&mut self, progress: PredictProgress) -> ControlFlow<()> {
        if self.bar.length() != Some(progress.n_slices as u64) {
            self.bar = self.ui.bar(&self.stage, Some(progress.n_slices as u64));
        }
        self.bar.set_position(progress.n_done as u64);
        ControlFlow::Continue(())
    }

    fn line(&self, line: &str) {
        if self.ui.bars {
            self.bar.println(line);
        } else {
            self.ui.say(line);
        }
    }
}

impl Drop for StageBars<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Observer for StageBars<'_> {
    fn stage(&mut self, name: &str, n_parts: Option<usize>) {
        self.bar.finish_and_clear();
        name.clone_into(&mut self.stage);
        self.bar = self.ui.bar(name, n_parts.map(|n| n as u64));
        self.last_best = None;
        if !self.ui.bars {
            self.ui.say(name);
        }
    }

    fn done(&mut self, n_parts: usize) -> ControlFlow<()> {
        self.bar.inc(n_parts as u64);
        ControlFlow::Continue(())
    }

    fn doing(&mut self, what: &str) {
        self.bar.set_message(what.to_owned());
        self.bar.tick();
    }

    fn note(&mut self, line: &str) {
        self.line(line);
    }

    fn training(&mut self, event: &TrainEvent) -> ControlFlow<()> {
        match event {
            TrainEvent::CasePrepared { n_ready, n_cases, id } => {
                self.bar.set_message(format!("preparing {id} ({n_ready}/{n_cases})"));
                self.bar.tick();
            }
            TrainEvent::Started {
                n_epochs,
                n_steps_per_epoch,
                n_steps_done,
                n_parameters,
                n_train_slices,
                n_validation_slices,
                computed_on,
            } => {
                self.bar.finish_and_clear();
                self.bar = self.ui.bar(&self.stage, Some((n_epochs * n_steps_per_epoch) as u64));
                self.bar.set_position(*n_steps_done as u64);
                // The time left is that of the steps still to be made, not of those made before.
                self.bar.reset_eta();
                self.line(&format!(
                    "{n_parameters} weights, {n_train_slices} training and {n_validation_slices} validation slices, \
                     {n_epochs} epochs of {n_steps_per_epoch} steps, computed on {computed_on}{}",
                    if *n_steps_done > 0 { format!(", resuming after step {n_steps_done}") } else { String::new() }
                ));
            }
            TrainEvent::Step { epoch, losses, .. } => {
                self.bar.inc(1);
                self.bar.set_message(format!("epoch {epoch}, loss {:.4}", losses.total));
            }
            TrainEvent::EpochEnd { epoch, n_epochs, train, validation, best_epoch, .. } => {
                let is_best = self.last_best.replace(*best_epoch) != Some(*best_epoch);
                self.line(&format!(
                    "epoch {epoch:>3}/{n_epochs}  training loss {:.4}  validation loss {:.4}{}",
                    train.total,
                    validation.total,
                    if is_best { "  best so far" } else { "" }
                ));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

impl TrainObserver for StageBars<'_> {
    fn on_event(&mut self, event: &TrainEvent) -> ControlFlow<()> {
        self.training(event)
    }
}
