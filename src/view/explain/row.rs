//! Whether one object fits another, and if not, why.

use schemars::JsonSchema;
use serde::Serialize;

use crate::cluster::{HostRef, Key, Snapshot};
use crate::decide::causes;
use crate::view::table::{Tone, cell, table};

/// Whether one object fits another: a VM a host, or a cluster network a host.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Row {
    /// The name of the object that the answer's subject fits or not.
    pub name: String,
    /// Whether nothing is in the way.
    pub feasible: bool,
    /// What is in the way.
    causes: Vec<Cause>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Cause {
    code: &'static str,
    cluster_network: Option<String>,
    vm_network: Option<String>,
    message: String,
}

impl Row {
    /// The row of the object with this name. `causes` are what is in the way on the host.
    pub(super) fn new(
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
#[must_use]
pub fn any_fits(rows: &[Row]) -> bool {
    rows.iter().any(|row| row.feasible)
}

/// Writes rows as a table with these titles.
pub(super) fn rows_table([name, fits]: [&str; 2], rows: &[Row]) -> String {
    let lines = rows.iter().flat_map(|row| {
        let yes = row.feasible.then(|| {
            vec![cell(Tone::Plain, &row.name), cell(Tone::Good, "yes"), cell(Tone::Plain, "")]
        });
        let no = row.causes.iter().enumerate().map(|(position, cause)| {
            let (name, can) = if position == 0 { (&*row.name, "no") } else { ("", "") };
            let network = cause.vm_network.as_ref().map(|name| format!("{name}: "));
            let why = format!("{}{} [{}]", network.unwrap_or_default(), cause.message, cause.code);
            vec![cell(Tone::Plain, name), cell(Tone::Bad, can), cell(Tone::Plain, &why)]
        });
        yes.into_iter().chain(no)
    });
    table(&[name, fits, "WHY NOT"], lines)
}

/// A line with names, `-` if there are none.
pub(super) fn names_line(title: &str, names: &[String]) -> String {
    let names = if names.is_empty() { "-".to_owned() } else { names.join(", ") };
    format!("{title}: {names}\n")
}
