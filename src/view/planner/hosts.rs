//! Which hosts a form selects, and what a form offers to select.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cluster::{HostRef, HostSet, Key, Labels, MGMT, Name, Snapshot};
use crate::k8s::crds::BondMode;

/// The label of a host that holds its name.
pub(super) const HOSTNAME: &str = "kubernetes.io/hostname";
/// The most values of a label that a form offers.
const MAX_VALUES: usize = 200;

/// How hosts are selected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "by", rename_all = "lowercase", deny_unknown_fields)]
pub enum HostsBy {
    /// Every host.
    All,
    /// Hosts by name. A `nodeSelector` can name one host, so each gets a network config of its own.
    Name {
        /// The names.
        names: Vec<String>,
    },
    /// Hosts with all of these labels.
    Label {
        /// The labels.
        labels: BTreeMap<String, String>,
    },
}

/// The hosts that a form selects.
pub(super) struct Selected<'s> {
    /// The hosts that a network config would cover.
    pub covered: HostSet,
    /// The witness hosts among the selected. No network config covers them.
    pub witnesses: Vec<Name>,
    /// The `nodeSelector` of each network config: of all hosts, with these labels, or of one host.
    pub selectors: Vec<(Option<HostRef<'s>>, BTreeMap<String, String>)>,
    /// What is wrong with the selection.
    pub problems: Vec<String>,
}

impl<'s> Selected<'s> {
    pub fn of(snapshot: &'s Snapshot, by: &HostsBy) -> Self {
        let mut selected = Self {
            covered: HostSet::default(),
            witnesses: Vec::new(),
            selectors: Vec::new(),
            problems: Vec::new(),
        };
        match by {
            HostsBy::All => selected.selectors.push((None, BTreeMap::new())),
            HostsBy::Label { labels } if labels.is_empty() => {
                selected.problems.push("give at least one label to select hosts by".to_owned());
            }
            HostsBy::Label { labels } => selected.selectors.push((None, labels.clone())),
            HostsBy::Name { names } if names.is_empty() => {
                selected.problems.push("select at least one host".to_owned());
            }
            HostsBy::Name { names } => {
                let names: BTreeSet<&String> = names.iter().collect();
                for name in names {
                    selected.select_by_name(snapshot, name);
                }
            }
        }
        for (_, labels) in &selected.selectors {
            let labels: Labels = labels.iter().collect();
            selected.covered = selected.covered.union(&snapshot.covered(&labels));
            for host in snapshot.every_host().filter(|host| snapshot.is_witness(*host)) {
                if snapshot.labels_of(host.name()).is_some_and(|it| it.contain(&labels)) {
                    selected.witnesses.push(host.name().clone());
                }
            }
        }
        selected.witnesses.sort_unstable();
        if selected.covered.is_empty() && selected.problems.is_empty() {
            selected.problems.push("no host matches; select other hosts".to_owned());
        }
        selected
    }

    fn select_by_name(&mut self, snapshot: &'s Snapshot, name: &str) {
        let Some(host) = snapshot.host(name) else {
            self.problems.push(format!("there is no host {name}"));
            return;
        };
        let label = snapshot.labels_of(name).and_then(|labels| labels.get(HOSTNAME));
        match label {
            Some(label) => {
                let labels = BTreeMap::from([(HOSTNAME.to_owned(), label.to_owned())]);
                self.selectors.push((Some(host), labels));
            }
            None => self
                .problems
                .push(format!("host {name} has no label {HOSTNAME}; select it by another label")),
        }
    }
}

/// The selection that a `nodeSelector` stands for.
pub(super) fn selection_of(snapshot: &Snapshot, selector: &Labels) -> HostsBy {
    let labels: BTreeMap<String, String> =
        selector.under("").map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    if labels.is_empty() {
        return HostsBy::All;
    }
    let covered = snapshot.covered(selector);
    match (snapshot.names(&covered)[..].as_ref(), labels.len(), labels.contains_key(HOSTNAME)) {
        ([only], 1, true) => HostsBy::Name { names: vec![only.to_string()] },
        _ => HostsBy::Label { labels },
    }
}

/// What the forms of the planner offer.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Choices<'s> {
    /// The cluster networks, `mgmt` included.
    cluster_networks: BTreeSet<Name>,
    /// The network configs that can be changed. The records of `mgmt` are left out.
    network_configs: Vec<&'s str>,
    /// The VM networks, as NAMESPACE/NAME.
    vm_networks: Vec<&'s str>,
    /// The namespaces of VM networks and VMs.
    namespaces: BTreeSet<&'s str>,
    hosts: Vec<&'s str>,
    /// The labels of hosts.
    labels: Vec<LabelChoice<'s>>,
    /// The modes of a bond.
    modes: [BondMode; 7],
}

/// A label of hosts.
#[derive(Debug, Serialize, JsonSchema)]
struct LabelChoice<'s> {
    key: &'s str,
    values: Vec<&'s str>,
    /// The number of further values.
    more: usize,
}

impl<'s> Choices<'s> {
    /// What a snapshot offers.
    #[must_use]
    pub fn of(snapshot: &'s Snapshot) -> Self {
        let mgmt = Name::from(MGMT);
        let mut labels: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for host in snapshot.every_host() {
            for (key, value) in
                snapshot.labels_of(host.name()).into_iter().flat_map(|it| it.under(""))
            {
                labels.entry(key).or_default().insert(value);
            }
        }
        let labels = labels.into_iter().map(|(key, values)| LabelChoice {
            key,
            more: values.len().saturating_sub(MAX_VALUES),
            values: values.into_iter().take(MAX_VALUES).collect(),
        });
        let vm_networks = || snapshot.vm_networks().map(|(key, _)| key);
        Self {
            cluster_networks: snapshot.cluster_networks().cloned().chain([mgmt]).collect(),
            network_configs: snapshot
                .every_config()
                .filter(|(_, facts, _)| !facts.is_mgmt())
                .map(|(name, ..)| &**name)
                .collect(),
            namespaces: vm_networks()
                .chain(snapshot.vms_and_vmis())
                .filter_map(Key::namespace)
                .chain(["default"])
                .collect(),
            vm_networks: vm_networks().map(Key::as_str).collect(),
            hosts: snapshot.hosts().into_iter().map(|host| &**host.name()).collect(),
            labels: labels.collect(),
            modes: BondMode::ALL,
        }
    }
}
