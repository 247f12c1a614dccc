//! `lanekeeper plan`: says what a change would do (docs/reference.md, "Commands").

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use crate::cluster::{Change, HostsChanged, Name, Now, ObjectRef, Snapshot};
use crate::decide::plan::{Effects, effects};
use crate::decide::review::{Evidence, Judgement, Outcome, Policy, Webhook, judge};
use crate::k8s::admission::{Review, has_rules, parse};
use crate::k8s::{Decoder, Malformed};
use crate::source::{Once, OnceError, Unreadable, objects_in};

use super::{Form, WriteError};

/// The output, and what the exit status depends on.
pub struct Plan {
    /// For standard output.
    pub text: String,
    /// Whether no rule refuses the change.
    pub admitted: bool,
}

/// How the objects of a file are judged.
#[derive(Clone, Debug, Default)]
pub struct Mode {
    /// Whether the objects are deleted rather than applied.
    pub delete: bool,
    /// Whether they are judged one after the other, rather than against the state with all of them.
    pub in_order: bool,
    /// Who is trusted, and how strict the rules are.
    pub policy: Policy,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source can't be read.
    #[error(transparent)]
    Source(#[from] OnceError),
    /// The file can't be read.
    #[error(transparent)]
    File(#[from] Unreadable),
    /// An object of the file has no key.
    #[error("{file}: object {position}: {why}")]
    Object {
        /// The file.
        file: String,
        /// Which object, counted from 1.
        position: usize,
        /// Why.
        why: Malformed,
    },
    /// The answer can't be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
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
    /// The number of hosts after the change.
    hosts: usize,
}

/// One object of the file: its old and new version, and the change of the state.
struct Step {
    old: Option<Value>,
    new: Option<Value>,
    change: Option<Change>,
}

/// Judges the change in a file and computes its effects.
///
/// # Errors
/// If the source or the file can't be read.
pub fn plan(
    file: &Path,
    mut source: Once,
    decoder: &Decoder,
    mode: &Mode,
    form: Form,
) -> Result<Plan, Error> {
    let before = source.snapshot()?;
    // With `in_order`, the objects that earlier steps changed.
    let mut earlier: BTreeMap<ObjectRef, Option<Value>> = BTreeMap::new();
    let objects = objects_in(file)?;
    let change_of = |position: usize, object: &Value| {
        decoder.change(object).map_err(|why| Error::Object {
            file: file.display().to_string(),
            position: position + 1,
            why,
        })
    };
    let gone = |change: Change| Change { now: Now::Gone, ..change };
    let mut changes = Vec::new();
    for (position, object) in objects.iter().enumerate() {
        let change = change_of(position, object)?;
        changes.push(if mode.delete { change.map(gone) } else { change });
    }
    // One file may hold a cluster network, its network config and its VM networks, so each object
    // is mutated against the state with all of them. With `in_order`, only earlier ones are there.
    let mut state = before.clone();
    if !mode.in_order {
        state = before.with(changes.iter().flatten().cloned());
    }
    let mut steps = Vec::new();
    let mut verdicts = Vec::new();
    for (position, (object, change)) in objects.into_iter().zip(changes).enumerate() {
        let reference = change.as_ref().map(|change| change.object.clone());
        let old = match &reference {
            Some(reference) => match earlier.get(reference) {
                Some(object) => object.clone(),
                None => source.object(reference)?,
            },
            None => None,
        };
        let step = if mode.delete {
            // The request of a delete has the object that exists, if there is one.
            Step { old: Some(old.unwrap_or(object)), new: None, change }
        } else {
            let new = mutated(&state, decoder, old.as_ref(), object);
            let change = change_of(position, &new)?;
            Step { old, new: Some(new), change }
        };
        if mode.in_order {
            verdicts.push(judge_step(&state, decoder, &step, &mode.policy));
            state = state.with(step.change.clone());
            if let Some(reference) = reference {
                earlier.insert(reference, step.new.clone());
            }
        }
        steps.push(step);
    }
    let after = before.with(steps.iter().filter_map(|step| step.change.clone()));
    if !mode.in_order {
        verdicts.extend(steps.iter().map(|step| judge_step(&after, decoder, step, &mode.policy)));
    }
    let view = View::of(verdicts, effects(&before, &after));
    Ok(Plan {
        admitted: view.objects.iter().all(|object| object.violations.is_empty()),
        text: form.write(&view, table)?,
    })
}

impl View {
    fn of(objects: Vec<Object>, effects: Effects) -> Self {
        let effect = |name: &str, HostsChanged { gained, lost, left }: HostsChanged| Effect {
            name: name.to_owned(),
            gained,
            lost,
            hosts: left,
        };
        let networks = effects.cluster_networks.into_iter();
        let vms = effects.vms.into_iter();
        Self {
            objects,
            cluster_networks: networks.map(|(name, changed)| effect(&name, changed)).collect(),
            vms: vms.map(|(key, changed)| effect(key.as_str(), changed)).collect(),
        }
    }
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

/// Reads a step's request as a webhook would. Our own request can always be read.
fn review(step: &Step, webhook: Webhook, decoder: &Decoder) -> Option<Review> {
    parse(&request(step).to_string(), webhook, decoder).ok()
}

/// The object as the mutating webhook would leave it.
fn mutated(snapshot: &Snapshot, decoder: &Decoder, old: Option<&Value>, new: Value) -> Value {
    let step = Step { old: old.cloned(), new: Some(new.clone()), change: None };
    let Some(review) = review(&step, Webhook::Mutate, decoder) else { return new };
    let evidence = Evidence::of(snapshot.clone());
    let outcome = judge(&evidence, &review.question, &Policy::default());
    let mut mutated = new.clone();
    // As with the webhook, an object that can't be mutated is left for validation to refuse.
    match json_patch::patch(&mut mutated, &review.patch(&outcome)) {
        Ok(()) => mutated,
        Err(_) => new,
    }
}

fn judge_step(snapshot: &Snapshot, decoder: &Decoder, step: &Step, policy: &Policy) -> Object {
    let body = request(step);
    let text = |pointer: &str| {
        body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let name = match &*text("/request/namespace") {
        "" => text("/request/name"),
        namespace => format!("{namespace}/{}", text("/request/name")),
    };
    let review = review(step, Webhook::Validate, decoder);
    let outcome = match &review {
        Some(review) => judge(&Evidence::of(snapshot.clone()), &review.question, policy),
        None => Outcome::admitted(),
    };
    let Judgement { violations, warnings } = outcome.into_judgement();
    Object {
        kind: text("/request/kind/kind"),
        name,
        operation: text("/request/operation").to_lowercase(),
        judged: review.and_then(|review| review.kind).is_some_and(has_rules),
        violations: violations
            .into_iter()
            .map(|it| Violation { code: it.code.as_str(), message: it.message, field: it.field })
            .collect(),
        warnings,
    }
}

fn table(view: &View) -> String {
    let mut text = String::new();
    // Writing to a String can't fail.
    for object in &view.objects {
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
    for (title, effects) in [("Cluster networks", &view.cluster_networks), ("VMs", &view.vms)] {
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
