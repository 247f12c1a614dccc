//! kube-scheduler's configuration: the one that is shipped, with a cluster's addresses in it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::view::WriteError;

use super::installation::set;

/// The configuration that is shipped.
const SHIPPED: &str = include_str!("../../../manifests/kube-scheduler/config.yaml");

/// How kube-scheduler verifies the server's certificate.
pub(super) enum Trust<'a> {
    /// By CA certificates within the configuration, in PEM, and with this name in the certificate if
    /// it is not that of the address.
    Certificates { ca: &'a [u8], server_name: Option<String> },
    /// By a file.
    File(&'a str),
}

/// The configuration of a scheduler that reaches the server at this base URL, and the API server by
/// this kubeconfig or, without one, by the account of its pod.
pub(super) fn configuration(
    url: &str,
    trust: &Trust<'_>,
    kubeconfig: Option<&str>,
) -> Result<Value, WriteError> {
    let mut configuration: Value = serde_saphyr::from_str(SHIPPED)?;
    let client = match kubeconfig {
        Some(kubeconfig) => json!({ "kubeconfig": kubeconfig }),
        None => json!({}),
    };
    set(&mut configuration, &["clientConnection"], client);
    if let Some(extender) = configuration.pointer_mut("/extenders/0") {
        set(extender, &["urlPrefix"], json!(format!("{url}/scheduler")));
        let mut tls = json!({});
        match trust {
            Trust::Certificates { ca, server_name } => {
                set(&mut tls, &["caData"], json!(STANDARD.encode(ca)));
                if let Some(server_name) = server_name {
                    set(&mut tls, &["serverName"], json!(server_name));
                }
            }
            Trust::File(file) => set(&mut tls, &["caFile"], json!(file)),
        }
        set(extender, &["tlsConfig"], tls);
    }
    Ok(configuration)
}

/// Has the scheduler ask for scores too. They depend on link monitors, which Harvester has.
pub(super) fn prioritize(configuration: &mut Value) {
    if let Some(extender) = configuration.pointer_mut("/extenders/0") {
        set(extender, &["prioritizeVerb"], json!("prioritize"));
        set(extender, &["weight"], json!(1));
    }
}
