//! `lanekeeper check`: everything that is wrong now (docs/reference.md, "Commands").

use std::fmt::Write as _;

use serde::Serialize;

use crate::cluster::{Kind, Name, ObjectRef, Snapshot};
use crate::decide::check::{Finding, findings};
use crate::source::{Once, OnceError};

use super::{Form, WriteError};

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

/// What is wrong, as scripts read it.
#[derive(Debug, Serialize)]
pub struct Report {
    problems: Vec<Problem>,
    /// What was looked at, in words.
    #[serde(skip)]
    looked_at: String,
}

#[derive(Debug, Serialize)]
struct Problem {
    code: &'static str,
    kind: Option<&'static str>,
    object: Option<Name>,
    message: String,
    hosts: Vec<Name>,
}

impl Report {
    /// What is wrong in this snapshot.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        let problems = findings(snapshot).into_iter().map(Problem::from);
        Self { problems: problems.collect(), looked_at: looked_at(snapshot) }
    }
}

impl From<Finding> for Problem {
    fn from(finding: Finding) -> Self {
        let Finding { code, object, message, hosts } = finding;
        let (kind, object) = match object {
            Some(ObjectRef { kind, key }) => (Some(kind.kubernetes()), Some(key.text().clone())),
            None => (None, None),
        };
        Self { code: code.as_str(), kind, object, message, hosts }
    }
}

/// Reads the source once and looks for everything that is wrong.
///
/// # Errors
/// If the source can't be read, or the answer can't be written.
pub fn check(mut source: Once, form: Form) -> Result<Checked, Error> {
    let report = Report::of(&source.snapshot()?);
    Ok(Checked { text: form.write(&report, table)?, clean: report.problems.is_empty() })
}

/// How many objects of each kind there are.
fn looked_at(snapshot: &Snapshot) -> String {
    let counted = [
        (Kind::Host, "host"),
        (Kind::ClusterNetwork, "cluster network"),
        (Kind::NetworkConfig, "network config"),
        (Kind::VmNetwork, "VM network"),
        (Kind::Vm, "VM"),
        (Kind::Vmi, "VMI"),
    ];
    let counted = counted.map(|(kind, name)| match snapshot.count(kind) {
        1 => format!("1 {name}"),
        count => format!("{count} {name}s"),
    });
    counted.join(", ")
}

fn table(report: &Report) -> String {
    let Report { problems, looked_at } = report;
    if problems.is_empty() {
        return format!("Nothing is wrong: {looked_at}\n");
    }
    let object = |problem: &Problem| match (problem.kind, &problem.object) {
        (Some(kind), Some(name)) => format!("{kind} {name}"),
        _ => "-".to_owned(),
    };
    let rows: Vec<[String; 2]> =
        problems.iter().map(|problem| [problem.code.to_owned(), object(problem)]).collect();
    let width = |column: usize, title: &str| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).chain([title.len()]).max().unwrap_or_default()
    };
    let (code, of) = (width(0, "CODE"), width(1, "OBJECT"));
    let mut text = String::new();
    // Writing to a String can't fail.
    let _ = writeln!(text, "{:<code$}  {:<of$}  MESSAGE", "CODE", "OBJECT");
    for ([of_code, object], problem) in rows.iter().zip(problems) {
        let _ = writeln!(text, "{of_code:<code$}  {object:<of$}  {}", problem.message);
    }
    let count = problems.len();
    let _ = writeln!(
        text,
        "\n{count} {} found: {looked_at}",
        if count == 1 { "problem" } else { "problems" }
    );
    text
}
