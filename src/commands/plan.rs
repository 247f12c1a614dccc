//! `lanekeeper plan`: says what a change would do (docs/reference.md, "Commands").

use std::collections::BTreeMap;
use std::path::Path;

use crate::cluster::{Kind, Problem, ProblemKind};
use crate::source::{Once, OnceError, Unreadable, objects_in};
use crate::view::plan::{Mode, PlanView, Proposed, Unjudged};
use crate::view::{Form, WriteError};

/// What a source without hosts leaves open.
const NO_HOST: &str = "no host is known: the source has no Node that can be read. So nothing is said of \
                       hosts, nor of running VMs that would be cut off";

/// The output, and what the exit status depends on.
pub struct Plan {
    /// For standard output.
    pub text: String,
    /// Whether no rule refuses the change.
    pub admitted: bool,
    /// Problems of the source. The plan may lack what these objects say.
    pub problems: Vec<Problem>,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source can't be read.
    #[error(transparent)]
    Source(#[from] OnceError),
    /// The file can't be read.
    #[error(transparent)]
    File(#[from] Unreadable),
    /// The file holds no object.
    #[error("{0} {why}", why = Unjudged::Empty)]
    Empty(String),
    /// The objects of the file can't be judged.
    #[error("{0}: {1}")]
    Object(String, Unjudged),
    /// The answer can't be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Judges the change in a file and computes its effects.
///
/// # Errors
/// If the source or the file can't be read.
pub fn plan(file: &Path, mut source: Once, mode: &Mode, form: Form) -> Result<Plan, Error> {
    let before = source.snapshot()?;
    let shown = || file.display().to_string();
    let decoder = source.decoder().clone();
    let proposed = Proposed::read(objects_in(file)?, &decoder).map_err(|why| match why {
        Unjudged::Empty => Error::Empty(shown()),
        why @ Unjudged::Object { .. } => Error::Object(shown(), why),
    })?;
    let mut existing = BTreeMap::new();
    for object in proposed.objects() {
        if let Some(found) = source.object(object)? {
            existing.insert(object.clone(), found);
        }
    }
    let view = proposed.judge(&before, &existing, &decoder, mode);
    let mut problems = before.problems();
    if before.count(Kind::Host) == 0 {
        problems.push(Problem { kind: ProblemKind::Source, object: None, message: NO_HOST.into() });
    }
    Ok(Plan { admitted: view.is_admitted(), text: form.write(&view, PlanView::table)?, problems })
}
