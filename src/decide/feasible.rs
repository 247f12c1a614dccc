//! The hosts that would keep a pod or VM: every cluster network that it needs is active there, and
//! its own node selector and required node affinity allow the host.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::cluster::{
    HostChoice, HostRef, Key, Kind, Name, Run, Selection, Snapshot, VmNetwork, Vmi,
};

use super::explain::Asked;
use super::needs::Needs;

/// What a pod or VM needs, and the first host that would keep it.
#[derive(Clone, Debug)]
pub struct Fit {
    /// What its networks need.
    pub needs: Needs,
    /// A host that would keep it, if there is one.
    pub first: Option<Name>,
}

/// Looks for hosts that would keep pods and VMs. Those that ask for the same share one answer.
pub struct Fits<'s> {
    snapshot: &'s Snapshot,
    known: HashMap<(Cow<'s, Selection>, &'s HostChoice), Fit, FixedState>,
}

impl<'s> Fits<'s> {
    /// No answer is known yet.
    #[must_use]
    pub fn new(snapshot: &'s Snapshot) -> Self {
        Self { snapshot, known: HashMap::default() }
    }

    /// What a pod or VM needs that asks for these networks and allows these hosts.
    pub fn of(&mut self, networks: Cow<'s, Selection>, choice: &'s HostChoice) -> &Fit {
        let snapshot = self.snapshot;
        self.known.entry((networks, choice)).or_insert_with_key(|(networks, choice)| {
            let needs = Needs::of(snapshot, networks);
            let first = hosts(snapshot, &needs, choice, |hosts| Some(hosts.next()?.name().clone()));
            Fit { needs, first }
        })
    }
}

/// The number of VMs that are asked to run, and of running VMIs without a VM, that no known host would
/// keep.
#[must_use]
pub fn unschedulable(snapshot: &Snapshot) -> usize {
    let mut fits = Fits::new(snapshot);
    asking(snapshot).filter(|it| fits.of(it.networks.clone(), it.hosts).first.is_none()).count()
}

/// A VM or VMI that needs a host.
pub(super) struct Asking<'s> {
    /// The kind of object that asks: a VM, or a VMI without a VM.
    pub kind: Kind,
    pub key: &'s Key,
    pub networks: Cow<'s, Selection>,
    /// The hosts that its own node selector and required node affinity allow.
    pub hosts: &'s HostChoice,
}

fn by_vmi<'s>(snapshot: &'s Snapshot, key: &'s Key, vmi: &'s Vmi) -> Option<Asking<'s>> {
    let networks = Cow::Owned(snapshot.selection_of(key)?);
    Some(Asking { kind: Kind::Vmi, key, networks, hosts: &vmi.hosts })
}

/// The VMs that are asked to run, and the running VMIs without a VM. In place of a VM that was changed
/// after its start, its VMI asks while it waits for a host: the change waits for a restart.
pub(super) fn asking(snapshot: &Snapshot) -> impl Iterator<Item = Asking<'_>> {
    let to_run = snapshot.vms().filter(|(_, vm)| vm.run == Run::Asked && !vm.deleting);
    let alone = snapshot.vmis().filter(|(key, vmi)| !vmi.finished && snapshot.vm(key).is_none());
    let to_run = to_run.filter_map(|(key, vm)| {
        let waits = |vmi: &&Vmi| !vmi.finished && vmi.host.is_none();
        let differs = |vmi: &&Vmi| (&vmi.networks, &vmi.hosts) != (&vm.networks, &vm.hosts);
        match snapshot.vmi(key).filter(waits).filter(differs) {
            Some(vmi) => by_vmi(snapshot, key, vmi),
            None => Some(Asking {
                kind: Kind::Vm,
                key,
                networks: Cow::Borrowed(&*vm.networks),
                hosts: &vm.hosts,
            }),
        }
    });
    to_run.chain(alone.filter_map(|(key, vmi)| by_vmi(snapshot, key, vmi)))
}

/// The hosts that VMs can run on. VMs that need the same cluster networks and allow the same hosts
/// share the answer.
pub struct FeasibleHosts<'s> {
    snapshot: &'s Snapshot,
    /// The cluster networks that the change deletes. Without its cluster network, a VM network that
    /// only its bridge puts under it counts as unconstrained. But the bridge is gone, so a VM that
    /// uses it can run nowhere.
    gone: BTreeSet<&'s Name>,
    known: HashMap<(Vec<Name>, Arc<HostChoice>), BTreeSet<Name>>,
    nowhere: BTreeSet<Name>,
}

impl<'s> FeasibleHosts<'s> {
    /// No answer is known yet. `gone` are the cluster networks that a change deletes.
    #[must_use]
    pub fn new(snapshot: &'s Snapshot, gone: BTreeSet<&'s Name>) -> Self {
        Self { snapshot, gone, known: HashMap::new(), nowhere: BTreeSet::new() }
    }

    /// The hosts that the VM of this name, or else its VMI, can run on. Returns `None` if there is
    /// neither.
    pub fn of(&mut self, key: &Key) -> Option<&BTreeSet<Name>> {
        Some(self.of_asked(Asked::of(self.snapshot, key)?))
    }

    /// The hosts that a VM can run on that asks for this.
    pub fn of_asked(&mut self, asked: Asked) -> &BTreeSet<Name> {
        let Asked { needs, hosts: choice, .. } = asked;
        let is_gone = |(key, _): &(Key, Option<Name>)| {
            let claim = self.snapshot.vm_network(key).and_then(VmNetwork::claim);
            claim.is_some_and(|claim| self.gone.contains(&claim))
        };
        if !needs.everywhere.is_empty() || needs.vm_networks.iter().any(is_gone) {
            return &self.nowhere;
        }
        let asked = (needs.cluster_networks.clone(), choice);
        self.known.entry(asked).or_insert_with_key(|(_, choice)| {
            hosts(self.snapshot, &needs, choice, |hosts| {
                hosts.map(|host| host.name().clone()).collect()
            })
        })
    }
}

/// Calls `with` with the hosts that would keep a pod or VM, in no order.
pub(super) fn hosts<T>(
    snapshot: &Snapshot,
    needs: &Needs,
    choice: &HostChoice,
    with: impl FnOnce(&mut dyn Iterator<Item = HostRef<'_>>) -> T,
) -> T {
    if !needs.everywhere.is_empty() {
        return with(&mut std::iter::empty());
    }
    let allowed = |host: &HostRef<'_>| choice.is_any() || snapshot.allows(choice, *host);
    match needs.active(snapshot) {
        Some(active) => with(&mut snapshot.hosts_in(&active).filter(allowed)),
        None => with(&mut snapshot.every_host().filter(allowed)),
    }
}
