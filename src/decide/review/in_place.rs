//! The network config that is in place on a host (docs/reference.md, "In place").

use crate::cluster::{Name, Snapshot};

/// The network configs of which one is in place on a host that the network configs `covering` of a
/// cluster network cover. If there are several, the host's VlanStatus with `ready` `True` tells
/// which one. If that names none of them or more than one, each may be in place.
pub(super) fn possibly_in_place<'a>(
    snapshot: &Snapshot,
    cluster_network: &Name,
    host: &str,
    covering: &[&'a Name],
) -> Vec<&'a Name> {
    if let (Some(host), true) = (snapshot.host(host), covering.len() > 1) {
        let is_reported = |config: &Name| {
            snapshot
                .reports_at(cluster_network, host)
                .any(|report| report.ready && report.config == *config)
        };
        let mut reported = covering.iter().filter(|config| is_reported(config));
        if let (Some(only), None) = (reported.next(), reported.next()) {
            return vec![*only];
        }
    }
    covering.to_vec()
}
