//! A judgement: the violations and warnings of a change.

use std::borrow::Cow;

use crate::cluster::Kind;

use super::code::Code;

/// The most characters of a message. Twenty of the longest names fit.
const MAX_MESSAGE: usize = 16 << 10;

/// The violations and warnings of a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Judgement {
    /// The violations, in the order of [`Code::ALL`]. The change is admitted if there are none.
    pub violations: Vec<Violation>,
    /// What the author of the change should know although no rule refuses it.
    pub warnings: Vec<String>,
}

/// A violation of a rule by a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The rule.
    pub code: Code,
    /// The path of the field at fault, if it is a single field.
    pub field: Option<Cow<'static, str>>,
    /// What is wrong, and the objects to act on.
    pub message: String,
    /// Whether the object is at fault whatever else the cluster holds.
    pub of_the_object_alone: bool,
}

impl Judgement {
    /// The denial of an object that can't be read and therefore can't be judged.
    pub fn unreadable(kind: Kind, why: &str) -> Self {
        // The reason begins with the path of the field, if a field is at fault.
        let path = why.split_once(": ").map(|(path, _)| path);
        let is_path = |path: &&str| {
            ["metadata", "spec", "status"].iter().any(|part| path.starts_with(part))
                && !path.contains(char::is_whitespace)
        };
        let violation = Violation {
            code: Code::Unreadable,
            field: path.filter(is_path).map(|path| path.to_owned().into()),
            message: format!("this {} can't be read: {why}", kind.kubernetes()),
            of_the_object_alone: true,
        };
        Self { violations: vec![violation], warnings: Vec::new() }
    }

    /// Adds a violation, or its message as a warning unless the violation is `denied`.
    pub(super) fn add(&mut self, violation: Violation, denied: bool) {
        if denied {
            self.violations.push(violation);
        } else {
            self.warnings.push(violation.message);
        }
    }

    /// Bounds each message.
    pub(super) fn bound(&mut self) {
        let violations = self.violations.iter_mut().map(|violation| &mut violation.message);
        for message in violations.chain(&mut self.warnings) {
            bound(message);
        }
    }

    /// Returns whether the change is admitted.
    #[must_use]
    pub fn admitted(&self) -> bool {
        self.violations.is_empty()
    }

    /// Returns whether each violation is a fault of the object alone, whatever else the cluster
    /// holds.
    #[must_use]
    pub fn faults_of_the_object_alone(&self) -> bool {
        self.violations.iter().all(|violation| violation.of_the_object_alone)
    }

    /// The codes of all violations.
    #[must_use]
    pub fn codes(&self) -> Vec<&'static str> {
        self.violations.iter().map(|violation| violation.code.as_str()).collect()
    }

    /// All violations, one per line.
    #[must_use]
    pub fn message(&self) -> String {
        let lines: Vec<String> =
            self.violations.iter().map(|it| format!("{}: {}", it.code, it.message)).collect();
        lines.join("\n")
    }
}

/// Brings a message to one line of bounded length, whatever the texts that it repeats hold.
pub(in crate::decide) fn bound(message: &mut String) {
    if message.contains(char::is_control) {
        let escape = |c: char| {
            if c.is_control() { c.escape_debug().to_string() } else { c.to_string() }
        };
        *message = message.chars().map(escape).collect();
    }
    if let Some((end, _)) = message.char_indices().nth(MAX_MESSAGE) {
        message.truncate(end);
        message.push('…');
    }
}
