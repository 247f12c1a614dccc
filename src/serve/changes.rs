//! Logs which hosts each cluster network gains and loses.

use crate::cluster::{Difference, HostsChanged, Name};
use crate::publish::Snapshots;

/// The most hosts that a log line names.
const MAX_NAMES: usize = 20;

/// Follows the snapshots and logs a line for each cluster network whose active hosts change.
pub(super) async fn log(mut snapshots: Snapshots) -> std::io::Result<()> {
    let mut last = None;
    while let Some((snapshot, version)) = snapshots.next().await {
        if let Some(before) = last.replace(snapshot.clone()) {
            let Difference { cluster_networks, objects } = Difference::between(&before, &snapshot);
            tracing::debug!(version, objects = objects.len(), "snapshot changed");
            for (cluster_network, HostsChanged { gained, lost, left }) in cluster_networks {
                tracing::info!(
                    cluster_network = &*cluster_network,
                    gained = named(&gained),
                    lost = named(&lost),
                    hosts = left,
                    "cluster network changed hosts"
                );
            }
        }
    }
    Ok(())
}

fn named(hosts: &[Name]) -> String {
    let shown: Vec<&str> = hosts.iter().take(MAX_NAMES).map(|host| &**host).collect();
    let more = hosts.len() - shown.len();
    let shown = shown.join(",");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}
