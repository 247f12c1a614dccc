//! What is wrong with what we were given, in words for an administrator.

use super::names::{Name, ObjectRef};

/// Something wrong with an object, or with the place it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The object, if the problem is one object's.
    pub object: Option<ObjectRef>,
    /// What is wrong, where, and what to do.
    pub message: Name,
}
