//! Problems with the objects or files that we read, in words for an administrator.

use super::names::{Name, ObjectRef};

/// A problem with an object, or with the place that objects come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The object, if the problem concerns a single one.
    pub object: Option<ObjectRef>,
    /// What is wrong, where, and what to do.
    pub message: Name,
}
