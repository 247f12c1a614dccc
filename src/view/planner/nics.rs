//! The NICs that a network config can use: those that all selected hosts have.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;

use crate::cluster::{HostSet, Link, MGMT, Name, NetworkConfig, Snapshot};
use crate::decide::review::Nics;

use super::listed;

/// A NIC that all selected hosts have, as far as they report their links.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Nic {
    pub name: Name,
    /// The number of hosts on which the NIC is down.
    down: usize,
    /// The number of hosts that report it.
    of: usize,
    /// The hosts on which the NIC is down.
    down_on: Vec<Name>,
    /// What uses the NIC already: other network configs, `mgmt`, or another link.
    used_by: Vec<String>,
    /// Whether the NIC can be chosen.
    pub selectable: bool,
    /// Why the NIC can't be chosen, or what to know about it; empty if there is nothing.
    pub why: String,
    /// The NIC for people, such as `eth1 (1/3 Down)`.
    label: String,
}

/// What a network config is about to be.
pub(super) struct Asked<'a> {
    pub cluster_network: &'a str,
    /// The hosts that it would cover.
    pub covered: &'a HostSet,
    /// The network config that is changed, if there is one.
    pub change: Option<(&'a str, &'a NetworkConfig)>,
}

/// Returns whether a link can be a NIC of a bond. Of a link without a type, nothing is known.
fn is_nic(link: &Link) -> bool {
    matches!(&*link.kind, "device" | "") && *link.name != *"lo"
}

/// The hosts that report no links, and the NICs that all others have in common.
pub(super) fn nics(snapshot: &Snapshot, asked: &Asked<'_>) -> (Vec<Name>, Vec<Nic>) {
    let mut silent = Vec::new();
    let mut reporting = 0;
    let mut having: BTreeMap<&Name, usize> = BTreeMap::new();
    for host in snapshot.hosts_in(asked.covered) {
        let mut links = snapshot.links(host).flatten().peekable();
        if links.peek().is_none() {
            silent.push(host.name().clone());
            continue;
        }
        reporting += 1;
        let names: BTreeSet<&Name> = links.filter(|link| is_nic(link)).map(|it| &it.name).collect();
        for name in names {
            *having.entry(name).or_default() += 1;
        }
    }
    silent.sort_unstable();
    having.retain(|_, hosts| *hosts == reporting);
    let hosts = snapshot.hosts_in(asked.covered);
    let reported = Nics::of(snapshot, having.keys().copied(), hosts);
    let nics = having.into_iter().map(|(name, of)| nic(snapshot, asked, name, of, &reported));
    (silent, nics.collect())
}

fn nic(snapshot: &Snapshot, asked: &Asked<'_>, name: &Name, of: usize, reported: &Nics<'_>) -> Nic {
    let down_on = reported.down(name, asked.covered);
    let down_on: Vec<Name> = snapshot.names(&down_on).into_iter().cloned().collect();
    // The bond of the cluster network that a changed network config has now.
    let old_bond = asked.change.map(|(_, config)| format!("{}-bo", config.cluster_network));
    let masters = reported
        .enslaved(name, asked.cluster_network)
        .map(|(master, hosts)| (master.map_or("another link", |master| &**master), hosts))
        .filter(|(master, _)| Some(*master) != old_bond.as_deref())
        .map(|(master, hosts)| format!("{master} on {}", listed(&snapshot.names(hosts))));
    let used_by: Vec<String> = users(snapshot, asked, name).into_iter().chain(masters).collect();
    let is_kept = asked.change.is_some_and(|(_, config)| config.nics.contains(name));
    let why = [
        (!down_on.is_empty()).then(|| format!("down on {}", listed(&down_on))),
        (!used_by.is_empty()).then(|| format!("used by {}", listed(&used_by))),
    ];
    let label = match down_on.len() {
        0 => name.to_string(),
        down => format!("{name} ({down}/{of} Down)"),
    };
    Nic {
        name: name.clone(),
        down: down_on.len(),
        of,
        selectable: is_kept || down_on.is_empty() && used_by.is_empty(),
        why: why.into_iter().flatten().collect::<Vec<_>>().join("; "),
        down_on,
        used_by,
        label,
    }
}

/// The network configs that use a NIC on any of the hosts, and `mgmt` by its records.
fn users(snapshot: &Snapshot, asked: &Asked<'_>, nic: &Name) -> Vec<String> {
    let configs = snapshot
        .configs()
        .filter(|(name, ..)| asked.change.is_none_or(|(change, _)| ***name != *change))
        .filter(|(_, facts, hosts)| {
            facts.nics.contains(nic) && !hosts.intersection(asked.covered).is_empty()
        })
        .map(|(name, ..)| format!("network config {name}"));
    let records = snapshot
        .mgmt_records()
        .filter(|(_, facts, host)| facts.nics.contains(nic) && asked.covered.contains(*host))
        .map(|(.., host)| host.name());
    let records: Vec<&Name> = records.collect();
    let mgmt = (!records.is_empty()).then(|| format!("{MGMT} on {}", listed(&records)));
    configs.chain(mgmt).collect()
}
