//! The metadata that all objects have in common.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::cluster::{Key, Kind, Name};

use super::decode::{Decoder, each};
use super::scan::Scan;

/// The most bytes that all annotations of an object may have together, and likewise all labels.
/// This is Kubernetes' own limit for annotations.
const MAX_BYTES: usize = 256 << 10;
/// The most labels that an object may have.
const MAX_LABELS: usize = 4096;

/// The annotation of a cluster network that gives its MTU.
pub const UPLINK_MTU: &str = "network.harvesterhci.io/uplink-mtu";
/// The annotation that tells other programs which hosts a network config covers.
pub(crate) const MATCHED_NODES: &str = "network.harvesterhci.io/matched-nodes";
/// The annotation that marks a storage network.
pub(crate) const STORAGE_NETWORK: &str = "storage-network.settings.harvesterhci.io";
/// The annotation that marks an RWX network.
pub(crate) const RWX_NETWORK: &str = "rwx-network.settings.harvesterhci.io";
/// The annotation that marks a network for VM migrations.
pub(crate) const VM_MIGRATION_NETWORK: &str = "vm-migration-network.settings.harvesterhci.io";
/// Harvester's annotation of a VM network: its subnet and gateway, and whether the gateway answers.
pub(crate) const ROUTE: &str = "network.harvesterhci.io/route";
/// The annotation that lists a pod's additional networks.
pub(crate) const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";
/// The annotation that replaces a pod's first network.
pub(crate) const DEFAULT_NETWORK: &str = "v1.multus-cni.io/default-network";
/// The annotation in which Multus reports a pod's networks.
pub(crate) const NETWORK_STATUS: &str = "k8s.v1.cni.cncf.io/network-status";
/// Harvester's annotation of a VM: the MAC address of each interface, as JSON.
pub(crate) const MAC_ADDRESSES: &str = "harvesterhci.io/mac-address";

/// The annotations that we read. All others are dropped.
const ANNOTATIONS: [&str; 10] = [
    UPLINK_MTU,
    ROUTE,
    MATCHED_NODES,
    STORAGE_NETWORK,
    RWX_NETWORK,
    VM_MIGRATION_NETWORK,
    NETWORKS,
    DEFAULT_NETWORK,
    NETWORK_STATUS,
    MAC_ADDRESSES,
];

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
    pub annotations: Annotations,
    deletion_timestamp: Option<IgnoredAny>,
    /// The VMI that owns the object, if any.
    #[serde(default, rename = "ownerReferences", deserialize_with = "owning_vmi")]
    pub vmi: Option<Owner>,
}

/// An owner reference.
#[derive(Debug, Deserialize)]
pub(crate) struct Owner {
    #[serde(default, deserialize_with = "nullable")]
    kind: String,
    #[serde(default, deserialize_with = "nullable")]
    pub name: String,
    #[serde(default, deserialize_with = "nullable")]
    pub uid: Name,
}

/// Reads owner references and keeps the first one that names a VMI.
fn owning_vmi<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Owner>, D::Error> {
    struct Vmi(Option<Owner>);

    impl<'de> Deserialize<'de> for Vmi {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let mut vmi = None;
            each(deserializer, |owner: Owner| {
                if vmi.is_none() && owner.kind == "VirtualMachineInstance" {
                    vmi = Some(owner);
                }
                Ok(())
            })?;
            Ok(Self(vmi))
        }
    }

    Ok(Option::<Vmi>::deserialize(deserializer)?.and_then(|vmi| vmi.0))
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

/// An object of a kind that a decision can depend on.
pub(crate) trait Object: for<'de> Deserialize<'de> {
    const KIND: Kind;
    type Facts;

    fn meta(&self) -> &Meta;

    /// The object's facts.
    fn facts(self, decoder: &Decoder) -> Self::Facts;
}

impl Decoder {
    /// The namespace of a namespaced object.
    pub(crate) fn namespace<'a>(&'a self, meta: &'a Meta) -> &'a str {
        meta.namespace.as_deref().filter(|it| !it.is_empty()).unwrap_or(&self.default_namespace)
    }

    /// An object's key within its kind.
    pub(crate) fn key<O: Object>(&self, object: &O) -> Key {
        let meta = object.meta();
        let name = meta.name.clone().unwrap_or_default();
        if O::KIND.namespaced() {
            Key::in_namespace(self.namespace(meta), &name)
        } else {
            Key::cluster_scoped(name)
        }
    }
}

/// Labels, or a label selector. Like Go, we read a `null` value as an empty string.
#[derive(Debug, Default)]
pub(crate) struct StringMap(BTreeMap<String, Option<String>>);

impl StringMap {
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|value| value.as_deref().unwrap_or_default())
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (&**key, value.as_deref().unwrap_or_default()))
    }
}

impl<'de> Deserialize<'de> for StringMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut map = BTreeMap::new();
        entries(deserializer, |key, value| {
            map.insert(key.into_owned(), value.map(Cow::into_owned));
            if map.len() > MAX_LABELS {
                return Err(D::Error::custom(format_args!(
                    "Too many: must have at most {MAX_LABELS} items"
                )));
            }
            Ok(())
        })?;
        Ok(Self(map))
    }
}

/// The annotations that we read.
#[derive(Debug, Default)]
pub(crate) struct Annotations(BTreeMap<&'static str, String>);

impl Annotations {
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|value| &**value)
    }

    /// Reads annotations as Go writes them. `None` if they need the general reader.
    pub(super) fn in_layout(scan: &mut Scan<'_>) -> Option<Self> {
        let mut map = BTreeMap::new();
        let mut bytes = 0;
        scan.members(|scan, key| {
            let value = scan.string()?;
            bytes += key.length() + value.length();
            let key = key.plain().filter(|_| bytes <= MAX_BYTES)?;
            if let Some(known) = ANNOTATIONS.iter().find(|known| **known == key) {
                map.insert(*known, value.read()?);
            }
            Some(())
        })?;
        Some(Self(map))
    }
}

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut map = BTreeMap::new();
        entries(deserializer, |key, value| {
            if let Some(known) = ANNOTATIONS.iter().find(|known| **known == key) {
                map.insert(*known, value.unwrap_or_default().into_owned());
            }
            Ok(())
        })?;
        Ok(Self(map))
    }
}

/// Reads a map of strings entry by entry, up to `MAX_BYTES` in total.
fn entries<'de, D: Deserializer<'de>>(
    deserializer: D,
    on_entry: impl FnMut(Cow<'de, str>, Option<Cow<'de, str>>) -> Result<(), D::Error>,
) -> Result<(), D::Error> {
    struct Entries<F>(F);

    /// Borrowed unless it has escapes.
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

    impl<'de, F, E> Visitor<'de> for Entries<F>
    where
        F: FnMut(Cow<'de, str>, Option<Cow<'de, str>>) -> Result<(), E>,
        E: serde::de::Error,
    {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map of strings")
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            let mut bytes = 0;
            while let Some((Text(key), value)) = map.next_entry::<Text<'_>, Option<Text<'_>>>()? {
                let value = value.map(|Text(value)| value);
                bytes += key.len() + value.as_ref().map_or(0, |value| value.len());
                if bytes > MAX_BYTES {
                    return Err(A::Error::custom(format_args!(
                        "Too long: may not be more than {MAX_BYTES} bytes together"
                    )));
                }
                self.0(key, value).map_err(A::Error::custom)?;
            }
            Ok(())
        }
    }

    deserializer.deserialize_map(Entries(on_entry))
}

/// Reads `null` as the default, as Go does. Use it together with `#[serde(default)]`.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(meta: &serde_json::Value) -> Result<Meta, String> {
        serde_json::from_str(&meta.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn annotations_may_be_as_large_as_kubernetes_lets_them_be() {
        let meta = |bytes: usize| {
            let value = "x".repeat(bytes - NETWORKS.len() - "other".len());
            json!({ "annotations": { "other": "", NETWORKS: value } })
        };
        let kept = read(&meta(MAX_BYTES)).unwrap();
        assert_eq!(kept.annotation("other"), None, "annotations that we don't read are dropped");
        assert!(kept.annotation(NETWORKS).unwrap().starts_with('x'));
        let why = read(&meta(MAX_BYTES + 1)).unwrap_err();
        assert!(why.contains("may not be more than 262144 bytes together"), "{why}");
    }

    #[test]
    fn the_first_vmi_among_the_owners_is_kept() {
        let owner = |kind: &str, name: &str| json!({ "kind": kind, "name": name, "uid": "u" });
        let owners = [owner("Other", "o"), owner("VirtualMachineInstance", "a")];
        let meta = json!({ "ownerReferences": owners, "labels": null, "deletionTimestamp": null });
        let meta = read(&meta).unwrap();
        assert_eq!((meta.vmi.as_ref().unwrap().name.as_str(), meta.deleting()), ("a", false));
        let meta = read(&json!({ "ownerReferences": null, "deletionTimestamp": "x" })).unwrap();
        assert!(meta.vmi.is_none() && meta.deleting());
        assert!(read(&json!({ "ownerReferences": {} })).is_err());
    }

    #[test]
    fn labels_have_a_limit() {
        let labels = |count: usize| {
            let labels: BTreeMap<String, String> =
                (0..count).map(|number| (number.to_string(), String::new())).collect();
            json!({ "labels": labels })
        };
        assert_eq!(read(&labels(MAX_LABELS)).unwrap().labels.iter().count(), MAX_LABELS);
        assert!(
            read(&labels(MAX_LABELS + 1)).unwrap_err().contains("must have at most 4096 items")
        );
    }
}
