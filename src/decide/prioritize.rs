//! Scores hosts for the scheduler by the state of the needed uplinks (docs/reference.md, "Scheduler
//! extender").

use crate::cluster::{HostRef, LinkState, Name, Network, Snapshot};

use super::needs::Needs;

/// The highest score that an extender may give.
pub const BEST: u8 = 10;

/// The share of the needed uplinks' NICs that are up on the host, times ten, rounded down; ten if
/// nothing is known. A NIC that is down, or missing from the host's links, is not up. The state
/// `unknown` counts as up.
#[must_use]
pub fn score(networks: &[Network<'_>], snapshot: &Snapshot, host: HostRef<'_>) -> u8 {
    if snapshot.links(host).next().is_none() {
        return BEST;
    }
    let (mut nics, mut up) = (0_usize, 0_usize);
    for uplink in networks.iter().flat_map(|network| network.uplinks(host)) {
        for nic in &uplink.facts.nics {
            nics += 1;
            up += usize::from(is_up(snapshot, host, nic));
        }
    }
    let score = (up * usize::from(BEST)).checked_div(nics);
    score.and_then(|score| u8::try_from(score).ok()).unwrap_or(BEST)
}

/// Returns whether the host's links include the NIC and no monitor reports the NIC as down.
fn is_up(snapshot: &Snapshot, host: HostRef<'_>, nic: &Name) -> bool {
    let mut states = snapshot
        .links(host)
        .flatten()
        .filter(|link| link.name == *nic)
        .map(|link| link.state)
        .peekable();
    states.peek().is_some() && states.all(|state| state != LinkState::Down)
}

/// The score of each named host, in order; ten for a host that is not known.
#[must_use]
pub fn prioritize(
    snapshot: &Snapshot,
    needs: &Needs,
    names: impl Iterator<Item = impl AsRef<str>>,
) -> Vec<u8> {
    let networks: Vec<_> =
        needs.cluster_networks.iter().map(|name| snapshot.network(name)).collect();
    let mut walk = snapshot.walk();
    names
        .map(|name| walk.find(name.as_ref()).map_or(BEST, |host| score(&networks, snapshot, host)))
        .collect()
}
