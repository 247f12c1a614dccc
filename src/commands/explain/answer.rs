//! What all answers of `explain` have in common.

use std::fmt::Write as _;

use serde::Serialize;

use crate::cluster::{HostRef, Key, Kind, ObjectRef, Problem, Snapshot};
use crate::commands::WriteError;
use crate::decide::causes;
use crate::k8s::Malformed;
use crate::source::{OnceError, Unreadable};

/// The output, and what the exit status depends on.
pub struct Explanation {
    /// For standard output.
    pub text: String,
    /// Whether some host fits.
    pub feasible: bool,
    /// Problems with objects. The answer may lack what these objects say.
    pub problems: Vec<Problem>,
}

/// Why there is no explanation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name is not NAMESPACE/NAME.
    #[error("{0:?} is not NAMESPACE/NAME")]
    Name(String),
    /// The source can't be read.
    #[error(transparent)]
    Unreadable(#[from] OnceError),
    /// The file can't be read.
    #[error(transparent)]
    File(#[from] Unreadable),
    /// An object of the file can't be read.
    #[error("{0}: {1}")]
    Object(String, Malformed),
    /// The file does not hold the VM.
    #[error("{0} holds no VirtualMachine {1}")]
    NotInFile(String, Key),
    /// The file holds no VM.
    #[error("{0} holds no VirtualMachine; add the one to explain")]
    NoneInFile(String),
    /// The file holds several VMs, and no name was given.
    #[error("{0} holds {1} VirtualMachines; name the one to explain, as NAMESPACE/NAME")]
    WhichOne(String, usize),
    /// There is no such object.
    #[error("there is no {0}{1}")]
    NotFound(String, String),
    /// No host is known.
    #[error("no host is known: the source has no Node that can be read")]
    NoHost,
    /// The answer can't be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Error {
    /// There is no object `what`, which has this name within one of the kinds.
    pub(super) fn not_found(what: &str, snapshot: &Snapshot, kinds: &[Kind], key: &Key) -> Self {
        // The object may exist but be malformed.
        let about = |it: &ObjectRef| it.key == *key && kinds.contains(&it.kind);
        let problems: Vec<String> = snapshot
            .problems()
            .iter()
            .filter(|problem| problem.object.as_ref().is_some_and(about))
            .map(|problem| format!("; {}", problem.message))
            .collect();
        Self::NotFound(format!("{what} {key}"), problems.concat())
    }
}

/// Reads NAMESPACE/NAME.
pub(super) fn namespaced(name: &str) -> Result<Key, Error> {
    match name.split('/').collect::<Vec<_>>()[..] {
        [namespace, name] if !namespace.is_empty() && !name.is_empty() => {
            Ok(Key::in_namespace(namespace, name))
        }
        _ => Err(Error::Name(name.to_owned())),
    }
}

/// All hosts, sorted by name.
pub(super) fn hosts(snapshot: &Snapshot) -> Result<Vec<HostRef<'_>>, Error> {
    let hosts = snapshot.hosts();
    if hosts.is_empty() { Err(Error::NoHost) } else { Ok(hosts) }
}

/// Whether one object fits another: a VM a host, or a cluster network a host.
#[derive(Serialize)]
pub(super) struct Row {
    pub name: String,
    pub feasible: bool,
    causes: Vec<Cause>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cause {
    code: &'static str,
    cluster_network: Option<String>,
    vm_network: Option<String>,
    message: String,
}

impl Row {
    /// The row of the object with this name. `causes` are what is in the way on the host.
    pub fn new(
        name: &str,
        causes: impl IntoIterator<Item = (Option<Key>, causes::Cause)>,
        snapshot: &Snapshot,
        host: HostRef<'_>,
    ) -> Self {
        let causes: Vec<Cause> = causes
            .into_iter()
            .map(|(vm_network, cause)| Cause {
                code: cause.code(),
                cluster_network: cause.cluster_network().map(ToString::to_string),
                vm_network: vm_network.map(|key| key.to_string()),
                message: cause.message(snapshot, host),
            })
            .collect();
        Self { name: name.to_owned(), feasible: causes.is_empty(), causes }
    }
}

/// Returns whether any of the rows fits.
pub(super) fn any_fits(rows: &[Row]) -> bool {
    rows.iter().any(|row| row.feasible)
}

/// Writes rows as a table, below a line with these titles.
pub(super) fn write_rows(text: &mut String, [name, fits]: [&str; 2], rows: &[Row]) {
    let lengths = rows.iter().map(|row| row.name.len());
    let width = lengths.max().unwrap_or(0).max(name.len());
    // Writing to a String can't fail.
    let _ = writeln!(text, "\n{name:<width$}  {fits}  WHY NOT");
    let fits = fits.len();
    for row in rows {
        if row.feasible {
            let _ = writeln!(text, "{:<width$}  yes", row.name);
        }
        for (position, cause) in row.causes.iter().enumerate() {
            let (name, can) = if position == 0 { (&*row.name, "no") } else { ("", "") };
            let network = cause.vm_network.as_ref().map(|name| format!("{name}: "));
            let _ = writeln!(
                text,
                "{name:<width$}  {can:<fits$}  {}{} [{}]",
                network.unwrap_or_default(),
                cause.message,
                cause.code
            );
        }
    }
}

/// Writes names on one line, `-` if there are none.
pub(super) fn write_names(text: &mut String, title: &str, names: &[String]) {
    let names = if names.is_empty() { "-".to_owned() } else { names.join(", ") };
    // Writing to a String can't fail.
    let _ = writeln!(text, "{title}: {names}");
}
