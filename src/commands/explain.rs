//! `lanekeeper explain`: on which hosts a VM can run, and if it can't, why; and the same from the
//! side of a host, a VM network or a cluster network (docs/reference.md, "Commands").

use std::path::Path;

use crate::cluster::{Change, Key, Kind, Name, Now, ObjectRef, Problem, Snapshot};
use crate::k8s::{Decoder, Malformed};
use crate::source::{Once, OnceError, Unreadable, objects_in};
use crate::view::explain::{ClusterNetworkView, HostView, Row, VmNetworkView, VmView, any_fits};
use crate::view::{Form, WriteError};

/// The output, and what the exit status depends on.
pub struct Explanation {
    /// For standard output.
    pub text: String,
    /// Whether some host fits.
    pub feasible: bool,
    /// Problems with objects. The answer may lack what these objects say.
    pub problems: Vec<Problem>,
}

/// Why there is no explanation.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The name is not NAMESPACE/NAME.
    #[error("{0:?} is not NAMESPACE/NAME")]
    Name(String),
    /// The source can't be read.
    #[error(transparent)]
    Unreadable(#[from] OnceError),
    /// The file can't be read.
    #[error(transparent)]
    File(#[from] Unreadable),
    /// An object of the file can't be read.
    #[error("{0}: {1}")]
    Object(String, Malformed),
    /// The file does not hold the VM.
    #[error("{0} holds no VirtualMachine {1}")]
    NotInFile(String, Key),
    /// The file holds no VM.
    #[error("{0} holds no VirtualMachine; add the one to explain")]
    NoneInFile(String),
    /// The file holds several VMs, and no name was given.
    #[error("{0} holds {1} VirtualMachines; name the one to explain, as NAMESPACE/NAME")]
    WhichOne(String, usize),
    /// There is no such object.
    #[error("there is no {0}{1}")]
    NotFound(String, String),
    /// No host is known.
    #[error("no host is known: the source has no Node that can be read")]
    NoHost,
    /// The answer can't be written.
    #[error(transparent)]
    Write(#[from] WriteError),
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
    form: Form,
) -> Result<Explanation, Error> {
    let named = name.map(namespaced).transpose()?;
    let mut snapshot = source.snapshot()?;
    let key = match (file, named) {
        (Some(file), named) => {
            let (key, with_file) = apply(file, named, &snapshot, source.decoder())?;
            snapshot = with_file;
            key
        }
        (None, Some(named)) => named,
        (None, None) => return Err(Error::Name(String::new())),
    };
    let Some(view) = VmView::of(&snapshot, &key) else {
        let what = "VirtualMachine or VirtualMachineInstance";
        return Err(not_found(what, &snapshot, &[Kind::Vm, Kind::Vmi], &key));
    };
    explanation(&snapshot, &view.hosts, form.write(&view, VmView::table)?)
}

/// Explains a host. It fits if some VM can run there, or no VM is known.
///
/// # Errors
/// If the source can't be read, or the host does not exist.
pub fn host(name: &str, mut source: Once, form: Form) -> Result<Explanation, Error> {
    let snapshot = source.snapshot()?;
    let Some(host) = snapshot.host(name) else {
        let key = Key::cluster_scoped(name);
        return Err(not_found("host", &snapshot, &[Kind::Host], &key));
    };
    let view = HostView::of(&snapshot, host, usize::MAX);
    Ok(Explanation {
        text: form.write(&view, HostView::table)?,
        feasible: view.vms.is_empty() || any_fits(&view.vms),
        problems: snapshot.problems(),
    })
}

/// Explains a VM network: its cluster network, the hosts on which a VM on it can run, and the VMs
/// that use it.
///
/// # Errors
/// If the name is malformed, the source can't be read, the VM network does not exist, or no host is
/// known.
pub fn vm_network(name: &str, mut source: Once, form: Form) -> Result<Explanation, Error> {
    let key = namespaced(name)?;
    let snapshot = source.snapshot()?;
    let Some(view) = VmNetworkView::of(&snapshot, &key) else {
        return Err(not_found("VM network", &snapshot, &[Kind::VmNetwork], &key));
    };
    explanation(&snapshot, &view.hosts, form.write(&view, VmNetworkView::table)?)
}

/// Explains a cluster network: the hosts on which it is active, its network configs and its VM
/// networks.
///
/// # Errors
/// If the source can't be read, the cluster network does not exist, or no host is known.
pub fn cluster_network(name: &str, mut source: Once, form: Form) -> Result<Explanation, Error> {
    let snapshot = source.snapshot()?;
    let name = Name::from(name);
    let Some(view) = ClusterNetworkView::of(&snapshot, &name) else {
        let key = Key::cluster_scoped(name);
        return Err(not_found("cluster network", &snapshot, &[Kind::ClusterNetwork], &key));
    };
    explanation(&snapshot, &view.hosts, form.write(&view, ClusterNetworkView::table)?)
}

/// The explanation of something by its rows, one for each host.
fn explanation(snapshot: &Snapshot, hosts: &[Row], text: String) -> Result<Explanation, Error> {
    if hosts.is_empty() {
        return Err(Error::NoHost);
    }
    Ok(Explanation { text, feasible: any_fits(hosts), problems: snapshot.problems() })
}

/// Reads NAMESPACE/NAME.
fn namespaced(name: &str) -> Result<Key, Error> {
    Key::parse_namespaced(name).ok_or_else(|| Error::Name(name.to_owned()))
}

/// There is no object `what`, which has this name within one of the kinds.
fn not_found(what: &str, snapshot: &Snapshot, kinds: &[Kind], key: &Key) -> Error {
    // The object may exist but be malformed.
    let about = |it: &ObjectRef| it.key == *key && kinds.contains(&it.kind);
    let problems: Vec<String> = snapshot
        .problems()
        .iter()
        .filter(|problem| problem.object.as_ref().is_some_and(about))
        .map(|problem| format!("; {}", problem.message))
        .collect();
    Error::NotFound(format!("{what} {key}"), problems.concat())
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
    // An answer without what the file says of another object would be wrong too.
    for change in &changes {
        if let Now::Malformed { why, .. } = &change.now {
            let why = Malformed::new(format!("{} can't be read: {why}", change.object));
            return Err(Error::Object(shown, why));
        }
    }
    let key = vm.object.key.clone();
    Ok((key, snapshot.with(changes)))
}
