//! Whether a real call of our validating webhook arrives: a change that we must refuse is tried, in
//! a dry run.

use serde_json::{Value, json};

use crate::api::{Api, Error, collection_of};
use crate::cluster::Kind;
use crate::decide::review::Code;

use super::check::Check;

pub(super) const CALL: &str = "webhook-call";
/// A cluster network that does not exist.
const NO_SUCH_NETWORK: &str = "nosuch-doctr";
/// How often the call is made if another webhook answers first.
const MAX_CALLS: usize = 5;

/// Asks for the verdict on a network config of a cluster network that does not exist.
pub(super) async fn call(api: &Api, namespace: &str) -> Check {
    let config = json!({
        "apiVersion": "network.harvesterhci.io/v1beta1",
        "kind": Kind::NetworkConfig.kubernetes(),
        "metadata": { "name": "lanekeeper-doctor" },
        "spec": {
            "clusterNetwork": NO_SUCH_NETWORK,
            "description": "Never made: lanekeeper doctor asks whether it would be refused.",
            "nodeSelector": { "kubernetes.io/hostname": "lanekeeper-doctor-no-such-host" },
            "uplink": { "nics": ["no-such-nic"] },
        },
    });
    let path = collection_of(Kind::NetworkConfig, None);
    let mut answer = api.try_create(&path, &config).await;
    // Of several webhooks that refuse, the API server tells the first one to answer.
    for _ in 1..MAX_CALLS {
        if !is_of_another(&answer) {
            break;
        }
        answer = api.try_create(&path, &config).await;
    }
    verdict(&answer, namespace)
}

/// The text by which our refusal is known.
fn ours() -> String {
    format!("{}: ", Code::VcClusterNetwork.as_str())
}

/// Returns whether another webhook than ours refused.
fn is_of_another(answer: &Result<Value, Error>) -> bool {
    answer.as_ref().is_err_and(|error| {
        let message = error.to_string();
        message.contains("denied the request") && !message.contains(&ours())
    })
}

/// What the answer of the API server says.
fn verdict(answer: &Result<Value, Error>, namespace: &str) -> Check {
    let Err(error) = answer else {
        let says = "a network config that Lanekeeper must refuse was admitted, so the API server does \
                    not ask it";
        let remedy = "apply the webhook configurations that `lanekeeper manifests` prints, and see \
                      that nothing restricts them, such as another matchConditions or failurePolicy";
        return Check::failed(CALL, says, remedy);
    };
    let message = error.to_string();
    let says = |text: &str| message.contains(text);
    if says(&ours()) {
        return Check::ok(CALL, "a wrong network config was refused by Lanekeeper");
    }
    if !says("failed calling webhook") && !says("failed to call webhook") {
        let what =
            if is_of_another(answer) { "another webhook refused first" } else { "the call failed" };
        let remedy = "run doctor again; if this stays, see the log of the API server";
        return Check::unknown(CALL, format!("{what}: {message}"), remedy);
    }
    let logs = format!("kubectl -n {namespace} logs deployment/lanekeeper");
    // The first match counts, since some texts hold several.
    let remedies: [(&[&str], String); 6] = [
        (
            &["certificate is valid for", "cannot validate certificate", "certificate is not valid for any names"],
            "the serving certificate lacks the name that the webhooks call; add it with --tls-san, \
             or with --tls-cert issue a certificate that has it"
                .to_owned(),
        ),
        (
            &["certificate has expired"],
            "see the check `certificate`".to_owned(),
        ),
        (
            &["x509", "tls: "],
            "caBundle is not the CA of the serving certificate; see the check `webhook-ca`, and \
             with --tls-cert or cert-manager give `lanekeeper manifests` the right CA"
                .to_owned(),
        ),
        (
            &["the server has asked for the client to provide credentials", "Unauthorized"],
            "`serve` has --client-ca, and the API server shows no certificate: see \"Client \
             certificates\" in docs/reference.md"
                .to_owned(),
        ),
        (
            &["currently unable to handle the request"],
            format!("Lanekeeper is not synced; its log and /readyz?verbose say why: {logs}"),
        ),
        (
            &["could not find the requested resource"],
            "another server answers at that address; check the Service or --url".to_owned(),
        ),
    ];
    let known = remedies.into_iter().find(|(texts, _)| texts.iter().any(|text| says(text)));
    let remedy = known.map_or_else(
        || {
            format!(
                "the API server reaches no replica: check `kubectl -n {namespace} get pods,endpointslices`, \
                 network policies, and whether the API server can reach the pods' network"
            )
        },
        |(_, remedy)| remedy,
    );
    Check::failed(CALL, message, remedy)
}

#[cfg(test)]
mod tests {
    use super::super::check::Status;
    use super::*;

    #[test]
    fn each_failure_has_its_own_remedy() {
        let failed = |why: &str| {
            let message = format!(
                "Internal error occurred: failed calling webhook \
                 \"vlanconfigs.validate.lanekeeper\": failed to call webhook: {why}"
            );
            Err(Error::Other { code: 500, message })
        };
        let post = "Post \"https://lanekeeper.lanekeeper-system.svc:443/validate?timeout=10s\": ";
        let refused = |name: &str, why: &str| {
            Err(Error::Forbidden(format!("admission webhook \"{name}\" denied the request: {why}")))
        };
        for (answer, status, remedy) in [
            (Ok(json!({})), Status::Failed, "apply the webhook configurations"),
            (
                refused("vlanconfigs.validate.lanekeeper", "vc-cluster-network: no such"),
                Status::Ok,
                "",
            ),
            (refused("other", "no"), Status::Unknown, "run doctor again"),
            (Err(Error::Forbidden("vlanconfigs is forbidden".into())), Status::Unknown, "run"),
            (Err(Error::Timeout(std::time::Duration::from_secs(35))), Status::Unknown, "run"),
            (
                failed(&format!(
                    "{post}tls: failed to verify certificate: x509: certificate signed by unknown \
                     authority"
                )),
                Status::Failed,
                "caBundle is not the CA",
            ),
            (
                failed(&format!(
                    "{post}tls: failed to verify certificate: x509: certificate is valid for \
                     localhost, not lanekeeper.lanekeeper-system.svc"
                )),
                Status::Failed,
                "--tls-san",
            ),
            (
                failed(&format!(
                    "{post}tls: failed to verify certificate: x509: certificate has expired or is \
                     not yet valid: current time"
                )),
                Status::Failed,
                "`certificate`",
            ),
            (
                failed(&format!("{post}remote error: tls: unrecognized name")),
                Status::Failed,
                "caBundle",
            ),
            (
                failed(&format!("{post}dial tcp 10.0.0.7:443: connect: connection refused")),
                Status::Failed,
                "endpointslices",
            ),
            (
                failed(&format!("{post}context deadline exceeded")),
                Status::Failed,
                "network policies",
            ),
            (
                failed("no endpoints available for service \"lanekeeper\""),
                Status::Failed,
                "get pods",
            ),
            (failed("service \"lanekeeper\" not found"), Status::Failed, "get pods"),
            (
                failed("the server is currently unable to handle the request"),
                Status::Failed,
                "not synced",
            ),
            (
                failed("the server has asked for the client to provide credentials"),
                Status::Failed,
                "--client-ca",
            ),
            (
                failed("the server could not find the requested resource"),
                Status::Failed,
                "another server",
            ),
        ] {
            let check = verdict(&answer, "lanekeeper-system");
            assert_eq!(check.status, status, "{answer:?}");
            let says = check.remedy.unwrap_or_default();
            assert!(says.contains(remedy), "{answer:?}: {says}");
            assert_eq!(is_of_another(&answer), check.says.contains("another webhook"));
        }
    }
}
