//! `lanekeeper check`: everything that is wrong now (docs/reference.md, "Commands").

use crate::source::{Once, OnceError};
use crate::view::{Form, Report, WriteError};

/// The output, and what the exit status depends on.
pub struct Checked {
    /// For standard output.
    pub text: String,
    /// Whether nothing is wrong.
    pub clean: bool,
}

/// Why the cluster can't be checked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source can't be read.
    #[error(transparent)]
    Unreadable(#[from] OnceError),
    /// The answer can't be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Reads the source once and looks for everything that is wrong.
///
/// # Errors
/// If the source can't be read, or the answer can't be written.
pub fn check(mut source: Once, form: Form) -> Result<Checked, Error> {
    let report = Report::of(&source.snapshot()?);
    Ok(Checked { text: form.write(&report, Report::table)?, clean: report.is_clean() })
}
