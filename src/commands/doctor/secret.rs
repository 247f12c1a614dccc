//! The Secret in which the leader keeps the CA and the serving certificate.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::api::{Api, Error};

/// The Secret's name.
pub(super) const SECRET: &str = "lanekeeper-tls";
/// The key of the CA certificates to trust.
pub(super) const BUNDLE: &str = "bundle.crt";

/// The Secret's data.
pub(super) type Content = BTreeMap<String, Vec<u8>>;

/// Reads the Secret. It has no content if it does not exist.
///
/// # Errors
/// If it can't be read.
pub(super) async fn read(api: &Api, namespace: &str) -> Result<Content, Error> {
    let secret = api.get_value(&format!("/api/v1/namespaces/{namespace}/secrets/{SECRET}")).await?;
    let data = secret.as_ref().and_then(|secret| secret.get("data")).and_then(Value::as_object);
    let entries = data.into_iter().flatten().filter_map(|(key, value)| {
        let value = STANDARD.decode(value.as_str()?).ok()?;
        (!value.is_empty()).then(|| (key.clone(), value))
    });
    Ok(entries.collect())
}
