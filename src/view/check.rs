//! What is wrong now.

use schemars::JsonSchema;
use serde::Serialize;

use crate::cluster::{Kind, Name, ObjectRef, Snapshot};
use crate::decide::check::{Finding, findings};
use crate::view::table::{Tone, cell, table};

/// What is wrong, as scripts read it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Report {
    /// The problems, in a fixed order.
    problems: Vec<Problem>,
    /// What was looked at, in words.
    #[serde(skip)]
    looked_at: String,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Problem {
    /// The stable code, which docs/rules.md explains.
    code: &'static str,
    /// The kind of the object, if the problem concerns a single one.
    kind: Option<&'static str>,
    /// Its name, with its namespace if it is in one.
    object: Option<Name>,
    /// What is wrong, where, and what to do.
    message: String,
    /// The hosts that the problem concerns.
    hosts: Vec<Name>,
}

impl Report {
    /// What is wrong in this snapshot.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        let problems = findings(snapshot).into_iter().map(Problem::from);
        Self { problems: problems.collect(), looked_at: looked_at(snapshot) }
    }

    /// Returns whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.problems.is_empty()
    }

    /// The number of problems.
    #[must_use]
    pub fn count(&self) -> usize {
        self.problems.len()
    }

    /// The report for people.
    #[must_use]
    pub fn table(&self) -> String {
        let Self { problems, looked_at } = self;
        if problems.is_empty() {
            return format!("Nothing is wrong: {looked_at}\n");
        }
        let rows = problems.iter().map(|problem| {
            let object = match (problem.kind, &problem.object) {
                (Some(kind), Some(name)) => format!("{kind} {name}"),
                _ => "-".to_owned(),
            };
            vec![
                cell(Tone::Bad, problem.code),
                cell(Tone::Plain, &object),
                cell(Tone::Plain, &problem.message),
            ]
        });
        let found = match problems.len() {
            1 => "1 problem found".to_owned(),
            count => format!("{count} problems found"),
        };
        format!("{}\n{found}: {looked_at}\n", table(&["CODE", "OBJECT", "MESSAGE"], rows))
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
