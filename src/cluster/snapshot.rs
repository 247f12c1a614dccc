//! A snapshot of everything that is known at one moment. A snapshot never changes and is cheap to
//! take. It is queried by names and by sets of hosts.

use std::fmt;

use super::facts::{
    ClusterNetwork, HostNetwork, LauncherPod, Link, Migration, Selection, UplinkMtu, UplinkStatus,
    Vm, Vmi, Waiting,
};
use super::host_set::{HostRef, HostSet};
use super::hosts::{Host, HostWalk};
use super::mac::Mac;
use super::mtu::{DEFAULT_MTU, effective_mtu};
use super::names::{Key, Kind, Name};
use super::network::Network;
use super::options::Options;
use super::selectors::{HostChoice, Labels};
use super::state::{State, related};
use super::uplinks::NetworkConfig;
use super::vm_networks::VmNetwork;

/// Everything that is known at one moment.
#[derive(Clone)]
pub struct Snapshot(pub(super) State);

impl Snapshot {
    /// The options by which the facts are interpreted.
    #[must_use]
    pub fn options(&self) -> Options {
        self.0.options
    }

    /// The number of objects of a kind, without those that were never readable.
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        let state = &self.0;
        match kind {
            Kind::ClusterNetwork => state.networks.values().filter(|it| it.facts.is_some()).count(),
            Kind::NetworkConfig => state.configs.len(),
            Kind::UplinkStatus => state.statuses.len(),
            Kind::LinkMonitor => state.monitors.len(),
            Kind::HostNetwork => state.host_networks.len(),
            Kind::VmNetwork => state.vm_networks.len(),
            Kind::Vm => state.vms.len(),
            Kind::Vmi => state.vmis.len(),
            Kind::Migration => state.migrations.len(),
            Kind::LauncherPod => state.pods.len(),
            Kind::Namespace => state.namespaces.len(),
            Kind::Host => state.hosts.len(),
        }
    }

    /// The keys of all objects of a kind. An object that can't be read may appear twice.
    #[must_use]
    pub fn keys(&self, kind: Kind) -> Vec<Key> {
        self.0.keys(kind)
    }

    // Hosts.

    /// All hosts, sorted by name.
    #[must_use]
    pub fn hosts(&self) -> Vec<HostRef<'_>> {
        let mut hosts: Vec<_> = self.every_host().collect();
        hosts.sort_unstable_by_key(|host| host.name());
        hosts
    }

    /// All hosts, in no order.
    pub fn every_host(&self) -> impl Iterator<Item = HostRef<'_>> {
        self.0.hosts.iter().map(|(number, _)| self.0.hosts.host_ref(number))
    }

    /// The hosts in a set, in no order.
    pub fn hosts_in<'s>(&'s self, hosts: &'s HostSet) -> impl Iterator<Item = HostRef<'s>> {
        hosts.numbers().map(|number| self.0.hosts.host_ref(number))
    }

    /// The host of this name.
    #[must_use]
    pub fn host(&self, name: &str) -> Option<HostRef<'_>> {
        self.0.hosts.find(name).map(|number| self.0.hosts.host_ref(number))
    }

    /// The labels of the host of this name.
    #[must_use]
    pub fn labels_of(&self, host: &str) -> Option<&Labels> {
        Some(&self.0.hosts.facts(self.0.hosts.find(host)?)?.labels)
    }

    /// A lookup of many hosts, one after the other.
    #[must_use]
    pub fn walk(&self) -> HostWalk<'_> {
        self.0.hosts.walk()
    }

    /// The names of the hosts in a set, sorted.
    #[must_use]
    pub fn names(&self, hosts: &HostSet) -> Vec<&Name> {
        let mut names: Vec<_> = hosts.numbers().map(|number| self.0.hosts.name(number)).collect();
        names.sort_unstable();
        names
    }

    /// The hosts that a network config with this selector covers, by their current labels.
    #[must_use]
    pub fn covered(&self, selector: &Labels) -> HostSet {
        self.0.covered(selector)
    }

    /// Returns whether a VM's own node selector and required node affinity allow a host.
    #[must_use]
    pub fn allows(&self, choice: &HostChoice, host: HostRef<'_>) -> bool {
        let facts = self.0.hosts.facts(host.number);
        facts.is_some_and(|facts| choice.allows(host.name(), &facts.labels))
    }

    // Cluster networks.

    /// All cluster networks whose object exists, sorted by name. That may leave out `mgmt`.
    pub fn cluster_networks(&self) -> impl Iterator<Item = &Name> {
        self.0.networks.iter().filter(|(_, network)| network.facts.is_some()).map(|(name, _)| name)
    }

    /// Returns whether a cluster network exists. `mgmt` exists even if its object is missing.
    #[must_use]
    pub fn exists(&self, cluster_network: &str) -> bool {
        self.0.exists(cluster_network)
    }

    /// The MTU in bytes of a cluster network: its `uplink-mtu`, else the MTU of its network
    /// configs, else 1500 (docs/rules.md, `nad-mtu`). While network configs differ, the first by
    /// name counts.
    ///
    /// # Errors
    /// The text of `uplink-mtu`, if that is not a number.
    pub fn mtu_of(&self, cluster_network: &str) -> Result<i64, Name> {
        let facts = self.cluster_network(cluster_network);
        match facts.map(|facts| &facts.uplink_mtu) {
            Some(UplinkMtu::Is(mtu)) => Ok(effective_mtu(*mtu)),
            Some(UplinkMtu::Unreadable(text)) => Err(text.clone()),
            Some(UplinkMtu::Unset) | None => Ok(self
                .configs_of(cluster_network)
                .next()
                .map_or(DEFAULT_MTU, |(_, config, _)| config.options.effective_mtu())),
        }
    }

    /// The effective MTUs, in bytes, of the network configs of a cluster network.
    pub fn config_mtus(&self, cluster_network: &str) -> impl Iterator<Item = (&Name, i64)> {
        let configs = self.configs_of(cluster_network);
        configs.map(|(config, facts, _)| (config, facts.options.effective_mtu()))
    }

    /// The facts of a cluster network, if its object exists.
    #[must_use]
    pub fn cluster_network(&self, name: &str) -> Option<&ClusterNetwork> {
        self.0.networks.get(name)?.facts.as_deref()
    }

    /// A cluster network, for queries about many hosts.
    #[must_use]
    pub fn network<'s>(&'s self, name: &'s Name) -> Network<'s> {
        Network { name, state: &self.0, known: self.0.networks.get(name).map(|it| &**it) }
    }

    // Network configs.

    /// All network configs that count, each with the hosts that it covers.
    pub fn configs(&self) -> impl Iterator<Item = (&Name, &NetworkConfig, &HostSet)> {
        self.every_config().filter(|(_, facts, _)| facts.counts())
    }

    /// The network configs that cover a host with these facts.
    pub fn configs_covering(&self, host: &Host) -> impl Iterator<Item = (&Name, &NetworkConfig)> {
        let candidates = self.0.configs_to_recheck(None, Some(host)).into_iter();
        let known = candidates.filter_map(|name| self.0.configs.get_key_value(&name));
        known.map(|(name, it)| (name, &*it.facts)).filter(|(_, facts)| facts.covers(host))
    }

    /// The facts of a network config, even if the network config does not count.
    #[must_use]
    pub fn config(&self, name: &str) -> Option<&NetworkConfig> {
        self.0.configs.get(name).map(|config| &*config.facts)
    }

    /// The network configs of a cluster network that count, each with the hosts that it covers.
    pub fn configs_of(
        &self,
        cluster_network: &str,
    ) -> impl Iterator<Item = (&Name, &NetworkConfig, &HostSet)> {
        self.configs_naming(cluster_network)
            .filter_map(|name| {
                let config = self.0.configs.get(name)?;
                Some((name, &*config.facts, &*config.hosts))
            })
            .filter(|(_, facts, _)| facts.counts())
    }

    /// The node agents' records of `mgmt`, each with the host that it is named after, if that is known.
    pub fn mgmt_records(&self) -> impl Iterator<Item = (&Name, &NetworkConfig, HostRef<'_>)> {
        self.0
            .configs
            .iter()
            .map(|(name, config)| (name, &*config.facts))
            .filter(|(_, facts)| facts.is_mgmt() && !facts.deleting)
            .filter_map(|(name, facts)| {
                Some((name, facts, self.host(facts.named_after.as_ref()?)?))
            })
    }

    /// All network configs that name a cluster network, including those that are being deleted.
    pub fn configs_naming(&self, cluster_network: &str) -> impl Iterator<Item = &Name> {
        self.0.networks.get(cluster_network).into_iter().flat_map(|network| network.configs.iter())
    }

    /// The hosts' reports on the uplinks of a cluster network, each with its VlanStatus's name.
    pub fn reports<'s>(
        &'s self,
        cluster_network: &'s Name,
    ) -> impl Iterator<Item = (&'s Name, &'s UplinkStatus)> {
        let from = (cluster_network.clone(), Name::default(), Name::default());
        self.0
            .reports
            .range(from..)
            .take_while(move |(network, ..)| network == cluster_network)
            .filter_map(|(_, _, status)| Some((status, &**self.0.statuses.get(status)?)))
    }

    /// One host's reports on the uplinks of a cluster network.
    pub fn reports_at<'s>(
        &'s self,
        cluster_network: &'s Name,
        host: HostRef<'s>,
    ) -> impl Iterator<Item = &'s UplinkStatus> {
        self.0.statuses_at(cluster_network, host.name())
    }

    /// The links of a host, from each link monitor that lists any.
    pub fn links(&self, host: HostRef<'_>) -> impl Iterator<Item = &[Link]> {
        let name = host.name().clone();
        self.0.monitors.values().filter_map(move |monitor| Some(&**monitor.links.get(&name)?))
    }

    // Host networks.

    /// The host network configs of a cluster network.
    pub fn host_networks_of<'s>(
        &'s self,
        cluster_network: &'s str,
    ) -> impl Iterator<Item = (&'s Name, &'s HostNetwork)> {
        self.host_networks().filter(move |(_, facts)| *facts.cluster_network == *cluster_network)
    }

    // VM networks.

    /// A VM network, if it exists.
    #[must_use]
    pub fn vm_network(&self, key: &Key) -> Option<&VmNetwork> {
        self.0.vm_networks.get(key).map(|vm_network| &**vm_network)
    }

    /// The cluster network of a VM network, if the VM network is under one.
    #[must_use]
    pub fn cluster_network_of(&self, vm_network: &VmNetwork) -> Option<Name> {
        self.0.cluster_network_of(vm_network)
    }

    /// The VM networks under a cluster network.
    pub fn vm_networks_of<'s>(
        &'s self,
        cluster_network: &'s Name,
    ) -> impl Iterator<Item = (&'s Key, &'s VmNetwork)> {
        related(&self.0.claims, cluster_network)
            .filter_map(|key| Some((key, self.vm_network(key)?)))
            .filter(move |(_, vm_network)| {
                self.cluster_network_of(vm_network).as_ref() == Some(cluster_network)
            })
    }

    // VMs.

    /// A virtual machine, if it exists.
    #[must_use]
    pub fn vm(&self, key: &Key) -> Option<&Vm> {
        self.0.vms.get(key).map(|vm| &**vm)
    }

    /// A VMI, if it exists.
    #[must_use]
    pub fn vmi(&self, key: &Key) -> Option<&Vmi> {
        self.0.vmis.get(key).map(|vmi| &**vmi)
    }

    /// All virtual machines.
    pub fn vms(&self) -> impl Iterator<Item = (&Key, &Vm)> {
        self.0.vms.iter().map(|(key, vm)| (key, &**vm))
    }

    /// All VMIs.
    pub fn vmis(&self) -> impl Iterator<Item = (&Key, &Vmi)> {
        self.0.vmis.iter().map(|(key, vmi)| (key, &**vmi))
    }

    /// Returns whether a VMI that has not finished is in this namespace.
    #[must_use]
    pub fn runs_vms_in(&self, namespace: &str) -> bool {
        let vmis = self.0.vmis.range(Key::in_namespace(namespace, "")..);
        let mut here = vmis.take_while(|(key, _)| key.namespace() == Some(namespace));
        here.any(|(_, vmi)| !vmi.finished)
    }

    /// The keys of all VMs and VMIs. The key of a VM with a VMI appears twice.
    pub fn vms_and_vmis(&self) -> impl Iterator<Item = &Key> {
        self.0.vms.keys().chain(self.0.vmis.keys())
    }

    /// The VMs whose templates refer to a VM network, including stopped VMs but not those that are
    /// being deleted.
    pub fn vms_using<'s>(&'s self, vm_network: &'s Key) -> impl Iterator<Item = &'s Key> {
        related(&self.0.vms_using, vm_network)
            .filter(|vm| self.0.vms.get(*vm).is_some_and(|vm| !vm.deleting))
    }

    /// The VMs that have an interface with this MAC address.
    pub fn vms_with_mac(&self, mac: Mac) -> impl Iterator<Item = (&Key, &Vm)> {
        let from = self.0.macs.range((mac, Key::first())..).take_while(move |(it, _)| *it == mac);
        from.filter_map(|(_, key)| Some((key, self.vm(key)?)))
    }

    /// Returns whether a namespace is terminating, and all objects in it with it.
    #[must_use]
    pub fn is_terminating(&self, namespace: &str) -> bool {
        self.0.namespaces.get(namespace).is_some_and(|namespace| namespace.terminating)
    }

    /// A launcher pod, if it exists.
    #[must_use]
    pub fn launcher_pod(&self, key: &Key) -> Option<&LauncherPod> {
        self.0.pods.get(key).map(|pod| &**pod)
    }

    /// A migration, if it exists.
    #[must_use]
    pub fn migration(&self, key: &Key) -> Option<&Migration> {
        self.0.migrations.get(key).map(|migration| &**migration)
    }

    /// Returns whether the VMI of a launcher pod is known. An earlier or later VMI of the same name
    /// does not count.
    #[must_use]
    pub fn knows_vmi_of(&self, pod: &LauncherPod) -> bool {
        self.0.vmis.get(&pod.vmi).is_some_and(|vmi| pod.is_of(vmi))
    }

    /// The launcher pods of a running VM that have not ended.
    pub fn launcher_pods_of<'s>(&'s self, vmi: &'s Key) -> impl Iterator<Item = &'s LauncherPod> {
        let facts = self.0.vmis.get(vmi).filter(|facts| !facts.finished);
        facts.into_iter().flat_map(move |facts| self.0.live_pods(vmi, facts))
    }

    /// The launcher pods for which the scheduler found no host.
    pub fn waiting_pods(&self) -> impl Iterator<Item = (&Key, &LauncherPod, &Waiting)> {
        self.0.waiting.iter().filter_map(|key| {
            let pod = self.launcher_pod(key)?;
            Some((key, pod, pod.waiting.as_deref()?))
        })
    }

    /// The VM networks that a VMI uses, according to its spec and its launcher pods.
    #[must_use]
    pub fn selection_of(&self, key: &Key) -> Option<Selection> {
        self.0.vmis.get(key).map(|vmi| self.0.selection_of(key, vmi))
    }

    /// The running VMs on a host.
    pub fn vmis_on<'s>(&'s self, host: &'s Name) -> impl Iterator<Item = &'s Key> {
        related(&self.0.vmis_on, host)
    }

    /// Returns whether a VMI uses a cluster network, according to its spec or its launcher pods.
    #[must_use]
    pub fn uses(&self, vmi: &Key, cluster_network: &Name) -> bool {
        let under = |key: &Key| self.cluster_network_of(self.vm_network(key)?);
        self.selection_of(vmi).is_some_and(|selection| {
            selection.vm_networks.iter().any(|key| under(key).as_ref() == Some(cluster_network))
        })
    }

    /// The hosts that a running VM is on, sorted by name.
    #[must_use]
    pub fn hosts_of(&self, vmi: &Key) -> Vec<HostRef<'_>> {
        let occupancy = self.0.occupancy_of(vmi);
        occupancy.hosts.iter().filter_map(|name| self.host(name)).collect()
    }

    /// Returns whether a running VM uses a VM network.
    #[must_use]
    pub fn is_using(&self, vmi: &Key, vm_network: &Key) -> bool {
        self.0.vmis_using.contains(&(vm_network.clone(), vmi.clone()))
    }

    /// The running VMs that use a VM network.
    pub fn vmis_using<'s>(&'s self, vm_network: &'s Key) -> impl Iterator<Item = &'s Key> {
        related(&self.0.vmis_using, vm_network)
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
