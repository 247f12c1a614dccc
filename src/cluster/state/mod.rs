//! The index's state: ground facts and what is derived from them, all in persistent maps.
//!
//! A snapshot is a clone of the state. A clone costs a few reference counts and shares everything,
//! and a later change copies only the path to the changed entry.

mod activity;
mod coverage;
mod vmis;

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use super::facts::{
    ClusterNetwork, HostNetwork, LauncherPod, LinkMonitor, Migration, Namespace, UplinkStatus, Vm,
    Vmi,
};
use super::host_set::HostSet;
use super::hosts::Hosts;
use super::mac::Mac;
use super::names::{Key, Kind, MGMT, Name, ObjectRef};
use super::options::Options;
use super::uplinks::NetworkConfig;
use super::vm_networks::VmNetwork;

pub use activity::{Inactive, Uplink};

#[derive(Clone, Default)]
pub(in crate::cluster) struct State {
    pub options: Options,

    // Ground facts, one entry per object.
    pub hosts: Hosts,
    pub configs: OrdMap<Name, ConfigState>,
    /// By the name of the `VlanStatus` object.
    pub statuses: OrdMap<Name, Arc<UplinkStatus>>,
    pub monitors: OrdMap<Name, Arc<LinkMonitor>>,
    pub host_networks: OrdMap<Name, Arc<HostNetwork>>,
    pub vm_networks: OrdMap<Key, Arc<VmNetwork>>,
    pub vms: OrdMap<Key, Arc<Vm>>,
    pub vmis: OrdMap<Key, Arc<Vmi>>,
    pub migrations: OrdMap<Key, Arc<Migration>>,
    pub pods: OrdMap<Key, Arc<LauncherPod>>,
    pub namespaces: OrdMap<Name, Arc<Namespace>>,
    /// Why an object can't be read.
    pub malformed: OrdMap<ObjectRef, Name>,
    /// Complaints about places that objects come from, such as files.
    pub complaints: OrdMap<Name, Arc<[Name]>>,

    // Derived from the ground facts, and updated with them.
    /// By cluster network, including those that exist only as a name in a network config.
    pub networks: OrdMap<Name, Arc<NetworkState>>,
    /// `(label, network config)`: the labels that a selector requires, of the network configs that
    /// count. An empty selector has an entry with an empty label.
    pub required_labels: OrdSet<(Name, Name)>,
    /// `(cluster network, host, VlanStatus)`.
    pub reports: OrdSet<(Name, Name, Name)>,
    /// `(cluster network, VM network)`: by label or bridge, even if the cluster network does not
    /// exist.
    pub claims: OrdSet<(Name, Key)>,
    /// `(VM network, VM)`: the VM networks in a VM's template.
    pub vms_using: OrdSet<(Key, Key)>,
    /// `(MAC address, VM)`: the MAC addresses of a VM's interfaces.
    pub macs: OrdSet<(Mac, Key)>,
    /// `(VMI, pod)`.
    pub pods_of: OrdSet<(Key, Key)>,
    /// The pods for which the scheduler found no host.
    pub waiting: OrdSet<Key>,
    /// `(VMI, migration)`.
    pub migrations_of: OrdSet<(Key, Key)>,
    /// `(host, VMI)`: the hosts of an unfinished VMI, including the target of a migration.
    pub vmis_on: OrdSet<(Name, Key)>,
    /// `(VM network, VMI)`: the VM networks of an unfinished VMI, from its spec and its launcher
    /// pods.
    pub vmis_using: OrdSet<(Key, Key)>,
}

#[derive(Clone, PartialEq)]
pub(in crate::cluster) struct ConfigState {
    pub facts: Arc<NetworkConfig>,
    /// The covered hosts. There are none if the network config does not count.
    pub hosts: Arc<HostSet>,
}

#[derive(Clone, Default, PartialEq)]
pub(in crate::cluster) struct NetworkState {
    /// The ClusterNetwork object, if it exists.
    pub facts: Option<Arc<ClusterNetwork>>,
    /// The network configs, including those that are being deleted.
    pub configs: OrdSet<Name>,
    /// The hosts that any network config covers.
    pub covered: Arc<HostSet>,
    /// The hosts on which the cluster network is active, provided that it exists.
    pub active: Arc<HostSet>,
    /// The hosts that report the uplink of any network config as not ready.
    pub not_ready: Arc<HostSet>,
}

/// The second parts of all pairs in a relation that begin with `first`.
pub(in crate::cluster) fn related<'s, A: Ord + Clone>(
    relation: &'s OrdSet<(A, Key)>,
    first: &'s A,
) -> impl Iterator<Item = &'s Key> {
    relation
        .range((Bound::Included((first.clone(), Key::first())), Bound::Unbounded))
        .take_while(move |(a, _)| a == first)
        .map(|(_, key)| key)
}

/// Inserts a pair, or removes it.
pub(in crate::cluster) fn relate<T: Ord + Clone>(relation: &mut OrdSet<T>, pair: T, related: bool) {
    if related {
        relation.insert(pair);
    } else {
        relation.remove(&pair);
    }
}

/// Replaces one pair by another. Either may be missing.
pub(in crate::cluster) fn replace_pair<T: Ord + Clone>(
    relation: &mut OrdSet<T>,
    old: Option<T>,
    new: Option<T>,
) {
    if let Some(old) = old {
        relation.remove(&old);
    }
    if let Some(new) = new {
        relation.insert(new);
    }
}

impl State {
    /// This key of a VM or VMI as another object has it: a VM, its VMI and its pods share one text.
    pub fn shared_vm_key(&self, key: &Key) -> Key {
        let vmi = || self.vmis.get_key_value(key).map(|(known, _)| known);
        let vm = || self.vms.get_key_value(key).map(|(known, _)| known);
        let of_pod = || {
            let (known, _) = self.pods_of.range((key.clone(), Key::first())..).next()?;
            (known == key).then_some(known)
        };
        vmi().or_else(vm).or_else(of_pod).unwrap_or(key).clone()
    }

    /// The keys of all objects of a kind, including objects that were never readable.
    pub fn keys(&self, kind: Kind) -> Vec<Key> {
        let scoped = |names: &mut dyn Iterator<Item = &Name>| {
            names.map(|name| Key::cluster_scoped(name.clone())).collect()
        };
        let mut keys: Vec<Key> = match kind {
            Kind::ClusterNetwork => {
                let existing = self.networks.iter().filter(|(_, it)| it.facts.is_some());
                scoped(&mut existing.map(|(name, _)| name))
            }
            Kind::NetworkConfig => scoped(&mut self.configs.keys()),
            Kind::UplinkStatus => scoped(&mut self.statuses.keys()),
            Kind::LinkMonitor => scoped(&mut self.monitors.keys()),
            Kind::HostNetwork => scoped(&mut self.host_networks.keys()),
            Kind::Namespace => scoped(&mut self.namespaces.keys()),
            Kind::Host => scoped(&mut self.hosts.iter().map(|(number, _)| self.hosts.name(number))),
            Kind::VmNetwork => self.vm_networks.keys().cloned().collect(),
            Kind::Vm => self.vms.keys().cloned().collect(),
            Kind::Vmi => self.vmis.keys().cloned().collect(),
            Kind::Migration => self.migrations.keys().cloned().collect(),
            Kind::LauncherPod => self.pods.keys().cloned().collect(),
        };
        let malformed = self.malformed.keys().filter(|object| object.kind == kind);
        keys.extend(malformed.map(|object| object.key.clone()));
        keys
    }

    /// Returns whether a cluster network exists. `mgmt` exists even if its object is missing.
    pub fn exists(&self, cluster_network: &str) -> bool {
        cluster_network == MGMT
            || self.networks.get(cluster_network).is_some_and(|network| network.facts.is_some())
    }

    /// The cluster network of a VM network, if the VM network is under one (docs/reference.md,
    /// "From VM network to cluster network").
    pub fn cluster_network_of(&self, vm_network: &VmNetwork) -> Option<Name> {
        let claimed = vm_network.claim()?;
        let need_not_exist = vm_network.label.is_some() || self.options.strict_vm_networks;
        (need_not_exist || self.exists(&claimed)).then_some(claimed)
    }

    /// A host's reports on the uplinks of a cluster network.
    pub fn statuses_at<'s>(
        &'s self,
        cluster_network: &'s Name,
        host: &'s Name,
    ) -> impl Iterator<Item = &'s UplinkStatus> {
        let from = (cluster_network.clone(), host.clone(), Name::default());
        self.reports
            .range((Bound::Included(from), Bound::Unbounded))
            .take_while(move |(network, at, _)| network == cluster_network && at == host)
            .filter_map(|(_, _, status)| self.statuses.get(status).map(|status| &**status))
    }
}

#[expect(clippy::missing_fields_in_debug, reason = "all are there, some of them grouped")]
impl fmt::Debug for State {
    /// Prints everything, with names in place of host numbers, so that equal text means equal
    /// state.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |set: &HostSet| {
            let mut names: Vec<_> = set.numbers().map(|number| self.hosts.name(number)).collect();
            names.sort_unstable();
            format!("{names:?}")
        };
        let mut hosts: Vec<_> =
            self.hosts.iter().map(|(number, facts)| (self.hosts.name(number), facts)).collect();
        hosts.sort_by_key(|(name, _)| *name);
        let configs: Vec<_> = self
            .configs
            .iter()
            .map(|(name, config)| (name, &config.facts, names(&config.hosts)))
            .collect();
        let networks: Vec<_> = self
            .networks
            .iter()
            .map(|(name, network)| {
                let NetworkState { facts, configs, covered, active, not_ready } = &**network;
                (name, facts, configs, [covered, active, not_ready].map(|set| names(set)))
            })
            .collect();
        let Self {
            options,
            hosts: _,
            configs: _,
            networks: _,
            statuses,
            monitors,
            host_networks,
            vm_networks,
            vms,
            vmis,
            migrations,
            pods,
            namespaces,
            malformed,
            complaints,
            required_labels,
            reports,
            claims,
            vms_using,
            macs,
            pods_of,
            waiting,
            migrations_of,
            vmis_on,
            vmis_using,
        } = self;
        f.debug_struct("State")
            .field("options", options)
            .field("hosts", &hosts)
            .field("configs", &configs)
            .field("networks", &networks)
            .field(
                "ground",
                &(statuses, monitors, vm_networks, vms, vmis, migrations, pods, namespaces),
            )
            .field("host_networks", host_networks)
            .field("problems", &(malformed, complaints))
            .field(
                "derived",
                &(required_labels, reports, claims, vms_using, macs, pods_of, migrations_of),
            )
            .field("vmis", &(vmis_on, vmis_using))
            .field("waiting", waiting)
            .finish()
    }
}
