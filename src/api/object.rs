//! An object as the API server sends it: its name, and its JSON unparsed.

use std::fmt;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::cluster::{Change, Key, Kind, Name, ObjectRef};
use crate::k8s::Decoder;

/// An object's name and resource version, and its unparsed JSON.
#[derive(Clone)]
pub struct RawObject {
    meta: Meta,
    json: Box<RawValue>,
}

impl fmt::Debug for RawObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.meta.namespace, self.meta.name)
    }
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    name: Name,
    namespace: Option<Name>,
    resource_version: String,
}

impl<'de> Deserialize<'de> for RawObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Head {
            #[serde(default)]
            metadata: Meta,
        }
        let json = Box::<RawValue>::deserialize(deserializer)?;
        let head: Head = serde_json::from_str(json.get()).map_err(serde::de::Error::custom)?;
        Ok(Self { meta: head.metadata, json })
    }
}

impl RawObject {
    /// The object's key within its kind.
    #[must_use]
    pub fn key(&self) -> Key {
        match &self.meta.namespace {
            Some(namespace) => Key::in_namespace(namespace, &self.meta.name),
            None => Key::cluster_scoped(self.meta.name.clone()),
        }
    }

    /// The object's resource version, from which a watch can continue.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.meta.resource_version
    }

    /// The object's JSON.
    #[must_use]
    pub fn json(&self) -> &str {
        self.json.get()
    }

    /// Decodes the object into a change of the index.
    #[must_use]
    pub fn change(&self, kind: Kind, decoder: &Decoder) -> Change {
        let now = decoder.now(kind, &mut serde_json::Deserializer::from_str(self.json.get()));
        Change { object: ObjectRef { kind, key: self.key() }, now }
    }
}
