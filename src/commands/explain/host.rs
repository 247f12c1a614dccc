//! `explain host`: which cluster networks are active on a host, and which VMs can run there.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::cluster::{Key, Kind, MGMT, Name};
use crate::commands::Form;
use crate::decide::explain::{Asked, inactive};
use crate::source::Once;

use super::answer::{Error, Explanation, Row, any_fits, write_rows};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View<'s> {
    host: &'s str,
    cluster_networks: Vec<Row>,
    vms: Vec<Row>,
}

/// Explains a host. It fits if some VM can run there, or no VM is known.
///
/// # Errors
/// If the source can't be read, or the host does not exist.
pub fn host(name: &str, mut source: Once, form: Form) -> Result<Explanation, Error> {
    let snapshot = source.snapshot()?;
    let Some(host) = snapshot.host(name) else {
        let key = Key::cluster_scoped(name);
        return Err(Error::not_found("host", &snapshot, &[Kind::Host], &key));
    };
    let mgmt = Name::from(MGMT);
    let networks: BTreeSet<&Name> = snapshot.cluster_networks().chain([&mgmt]).collect();
    let cluster_networks = networks
        .into_iter()
        .map(|name| {
            let cause = inactive(&snapshot, name, host).map(|cause| (None, cause));
            Row::new(name, cause, &snapshot, host)
        })
        .collect();
    let vms: BTreeSet<&Key> = snapshot.vms_and_vmis().collect();
    let vms: Vec<Row> = vms
        .into_iter()
        .filter_map(|key| {
            let causes = Asked::of(&snapshot, key)?.causes(&snapshot, host);
            Some(Row::new(key.as_str(), causes, &snapshot, host))
        })
        .collect();
    let view = View { host: host.name(), cluster_networks, vms };
    Ok(Explanation {
        text: form.write(&view, table)?,
        feasible: view.vms.is_empty() || any_fits(&view.vms),
        problems: snapshot.problems(),
    })
}

fn table(view: &View<'_>) -> String {
    let mut text = format!("Node {}\n", view.host);
    write_rows(&mut text, ["CLUSTER NETWORK", "ACTIVE"], &view.cluster_networks);
    if !view.vms.is_empty() {
        write_rows(&mut text, ["VM", "CAN RUN"], &view.vms);
    }
    text
}
