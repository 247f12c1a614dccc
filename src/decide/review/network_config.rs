//! The review of a network config: every `vc-*` rule, one function each (docs/reference.md,
//! "Admission").

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{HostSet, Key, Kind, Name, NetworkConfig, ObjectRef, Snapshot, VmNetwork};

use super::super::names::list;
use super::bounds::{MAX_MTU, MIN_MTU, mtu_in_range};
use super::uplink;
use super::{Code, Judgement, Reviewed, Scope, Violation, Write};

/// What must be read afresh: the VMs on affected hosts, the network configs of the cluster network,
/// and the cluster network itself if it is unknown.
#[must_use]
pub fn scope(snapshot: &Snapshot, write: &Write<NetworkConfig>) -> Scope {
    let Some(review) = Review::of(snapshot, write) else { return Scope::default() };
    let unknown = review.missing_network().filter(|name| !name.is_empty());
    Scope {
        running_vms_on: snapshot.names(&review.affected()).into_iter().cloned().collect(),
        unknown: unknown
            .map(|name| ObjectRef {
                kind: Kind::ClusterNetwork,
                key: Key::cluster_scoped(name.clone()),
            })
            .into_iter()
            .collect(),
        configs_of: review.new.map(|new| new.facts.cluster_network.clone()).into_iter().collect(),
        ..Scope::default()
    }
}

/// Judges the change. `trusted` says whether a trusted user makes the change.
pub fn judge(snapshot: &Snapshot, write: &Write<NetworkConfig>, trusted: bool) -> Judgement {
    let mut judgement = Judgement::default();
    let Some(review) = Review::of(snapshot, write) else { return judgement };
    let violations = &mut judgement.violations;
    violations.extend((!trusted).then(|| mgmt(write)).flatten());
    violations.extend(review.cluster_network());
    violations.extend(review.label());
    match review.mtu() {
        Mtu::Fine => {}
        Mtu::SiblingsToChange(warning) => judgement.warnings.push(warning),
        Mtu::Wrong(violation) => violations.push(violation),
    }
    violations.extend(review.overlap());
    violations.extend(review.nic_twice());
    violations.extend(review.nic_conflict());
    let affected = review.affected();
    violations.extend(review.running_vms(&affected));
    violations.extend(review.system_network(&affected));
    judgement.warnings.extend(review.warnings());
    judgement
}

/// `vc-mgmt`: only trusted users create, change or delete network configs of `mgmt`.
fn mgmt(write: &Write<NetworkConfig>) -> Option<Violation> {
    let is = |version: &Reviewed<NetworkConfig>| version.facts.is_mgmt();
    let (verb, config) = match write {
        Write::Create(new) if is(new) => ("created", new),
        Write::Delete(old) if is(old) => ("deleted", old),
        Write::Update { old, new } if is(old) && old != new => ("changed", new),
        Write::Update { old, new } if is(new) && old != new => ("moved to mgmt", new),
        _ => return None,
    };
    Some(Violation {
        code: Code::VcMgmt,
        field: Some("spec.clusterNetwork"),
        message: format!(
            "network config {} can't be {verb} by a user: only the node agent writes network \
             configs of cluster network mgmt",
            config.name()
        ),
        of_the_object_alone: false,
    })
}

/// The result of the rule `vc-mtu`.
enum Mtu {
    Fine,
    SiblingsToChange(String),
    Wrong(Violation),
}

/// A change, with the hosts that the network config covers before and after. A version that does
/// not count is left out: only `vc-mgmt` applies to a network config of `mgmt`, and one that moves
/// to `mgmt` is judged for the cluster network that it leaves.
struct Review<'a> {
    snapshot: &'a Snapshot,
    old: Option<&'a Reviewed<NetworkConfig>>,
    new: Option<&'a Reviewed<NetworkConfig>>,
    /// Whether the change is an update, even if one of its versions is left out.
    update: bool,
    old_hosts: HostSet,
    new_hosts: HostSet,
}

impl<'a> Review<'a> {
    /// The review of a change; `None` for an update of an object that is being deleted, which is
    /// always admitted.
    fn of(snapshot: &'a Snapshot, write: &'a Write<NetworkConfig>) -> Option<Self> {
        if matches!(write, Write::Update { new, .. } if new.facts.deleting) {
            return None;
        }
        let counting = |version: &&Reviewed<NetworkConfig>| version.facts.counts();
        let (old, new) = (write.before().filter(counting), write.after().filter(counting));
        let hosts = |version: Option<&Reviewed<NetworkConfig>>| {
            version.map(|it| snapshot.covered(&it.facts.selector)).unwrap_or_default()
        };
        Some(Self {
            snapshot,
            old,
            new,
            update: matches!(write, Write::Update { .. }),
            old_hosts: hosts(old),
            new_hosts: hosts(new),
        })
    }

    /// The old version, if it belongs to the same cluster network as the new one.
    fn old_of_same_network(&self) -> Option<&'a Reviewed<NetworkConfig>> {
        let new = self.new?;
        self.old.filter(|old| old.facts.cluster_network == new.facts.cluster_network)
    }

    /// The hosts that the network config newly covers: all of its hosts, if its cluster network
    /// changes.
    fn added(&self) -> HostSet {
        if self.old_of_same_network().is_some() {
            self.new_hosts.difference(&self.old_hosts)
        } else {
            self.new_hosts.clone()
        }
    }

    /// The warnings about NICs and hosts, if the NICs, the selector or the cluster network change.
    fn warnings(&self) -> Vec<String> {
        let same = |new: &Reviewed<NetworkConfig>| {
            self.old_of_same_network().is_some_and(|old| {
                (&old.facts.nics, &old.facts.selector) == (&new.facts.nics, &new.facts.selector)
            })
        };
        let Some(new) = self.new.filter(|new| !same(new)) else { return Vec::new() };
        uplink::warnings(self.snapshot, &new.facts, &self.new_hosts)
    }

    /// The hosts that lose the cluster network or get another uplink for it (docs/reference.md,
    /// "Affected hosts"). Selectors and the current labels decide, never an annotation.
    fn affected(&self) -> HostSet {
        match (self.old, self.new) {
            (Some(old), Some(new))
                if old.facts.cluster_network == new.facts.cluster_network
                    && old.facts.same_uplink(&new.facts) =>
            {
                self.old_hosts.difference(&self.new_hosts)
            }
            _ => self.old_hosts.clone(),
        }
    }

    /// The new cluster network, if it does not exist.
    fn missing_network(&self) -> Option<&'a Name> {
        let new = self.new.filter(|_| self.old_of_same_network().is_none())?;
        Some(&new.facts.cluster_network).filter(|name| !self.snapshot.exists(name))
    }

    /// `vc-cluster-network`: the named cluster network exists.
    fn cluster_network(&self) -> Option<Violation> {
        self.missing_network().map(|name| Violation {
            code: Code::VcClusterNetwork,
            field: Some("spec.clusterNetwork"),
            message: if name.is_empty() {
                "spec.clusterNetwork is empty; name a cluster network".to_owned()
            } else {
                format!("cluster network {name} does not exist; create it first")
            },
            of_the_object_alone: name.is_empty(),
        })
    }

    /// `vc-label`: on update the label equals `spec.clusterNetwork`.
    fn label(&self) -> Option<Violation> {
        let new = self.new.filter(|_| self.update)?;
        let unchanged =
            self.old_of_same_network().is_some_and(|old| old.facts.label == new.facts.label);
        let name = &new.facts.cluster_network;
        (!unchanged && new.facts.label.as_ref() != Some(name)).then(|| Violation {
            code: Code::VcLabel,
            field: Some("metadata.labels[network.harvesterhci.io/clusternetwork]"),
            message: format!(
                "label network.harvesterhci.io/clusternetwork is {}, but spec.clusterNetwork is \
                 {name}; set the label to {name}",
                new.facts.label.as_deref().unwrap_or("missing")
            ),
            of_the_object_alone: true,
        })
    }

    /// `vc-mtu`: the MTU is 0 or in the range 576 to 9000, and all network configs of a cluster
    /// network have the same MTU. While nothing uses the cluster network, its network configs may
    /// be changed one after the other.
    fn mtu(&self) -> Mtu {
        let Some(new) = self.new else { return Mtu::Fine };
        let options = &new.facts.options;
        let (mtu, effective) = (options.mtu, options.effective_mtu());
        let unchanged =
            |old: &Reviewed<NetworkConfig>| old.facts.options.effective_mtu() == effective;
        if self.old_of_same_network().is_some_and(unchanged) {
            return Mtu::Fine;
        }
        let violation = |message: String, of_the_object_alone: bool| {
            Mtu::Wrong(Violation {
                code: Code::VcMtu,
                field: Some("spec.uplink.linkAttributes.mtu"),
                message,
                of_the_object_alone,
            })
        };
        let name = &new.facts.cluster_network;
        let siblings: Vec<String> = self
            .snapshot
            .configs_of(name)
            .filter(|(sibling, facts, _)| {
                *sibling != new.name() && facts.options.effective_mtu() != effective
            })
            .map(|(sibling, facts, _)| format!("{sibling} ({})", facts.options.effective_mtu()))
            .collect();
        let in_range = mtu_in_range(mtu);
        if !in_range && !self.old.is_some_and(unchanged) {
            // That such an MTU also differs from the siblings' is no separate violation.
            let mut message =
                format!("MTU {mtu} is not valid; use 0 or a number from {MIN_MTU} to {MAX_MTU}");
            if !siblings.is_empty() {
                message.push_str(". The MTU of other network configs of the cluster network: ");
                message.push_str(&list(siblings));
            }
            return violation(message, true);
        }
        if siblings.is_empty() {
            return Mtu::Fine;
        }
        let siblings = list(siblings);
        if self.old_of_same_network().is_some() && !self.in_use(name) {
            return Mtu::SiblingsToChange(format!(
                "MTU {effective} differs from the MTU of other network configs of cluster network \
                 {name}, which are still to be changed: {siblings}"
            ));
        }
        violation(
            format!(
                "MTU {effective} differs from the MTU of other network configs of cluster network \
                 {name}: {siblings}; use the same MTU. To change it, update one network config \
                 after the other while no running VM and no system network uses the cluster network"
            ),
            false,
        )
    }

    /// Returns whether a running VM or a system network uses the cluster network.
    fn in_use(&self, cluster_network: &Name) -> bool {
        self.snapshot.vm_networks_of(cluster_network).any(|(key, vm_network)| {
            vm_network.system || self.snapshot.vmis_using(key).next().is_some()
        })
    }

    /// `vc-overlap`: no two network configs of one cluster network cover a host. A VlanStatus of
    /// another network config counts too, since its uplink may still be there.
    fn overlap(&self) -> Vec<Violation> {
        let Some(new) = self.new else { return Vec::new() };
        let (added, name) = (self.added(), &new.facts.cluster_network);
        let mut overlaps: BTreeMap<&Name, HostSet> = BTreeMap::new();
        for (other, _, hosts) in self.snapshot.configs_of(name) {
            overlaps.insert(other, added.intersection(hosts));
        }
        let mut reported: BTreeMap<&Name, BTreeSet<&Name>> = BTreeMap::new();
        for report in self.snapshot.reports(name) {
            let Some(host) = self.snapshot.host(&report.host) else { continue };
            let seen = overlaps.get(&report.config).is_some_and(|hosts| hosts.contains(host));
            if added.contains(host) && !seen {
                reported.entry(&report.config).or_default().insert(&report.host);
            }
        }
        let by_selector =
            overlaps.iter().filter(|(_, hosts)| !hosts.is_empty()).map(|(other, hosts)| {
                let hosts = list(self.snapshot.names(hosts));
                (
                    *other,
                    format!(
                        "network config {other} of cluster network {name} covers the same hosts: \
                         {hosts}; change a nodeSelector"
                    ),
                )
            });
        let by_report = reported.iter().map(|(other, hosts)| {
            let hosts = list(hosts);
            (
                *other,
                format!(
                    "a VlanStatus still reports an uplink of network config {other} of cluster \
                     network {name} on hosts: {hosts}; wait until the node agent has removed it"
                ),
            )
        });
        by_selector
            .chain(by_report)
            .filter(|(other, _)| *other != new.name())
            .map(|(_, message)| Violation {
                code: Code::VcOverlap,
                field: Some("spec.nodeSelector"),
                message,
                of_the_object_alone: false,
            })
            .collect()
    }

    /// `vc-nic-conflict`, first part: no NIC is listed twice.
    fn nic_twice(&self) -> Option<Violation> {
        let new = self.new?;
        if self.old.is_some_and(|old| old.facts.nics == new.facts.nics) {
            return None;
        }
        let mut seen = BTreeSet::new();
        let twice: BTreeSet<&Name> =
            new.facts.nics.iter().filter(|nic| !seen.insert(*nic)).collect();
        (!twice.is_empty()).then(|| Violation {
            code: Code::VcNicConflict,
            field: Some("spec.uplink.nics"),
            message: format!(
                "spec.uplink.nics lists NICs more than once: {}; remove the duplicates",
                list(twice)
            ),
            of_the_object_alone: true,
        })
    }

    /// `vc-nic-conflict`, second part: no host is covered by network configs of two cluster
    /// networks that use the same NIC.
    fn nic_conflict(&self) -> Vec<Violation> {
        let Some(new) = self.new else { return Vec::new() };
        let (facts, added) = (&new.facts, self.added());
        let old = self.old_of_same_network();
        let mut violations = Vec::new();
        for (other, theirs, hosts) in self.snapshot.configs() {
            if theirs.cluster_network == facts.cluster_network || other == new.name() {
                continue;
            }
            let shared: BTreeSet<&Name> =
                facts.nics.iter().filter(|nic| theirs.nics.contains(nic)).collect();
            // A NIC that the network config had before is judged only on newly covered hosts, so
            // that an old conflict blocks nothing.
            let (kept, fresh): (BTreeSet<_>, BTreeSet<_>) = shared
                .into_iter()
                .partition(|nic| old.is_some_and(|old| old.facts.nics.contains(nic)));
            for (nics, judged) in [(kept, &added), (fresh, &self.new_hosts)] {
                let both = judged.intersection(hosts);
                if nics.is_empty() || both.is_empty() {
                    continue;
                }
                violations.push(Violation {
                    code: Code::VcNicConflict,
                    field: Some("spec.uplink.nics"),
                    message: format!(
                        "network config {other} of cluster network {} already uses {} {} on hosts: \
                         {}; choose other NICs or other hosts",
                        theirs.cluster_network,
                        if nics.len() == 1 { "NIC" } else { "NICs" },
                        list(nics),
                        list(self.snapshot.names(&both))
                    ),
                    of_the_object_alone: false,
                });
            }
        }
        violations
    }

    /// What the change would do to the affected hosts; `it` is their cluster network.
    fn effect(&self) -> &'static str {
        if self
            .old_of_same_network()
            .is_some_and(|old| self.new.is_some_and(|new| !old.facts.same_uplink(&new.facts)))
        {
            "get another uplink for it"
        } else {
            "lose it"
        }
    }

    /// `vc-running-vms`: no running VM uses the cluster network on an affected host.
    fn running_vms(&self, affected: &HostSet) -> Option<Violation> {
        let name = &self.old?.facts.cluster_network;
        let using: BTreeSet<&Key> = self
            .snapshot
            .vm_networks_of(name)
            .flat_map(|(vm_network, _)| self.snapshot.vmis_using(vm_network))
            .collect();
        let mut vms: BTreeMap<&Key, Vec<&Name>> = BTreeMap::new();
        for host in self.snapshot.names(affected) {
            for vmi in self.snapshot.vmis_on(host) {
                if using.contains(vmi) {
                    vms.entry(vmi).or_default().push(host);
                }
            }
        }
        if vms.is_empty() {
            return None;
        }
        let named = vms.iter().map(|(vm, hosts)| format!("{vm} ({})", list(hosts)));
        Some(Violation {
            code: Code::VcRunningVms,
            field: None,
            message: format!(
                "running VMs use cluster network {name} on hosts that would {}: {}; stop or \
                 migrate them first",
                self.effect(),
                list(named)
            ),
            of_the_object_alone: false,
        })
    }

    /// `vc-system-network`: no host is affected while a system network uses the cluster network.
    fn system_network(&self, affected: &HostSet) -> Option<Violation> {
        let name = &self.old?.facts.cluster_network;
        if affected.is_empty() {
            return None;
        }
        let system = |(_, vm_network): &(&Key, &VmNetwork)| vm_network.system;
        let networks: Vec<&Key> =
            self.snapshot.vm_networks_of(name).filter(system).map(|(key, _)| key).collect();
        (!networks.is_empty()).then(|| Violation {
            code: Code::VcSystemNetwork,
            field: None,
            message: format!(
                "system networks use cluster network {name} on hosts that would {}: {}; move them \
                 to another cluster network or disable them first",
                self.effect(),
                list(networks)
            ),
            of_the_object_alone: false,
        })
    }
}
