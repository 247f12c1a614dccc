//! `lanekeeper explain`: says for each host whether a VM can run there, and if not, why
//! (docs/reference.md, "Commands").

use std::fmt::Write as _;

use serde::Serialize;

use crate::cluster::{Key, Problem, Snapshot};
use crate::decide::explain::explain;
use crate::decide::needs::Needs;
use crate::source::{Once, OnceError};

use super::{Form, WriteError};

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
    /// There is neither a VM nor a VMI of this name.
    #[error("there is no VirtualMachine or VirtualMachineInstance {0}{1}")]
    NotFound(Key, String),
    /// The answer can't be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

#[derive(Serialize)]
struct View<'s> {
    vm: &'s str,
    source: &'static str,
    needs: Vec<Need<'s>>,
    hosts: Vec<Host<'s>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Need<'s> {
    vm_network: &'s str,
    cluster_network: Option<&'s str>,
}

#[derive(Serialize)]
struct Host<'s> {
    name: &'s str,
    feasible: bool,
    causes: Vec<Cause>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Cause {
    code: &'static str,
    cluster_network: Option<String>,
    vm_network: Option<String>,
    message: String,
}

/// Explains a VM.
///
/// # Errors
/// If the name is malformed, the source can't be read, or the VM does not exist.
pub fn vm(name: &str, mut source: Once, form: Form) -> Result<Explanation, Error> {
    let key = match name.split('/').collect::<Vec<_>>()[..] {
        [namespace, name] if !namespace.is_empty() && !name.is_empty() => {
            Key::in_namespace(namespace, name)
        }
        _ => return Err(Error::Name(name.to_owned())),
    };
    let snapshot = source.snapshot()?;
    let (selection, kind) = if let Some(vm) = snapshot.vm(&key) {
        (vm.networks.clone(), "VirtualMachine")
    } else if let Some(selection) = snapshot.selection_of(&key) {
        (selection, "VirtualMachineInstance")
    } else {
        return Err(Error::NotFound(key.clone(), hint(&snapshot, &key)));
    };
    let needs = Needs::of(&snapshot, &selection);
    let answers = explain(&snapshot, &needs);
    let view = View {
        vm: key.as_str(),
        source: kind,
        needs: needs
            .vm_networks
            .iter()
            .map(|(vm_network, under)| Need {
                vm_network: vm_network.as_str(),
                cluster_network: under.as_deref(),
            })
            .collect(),
        hosts: answers
            .iter()
            .map(|answer| Host {
                name: answer.host.name(),
                feasible: answer.feasible(),
                causes: answer
                    .causes
                    .iter()
                    .map(|(vm_network, cause)| Cause {
                        code: cause.code(),
                        cluster_network: cause.cluster_network().map(ToString::to_string),
                        vm_network: vm_network.as_ref().map(ToString::to_string),
                        message: cause.message(&snapshot, answer.host),
                    })
                    .collect(),
            })
            .collect(),
    };
    let text = form.write(&view, table)?;
    Ok(Explanation {
        text,
        feasible: view.hosts.iter().any(|host| host.feasible),
        problems: snapshot.problems(),
    })
}

/// The problems with a VM that was not found: it may exist but be malformed.
fn hint(snapshot: &Snapshot, key: &Key) -> String {
    let about = |it: &Problem| it.object.as_ref().is_some_and(|it| it.key == *key);
    let problems: Vec<String> = snapshot
        .problems()
        .iter()
        .filter(|problem| about(problem))
        .map(|problem| format!("; {}", problem.message))
        .collect();
    problems.concat()
}

fn table(view: &View<'_>) -> String {
    let mut text = String::new();
    // Writing to a String can't fail.
    let _ = writeln!(text, "{} {}", view.source, view.vm);
    let refused = view.hosts.iter().any(|host| !host.feasible);
    if view.needs.is_empty() && !refused {
        text.push_str("It needs no VM network.\n");
    } else if !view.needs.is_empty() {
        let _ = writeln!(text, "\n{:<32} CLUSTER NETWORK", "VM NETWORK");
        for need in &view.needs {
            let under = need.cluster_network.unwrap_or("-");
            let _ = writeln!(text, "{:<32} {under}", need.vm_network);
        }
    }
    let width = view.hosts.iter().map(|host| host.name.len()).max().unwrap_or(0).max(4);
    let _ = writeln!(text, "\n{:<width$}  CAN RUN  WHY NOT", "HOST");
    for host in &view.hosts {
        if host.feasible {
            let _ = writeln!(text, "{:<width$}  yes", host.name);
        }
        for (position, cause) in host.causes.iter().enumerate() {
            let (name, can) = if position == 0 { (host.name, "no") } else { ("", "") };
            let network = cause.vm_network.as_ref().map(|name| format!("{name}: "));
            let _ = writeln!(
                text,
                "{name:<width$}  {can:<7}  {}{} [{}]",
                network.unwrap_or_default(),
                cause.message,
                cause.code
            );
        }
    }
    let feasible = view.hosts.iter().filter(|host| host.feasible).count();
    let _ = writeln!(
        text,
        "\n{feasible} of {} hosts can run it as far as its networks go; room, taints and the like \
         are for the scheduler to judge.",
        view.hosts.len()
    );
    text
}
