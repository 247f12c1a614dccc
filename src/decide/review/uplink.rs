//! What the author of a network config should know of the uplinks that it makes, though nothing
//! forbids it (docs/reference.md, "Warnings").

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::{HostRef, HostSet, Link, LinkState, Name, NetworkConfig, Snapshot};

use super::super::names::list;

/// The warnings about a network config that covers these hosts.
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
        warnings.push("no NIC is given, so the uplink carries nothing".to_owned());
    }
    let hosts = snapshot.names(covered);
    let nics: BTreeSet<&Name> = config.nics.iter().collect();
    let mut down = Vec::new();
    for nic in nics {
        let mut bad = 0_usize;
        // By the link that it is enslaved to, the hosts.
        let mut enslaved: BTreeMap<String, Vec<&Name>> = BTreeMap::new();
        for name in &hosts {
            let links =
                snapshot.host(name).map(|host| links_of(snapshot, host)).unwrap_or_default();
            let mine = || links.iter().filter(|link| link.name == *nic);
            // A host of which nothing is known is not a host without the NIC.
            if !links.is_empty()
                && (mine().next().is_none() || mine().any(|link| link.state == LinkState::Down))
            {
                bad += 1;
            }
            let bond = format!("{}-bo", config.cluster_network);
            for master in mine().filter_map(|link| link.master) {
                let master = links.iter().find(|link| link.index == master);
                let master = master.map_or("another link", |link| &link.name);
                if master != bond {
                    enslaved.entry(master.to_owned()).or_default().push(name);
                }
            }
        }
        if bad > 0 {
            down.push(format!("{nic} ({bad}/{} Down)", hosts.len()));
        }
        for (master, hosts) in enslaved {
            warnings
                .push(format!("{nic} is enslaved to {master} already, on hosts: {}", list(hosts)));
        }
    }
    if !down.is_empty() {
        warnings.push(format!("NICs that are down or missing on covered hosts: {}", list(down)));
    }
    warnings
}

fn links_of<'s>(snapshot: &'s Snapshot, host: HostRef<'_>) -> Vec<&'s Link> {
    snapshot.links(host).flatten().collect()
}
