//! VMs, and where each can run.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cluster::{Key, Name, Snapshot};
use crate::decide::explain::Asked;
use crate::decide::feasible::FeasibleHosts;
use crate::view::explain::VmView;

/// The most VMs of one answer.
const MAX_VMS: usize = 500;
/// The VMs of one answer, if the question does not say.
const DEFAULT_VMS: usize = 100;
/// Up to so many hosts that a VM can run on are named.
const MAX_NAMED: usize = 5;

/// Which VMs are asked for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct VmsAsked {
    /// Only VMs whose NAMESPACE/NAME contains this text.
    search: String,
    /// Only VMs behind this NAMESPACE/NAME: `next` of the answer before.
    after: String,
    /// At most so many VMs: 100 if this is left out, and never more than 500.
    limit: Option<usize>,
}

/// A part of the VMs, by name.
#[derive(Debug, Serialize, JsonSchema)]
pub struct VmList {
    /// The number of all VMs, and of VMIs without a VM.
    total: usize,
    /// The number of those that match the search.
    matching: usize,
    vms: Vec<VmSummary>,
    /// What to ask for as `after`, if there are more.
    next: Option<String>,
}

/// A VM, or a VMI without a VM.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct VmSummary {
    /// NAMESPACE/NAME.
    name: String,
    /// `VirtualMachine`, or `VirtualMachineInstance` for one without a VM.
    source: &'static str,
    /// The cluster networks that must be active.
    needs: Vec<Name>,
    /// The number of hosts that it can run on.
    hosts: usize,
    /// The number of all hosts.
    of: usize,
    /// The hosts that it can run on, if there are at most five.
    only: Vec<Name>,
    /// The hosts that it runs on.
    runs_on: Vec<Name>,
}

impl VmList {
    /// The VMs that are asked for.
    #[must_use]
    pub fn of(snapshot: &Snapshot, asked: &VmsAsked) -> Self {
        let all: BTreeSet<&Key> = snapshot.vms_and_vmis().collect();
        let matching: Vec<&Key> =
            all.iter().copied().filter(|key| key.as_str().contains(&*asked.search)).collect();
        let from = matching.partition_point(|key| *key.as_str() <= *asked.after);
        let rest = matching.get(from..).unwrap_or_default();
        let limit = asked.limit.unwrap_or(DEFAULT_VMS).clamp(1, MAX_VMS);
        let shown = rest.get(..limit).unwrap_or(rest);
        let of = snapshot.every_host().count();
        let mut feasible = FeasibleHosts::new(snapshot, BTreeSet::new());
        let vms = shown.iter().filter_map(|key| {
            let asked = Asked::of(snapshot, key)?;
            let (source, needs) = (asked.source, asked.needs.cluster_networks.clone());
            let hosts = feasible.of_asked(asked);
            Some(VmSummary {
                name: key.to_string(),
                source: source.kubernetes(),
                needs,
                hosts: hosts.len(),
                of,
                only: hosts.iter().take(MAX_NAMED + 1).cloned().collect(),
                runs_on: runs_on(snapshot, key),
            })
        });
        let mut vms: Vec<VmSummary> = vms.collect();
        for vm in &mut vms {
            if vm.hosts > MAX_NAMED {
                vm.only.clear();
            }
        }
        let next = (shown.len() < rest.len()).then(|| shown.last().map(ToString::to_string));
        Self { total: all.len(), matching: matching.len(), vms, next: next.flatten() }
    }
}

fn runs_on(snapshot: &Snapshot, key: &Key) -> Vec<Name> {
    snapshot.hosts_of(key).into_iter().map(|host| host.name().clone()).collect()
}

/// A VM, where it can run, and where it runs.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VmPage<'s> {
    #[serde(flatten)]
    view: VmView<'s>,
    /// The hosts that the VM runs on.
    runs_on: Vec<Name>,
}

impl<'s> VmPage<'s> {
    /// The VM of this name, or else its VMI; `None` if there is neither.
    #[must_use]
    pub fn of(snapshot: &Snapshot, key: &'s Key) -> Option<Self> {
        Some(Self { view: VmView::of(snapshot, key)?, runs_on: runs_on(snapshot, key) })
    }

    /// A VM that is not made yet and asks for this.
    #[must_use]
    pub fn asking(snapshot: &Snapshot, asked: &Asked) -> Self {
        Self { view: VmView::asking(snapshot, "", asked), runs_on: Vec::new() }
    }
}
