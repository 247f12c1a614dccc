//! What is changed about an object on its way in, and when (spec, section 5, "Mutation").

use json_patch::Patch;

use crate::cluster::{Fact, Kind, Selection, Snapshot};
use crate::decide::needs::Needs;
use crate::decide::review::vm_network;

use super::admission::Operation;
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

/// The patch for an object that is written, `old` being what it was. One that is going away is left
/// alone.
///
/// # Errors
/// Says which field can't be read; it is for validation to refuse such an object.
pub fn patch(
    snapshot: &Snapshot,
    reader: &Reader,
    operation: Operation,
    kind: Kind,
    object: &str,
    old: Option<&str>,
) -> Result<Patch, String> {
    if !applies(operation, kind) || is_being_deleted(object) {
        return Ok(Patch(Vec::new()));
    }
    let needs = |selection: &Selection| Needs::of(snapshot, selection);
    let facts = |object| reader.facts(kind, &mut serde_json::Deserializer::from_str(object));
    match facts(object)? {
        Some(Fact::NetworkConfig(config)) => {
            let covered = snapshot.covered(&config.selector);
            patch::network_config(object, &config, &snapshot.names(&covered))
        }
        Some(Fact::VmNetwork(new)) => {
            let old = match old.map(facts) {
                Some(Ok(Some(Fact::VmNetwork(old)))) if operation == Operation::Update => Some(old),
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
