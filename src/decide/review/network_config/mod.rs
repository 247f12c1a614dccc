//! The review of a network config: every `vc-*` rule (docs/reference.md, "Admission").

mod affected;
mod bond;
mod change;
mod links;
mod mtu;
mod nics;
mod overlap;

use crate::cluster::{HostSet, Key, Kind, Name, NetworkConfig, ObjectRef, Snapshot};

use self::change::Review;
use self::mtu::Mtu;
use super::bounds::mtu_in_range;
use super::{Code, Judgement, Reviewed, Scope, Violation, Write};

pub use self::bond::works_with;
pub use self::links::Nics;
pub(in crate::decide) use self::nics::nics_of_mgmt;
pub(in crate::decide) use self::overlap::covering;

/// What must be read afresh: the VMs on affected hosts, the network configs of the cluster network,
/// and the cluster network itself if it is unknown. Exceptions that spare a host do not count here,
/// since they depend on network configs that may be gone.
#[must_use]
pub fn scope(snapshot: &Snapshot, write: &Write<NetworkConfig>) -> Scope {
    let Some(review) = Review::of(snapshot, write, true) else { return Scope::default() };
    let unknown = review.missing_network().filter(|name| !name.is_empty());
    let changed =
        review.new.filter(|new| !review.old.is_some_and(|old| old.facts.same_effect(&new.facts)));
    let left = review.old.filter(|_| review.others_cover_touched());
    Scope {
        running_vms_on: snapshot.names(&review.touched()).into_iter().cloned().collect(),
        unknown: unknown
            .map(|name| ObjectRef {
                kind: Kind::ClusterNetwork,
                key: Key::cluster_scoped(name.clone()),
            })
            .into_iter()
            .collect(),
        configs_of: changed
            .or(left)
            .map(|version| version.facts.cluster_network.clone())
            .filter(|name| !name.is_empty())
            .into_iter()
            .collect(),
        ..Scope::default()
    }
}

/// Judges the change. `trusted` says whether a trusted user makes the change.
pub fn judge(snapshot: &Snapshot, write: &Write<NetworkConfig>, trusted: bool) -> Judgement {
    let mut judgement = Judgement::default();
    let Some(review) = Review::of(snapshot, write, trusted) else { return judgement };
    let violations = &mut judgement.violations;
    violations.extend((!trusted).then(|| mgmt(write)).flatten());
    violations.extend(review.cluster_network());
    violations.extend(review.label());
    violations.extend(review.bond());
    match review.mtu() {
        Mtu::Fine => {}
        Mtu::Warning(warning) => judgement.warnings.push(warning),
        Mtu::Wrong(violation) => violations.push(violation),
    }
    violations.extend(review.overlap());
    violations.extend(review.nic_twice());
    violations.extend(review.nic_conflict());
    violations.extend(review.management_nics());
    violations.extend(review.reserved_nics());
    let affected = review.affected();
    violations.extend(review.running_vms(&affected));
    violations.extend(review.system_network(&affected));
    let (violation, warning) = review.host_network(&affected);
    violations.extend(violation);
    judgement.warnings.extend(review.dead_uplink(&affected));
    judgement.warnings.extend(warning);
    judgement.warnings.extend(review.warnings());
    judgement
}

/// The violations that a network config which counts has as it stands, as if it were made now, and
/// without those that it shares with other network configs. It covers `hosts`.
pub(in crate::decide) fn standing(
    snapshot: &Snapshot,
    name: &Name,
    facts: &NetworkConfig,
    hosts: &HostSet,
) -> Vec<Violation> {
    let key = Key::cluster_scoped(name.clone());
    let new = Reviewed { key, facts: facts.clone(), deleting: false };
    let review = Review {
        snapshot,
        old: None,
        new: Some(&new),
        update: false,
        old_hosts: HostSet::default(),
        new_hosts: hosts.clone(),
    };
    let mtu = (!mtu_in_range(facts.options.mtu)).then(|| review.mtu());
    let mtu = mtu.and_then(|mtu| match mtu {
        Mtu::Wrong(violation) => Some(violation),
        Mtu::Fine | Mtu::Warning(_) => None,
    });
    let network = review.cluster_network().into_iter();
    let nics = review.nic_twice().into_iter().chain(review.reserved_nics());
    network.chain(review.bond()).chain(mtu).chain(nics).collect()
}

/// `vc-mgmt`: only trusted users create, change or delete network configs of `mgmt`.
fn mgmt(write: &Write<NetworkConfig>) -> Option<Violation> {
    let is = |version: &Reviewed<NetworkConfig>| version.facts.is_mgmt();
    let (verb, config) = match write {
        // Only a trusted user's config without a cluster network is a record.
        Write::Create(new) if new.facts.cluster_network.is_empty() => return None,
        Write::Create(new) if is(new) => ("created", new),
        Write::Delete(old) if is(old) => ("deleted", old),
        Write::Update { old, new } if is(old) && old != new => ("changed", new),
        Write::Update { old, new } if is(new) && old != new => ("moved to mgmt", new),
        _ => return None,
    };
    Some(Violation {
        code: Code::VcMgmt,
        field: Some("spec.clusterNetwork".into()),
        message: format!(
            "network config {} can't be {verb} by a user: only the node agent writes network \
             configs of cluster network mgmt",
            config.name()
        ),
        of_the_object_alone: false,
    })
}

impl<'a> Review<'a> {
    /// The warnings about NICs and hosts, if the NICs, the selector or the cluster network change.
    fn warnings(&self) -> Vec<String> {
        let same = |new: &Reviewed<NetworkConfig>| {
            self.old_of_same_network().is_some_and(|old| {
                (&old.facts.nics, &old.facts.selector) == (&new.facts.nics, &new.facts.selector)
            })
        };
        let Some(new) = self.new.filter(|new| !same(new)) else { return Vec::new() };
        links::warnings(self.snapshot, &new.facts, &self.new_hosts)
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
            field: Some("spec.clusterNetwork".into()),
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
        // That there is no cluster network is told already.
        let new = self.new.filter(|new| self.update && !new.facts.cluster_network.is_empty())?;
        let unchanged =
            self.old_of_same_network().is_some_and(|old| old.facts.label == new.facts.label);
        let name = &new.facts.cluster_network;
        (!unchanged && new.facts.label.as_ref() != Some(name)).then(|| Violation {
            code: Code::VcLabel,
            field: Some("metadata.labels[network.harvesterhci.io/clusternetwork]".into()),
            message: format!(
                "label network.harvesterhci.io/clusternetwork is {}, but spec.clusterNetwork is \
                 {name}; set the label to {name}",
                new.facts.label.as_deref().filter(|it| !it.is_empty()).unwrap_or("missing")
            ),
            of_the_object_alone: true,
        })
    }
}
