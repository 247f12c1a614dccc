//! Whether our webhooks are registered as `lanekeeper manifests` prints them, and trust the CA in
//! use.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::Value;

use crate::api::{Api, Error};
use crate::commands::NAME;

use super::check::Check;
use super::secret::{BUNDLE, Content, SECRET};

pub(super) const WEBHOOKS: &str = "webhooks";
pub(super) const CA: &str = "webhook-ca";

const APPLY: &str = "apply the webhook configurations that `lanekeeper manifests` of this version \
                     prints";

/// Reads both webhook configurations, in the order of the expected ones. One that does not exist is
/// null.
///
/// # Errors
/// If one can't be read.
pub(super) async fn read(api: &Api, expected: &[Value]) -> Result<Vec<Value>, Error> {
    let mut found = Vec::new();
    for configuration in expected {
        let plural = format!("{}s", kind(configuration).to_lowercase());
        let path = format!("/apis/admissionregistration.k8s.io/v1/{plural}/{NAME}");
        found.push(api.get_value(&path).await?.unwrap_or_default());
    }
    Ok(found)
}

fn kind(configuration: &Value) -> &str {
    configuration.get("kind").and_then(Value::as_str).unwrap_or_default()
}

/// The webhooks of a configuration.
fn webhooks(configuration: &Value) -> impl Iterator<Item = &Value> {
    configuration.get("webhooks").and_then(Value::as_array).into_iter().flatten()
}

fn name(webhook: &Value) -> &str {
    webhook.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// Checks that every expected webhook is registered, for the same requests, and with the same
/// failure policy.
pub(super) fn registered(expected: &[Value], found: &[Value]) -> Check {
    let mut faults = Vec::new();
    let mut count = 0;
    for (expected, found) in expected.iter().zip(found) {
        if found.is_null() {
            faults.push(format!("{} {NAME} does not exist", kind(expected)));
            continue;
        }
        for webhook in webhooks(expected) {
            count += 1;
            let Some(present) = webhooks(found).find(|it| name(it) == name(webhook)) else {
                faults.push(format!("{} is missing", name(webhook)));
                continue;
            };
            for (field, what) in [("failurePolicy", "failurePolicy"), ("rules", "rules")] {
                if present.get(field) != webhook.get(field) {
                    faults.push(format!("{} has other {what}", name(webhook)));
                }
            }
        }
    }
    if faults.is_empty() {
        Check::ok(WEBHOOKS, format!("all {count} webhooks are registered"))
    } else {
        Check::failed(WEBHOOKS, faults.join("; "), APPLY)
    }
}

/// The certificates in PEM. A text that holds something else has none.
fn certificates(pem: &[u8]) -> BTreeSet<Vec<u8>> {
    let read: Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_slice_iter(pem).collect();
    read.unwrap_or_default().iter().map(|certificate| certificate.to_vec()).collect()
}

/// Checks that each webhook trusts every CA of the Secret. `content` is the Secret's.
pub(super) fn ca(found: &[Value], content: &Result<Content, Error>, namespace: &str) -> Check {
    let content = match content {
        Ok(content) => content,
        Err(why) => return Check::unread(CA, &format!("get Secret {namespace}/{SECRET}"), why),
    };
    let in_use = content.get(BUNDLE).map(|bundle| certificates(bundle)).unwrap_or_default();
    let (mut without, mut wrong) = (Vec::new(), Vec::new());
    for webhook in found.iter().flat_map(webhooks) {
        let bundle = webhook.pointer("/clientConfig/caBundle").and_then(Value::as_str);
        let bundle = bundle.and_then(|it| STANDARD.decode(it).ok()).unwrap_or_default();
        let trusted = certificates(&bundle);
        if trusted.is_empty() {
            without.push(name(webhook));
        } else if !in_use.is_subset(&trusted) {
            wrong.push(name(webhook));
        }
    }
    let mut faults = Vec::new();
    if !without.is_empty() {
        faults.push(format!("no CA certificate in caBundle of {}", without.join(", ")));
    }
    if !wrong.is_empty() {
        let those = wrong.join(", ");
        faults.push(format!("caBundle lacks a CA of Secret {namespace}/{SECRET}: {those}"));
    }
    if !faults.is_empty() {
        let remedy = if in_use.is_empty() {
            "apply what `lanekeeper manifests` prints with --ca-file and the CA of the serving \
             certificate; with cert-manager, see why it does not inject its CA"
                .to_owned()
        } else {
            format!(
                "the leader corrects caBundle within seconds: see the check `leader`, and its log \
                 with `kubectl -n {namespace} logs deployment/{NAME}`. With --tls-cert it does not; \
                 then apply what `lanekeeper manifests` prints with --ca-file, and delete the Secret"
            )
        };
        return Check::failed(CA, faults.join("; "), remedy);
    }
    if in_use.is_empty() {
        let says = format!(
            "Secret {namespace}/{SECRET} has no {BUNDLE}, since the serving certificate is not \
             issued by the leader: there is no CA to compare caBundle with"
        );
        return Check::skipped(CA, says);
    }
    Check::ok(CA, "every webhook trusts the CA in use")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::super::check::Status;
    use super::*;

    fn authority() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        rcgen::CertificateParams::default().self_signed(&key).unwrap().pem()
    }

    fn configuration(kind: &str, webhooks: &Value) -> Value {
        json!({ "kind": kind, "webhooks": webhooks })
    }

    #[test]
    fn webhooks_are_compared_by_name_policy_and_rules() {
        let webhook = |name: &str, policy: &str, resource: &str| json!({ "name": name, "failurePolicy": policy, "rules": [{ "resources": [resource] }] });
        let expected = [
            configuration(
                "ValidatingWebhookConfiguration",
                &json!([webhook("a", "Fail", "x"), webhook("b", "Ignore", "y")]),
            ),
            configuration("MutatingWebhookConfiguration", &json!([webhook("c", "Ignore", "z")])),
        ];
        let ok = registered(&expected, &expected);
        assert_eq!((ok.status, &*ok.says), (Status::Ok, "all 3 webhooks are registered"));
        let extra = json!([webhook("z", "Fail", "x"), webhook("c", "Ignore", "z")]);
        let with_others = [expected[0].clone(), configuration("", &extra)];
        assert_eq!(registered(&expected, &with_others).status, Status::Ok);
        let found = [
            configuration("", &json!([webhook("a", "Ignore", "x"), webhook("b", "Ignore", "x")])),
            Value::Null,
        ];
        let faults = registered(&expected, &found);
        assert_eq!(
            faults.says,
            "a has other failurePolicy; b has other rules; MutatingWebhookConfiguration lanekeeper \
             does not exist"
        );
        assert!(faults.remedy.unwrap().contains("lanekeeper manifests"));
        let missing = registered(&expected, &[configuration("", &json!([])), expected[1].clone()]);
        assert_eq!(missing.says, "a is missing; b is missing");
    }

    #[test]
    fn each_webhook_must_trust_every_ca_of_the_secret() {
        let (old, new, other) = (authority(), authority(), authority());
        let content = |bundle: &str| {
            let entry = (BUNDLE.to_owned(), bundle.as_bytes().to_vec());
            Ok(BTreeMap::from_iter((!bundle.is_empty()).then_some(entry)))
        };
        let check = |bundles: &[&str], bundle: &str| {
            let webhooks: Vec<Value> = bundles
                .iter()
                .map(|bundle| json!({ "name": "a", "clientConfig": { "caBundle": STANDARD.encode(bundle) } }))
                .collect();
            ca(&[configuration("", &json!(webhooks)), Value::Null], &content(bundle), "ns")
        };
        let both = format!("{old}{new}");
        for (bundles, bundle, status) in [
            (&[&*old, &old][..], &*old, Status::Ok),
            (&[&both], &old, Status::Ok),
            (&[&both], &format!("{new}{old}"), Status::Ok),
            (&[&both, &old], &both, Status::Failed),
            (&[&other], &old, Status::Failed),
            (&[""], &old, Status::Failed),
            (&["no PEM"], &old, Status::Failed),
            (&[&other], "", Status::Skipped),
            (&[""], "", Status::Failed),
        ] {
            let check = check(bundles, bundle);
            assert_eq!(check.status, status, "{check:?}");
        }
        assert!(check(&[&other], &old).remedy.unwrap().contains("`leader`"));
        assert!(check(&[""], "").remedy.unwrap().contains("--ca-file"));
        let unread = ca(&[], &Err(Error::Forbidden("no".into())), "ns");
        assert_eq!(unread.status, Status::Unknown);
    }
}
