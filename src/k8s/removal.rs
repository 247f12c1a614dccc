//! Patches that take out of an object what Lanekeeper put into it, for an uninstall.

use std::collections::{BTreeMap, BTreeSet};

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation};
use serde::Deserialize;
use serde_json::Value;

use crate::cluster::{Kind, Name};
use crate::decide::needs::Needs;
use crate::decide::placement::{LABEL_PREFIX, place};
use crate::decide::review::Edits;

use super::decode::{Malformed, read_text};
use super::patch::PatchTarget;

/// What of ours an object holds, and the patch that takes it out.
#[derive(Debug, Default, PartialEq)]
pub struct Removal {
    /// What is taken out, for people. It is empty if the object holds nothing of ours.
    pub parts: Vec<String>,
    /// The patch. It is a conflict if the object has changed since it was read.
    pub patch: Patch,
}

impl Removal {
    fn new(parts: Vec<String>, operations: Vec<PatchOperation>, version: String) -> Self {
        if operations.is_empty() {
            return Self::default();
        }
        let precondition = PatchOperation::Add(AddOperation {
            path: PointerBuf::from_tokens(["metadata", "resourceVersion"]),
            value: version.into(),
        });
        let patch = Patch(std::iter::once(precondition).chain(operations).collect());
        Self { parts, patch }
    }

    /// Returns whether the object holds nothing of ours.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patch.0.is_empty()
    }
}

/// The members of a map. Only their names count.
type Members = BTreeMap<String, Value>;

#[derive(Deserialize)]
struct WithMetadata {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct Metadata {
    resource_version: String,
    labels: Option<Members>,
    annotations: Option<Members>,
    managed_fields: Option<Vec<ManagedFields>>,
}

/// The fields that one manager set last, by one kind of write.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct ManagedFields {
    manager: String,
    fields_v1: Option<FieldsV1>,
}

/// A set of fields as Kubernetes writes it: each field is a member named `f:` and the field's name.
#[derive(Deserialize, Default)]
struct FieldsV1 {
    #[serde(rename = "f:metadata", default)]
    metadata: Option<MetadataFields>,
}

#[derive(Deserialize, Default)]
struct MetadataFields {
    #[serde(rename = "f:labels", default)]
    labels: Option<Members>,
    #[serde(rename = "f:annotations", default)]
    annotations: Option<Members>,
}

impl Metadata {
    /// The keys of ours in labels or annotations that this manager set, and no other one. A key that
    /// another manager set too, by applying the same value, stays.
    fn owned(
        &self,
        manager: &str,
        map: impl Fn(&MetadataFields) -> Option<&Members>,
    ) -> BTreeSet<&str> {
        let (mut ours, mut others) = (BTreeSet::new(), BTreeSet::new());
        for entry in self.managed_fields.iter().flatten() {
            let metadata = entry.fields_v1.as_ref().and_then(|fields| fields.metadata.as_ref());
            // The member `.` stands for the map itself.
            let keys = metadata.and_then(&map).into_iter().flat_map(Members::keys);
            let keys = keys.filter_map(|key| key.strip_prefix("f:"));
            let keys = keys.filter(|key| key.starts_with(LABEL_PREFIX));
            if entry.manager == manager { &mut ours } else { &mut others }.extend(keys);
        }
        ours.difference(&others).copied().collect()
    }
}

fn remove(path: &[&str]) -> PatchOperation {
    let path = PointerBuf::from_tokens(path.iter().copied());
    PatchOperation::Remove(RemoveOperation { path })
}

/// Takes the labels and annotations out that this field manager set.
///
/// # Errors
/// If the object can't be read.
pub fn of_metadata(object: &str, manager: &str) -> Result<Removal, Malformed> {
    let WithMetadata { metadata } = read_text(object)?;
    let (mut parts, mut operations) = (Vec::new(), Vec::new());
    let labels = metadata.owned(manager, |fields| fields.labels.as_ref());
    let annotations = metadata.owned(manager, |fields| fields.annotations.as_ref());
    for (map, word, owned, present) in [
        ("labels", "label", labels, &metadata.labels),
        ("annotations", "annotation", annotations, &metadata.annotations),
    ] {
        let present = present.as_ref();
        for key in owned.into_iter().filter(|key| present.is_some_and(|it| it.contains_key(*key))) {
            parts.push(format!("{word} {key}"));
            operations.push(remove(&["metadata", map, key]));
        }
    }
    Ok(Removal::new(parts, operations, metadata.resource_version))
}

/// Takes our requirements out of the node affinity of a VM or VMI, as the mutating webhook does if
/// no cluster network is needed.
///
/// # Errors
/// If the object can't be read.
pub fn of_affinity(kind: Kind, object: &str) -> Result<Removal, Malformed> {
    let WithMetadata { metadata } = read_text(object)?;
    let (target, terms) = PatchTarget::of(kind, object)?;
    let required: BTreeSet<&Name> =
        terms.iter().flatten().flat_map(|term| term.expressions.iter().flatten()).collect();
    let parts = required.into_iter().map(|it| format!("node affinity for cluster network {it}"));
    let Patch(operations) =
        target.patch(&Edits::Affinity(place(&Needs::default(), terms.as_deref())));
    Ok(Removal::new(parts.collect(), operations, metadata.resource_version))
}

/// Takes the record out that this manager set fields of the object. What remains of a list that a
/// patch of ours shortened counts as set by us, and would be a conflict for whoever applies it.
///
/// # Errors
/// If the object can't be read.
pub fn of_manager(object: &str, manager: &str) -> Result<Removal, Malformed> {
    let WithMetadata { metadata } = read_text(object)?;
    let entries = metadata.managed_fields.iter().flatten().enumerate();
    let ours = entries.filter(|(_, entry)| entry.manager == manager);
    let places: Vec<String> = ours.map(|(place, _)| place.to_string()).collect();
    // From the last to the first: a removal shifts only the entries behind it.
    let entry = |place: &String| remove(&["metadata", "managedFields", place]);
    let operations = places.iter().rev().map(entry).collect();
    Ok(Removal::new(
        vec![format!("field manager {manager}")],
        operations,
        metadata.resource_version,
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const US: &str = "lanekeeper";

    fn removed(removal: &Removal, object: &Value) -> Value {
        let mut object = object.clone();
        json_patch::patch(&mut object, &removal.patch).unwrap();
        object
    }

    fn entry(manager: &str, map: &str, keys: &[&str]) -> Value {
        let mut fields = json!({ ".": {} });
        for key in keys {
            fields[format!("f:{key}")] = json!({});
        }
        json!({
            "manager": manager, "operation": "Update", "apiVersion": "v1",
            "fieldsType": "FieldsV1", "fieldsV1": { "f:metadata": { map: fields } },
        })
    }

    #[test]
    fn only_what_our_manager_alone_set_is_taken_out() {
        let (a, b, mgmt) = (
            "network.harvesterhci.io/a",
            "network.harvesterhci.io/b.c",
            "network.harvesterhci.io/mgmt",
        );
        let host = json!({
            "metadata": {
                "name": "host1", "resourceVersion": "7",
                "labels": { a: "true", b: "true", mgmt: "true", "x/y": "1", "zone": "1" },
                "annotations": { "network.harvesterhci.io/lanekeeper-touched": "t", "n": "1" },
                "managedFields": [
                    entry("agent", "f:labels", &[b, mgmt]),
                    entry(US, "f:labels", &[a, b, "x/y", "network.harvesterhci.io/gone"]),
                    entry(US, "f:annotations", &["network.harvesterhci.io/lanekeeper-touched"]),
                    { "manager": US, "subresource": "status", "fieldsV1": { "f:status": {} } },
                    { "manager": "odd" },
                ],
            },
            "spec": { "unschedulable": true },
        });
        let removal = of_metadata(&host.to_string(), US).unwrap();
        assert_eq!(
            removal.parts,
            [
                "label network.harvesterhci.io/a",
                "annotation network.harvesterhci.io/lanekeeper-touched"
            ]
        );
        let after = removed(&removal, &host);
        let labels = json!({ b: "true", mgmt: "true", "x/y": "1", "zone": "1" });
        assert_eq!(after["metadata"]["labels"], labels);
        assert_eq!(after["metadata"]["annotations"], json!({ "n": "1" }));
        assert_eq!(after["spec"], host["spec"]);
        assert_eq!(after["metadata"]["resourceVersion"], "7", "it is the precondition");
        assert!(of_metadata(&host.to_string(), "other").unwrap().is_empty());
        for bare in [
            json!({ "metadata": {} }),
            json!({ "metadata": { "labels": null, "managedFields": null } }),
            json!({ "metadata": { "managedFields": [entry(US, "f:labels", &[a])] } }),
        ] {
            assert!(of_metadata(&bare.to_string(), US).unwrap().is_empty(), "{bare}");
        }
    }

    fn vm(terms: &Value) -> Value {
        let affinity = json!({
            "podAffinity": {},
            "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": terms } },
        });
        json!({
            "metadata": { "name": "vm", "resourceVersion": "7" },
            "spec": { "template": { "spec": { "affinity": affinity } } },
        })
    }

    #[test]
    fn our_requirements_are_taken_out_and_nothing_else() {
        let ours = |name: &str| json!({ "key": format!("network.harvesterhci.io/{name}"), "operator": "In", "values": ["true"] });
        let zone = json!({ "key": "zone", "operator": "In", "values": ["1"] });
        let fields = json!([{ "key": "metadata.name", "operator": "In", "values": ["host1"] }]);
        let all = |expressions: &[&Value]| json!({ "matchExpressions": expressions });
        let (a, b, mgmt) = (&ours("a"), &ours("b"), &ours("mgmt"));
        let drop = json!(null);
        for (terms, after) in [
            (json!([all(&[a])]), drop.clone()),
            (json!([all(&[a, b])]), drop.clone()),
            (json!([all(&[a]), all(&[b])]), drop.clone()),
            (json!([all(&[a, &zone, b])]), json!([all(&[&zone])])),
            (json!([all(&[a, &zone]), all(&[a])]), json!([all(&[&zone])])),
            (json!([all(&[a, mgmt])]), json!([all(&[mgmt])])),
            (
                json!([{ "matchExpressions": [a], "matchFields": fields }]),
                json!([{ "matchExpressions": [], "matchFields": fields }]),
            ),
        ] {
            let vm = vm(&terms);
            let removal = of_affinity(Kind::Vm, &vm.to_string()).unwrap();
            assert!(removal.parts.concat().contains("cluster network a"), "{terms}");
            let cleaned = removed(&removal, &vm);
            let affinity = &cleaned["spec"]["template"]["spec"]["affinity"];
            let required =
                &affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
            assert_eq!(required["nodeSelectorTerms"], after, "{terms}");
            assert_eq!(required.is_null(), after.is_null(), "{terms}");
            assert_eq!(affinity["podAffinity"], json!({}));
            assert!(of_affinity(Kind::Vm, &cleaned.to_string()).unwrap().is_empty(), "{terms}");
        }
        for terms in [json!(null), json!([]), json!([{}]), json!([all(&[&zone, mgmt])])] {
            assert!(of_affinity(Kind::Vm, &vm(&terms).to_string()).unwrap().is_empty());
        }
        let vmi =
            json!({ "metadata": {}, "spec": vm(&json!([all(&[a])]))["spec"]["template"]["spec"] });
        assert_eq!(of_affinity(Kind::Vmi, &vmi.to_string()).unwrap().parts.len(), 1);
    }

    #[test]
    fn the_managers_entries_are_taken_out() {
        let managed = json!([
            { "manager": US, "operation": "Update" },
            { "manager": "kubectl" },
            { "manager": US, "operation": "Apply" },
        ]);
        let object = json!({ "metadata": { "managedFields": managed } });
        let removal = of_manager(&object.to_string(), US).unwrap();
        assert_eq!(removal.parts, ["field manager lanekeeper"]);
        let after = removed(&removal, &object);
        assert_eq!(after["metadata"]["managedFields"], json!([{ "manager": "kubectl" }]));
        assert_eq!(of_manager(&after.to_string(), US).unwrap(), Removal::default());
    }
}
