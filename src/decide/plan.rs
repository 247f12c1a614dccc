//! A change of several objects: the state that each of them is judged against, and the hosts that
//! cluster networks and VMs would gain and lose.

use std::collections::BTreeSet;

use crate::cluster::{Change, Difference, HostsChanged, Key, Name, Snapshot};

use super::feasible::FeasibleHosts;

/// Calls `visit` with each part of a change, in order, and the state with all the other parts
/// applied. Each half of the parts is applied once for all of the other half, so that `n` parts cost
/// about `n log n` applications and not `n²`.
pub fn with_all_others<T>(
    state: &Snapshot,
    parts: &[T],
    change: &impl Fn(&T) -> Option<Change>,
    visit: &mut impl FnMut(&T, &Snapshot),
) {
    match parts {
        [] => {}
        [part] => visit(part, state),
        _ => {
            let (left, right) = parts.split_at(parts.len() / 2);
            with_all_others(&state.with(right.iter().filter_map(change)), left, change, visit);
            with_all_others(&state.with(left.iter().filter_map(change)), right, change, visit);
        }
    }
}

/// The effects of a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// For each cluster network that changes, the hosts on which it becomes active or inactive.
    pub cluster_networks: Vec<(Name, HostsChanged)>,
    /// For each VM that changes, or VMI without a VM, the hosts that it gains and loses.
    pub vms: Vec<(Key, HostsChanged)>,
}

/// The effects of the change that leads from one snapshot to the other.
#[must_use]
pub fn effects(before: &Snapshot, after: &Snapshot) -> Effects {
    let cluster_networks = Difference::between(before, after).cluster_networks;
    let gone = before.cluster_networks().filter(|name| !after.exists(name)).collect();
    let mut earlier = FeasibleHosts::new(before, BTreeSet::new());
    let mut later = FeasibleHosts::new(after, gone);
    let vms: BTreeSet<&Key> = before.vms_and_vmis().chain(after.vms_and_vmis()).collect();
    let vms = vms.into_iter().filter_map(|key| {
        // A VM that the change creates or deletes neither gains nor loses hosts.
        let (before, after) = (earlier.of(key)?, later.of(key)?);
        let difference = HostsChanged::between(before, after)?;
        Some((key.clone(), difference))
    });
    Effects { cluster_networks, vms: vms.collect() }
}

#[cfg(test)]
mod tests {
    use super::with_all_others;
    use crate::cluster::{
        Change, ClusterNetwork, Fact, Index, Key, Kind, Now, ObjectRef, Options, Snapshot,
    };

    #[test]
    fn each_part_sees_all_the_others_and_not_itself() {
        let mut index = Index::new(Options::default());
        for kind in Kind::ALL {
            index.listed(kind);
        }
        let state = index.snapshot().unwrap();
        let change = |name: &String| {
            let key = Key::cluster_scoped(&**name);
            let fact = Fact::ClusterNetwork(ClusterNetwork::default());
            Some(Change {
                object: ObjectRef { kind: Kind::ClusterNetwork, key },
                now: Now::Is(fact),
            })
        };
        for count in 0..9 {
            let parts: Vec<String> = (0..count).map(|number| format!("n{number}")).collect();
            let mut seen = Vec::new();
            with_all_others(&state, &parts, &change, &mut |part, others: &Snapshot| {
                let names = others.cluster_networks().map(ToString::to_string);
                seen.push((part.clone(), names.collect::<Vec<_>>()));
            });
            let others = |part: &String| parts.iter().filter(|it| *it != part).cloned().collect();
            let expected: Vec<_> = parts.iter().map(|part| (part.clone(), others(part))).collect();
            assert_eq!(seen, expected);
        }
    }
}
