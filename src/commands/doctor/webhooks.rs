//! Whether our webhooks are registered as `lanekeeper manifests` prints them, and trust the CA in
//! use.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::api::{Api, Error};
use crate::commands::NAME;
use crate::installed::{SECRET, SecretError, Webhooks};
use crate::pki::{Certificate, Pem};

use super::certificate::Held;
use super::check::Check;

pub(super) const WEBHOOKS: &str = "webhooks";
pub(super) const CA: &str = "webhook-ca";

const APPLY: &str = "apply the webhook configurations that `lanekeeper manifests` of this version \
                     prints";

/// Reads both webhook configurations, in the order of [`Webhooks::ALL`], which is that of the expected
/// ones. One that does not exist is null.
///
/// # Errors
/// If one can't be read.
pub(super) async fn read(api: &Api) -> Result<Vec<Value>, Error> {
    let mut found = Vec::new();
    for webhooks in Webhooks::ALL {
        found.push(api.get_value(&webhooks.path()).await?.unwrap_or_default());
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

/// Checks that each webhook trusts every CA of the Secret.
pub(super) fn ca(found: &[Value], secret: &Held, namespace: &str) -> Check {
    if let Err(SecretError::Request { why, .. }) = secret {
        return Check::unread(CA, &format!("get Secret {namespace}/{SECRET}"), why);
    }
    let in_use = match secret {
        Ok(Some(authority)) => authority.cas(),
        _ => Vec::new(),
    };
    let (mut without, mut wrong, mut count) = (Vec::new(), Vec::new(), 0);
    for webhook in found.iter().flat_map(webhooks) {
        count += 1;
        let bundle = webhook.pointer("/clientConfig/caBundle").and_then(Value::as_str);
        let bundle = bundle.and_then(|it| STANDARD.decode(it).ok()).unwrap_or_default();
        // What holds something else than certificates is not used.
        let trusted = Certificate::all(&Pem { name: "caBundle", bytes: &bundle });
        let trusted = trusted.unwrap_or_default();
        let is_trusted = |ca: &Certificate| trusted.iter().any(|trusted| trusted.der == ca.der);
        if trusted.is_empty() {
            without.push(name(webhook));
        } else if !in_use.iter().all(|(_, ca)| is_trusted(ca)) {
            wrong.push(name(webhook));
        }
    }
    let those = |names: &[&str]| {
        if names.len() == count { "every webhook".to_owned() } else { names.join(", ") }
    };
    let mut faults = Vec::new();
    if !without.is_empty() {
        faults.push(format!("caBundle holds no CA certificate: {}", those(&without)));
    }
    if !wrong.is_empty() {
        faults
            .push(format!("caBundle lacks a CA of Secret {namespace}/{SECRET}: {}", those(&wrong)));
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
                 then apply what `lanekeeper manifests` prints with --ca-file, and empty the Secret"
            )
        };
        return Check::failed(CA, faults.join("; "), remedy);
    }
    match secret {
        Ok(Some(_)) => Check::ok(CA, "every webhook trusts the CA in use"),
        Err(SecretError::Damaged { .. }) => Check::skipped(CA, "needs the check `ca` to pass"),
        _ => {
            let says = format!(
                "Secret {namespace}/{SECRET} is empty or missing: there is no CA to compare \
                 caBundle with"
            );
            Check::skipped(CA, says)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::OffsetDateTime;

    use super::super::check::Status;
    use super::*;
    use crate::pki::AltNames;
    use crate::pki::authority::Authority;

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
        let now = OffsetDateTime::now_utc();
        let held = |authority: &Authority| {
            let namespace = "ns".to_owned();
            let read = Authority::read(&authority.content());
            read.map_err(|why| SecretError::Damaged { namespace, why })
        };
        let make = || Authority::make(&AltNames::new(), now).unwrap();
        let pem = |authority: &Authority| String::from_utf8(authority.bundle()).unwrap();
        let (mut ours, other) = (make(), make());
        let old = pem(&ours);
        let only_old = held(&ours);
        ours.add_next(now).unwrap();
        let both = pem(&ours);
        let two = held(&ours);
        let (other, none) = (pem(&other), Ok(None));
        let check = |bundles: &[&str], secret: &Held| {
            let webhooks: Vec<Value> = bundles
                .iter()
                .map(|bundle| {
                    let client = json!({ "caBundle": STANDARD.encode(bundle) });
                    json!({ "name": "a", "clientConfig": client })
                })
                .collect();
            ca(&[configuration("", &json!(webhooks)), Value::Null], secret, "ns")
        };
        for (bundles, secret, status, says) in [
            (&[&*old, &old][..], &only_old, Status::Ok, "every webhook"),
            (&[&both], &only_old, Status::Ok, "every webhook"),
            (&[&both, &both], &two, Status::Ok, "every webhook"),
            (&[&both, &old], &two, Status::Failed, "lacks a CA of Secret ns/lanekeeper-tls: a"),
            (&[&other, &other], &only_old, Status::Failed, "lanekeeper-tls: every webhook"),
            (&[""], &only_old, Status::Failed, "no CA certificate"),
            (&["no PEM"], &only_old, Status::Failed, "no CA certificate"),
            (&[&other], &none, Status::Skipped, "is empty"),
            (&["", &other], &none, Status::Failed, "no CA certificate: a"),
        ] {
            let check = check(bundles, secret);
            assert_eq!(check.status, status, "{check:?}");
            assert!(check.says.contains(says), "{says}: {check:?}");
        }
        assert!(check(&[&other], &only_old).remedy.unwrap().contains("`leader`"));
        assert!(check(&[""], &none).remedy.unwrap().contains("--ca-file"));
        let why = Error::Forbidden("no".into());
        let unread = SecretError::Request { verb: "read", namespace: "ns".to_owned(), why };
        assert_eq!(ca(&[], &Err(unread), "ns").status, Status::Unknown);
    }
}
