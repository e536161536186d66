//! What the line tells while it runs.

use std::ops::ControlFlow;

use synthct_model::TrainEvent;

/// Receives progress; every method has a default that ignores it.
pub trait Observer {
    /// A named stage begins, of which `n_parts` parts will be reported, or none if that is not known.
    fn stage(&mut self, name: &str, n_parts: Option<usize>) {
        let _ = (name, n_parts);
    }

    /// Some parts of the stage are done; breaking stops the line where it can be taken up again.
    fn done(&mut self, n_parts: usize) -> ControlFlow<()> {
        let _ = n_parts;
        ControlFlow::Continue(())
    }

    /// What is going on within a part, for a line that is soon written over.
    fn doing(&mut self, what: &str) {
        let _ = what;
    }

    /// Something to know that should stay on the screen.
    fn note(&mut self, line: &str) {
        let _ = line;
    }

    /// Training news; breaking stops the training where it can be taken up again.
    fn training(&mut self, event: &TrainEvent) -> ControlFlow<()> {
        let _ = event;
        ControlFlow::Continue(())
    }
}

/// Nobody is listening.
impl Observer for () {}
