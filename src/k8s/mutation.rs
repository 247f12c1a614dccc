//! What is changed about an object on its way in, and when (spec, section 5, "Mutation").

use json_patch::Patch;

use crate::cluster::{Fact, Key, Kind, Selection, Snapshot, Vm};
use crate::decide::needs::Needs;
use crate::decide::review::{self, Write, vm, vm_network};

use super::admission::{Operation, Request};
use super::objects::{Reader, is_being_deleted};
use super::patch;

/// Whether objects of a kind are changed when they are written so.
#[must_use]
pub fn applies(operation: Operation, kind: Kind) -> bool {
    match (operation, kind) {
        // A VMI is placed once, and its spec's affinity stays as it is.
        (Operation::Create, Kind::NetworkConfig | Kind::VmNetwork | Kind::Vm | Kind::Vmi)
        | (Operation::Update, Kind::NetworkConfig | Kind::VmNetwork | Kind::Vm) => true,
        _ => false,
    }
}

/// What the object speaks of that must be known for its patch: what the review of such a write must
/// know.
#[must_use]
pub fn speaks_of(request: &Request<'_>, kind: Kind, reader: &Reader) -> Option<review::Request> {
    let reader = request.reader(reader);
    if kind != Kind::Vmi {
        return request.change(kind, &reader, |_| None).ok()?;
    }
    let mut object = serde_json::Deserializer::from_str(request.object()?);
    let Some(Fact::Vmi(vmi)) = reader.facts(kind, &mut object).ok()? else { return None };
    Some(review::Request::Vm(Write::Create(vm::Subject {
        key: Key::in_namespace(&reader.default_namespace, ""),
        facts: Vm { networks: vmi.networks, ..Vm::default() },
    })))
}

/// The patch for the object that a request writes. One that is going away is left alone. `reader`
/// says how objects are read in general.
///
/// # Errors
/// Says which field can't be read; it is for validation to refuse such an object.
pub fn patch(
    snapshot: &Snapshot,
    reader: &Reader,
    request: &Request<'_>,
    kind: Kind,
) -> Result<Patch, String> {
    let written = request.object().filter(|object| !is_being_deleted(object));
    let Some(object) = written.filter(|_| applies(request.operation, kind)) else {
        return Ok(Patch(Vec::new()));
    };
    let reader = request.reader(reader);
    let needs = |selection: &Selection| Needs::of(snapshot, selection);
    let facts = |object| reader.facts(kind, &mut serde_json::Deserializer::from_str(object));
    match facts(object)? {
        Some(Fact::NetworkConfig(config)) => {
            let covered = snapshot.covered(&config.selector);
            patch::network_config(object, &config, &snapshot.names(&covered))
        }
        Some(Fact::VmNetwork(new)) => {
            let old = match request.old_object().map(facts) {
                Some(Ok(Some(Fact::VmNetwork(old)))) if request.operation == Operation::Update => {
                    Some(old)
                }
                _ => None,
            };
            let mtu = vm_network::mtu_to_set(snapshot, &new, old.as_ref());
            patch::vm_network(object, &vm_network::labels(snapshot, &new), mtu)
        }
        Some(Fact::Vm(vm)) => patch::vm_affinity(object, &needs(&vm.networks)),
        Some(Fact::Vmi(vmi)) => patch::vmi_affinity(object, &needs(&vmi.networks)),
        _ => Ok(Patch(Vec::new())),
    }
}
