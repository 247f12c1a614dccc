//! What hosts report of the NICs of network configs, and the warnings about NICs and hosts
//! (docs/reference.md, "Warnings").

use std::collections::{BTreeMap, BTreeSet, HashMap};

use foldhash::fast::FixedState;

use crate::cluster::{HostRef, HostSet, LinkState, Name, NetworkConfig, Snapshot};
use crate::decide::names::list;

/// What hosts report of some NICs, as sets of hosts.
pub struct Nics<'s> {
    /// The hosts with any known links. One without may still have the NICs.
    reporting: HostSet,
    nics: HashMap<&'s Name, Nic<'s>, FixedState>,
}

/// What hosts report of one NIC.
#[derive(Default)]
struct Nic<'s> {
    listed: HostSet,
    down: HostSet,
    /// By the name of the link to which the NIC is enslaved, if that link is known.
    enslaved: BTreeMap<Option<&'s Name>, HostSet>,
}

impl<'s> Nics<'s> {
    /// What these hosts report of these NICs.
    #[must_use]
    pub fn of(
        snapshot: &'s Snapshot,
        nics: impl IntoIterator<Item = &'s Name>,
        hosts: impl IntoIterator<Item = HostRef<'s>>,
    ) -> Self {
        let nics = nics.into_iter().map(|nic| (nic, Nic::default())).collect();
        let mut all = Self { reporting: HostSet::default(), nics };
        for host in hosts {
            let links: Vec<_> = snapshot.links(host).flatten().collect();
            if !links.is_empty() {
                all.reporting.add(host);
            }
            for link in &links {
                let Some(nic) = all.nics.get_mut(&link.name) else { continue };
                nic.listed.add(host);
                if link.state == LinkState::Down {
                    nic.down.add(host);
                }
                if let Some(master) = link.master {
                    let master = links.iter().find(|link| link.index == master);
                    nic.enslaved.entry(master.map(|link| &link.name)).or_default().add(host);
                }
            }
        }
        all
    }

    /// The hosts, among `hosts`, that report this NIC as down.
    #[must_use]
    pub fn down(&self, nic: &Name, hosts: &HostSet) -> HostSet {
        self.nics.get(nic).map(|nic| nic.down.intersection(hosts)).unwrap_or_default()
    }

    /// The hosts, among `hosts`, that report links, but not this NIC.
    #[must_use]
    pub fn missing(&self, nic: &Name, hosts: &HostSet) -> HostSet {
        let reporting = self.reporting.intersection(hosts);
        match self.nics.get(nic) {
            Some(nic) => reporting.difference(&nic.listed),
            None => reporting,
        }
    }

    /// The hosts on which the NIC is enslaved to another link than the bond of this cluster network,
    /// by that link's name, which may not be known.
    pub fn enslaved(
        &self,
        nic: &Name,
        cluster_network: &str,
    ) -> impl Iterator<Item = (Option<&'s Name>, &HostSet)> {
        let bond = format!("{cluster_network}-bo");
        let links = self.nics.get(nic).into_iter().flat_map(|nic| &nic.enslaved);
        links
            .filter(move |(link, _)| link.is_none_or(|link| **link != *bond))
            .map(|(link, hosts)| (*link, hosts))
    }
}

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
    let nics: BTreeSet<&Name> = config.nics.iter().collect();
    let reported = Nics::of(snapshot, nics.iter().copied(), snapshot.hosts_in(covered));
    let mut down = Vec::new();
    for nic in nics {
        let unusable = reported.down(nic, covered).union(&reported.missing(nic, covered)).len();
        if unusable > 0 {
            down.push(format!("{nic} ({unusable}/{} Down)", covered.len()));
        }
        let enslaved: BTreeMap<&str, &HostSet> = reported
            .enslaved(nic, &config.cluster_network)
            .map(|(link, hosts)| (link.map_or("another link", |link| link), hosts))
            .collect();
        for (link, hosts) in enslaved {
            let hosts = list(snapshot.names(hosts));
            warnings.push(format!("NIC {nic} is already enslaved to {link} on hosts: {hosts}"));
        }
    }
    if !down.is_empty() {
        warnings.push(format!("NICs are down or missing on covered hosts: {}", list(down)));
    }
    warnings
}
