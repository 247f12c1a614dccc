//! Tells a person who waits at a terminal what is being done. Elsewhere nothing is printed.

use std::time::Duration;

use indicatif::ProgressBar;

/// The time between two moves of the sign of life.
const TICK: Duration = Duration::from_millis(100);

/// A line on standard error, if that is a terminal. It is cleared on drop.
pub struct Progress(ProgressBar);

impl Progress {
    /// Begins with what is being done.
    #[must_use]
    pub fn begin(what: &str) -> Self {
        let bar = ProgressBar::new_spinner().with_message(what.to_owned());
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    /// Tells what is being done now.
    pub fn now(&self, what: String) {
        self.0.set_message(what);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
