//! The warnings about a network config's NICs and hosts (docs/reference.md, "Warnings").

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{HostRef, HostSet, Link, LinkState, Name, NetworkConfig, Snapshot};

use crate::decide::names::list;

/// The warnings about a network config that covers the hosts `covered`.
pub(super) fn warnings(
    snapshot: &Snapshot,
    config: &NetworkConfig,
    covered: &HostSet,
) -> Vec<String> {
    let mut warnings = Vec::new();
    if covered.is_empty() {
        warnings.push("the nodeSelector covers no host".to_owned());
    }
    if config.nics.is_empty() {
        warnings.push("spec.uplink.nics lists no NIC, so the uplink carries no traffic".to_owned());
    }
    let hosts = snapshot.names(covered);
    let nics: BTreeSet<&Name> = config.nics.iter().collect();
    let mut down = Vec::new();
    for nic in nics {
        let mut unusable = 0_usize;
        // The hosts on which the NIC is enslaved to another link, by that link's name.
        let mut enslaved: BTreeMap<String, Vec<&Name>> = BTreeMap::new();
        for name in &hosts {
            let links =
                snapshot.host(name).map(|host| links_of(snapshot, host)).unwrap_or_default();
            let matching = || links.iter().filter(|link| link.name == *nic);
            // A host without any known links may still have the NIC.
            if !links.is_empty()
                && (matching().next().is_none()
                    || matching().any(|link| link.state == LinkState::Down))
            {
                unusable += 1;
            }
            let bond = format!("{}-bo", config.cluster_network);
            for master in matching().filter_map(|link| link.master) {
                let master = links.iter().find(|link| link.index == master);
                let master = master.map_or("another link", |link| &link.name);
                if master != bond {
                    enslaved.entry(master.to_owned()).or_default().push(name);
                }
            }
        }
        if unusable > 0 {
            down.push(format!("{nic} ({unusable}/{} Down)", hosts.len()));
        }
        for (master, hosts) in enslaved {
            let hosts = list(hosts);
            warnings.push(format!("NIC {nic} is already enslaved to {master} on hosts: {hosts}"));
        }
    }
    if !down.is_empty() {
        warnings.push(format!("NICs are down or missing on covered hosts: {}", list(down)));
    }
    warnings
}

fn links_of<'s>(snapshot: &'s Snapshot, host: HostRef<'_>) -> Vec<&'s Link> {
    snapshot.links(host).flatten().collect()
}
