//! Everything that is wrong now: objects that can't be read, references to what does not exist,
//! faults that a review would refuse, uplinks and NICs that are down, VMs without a host
//! (docs/reference.md, "Commands"). What a rule of admission says is asked of the rule itself.

mod configs;
mod finding;
mod networks;
mod uplinks;
mod vms;

use crate::cluster::{Kind, ProblemKind, Snapshot};

use super::review;

pub use finding::{Code, Finding};

/// What is wrong, in a fixed order: the source and its objects, cluster networks, network configs,
/// uplinks, host network configs, VM networks, VMs.
#[must_use]
pub fn findings(snapshot: &Snapshot) -> Vec<Finding> {
    let mut findings = Vec::new();
    problems(snapshot, &[ProblemKind::Source, ProblemKind::Unreadable], &mut findings);
    if snapshot.count(Kind::Host) == 0 {
        findings.push(Finding {
            code: Code::NoHosts,
            object: None,
            message: "no host is known, so nothing that depends on hosts is checked; the source \
                      has no Node that can be read"
                .to_owned(),
            hosts: Vec::new(),
        });
    }
    networks::cluster_networks(snapshot, &mut findings);
    configs::configs(snapshot, &mut findings);
    uplinks::nics(snapshot, &mut findings);
    uplinks::reports(snapshot, &mut findings);
    problems(snapshot, &[ProblemKind::HostNetwork], &mut findings);
    networks::host_networks(snapshot, &mut findings);
    problems(snapshot, &[ProblemKind::Bridge, ProblemKind::CniConfig], &mut findings);
    networks::vm_networks(snapshot, &mut findings);
    vms::placement(snapshot, &mut findings);
    vms::cut_off(snapshot, &mut findings);
    vms::mac_addresses(snapshot, &mut findings);
    for finding in &mut findings {
        review::bound(&mut finding.message);
    }
    findings
}

/// The problems of these kinds.
fn problems(snapshot: &Snapshot, kinds: &[ProblemKind], findings: &mut Vec<Finding>) {
    let problems = snapshot.problems().into_iter().filter(|problem| kinds.contains(&problem.kind));
    findings.extend(problems.map(|problem| Finding {
        code: match problem.kind {
            ProblemKind::Source => Code::SourceProblem,
            ProblemKind::Unreadable => Code::Rule(review::Code::Unreadable),
            ProblemKind::CniConfig => Code::Rule(review::Code::NadConfig),
            ProblemKind::Bridge => Code::BridgeWithoutClusterNetwork,
            ProblemKind::HostNetwork => Code::HostNetworkClusterNetwork,
        },
        object: problem.object,
        message: problem.message.to_string(),
        hosts: Vec::new(),
    }));
}
