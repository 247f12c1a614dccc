//! What is changed about an object on its way in, and when (spec, section 5, "Mutation").

use json_patch::Patch;

use crate::cluster::{Fact, Kind, Selection, Snapshot};
use crate::decide::needs::Needs;

use super::admission::Operation;
use super::objects::{Reader, is_being_deleted};
use super::patch;

/// The patch for an object that is written. One that is going away is left alone.
///
/// # Errors
/// Says which field can't be read; it is for validation to refuse such an object.
pub fn patch(
    snapshot: &Snapshot,
    reader: &Reader,
    operation: Operation,
    kind: Kind,
    object: &str,
) -> Result<Patch, String> {
    let nothing = Ok(Patch(Vec::new()));
    let applies = match operation {
        Operation::Create => true,
        // A VMI is placed once, and its spec's affinity stays as it is.
        Operation::Update => kind != Kind::Vmi,
        Operation::Delete | Operation::Connect => false,
    };
    if !applies || is_being_deleted(object) {
        return nothing;
    }
    let needs = |selection: &Selection| Needs::of(snapshot, selection);
    match reader.facts(kind, &mut serde_json::Deserializer::from_str(object))? {
        Some(Fact::NetworkConfig(_)) => patch::network_config(object, |config| {
            snapshot.names(&snapshot.covered(&config.selector))
        }),
        Some(Fact::Vm(vm)) => patch::vm_affinity(object, &needs(&vm.networks)),
        Some(Fact::Vmi(vmi)) => patch::vmi_affinity(object, &needs(&vmi.networks)),
        _ => nothing,
    }
}
