//! What all objects have in common.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use crate::cluster::Name;

/// The metadata that we read of any object.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Meta {
    pub name: Option<Name>,
    pub namespace: Option<Name>,
    #[serde(default, deserialize_with = "nullable")]
    pub uid: Name,
    #[serde(default, deserialize_with = "nullable")]
    pub labels: StringMap,
    #[serde(default, deserialize_with = "nullable")]
    pub annotations: StringMap,
    pub deletion_timestamp: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub owner_references: Vec<Owner>,
}

/// Another object that owns this one.
#[derive(Debug, Deserialize)]
pub(crate) struct Owner {
    #[serde(default, deserialize_with = "nullable")]
    pub kind: String,
    #[serde(default, deserialize_with = "nullable")]
    pub name: String,
    #[serde(default, deserialize_with = "nullable")]
    pub uid: Name,
}

impl Meta {
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key)
    }

    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key)
    }

    pub fn deleting(&self) -> bool {
        self.deletion_timestamp.is_some()
    }
}

/// Labels or annotations. Go reads a `null` value as an empty one, and so do we.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct StringMap(BTreeMap<String, Option<String>>);

impl StringMap {
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|value| value.as_deref().unwrap_or_default())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, value.as_deref().unwrap_or_default()))
    }
}

/// Reads `null` as the default, as Go does. Put it beside `#[serde(default)]`.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
