//! `lanekeeper plan`: what would this change do (spec, section 8)?

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use crate::cluster::{Change, Name, Now, ObjectRef, Snapshot};
use crate::decide::plan::{Difference, effects};
use crate::decide::review::{Judgement, Policy};
use crate::k8s::admission;
use crate::k8s::mutation;
use crate::k8s::objects::Reader;
use crate::source::{Once, objects_in};

use super::Form;

/// What there is to print, and what it means for the exit status.
pub struct Plan {
    /// For standard output.
    pub text: String,
    /// Whether no rule is broken.
    pub admitted: bool,
}

/// How a file is taken.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Its objects are deleted, and not applied.
    pub delete: bool,
    /// They are judged one after the other, and not against the state with all of them.
    pub in_order: bool,
    /// By whose word, and how strictly.
    pub policy: Policy,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source or the file can't be read.
    #[error("{}", .0.join("\n"))]
    Unreadable(Vec<String>),
    /// An object of the file can't be planned with.
    #[error("{file}: object {position}: {why}")]
    Object {
        /// The file.
        file: String,
        /// Which object, counted from 1.
        position: usize,
        /// Why.
        why: String,
    },
    /// The answer can't be written.
    #[error("can't write the answer: {0}")]
    Write(String),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    objects: Vec<Object>,
    cluster_networks: Vec<Effect>,
    vms: Vec<Effect>,
}

#[derive(Serialize)]
struct Object {
    kind: String,
    name: String,
    operation: String,
    judged: bool,
    violations: Vec<Violation>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Violation {
    code: &'static str,
    message: String,
    field: Option<&'static str>,
}

#[derive(Serialize)]
struct Effect {
    name: String,
    gained: Vec<Name>,
    lost: Vec<Name>,
    /// How many hosts there are after the change.
    hosts: usize,
}

/// One object of the file, and what is done to it.
struct Step {
    old: Option<Value>,
    new: Option<Value>,
    change: Option<Change>,
}

/// Plans the change that a file is.
///
/// # Errors
/// If the source or the file can't be read.
pub fn plan(
    file: &Path,
    mut source: Once,
    reader: &Reader,
    options: Options,
    form: Form,
) -> Result<Plan, Error> {
    let before = source.snapshot().map_err(Error::Unreadable)?;
    // What objects before this one in order made of an object.
    let mut made: BTreeMap<ObjectRef, Option<Value>> = BTreeMap::new();
    let whole = |why| Error::Unreadable(vec![format!("{}: {why}", file.display())]);
    let objects = objects_in(file).map_err(whole)?;
    let change_of = |position: usize, object: &Value| {
        reader.change(object).map_err(|why| Error::Object {
            file: file.display().to_string(),
            position: position + 1,
            why,
        })
    };
    let gone = |change: Change| Change { now: Now::Gone, ..change };
    let mut changes = Vec::new();
    for (position, object) in objects.iter().enumerate() {
        let change = change_of(position, object)?;
        changes.push(if options.delete { change.map(gone) } else { change });
    }
    // One file may hold a cluster network, its config and its VM networks, so each object is mutated
    // with the others there; in order, with those before it.
    let mut state = before.clone();
    if !options.in_order {
        state = before.with(changes.iter().flatten().cloned());
    }
    let mut steps = Vec::new();
    let mut told = Vec::new();
    for (position, (object, change)) in objects.into_iter().zip(changes).enumerate() {
        let of = change.as_ref().map(|change| change.object.clone());
        let old = match &of {
            Some(of) => match made.get(of) {
                Some(made) => made.clone(),
                None => source.object(of).map_err(Error::Unreadable)?,
            },
            None => None,
        };
        let step = if options.delete {
            // A delete is told by what is deleted.
            Step { old: Some(old.unwrap_or(object)), new: None, change }
        } else {
            let new = mutated(&state, reader, old.as_ref(), object);
            let change = change_of(position, &new)?;
            Step { old, new: Some(new), change }
        };
        if options.in_order {
            told.push(judged(&state, reader, &step, options.policy));
            state = state.with(step.change.clone());
            if let Some(of) = of {
                made.insert(of, step.new.clone());
            }
        }
        steps.push(step);
    }
    let after = before.with(steps.iter().filter_map(|step| step.change.clone()));
    if !options.in_order {
        told.extend(steps.iter().map(|step| judged(&after, reader, step, options.policy)));
    }
    let effects = effects(&before, &after);
    let effect = |name: &str, Difference { gained, lost, left }: Difference| Effect {
        name: name.to_owned(),
        gained,
        lost,
        hosts: left,
    };
    let networks = effects.cluster_networks.into_iter();
    let vms = effects.vms.into_iter();
    let answer = Answer {
        objects: told,
        cluster_networks: networks.map(|(name, difference)| effect(&name, difference)).collect(),
        vms: vms.map(|(key, difference)| effect(key.as_str(), difference)).collect(),
    };
    Ok(Plan {
        admitted: answer.objects.iter().all(|object| object.violations.is_empty()),
        text: form.write(&answer, table).map_err(Error::Write)?,
    })
}

/// The request that the API server would make of a step.
fn request(step: &Step) -> Value {
    let (operation, object) = match (&step.old, &step.new) {
        (Some(_), Some(new)) => ("UPDATE", new),
        (None, Some(new)) => ("CREATE", new),
        (old, None) => ("DELETE", old.as_ref().unwrap_or(&Value::Null)),
    };
    let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = text("apiVersion").rsplit_once('/').unwrap_or(("", text("apiVersion")));
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "plan",
            "kind": { "group": group, "version": version, "kind": text("kind") },
            "name": object.pointer("/metadata/name"),
            "namespace": object.pointer("/metadata/namespace"),
            "operation": operation,
            "object": step.new,
            "oldObject": step.old,
        },
    })
}

/// The object as the mutating webhook would leave it.
fn mutated(snapshot: &Snapshot, reader: &Reader, old: Option<&Value>, new: Value) -> Value {
    let step = Step { old: old.cloned(), new: Some(new.clone()), change: None };
    let body = request(&step).to_string();
    let Ok(request) = admission::request(body.as_bytes()) else { return new };
    let Some(kind) = request.kind() else { return new };
    let patch = mutation::patch(snapshot, reader, &request, kind);
    let mut mutated = new.clone();
    match patch.map(|patch| json_patch::patch(&mut mutated, &patch)) {
        Ok(Ok(())) => mutated,
        // As at the webhook, what can't be mutated is for validation to refuse.
        _ => new,
    }
}

fn judged(snapshot: &Snapshot, reader: &Reader, step: &Step, policy: Policy) -> Object {
    let body = request(step);
    let text = |pointer: &str| {
        body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let name = match &*text("/request/namespace") {
        "" => text("/request/name"),
        namespace => format!("{namespace}/{}", text("/request/name")),
    };
    let bytes = body.to_string();
    let judgement = admission::request(bytes.as_bytes()).ok().and_then(|request| {
        let kind = request.kind().filter(|kind| admission::has_rules(*kind))?;
        Some(request.judge(kind, snapshot, reader, policy))
    });
    let judged = judgement.is_some();
    let Judgement { violations, warnings } = judgement.unwrap_or_default();
    Object {
        kind: text("/request/kind/kind"),
        name,
        operation: text("/request/operation").to_lowercase(),
        judged,
        violations: violations
            .into_iter()
            .map(|it| Violation { code: it.code.as_str(), message: it.message, field: it.field })
            .collect(),
        warnings,
    }
}

fn table(answer: &Answer) -> String {
    let mut text = String::new();
    // Writing to a String can't fail.
    for object in &answer.objects {
        let verdict = match (object.judged, object.violations.is_empty()) {
            (false, _) => "not judged: no rules for this kind",
            (true, true) => "admitted",
            (true, false) => "refused",
        };
        let _ = writeln!(text, "{} {} {}: {verdict}", object.operation, object.kind, object.name);
        for violation in &object.violations {
            let _ = writeln!(text, "  {}: {}", violation.code, violation.message);
        }
        for warning in &object.warnings {
            let _ = writeln!(text, "  warning: {warning}");
        }
    }
    for (title, effects) in [("Cluster networks", &answer.cluster_networks), ("VMs", &answer.vms)] {
        if !effects.is_empty() {
            let _ = writeln!(text, "\n{title}");
        }
        for Effect { name, gained, lost, hosts } in effects {
            let _ = write!(text, "  {name}:");
            for (what, names) in [("gains", gained), ("loses", lost)] {
                if !names.is_empty() {
                    let _ = write!(text, " {what} {};", names.join(", "));
                }
            }
            let _ = match hosts {
                0 => writeln!(text, " no host is left"),
                1 => writeln!(text, " then 1 host"),
                hosts => writeln!(text, " then {hosts} hosts"),
            };
        }
    }
    text
}
