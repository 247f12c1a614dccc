//! What cert-manager needs to issue the serving certificate.

use serde_json::{Value, json};

use super::installation::{CERT_MANAGER_SECRET, Installation, NAME, with};

/// The name of the CA's certificate, of its Secret, and of the issuer of the leaf.
const CA: &str = "lanekeeper-ca";
/// The issuer of the CA's certificate.
const SELF_SIGNED: &str = "lanekeeper-self-signed";

/// A CA that cert-manager makes, and the serving certificate under it.
pub(super) fn documents(installation: &Installation) -> Vec<Value> {
    let object = |kind: &str, name: &str, spec: Value| {
        let object = installation.object("cert-manager.io/v1", kind, name);
        with(object, json!({ "spec": spec }))
    };
    let issued_by = |issuer: &str| json!({ "kind": "Issuer", "name": issuer });
    vec![
        object("Issuer", SELF_SIGNED, json!({ "selfSigned": {} })),
        object(
            "Certificate",
            CA,
            json!({
                "isCA": true,
                "commonName": "Lanekeeper CA",
                "secretName": CA,
                // Ten years, since kube-scheduler reads the CA only when it starts.
                "duration": "87600h",
                // A renewed CA certificate has the old key, so that leaves verify under either.
                "privateKey": { "algorithm": "ECDSA", "size": 256, "rotationPolicy": "Never" },
                "issuerRef": issued_by(SELF_SIGNED),
            }),
        ),
        object("Issuer", CA, json!({ "ca": { "secretName": CA } })),
        object(
            "Certificate",
            NAME,
            json!({
                "secretName": CERT_MANAGER_SECRET,
                "dnsNames": installation.service_names(),
                "privateKey": { "algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always" },
                "usages": ["digital signature", "server auth"],
                "issuerRef": issued_by(CA),
            }),
        ),
    ]
}
