//! The review of a change to an object, in two pure steps: `scope` says what must be read afresh
//! before an answer is safe, and `judge` answers from a snapshot that contains what was read
//! (docs/reference.md, "Admission").

mod bounds;
mod cluster_network;
mod code;
mod host;
mod in_place;
mod judgement;
mod network_config;
mod question;
mod scope;
mod vm;
mod vm_network;
mod vm_network_config;
mod vm_network_deletion;
mod vm_network_edits;
mod vm_network_version;
mod write;

use crate::cluster::{Kind, NetworkConfig, Selection, Snapshot};

use super::names::Audience;
use super::needs::Needs;
use super::placement::{Term, place};

pub use bounds::{MAX_MTU, MAX_NAME, MIN_MTU};
pub(super) use cluster_network::standing as standing_network;
pub use code::Code;
pub(super) use judgement::bound;
pub use judgement::{Judgement, Violation};
pub use network_config::{Nics, works_with};
pub(super) use network_config::{covering, nics_of_mgmt, standing as standing_config};
pub use question::{Edits, Evidence, Outcome, Policy, Question, Subject, Webhook};
pub use scope::Scope;
pub(super) use vm::{mac_clashes, network_missing};
pub(super) use vm_network::{reserved_vlans, standing as standing_vm_network};
pub(super) use vm_network_edits::labels as vm_network_labels;
pub use write::{Proposal, Reviewed, Write};

/// What must be read afresh before the question can be answered safely.
#[must_use]
pub fn scope(snapshot: &Snapshot, question: &Question) -> Scope {
    let Subject::Change { proposal, .. } = &question.subject else { return Scope::default() };
    match question.webhook {
        Webhook::Validate => scope_of(snapshot, proposal),
        // The label and the annotation of a network config depend on hosts only.
        Webhook::Mutate
            if matches!(
                **proposal,
                Proposal::NetworkConfig(_) | Proposal::KnownNetworkConfig { .. }
            ) =>
        {
            Scope::default()
        }
        Webhook::Mutate => match &**proposal {
            Proposal::Vm(write) => vm::mutation_scope(snapshot, write),
            _ => scope_of(snapshot, proposal).look_ups(),
        },
    }
}

fn scope_of(snapshot: &Snapshot, proposal: &Proposal) -> Scope {
    match proposal.resolved(snapshot).as_deref() {
        Some(Proposal::ClusterNetwork(write)) => cluster_network::scope(write),
        Some(Proposal::NetworkConfig(write)) => network_config::scope(snapshot, write),
        Some(Proposal::VmNetwork(write)) => vm_network::scope(snapshot, write),
        Some(Proposal::Vm(write)) => vm::scope(snapshot, write),
        Some(Proposal::Vmi(asked)) => vm::scope_of_networks(snapshot, &asked.vm_networks),
        Some(Proposal::Host(write)) => host::scope(snapshot, write),
        Some(Proposal::KnownNetworkConfig { .. }) | None => Scope::default(),
    }
}

/// Answers a question from the evidence.
pub fn judge(evidence: &Evidence, question: &Question, policy: &Policy) -> Outcome {
    let Evidence { snapshot, unread } = evidence;
    let (kind, proposal, terms) = match &question.subject {
        Subject::Nothing => return Outcome::admitted(),
        // Only validation refuses such an object: ours, or the API server's own.
        Subject::Unreadable(..) if question.webhook == Webhook::Mutate => {
            return Outcome::admitted();
        }
        Subject::Unreadable(kind, why) => {
            return Outcome::Denied(Judgement::unreadable(*kind, why));
        }
        Subject::Change { kind, proposal, terms } => (*kind, proposal, terms.as_deref()),
    };
    if question.webhook == Webhook::Mutate {
        // After a failed read, an object that is missing here may still exist: change nothing.
        let edits = match unread {
            _ if policy.vm_affinity_off && matches!(kind, Kind::Vm | Kind::Vmi) => Edits::None,
            None => edits(snapshot, proposal, terms),
            Some(_) => Edits::None,
        };
        return Outcome::Admitted { warnings: Vec::new(), edits };
    }
    // An outage of the API server must not block changes of VMs and hosts.
    if let Some(why) = unread.as_ref().filter(|_| !matches!(kind, Kind::Vm | Kind::Host)) {
        return Outcome::Undecided(why.clone());
    }
    let trusted = policy.trusted_users.iter().any(|user| **user == *question.user);
    let key = proposal.key();
    let audience = match &key {
        Some(key) if !policy.names_all => Audience::of(key),
        _ => Audience::Everyone,
    };
    let mut judgement = match proposal.resolved(snapshot).as_deref() {
        Some(Proposal::ClusterNetwork(write)) => cluster_network::judge(snapshot, write, trusted),
        Some(Proposal::NetworkConfig(write)) => network_config::judge(snapshot, write, trusted),
        Some(Proposal::VmNetwork(write)) => {
            vm_network::judge(snapshot, write, &question.user, audience)
        }
        Some(Proposal::Vm(write)) => {
            vm::judge(snapshot, write, policy.deny_unschedulable, trusted, audience)
        }
        Some(Proposal::Host(write)) => host::judge(snapshot, write),
        Some(Proposal::Vmi(_) | Proposal::KnownNetworkConfig { .. }) | None => Judgement::default(),
    };
    if let Some(why) = unread {
        judgement.warnings.push(format!("checked against cached state only: {why}"));
    }
    judgement.bound();
    if judgement.admitted() {
        Outcome::Admitted { warnings: judgement.warnings, edits: Edits::None }
    } else {
        Outcome::Denied(judgement)
    }
}

/// What the mutating webhook changes in an object (docs/reference.md, "Mutation").
fn edits(snapshot: &Snapshot, proposal: &Proposal, terms: Option<&[Term]>) -> Edits {
    let affinity =
        |networks: &Selection| Edits::Affinity(place(&Needs::of(snapshot, networks), terms));
    match proposal {
        Proposal::NetworkConfig(write) => network_config_edits(snapshot, write.after()),
        Proposal::KnownNetworkConfig { new, .. } => network_config_edits(snapshot, new.as_ref()),
        // For an update that changes nothing that a rule reads, unknown objects are not looked up. So
        // where there are any, what the object should have is not known.
        Proposal::VmNetwork(write) => match write.after().filter(|new| !new.deleting) {
            Some(new)
                if write.keeps_facts() && vm_network::unknown(snapshot, &new.facts).is_some() =>
            {
                Edits::None
            }
            Some(new) => Edits::VmNetwork {
                labels: vm_network_edits::labels(snapshot, &new.facts),
                mtu: vm_network_edits::mtu_to_set(
                    snapshot,
                    &new.facts,
                    write.before().map(|old| &old.facts),
                ),
            },
            None => Edits::None,
        },
        Proposal::Vm(write) => write
            .after()
            .filter(|new| !new.deleting)
            .filter(|new| !write.keeps_facts() || vm::networks_are_known(snapshot, &new.facts))
            .map_or(Edits::None, |new| affinity(&new.facts.networks)),
        Proposal::Vmi(networks) => affinity(networks),
        Proposal::ClusterNetwork(_) | Proposal::Host(_) => Edits::None,
    }
}

fn network_config_edits(snapshot: &Snapshot, new: Option<&Reviewed<NetworkConfig>>) -> Edits {
    let Some(new) = new.filter(|new| new.facts.counts()) else { return Edits::None };
    let covered = snapshot.covered(&new.facts.selector);
    Edits::NetworkConfig {
        cluster_network: new.facts.cluster_network.clone(),
        covered: snapshot.names(&covered).into_iter().cloned().collect(),
    }
}
