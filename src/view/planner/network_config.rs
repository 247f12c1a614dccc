//! The form of a network config: a new one, a changed one, or one that moves to another cluster
//! network.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cluster::{MGMT, Name, NetworkConfig, Snapshot};
use crate::decide::review::works_with;
use crate::k8s::CLUSTER_NETWORK_LABEL;

use super::hosts::{HostsBy, Selected, selection_of};
use super::nics::{Asked, Nic, nics};
use super::{API_VERSION, Draft, editable, name_problem, new_cluster_network, set};

/// The form of a network config, as far as it is filled in.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NetworkConfigForm {
    /// The network config to change; null for a new one. If nothing else is given, the form is
    /// filled in with what the network config has now.
    pub change: Option<String>,
    /// The name of a new network config. Those of several hosts by name get the host's name behind it.
    name: Option<String>,
    /// The cluster network. If it does not exist, it is made too.
    cluster_network: Option<String>,
    /// The hosts; all, if this is left out.
    hosts: Option<HostsBy>,
    /// The names of the NICs.
    nics: Option<Vec<String>>,
    /// The bond's mode; `active-backup`, if this is left out.
    mode: Option<String>,
    /// The interval, in milliseconds, at which the bond checks its links.
    miimon: Option<i64>,
    /// The MTU in bytes; 1500, if this is left out.
    mtu: Option<i64>,
    description: Option<String>,
}

/// The form of a network config, and what is known of the hosts and NICs that it selects.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkConfigDraft {
    #[serde(flatten)]
    draft: Draft<NetworkConfigForm>,
    /// The number of hosts that the selection matches.
    matches: usize,
    /// The number of all hosts.
    of: usize,
    /// The hosts that it matches, by name.
    hosts: Vec<Name>,
    /// The witness hosts that it matches as well. No network config covers them.
    witnesses: Vec<Name>,
    /// The cordoned hosts among `hosts`; null if that could not be read.
    cordoned: Option<Vec<Name>>,
    /// The hosts among `hosts` that report no links.
    without_links: Vec<Name>,
    /// The NICs that all others have in common.
    nics: Vec<Nic>,
}

/// What a draft needs to know beyond the snapshot.
#[derive(Debug, Default)]
pub struct Known {
    /// The object of the network config to change.
    pub existing: Option<Value>,
    /// The cordoned hosts; `None` if they could not be read.
    pub cordoned: Option<BTreeSet<Name>>,
}

impl NetworkConfigForm {
    /// Returns whether only the network config to change is given.
    fn is_only_change(&self) -> bool {
        let Self { change, name, cluster_network, hosts, nics, mode, miimon, mtu, description } =
            self;
        change.is_some()
            && (name, cluster_network, mode, description) == (&None, &None, &None, &None)
            && (hosts.is_none() && nics.is_none() && miimon.is_none() && mtu.is_none())
    }

    /// The form of a network config as it is now.
    fn filled(snapshot: &Snapshot, name: &str, facts: &NetworkConfig) -> Self {
        let bond = &facts.options.bond;
        Self {
            change: Some(name.to_owned()),
            name: Some(name.to_owned()),
            cluster_network: Some(facts.cluster_network.to_string()),
            hosts: Some(selection_of(snapshot, &facts.selector)),
            nics: Some(facts.nics.iter().map(ToString::to_string).collect()),
            mode: Some(bond.mode.to_string()),
            miimon: Some(bond.miimon).filter(|interval| *interval >= 0),
            mtu: Some(facts.options.mtu).filter(|mtu| *mtu != 0),
            description: Some(facts.description.to_string()),
        }
    }

    /// The form with every field set that has a default.
    fn with_defaults(mut self) -> Self {
        let changed = self.change.clone();
        self.name.get_or_insert_with(|| changed.unwrap_or_default());
        self.cluster_network.get_or_insert_default();
        self.hosts.get_or_insert(HostsBy::All);
        self.nics.get_or_insert_default();
        self.mode.get_or_insert_with(|| "active-backup".to_owned());
        self.description.get_or_insert_default();
        self
    }
}

impl NetworkConfigDraft {
    /// What a form describes so far.
    #[must_use]
    pub fn of(snapshot: &Snapshot, form: NetworkConfigForm, known: Known) -> Self {
        let changed = form.change.clone();
        let facts = changed.as_deref().and_then(|name| snapshot.config(name));
        let change = changed.as_deref().zip(facts);
        let form = match change {
            Some((name, facts)) if form.is_only_change() => {
                NetworkConfigForm::filled(snapshot, name, facts)
            }
            _ => form.with_defaults(),
        };
        let by = form.hosts.clone().unwrap_or(HostsBy::All);
        let cluster_network = form.cluster_network.clone().unwrap_or_default();
        let selected = Selected::of(snapshot, &by);
        let asked = Asked { cluster_network: &cluster_network, covered: &selected.covered, change };
        let (without_links, nics) = nics(snapshot, &asked);
        let hosts: Vec<Name> = snapshot.names(&selected.covered).into_iter().cloned().collect();
        let mut problems = problems(snapshot, &form, &selected);
        let all_report_nothing = without_links.len() == hosts.len();
        problems.extend(nic_problems(&form, &nics, all_report_nothing));
        if changed.is_some() && known.existing.is_none() {
            let name = changed.as_deref().unwrap_or_default();
            problems.insert(0, format!("there is no network config {name}"));
        }
        let objects = objects(snapshot, &form, &selected, known.existing);
        Self {
            matches: hosts.len(),
            of: snapshot.every_host().count(),
            cordoned: known
                .cordoned
                .map(|all| hosts.iter().filter(|host| all.contains(*host)).cloned().collect()),
            hosts,
            witnesses: selected.witnesses,
            without_links,
            nics,
            draft: Draft::new(form, problems, objects),
        }
    }

    /// The objects to apply; none while the form has problems.
    #[must_use]
    pub fn objects(&self) -> &[Value] {
        self.draft.objects()
    }
}

/// What is missing or wrong in the form, the NICs apart.
fn problems(snapshot: &Snapshot, form: &NetworkConfigForm, selected: &Selected<'_>) -> Vec<String> {
    let mut problems = Vec::new();
    match form.cluster_network.as_deref().unwrap_or_default() {
        "" => problems.push("choose a cluster network".to_owned()),
        MGMT => problems.push(format!(
            "cluster network {MGMT} needs no network config; choose another cluster network"
        )),
        name if !snapshot.exists(name) => problems.extend(name_problem("cluster network", name)),
        _ => {}
    }
    problems.extend(selected.problems.iter().cloned());
    let name = form.name.as_deref().unwrap_or_default();
    if form.change.is_none() {
        problems.extend(name_problem("network config", name));
        if snapshot.config(name).is_some() {
            problems.push(format!(
                "network config {name} exists already; choose another name, or change that one"
            ));
        }
    } else if selected.selectors.len() > 1 {
        problems.push(
            "a network config can select one host by name; select several by a label that they \
             have in common"
                .to_owned(),
        );
    }
    problems
}

/// What is missing or wrong with the NICs. If no host reports its links, any name will do.
fn nic_problems(form: &NetworkConfigForm, nics: &[Nic], nothing_reported: bool) -> Vec<String> {
    let chosen: BTreeSet<&str> =
        form.nics.iter().flatten().map(String::as_str).filter(|it| !it.is_empty()).collect();
    if chosen.is_empty() {
        return vec!["select at least one NIC".to_owned()];
    }
    if nothing_reported {
        return Vec::new();
    }
    let wrong =
        chosen.into_iter().filter_map(|name| match nics.iter().find(|nic| *nic.name == *name) {
            None => Some(format!("not every selected host has a NIC {name}")),
            Some(nic) if !nic.selectable => Some(format!("NIC {name} is {}", nic.why)),
            Some(_) => None,
        });
    wrong.collect()
}

/// The objects that the form describes: a cluster network that does not exist yet, and a network
/// config for each selector.
fn objects(
    snapshot: &Snapshot,
    form: &NetworkConfigForm,
    selected: &Selected<'_>,
    existing: Option<Value>,
) -> Vec<Value> {
    let cluster_network = form.cluster_network.as_deref().unwrap_or_default();
    let name = form.name.as_deref().unwrap_or_default();
    let mut objects = Vec::new();
    if !snapshot.exists(cluster_network) {
        objects.push(new_cluster_network(cluster_network));
    }
    let several = selected.selectors.len() > 1;
    let base = existing.map(editable);
    for (host, selector) in &selected.selectors {
        let name = match host {
            Some(host) if several => format!("{name}-{}", host.name()),
            _ => name.to_owned(),
        };
        let new = || {
            json!({
                "apiVersion": API_VERSION,
                "kind": "VlanConfig",
                "metadata": { "name": name },
                "spec": {},
            })
        };
        let mut object = base.clone().unwrap_or_else(new);
        fill(&mut object, form, cluster_network, selector);
        objects.push(object);
    }
    objects
}

fn fill(
    object: &mut Value,
    form: &NetworkConfigForm,
    cluster_network: &str,
    selector: &BTreeMap<String, String>,
) {
    let description = form.description.as_deref().filter(|text| !text.is_empty());
    set(object, &["spec", "description"], description.map(Value::from));
    set(object, &["spec", "clusterNetwork"], Some(cluster_network.into()));
    let selector = (!selector.is_empty()).then(|| json!(selector));
    set(object, &["spec", "nodeSelector"], selector);
    set(object, &["spec", "uplink", "nics"], Some(json!(form.nics)));
    let bond = ["spec", "uplink", "bondOptions"];
    set(object, &[&bond[..], &["mode"]].concat(), Some(json!(form.mode)));
    set(object, &[&bond[..], &["miimon"]].concat(), form.miimon.map(Value::from));
    // The form has no fields for these: what the mode before had must not hold up another mode.
    let mode = form.mode.as_deref().unwrap_or_default();
    for option in ["lacpRate", "adSelect", "xmitHashPolicy"] {
        if !works_with(option, mode) {
            set(object, &[&bond[..], &[option]].concat(), None);
        }
    }
    set(object, &["spec", "uplink", "linkAttributes", "mtu"], form.mtu.map(Value::from));
    // The label follows the cluster network: a webhook would refuse one that differs.
    if object.pointer("/metadata/labels").and_then(|it| it.get(CLUSTER_NETWORK_LABEL)).is_some() {
        let path = ["metadata", "labels", CLUSTER_NETWORK_LABEL];
        set(object, &path, Some(cluster_network.into()));
    }
}
