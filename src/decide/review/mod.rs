//! The review of a change to an object, in two pure steps: `scope` says what must be read afresh
//! before a verdict is safe, `judge` answers from a snapshot that has it (spec, section 5).

mod code;
pub mod network_config;

use crate::cluster::{Kind, Name, ObjectRef};

pub use code::Code;

/// What a request does to an object.
#[derive(Clone, Debug)]
pub enum Write<T> {
    /// Makes it.
    Create(T),
    /// Replaces the old one.
    Update {
        /// As it is now.
        old: T,
        /// As it would be.
        new: T,
    },
    /// Deletes it.
    Delete(T),
}

/// What must be read afresh before a verdict is safe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// The hosts whose running VMs matter.
    pub running_vms_on: Vec<Name>,
    /// Objects that the change speaks of and that are unknown here.
    pub unknown: Vec<ObjectRef>,
}

/// What there is to say about a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Judgement {
    /// The rules that it breaks, in the order of the spec's table; none admits it.
    pub violations: Vec<Violation>,
    /// What its author should know, though nothing forbids it.
    pub warnings: Vec<String>,
}

impl Judgement {
    /// Whether the change may pass.
    #[must_use]
    pub fn admitted(&self) -> bool {
        self.violations.is_empty()
    }

    /// Whether each violation is a fault of the object alone, whatever else the cluster holds.
    #[must_use]
    pub fn faults_of_the_object_alone(&self) -> bool {
        self.violations.iter().all(|violation| violation.of_the_object_alone)
    }

    /// All violations, one line each: `code: text`.
    #[must_use]
    pub fn message(&self) -> String {
        let lines: Vec<String> = self
            .violations
            .iter()
            .map(|violation| format!("{}: {}", violation.code, violation.message))
            .collect();
        lines.join("\n")
    }
}

impl Judgement {
    /// Refuses an object that can't be read, and so not judged.
    pub fn unreadable(kind: Kind, why: &str) -> Self {
        let violation = Violation {
            code: Code::Unreadable,
            field: None,
            message: format!("this {} can't be read: {why}", kind.kubernetes()),
            of_the_object_alone: true,
        };
        Self { violations: vec![violation], warnings: Vec::new() }
    }
}

/// A rule that a change breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub code: Code,
    /// The path of the field that breaks it, if it is one field.
    pub field: Option<&'static str>,
    /// What is wrong, and the objects to act on.
    pub message: String,
    /// Whether the object is at fault whatever else the cluster holds.
    pub of_the_object_alone: bool,
}
