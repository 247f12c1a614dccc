//! A check as a value, and all of them as an answer.

use serde::Serialize;

use crate::view::{self, Tone, cell};

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// Nothing is wrong.
    Ok,
    /// Something is wrong.
    Failed,
    /// There is nothing to check, or another check must pass first.
    Skipped,
    /// The check could not be made.
    Unknown,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "FAILED",
            Self::Skipped => "skipped",
            Self::Unknown => "unknown",
        }
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    /// The check's name, which docs/reference.md explains.
    pub name: &'static str,
    pub status: Status,
    /// What was found.
    pub says: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Check {
    pub fn ok(name: &'static str, says: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, says: says.into(), remedy: None }
    }

    pub fn failed(name: &'static str, says: impl Into<String>, remedy: impl Into<String>) -> Self {
        let remedy = Some(remedy.into());
        Self { name, status: Status::Failed, says: says.into(), remedy }
    }

    pub fn unknown(name: &'static str, says: impl Into<String>, remedy: impl Into<String>) -> Self {
        let remedy = Some(remedy.into());
        Self { name, status: Status::Unknown, says: says.into(), remedy }
    }

    pub fn skipped(name: &'static str, says: impl Into<String>) -> Self {
        Self { name, status: Status::Skipped, says: says.into(), remedy: None }
    }

    /// A check that could not be made since a request failed.
    pub fn unread(name: &'static str, what: &str, why: &crate::api::Error) -> Self {
        let remedy = "run doctor again with a kubeconfig that has the right to do this";
        Self::unknown(name, format!("can't {what}: {why}"), remedy)
    }
}

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub checks: Vec<Check>,
}

impl Report {
    /// Returns whether a check ended so.
    pub fn has(&self, status: Status) -> bool {
        self.checks.iter().any(|check| check.status == status)
    }
}

pub(super) fn table(report: &Report) -> String {
    let rows = report.checks.iter().flat_map(|Check { name, status, says, remedy }| {
        let tone = match status {
            Status::Ok => Tone::Good,
            Status::Failed => Tone::Bad,
            Status::Unknown => Tone::Warning,
            Status::Skipped => Tone::Plain,
        };
        let plain = |text: &str| cell(Tone::Plain, text);
        let found = vec![plain(name), cell(tone, status.as_str()), plain(says)];
        let remedy = remedy
            .as_ref()
            .map(|remedy| vec![plain(""), plain(""), plain(&format!("-> {remedy}"))]);
        std::iter::once(found).chain(remedy)
    });
    view::table(&["CHECK", "STATUS", "FOUND"], rows)
}
