//! Whether the API server is reached, and serves the kinds that Lanekeeper reads.

use serde_json::Value;

use crate::api::{Api, Error};
use crate::cluster::Kind;

use super::check::Check;

pub(super) const API_SERVER: &str = "api-server";
pub(super) const DEFINITIONS: &str = "definitions";

/// The kinds without which no cluster network comes up. The others of the group are reports of a
/// node agent, or of newer versions of Harvester.
const NEEDED: [Kind; 2] = [Kind::ClusterNetwork, Kind::NetworkConfig];

/// What follows if a kind is not served.
const OPTIONAL: [(Kind, &str); 6] = [
    (Kind::UplinkStatus, "no host reports its uplinks"),
    (Kind::LinkMonitor, "nothing is known about NICs"),
    (Kind::HostNetwork, "no host network config is protected"),
    (Kind::VmNetwork, "Multus is not installed, so there are no VM networks"),
    (Kind::Vm, "KubeVirt is not installed, so there are no VMs"),
    (Kind::Migration, "no migration is protected"),
];

/// Checks that the API server answers.
pub(super) async fn api_server(api: &Api) -> Check {
    match api.get_value("/version").await {
        Ok(version) => {
            let version = version.unwrap_or_default();
            let version = version.get("gitVersion").and_then(Value::as_str).unwrap_or("unknown");
            Check::ok(API_SERVER, format!("reached, version {version}"))
        }
        Err(why) => Check::unknown(
            API_SERVER,
            format!("not reached: {why}"),
            "check the address and the credentials in --kubeconfig",
        ),
    }
}

/// Checks which kinds are served.
pub(super) async fn definitions(api: &Api) -> Check {
    let mut missing = Vec::new();
    for kind in NEEDED {
        match api.serves(kind).await {
            Ok(true) => {}
            Ok(false) => missing.push(kind.kubernetes()),
            Err(why) => return unread(kind, &why),
        }
    }
    let mut follows = Vec::new();
    for (kind, what) in OPTIONAL {
        match api.serves(kind).await {
            Ok(true) => {}
            Ok(false) => follows.push(format!("{} is not served: {what}", kind.kubernetes())),
            Err(why) => return unread(kind, &why),
        }
    }
    if !missing.is_empty() {
        return Check::failed(
            DEFINITIONS,
            format!("the API server does not serve {}", missing.join(", ")),
            "apply what `lanekeeper manifests` prints; on Harvester, repair Harvester's own \
             definitions of network.harvesterhci.io",
        );
    }
    let says =
        if follows.is_empty() { "all kinds are served".to_owned() } else { follows.join("; ") };
    Check::ok(DEFINITIONS, says)
}

fn unread(kind: Kind, why: &Error) -> Check {
    Check::unread(DEFINITIONS, &format!("ask whether {} is served", kind.kubernetes()), why)
}
