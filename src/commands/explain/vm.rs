//! `explain vm`: on which hosts a VM can run.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use crate::cluster::{Change, Key, Kind, Now, Snapshot};
use crate::commands::Form;
use crate::decide::explain::Asked;
use crate::k8s::{Decoder, Malformed};
use crate::source::{Once, objects_in};

use super::answer::{Error, Explanation, Row, any_fits, hosts, namespaced, write_rows};

#[derive(Serialize)]
struct View<'s> {
    vm: &'s str,
    source: &'static str,
    needs: Vec<Need<'s>>,
    hosts: Vec<Row>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Need<'s> {
    vm_network: &'s str,
    cluster_network: Option<&'s str>,
}

/// Explains a VM, or one that is not made yet: then `file` holds it, and whatever else is made with
/// it. Without a name, it is the only VM of the file.
///
/// # Errors
/// If the name is malformed, the source or the file can't be read, the VM does not exist, or no
/// host is known.
pub fn vm(
    name: Option<&str>,
    file: Option<&Path>,
    mut source: Once,
    decoder: &Decoder,
    form: Form,
) -> Result<Explanation, Error> {
    let named = name.map(namespaced).transpose()?;
    let mut snapshot = source.snapshot()?;
    let key = match (file, named) {
        (Some(file), named) => {
            let (key, with_file) = apply(file, named, &snapshot, decoder)?;
            snapshot = with_file;
            key
        }
        (None, Some(named)) => named,
        (None, None) => return Err(Error::Name(String::new())),
    };
    let Some(asked) = Asked::of(&snapshot, &key) else {
        let what = "VirtualMachine or VirtualMachineInstance";
        return Err(Error::not_found(what, &snapshot, &[Kind::Vm, Kind::Vmi], &key));
    };
    let needs = asked.needs.vm_networks.iter().map(|(vm_network, under)| Need {
        vm_network: vm_network.as_str(),
        cluster_network: under.as_deref(),
    });
    let rows = hosts(&snapshot)?
        .into_iter()
        .map(|host| Row::new(host.name(), asked.causes(&snapshot, host), &snapshot, host));
    let view = View {
        vm: key.as_str(),
        source: asked.source.kubernetes(),
        needs: needs.collect(),
        hosts: rows.collect(),
    };
    Ok(Explanation {
        text: form.write(&view, table)?,
        feasible: any_fits(&view.hosts),
        problems: snapshot.problems(),
    })
}

/// The VM in a file, and the snapshot with all objects of the file.
fn apply(
    file: &Path,
    named: Option<Key>,
    snapshot: &Snapshot,
    decoder: &Decoder,
) -> Result<(Key, Snapshot), Error> {
    let shown = file.display().to_string();
    let mut changes: Vec<Change> = Vec::new();
    for object in objects_in(file)? {
        let change = decoder.change(&object).map_err(|why| Error::Object(shown.clone(), why))?;
        changes.extend(change);
    }
    let vms = || changes.iter().filter(|change| change.object.kind == Kind::Vm);
    let vm = match named {
        Some(key) => vms()
            .find(|change| change.object.key == key)
            .ok_or_else(|| Error::NotInFile(shown.clone(), key))?,
        None => match vms().collect::<Vec<_>>()[..] {
            [only] => only,
            [] => return Err(Error::NoneInFile(shown)),
            ref several => return Err(Error::WhichOne(shown, several.len())),
        },
    };
    if let Now::Malformed { why, .. } = &vm.now {
        let why = Malformed::new(format!("{} can't be read: {why}", vm.object));
        return Err(Error::Object(shown, why));
    }
    let key = vm.object.key.clone();
    Ok((key, snapshot.with(changes)))
}

fn table(view: &View<'_>) -> String {
    let mut text = String::new();
    // Writing to a String can't fail.
    let _ = writeln!(text, "{} {}", view.source, view.vm);
    if view.needs.is_empty() && view.hosts.iter().all(|host| host.feasible) {
        text.push_str("It needs no VM network.\n");
    } else if !view.needs.is_empty() {
        let _ = writeln!(text, "\n{:<32} CLUSTER NETWORK", "VM NETWORK");
        for need in &view.needs {
            let under = need.cluster_network.unwrap_or("-");
            let _ = writeln!(text, "{:<32} {under}", need.vm_network);
        }
    }
    write_rows(&mut text, ["HOST", "CAN RUN"], &view.hosts);
    let feasible = view.hosts.iter().filter(|host| host.feasible).count();
    let _ = writeln!(
        text,
        "\n{feasible} of {} hosts can run it as far as its networks, its nodeSelector and its \
         required node affinity go. Room, taints, pod affinity and the like are for the scheduler \
         to judge.",
        view.hosts.len()
    );
    text
}
