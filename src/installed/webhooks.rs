//! The webhook configurations `lanekeeper`, and the CAs by which the API server trusts our server.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::api::{self, Api};
use crate::pki::{Certificate, Pem};

use super::NAME;

/// Why a webhook configuration can't be read or changed.
#[derive(Debug, thiserror::Error)]
#[error("can't {verb} {kind} {NAME}: {why}")]
pub struct WebhookError {
    verb: &'static str,
    kind: &'static str,
    why: api::Error,
}

impl WebhookError {
    /// Returns whether the configuration changed meanwhile, so that it can be tried again.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        // A failed `test` of a JSON patch is an invalid request to the API server.
        matches!(self.why, api::Error::Conflict(_) | api::Error::Invalid(_))
    }
}

/// Which configurations there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Webhooks {
    /// Those that check.
    Validating,
    /// Those that change.
    Mutating,
}

impl Webhooks {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Validating, Self::Mutating];

    /// The kind of the configuration.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Validating => "ValidatingWebhookConfiguration",
            Self::Mutating => "MutatingWebhookConfiguration",
        }
    }

    /// The path of the configuration.
    #[must_use]
    pub fn path(self) -> String {
        let plural = self.kind().to_ascii_lowercase();
        format!("/apis/admissionregistration.k8s.io/v1/{plural}s/{NAME}")
    }
}

/// A webhook configuration of ours.
pub struct Configuration {
    webhooks: Webhooks,
    entries: Vec<Entry>,
}

/// One webhook of it.
struct Entry {
    name: String,
    ca_bundle: String,
}

impl Configuration {
    /// Reads a configuration. Returns `None` if there is none.
    ///
    /// # Errors
    /// If it can't be read.
    pub async fn read(api: &Api, webhooks: Webhooks) -> Result<Option<Self>, WebhookError> {
        let kind = webhooks.kind();
        let found = api.get_value(&webhooks.path()).await;
        let found = found.map_err(|why| WebhookError { verb: "read", kind, why })?;
        Ok(found.map(|object| Self::of(webhooks, &object)))
    }

    fn of(webhooks: Webhooks, object: &Value) -> Self {
        let text =
            |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let entries = object.get("webhooks").and_then(Value::as_array).into_iter().flatten();
        let entries = entries.map(|entry| Entry {
            name: text(entry.get("name")),
            ca_bundle: text(entry.pointer("/clientConfig/caBundle")),
        });
        Self { webhooks, entries: entries.collect() }
    }

    /// The webhooks that do not trust this CA.
    #[must_use]
    pub fn without(&self, ca: &Certificate) -> Vec<String> {
        let lacks = |entry: &&Entry| {
            let bytes = STANDARD.decode(&entry.ca_bundle).unwrap_or_default();
            let trusted = Certificate::all(&Pem { name: "caBundle", bytes: &bytes });
            !trusted.unwrap_or_default().iter().any(|trusted| trusted.der == ca.der)
        };
        let name = |entry: &Entry| format!("{} of {} {NAME}", entry.name, self.webhooks.kind());
        self.entries.iter().filter(lacks).map(name).collect()
    }

    /// Sets `caBundle` of every webhook that has another one. Returns whether there was any.
    ///
    /// # Errors
    /// If it can't be changed. [`WebhookError::is_conflict`] tells that it changed meanwhile.
    pub async fn trust(&self, api: &Api, bundle: &[u8]) -> Result<bool, WebhookError> {
        let Some(patch) = self.patch(bundle) else { return Ok(false) };
        let kind = self.webhooks.kind();
        let patched = api.json_patch(&self.webhooks.path(), &patch).await;
        patched.map_err(|why| WebhookError { verb: "change caBundle of", kind, why })?;
        Ok(true)
    }

    /// The JSON patch that makes every webhook trust this bundle, if any does not.
    fn patch(&self, bundle: &[u8]) -> Option<Value> {
        let bundle = STANDARD.encode(bundle);
        let mut operations = Vec::new();
        for (at, entry) in self.entries.iter().enumerate() {
            if entry.ca_bundle != bundle {
                let name = format!("/webhooks/{at}/name");
                let ca_bundle = format!("/webhooks/{at}/clientConfig/caBundle");
                operations.push(json!({ "op": "test", "path": name, "value": entry.name }));
                operations.push(json!({ "op": "add", "path": ca_bundle, "value": bundle }));
            }
        }
        (!operations.is_empty()).then(|| operations.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_webhooks_that_differ_are_patched() {
        let bundle = STANDARD.encode("ours");
        let object = json!({ "webhooks": [
            { "name": "a", "clientConfig": { "caBundle": bundle } },
            { "name": "b", "clientConfig": { "caBundle": "b2xk" } },
            { "name": "c", "clientConfig": {} },
        ]});
        let configuration = Configuration::of(Webhooks::Mutating, &object);
        let patch = configuration.patch(b"ours").unwrap();
        assert_eq!(
            patch,
            json!([
                { "op": "test", "path": "/webhooks/1/name", "value": "b" },
                { "op": "add", "path": "/webhooks/1/clientConfig/caBundle", "value": bundle },
                { "op": "test", "path": "/webhooks/2/name", "value": "c" },
                { "op": "add", "path": "/webhooks/2/clientConfig/caBundle", "value": bundle },
            ])
        );
        let patch: json_patch::Patch = serde_json::from_value(patch).unwrap();
        let mut patched = object;
        json_patch::patch(&mut patched, &patch).unwrap();
        assert!(Configuration::of(Webhooks::Mutating, &patched).patch(b"ours").is_none());
        assert_eq!(
            Webhooks::Mutating.path(),
            "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/lanekeeper"
        );
    }
}
