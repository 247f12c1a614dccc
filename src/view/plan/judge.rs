//! Judges a change: each of its objects as the API server would make a request of it, with the
//! others applied, by the steps of the webhooks.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cluster::{Change, Now, ObjectRef, Snapshot};
use crate::decide::plan::{effects, with_all_others};
use crate::decide::review::{Evidence, Judgement, Outcome, Policy, Webhook, judge};
use crate::k8s::admission::{Review, has_rules, parse};
use crate::k8s::{Decoder, Malformed};

use super::{Object, PlanView, Violation};

/// How the objects of a change are judged.
#[derive(Clone, Debug, Default)]
pub struct Mode {
    /// Whether the objects are deleted rather than applied.
    pub delete: bool,
    /// Whether they are judged one after the other, rather than each with all the others applied.
    pub in_order: bool,
    /// Who is trusted, and how strict the rules are.
    pub policy: Policy,
}

/// Why a change can't be judged.
#[derive(Debug, thiserror::Error)]
pub enum Unjudged {
    /// The change has no object.
    #[error("holds no object; add the objects of the change")]
    Empty,
    /// An object has no key, or can't be read and no rule refuses it for that.
    #[error("object {position}: {why}")]
    Object {
        /// Which object, counted from 1.
        position: usize,
        /// Why.
        why: Malformed,
    },
}

/// The objects of a change, read.
pub struct Proposed(Vec<Step>);

/// One object of a change.
struct Step {
    /// The object's place in the change.
    position: usize,
    /// The object as the change has it, or as the mutating webhook leaves that.
    object: Value,
    /// The version that exists.
    old: Option<Value>,
    /// What becomes of the object; `None` if no decision depends on its kind.
    change: Option<Change>,
}

impl Proposed {
    /// Reads the objects of a change.
    ///
    /// # Errors
    /// If there is none, or one can't be read.
    pub fn read(objects: Vec<Value>, decoder: &Decoder) -> Result<Self, Unjudged> {
        let mut steps = Vec::new();
        for (position, object) in objects.into_iter().enumerate() {
            let failed = |why| Unjudged::Object { position: position + 1, why };
            let change = decoder.change(&object).map_err(failed)?;
            if let Some(Change { object, now: Now::Malformed { why, .. } }) = &change
                && !has_rules(object.kind)
            {
                return Err(failed(Malformed::new(format!("{object} can't be read: {why}"))));
            }
            steps.push(Step { position, object, old: None, change });
        }
        if steps.is_empty() { Err(Unjudged::Empty) } else { Ok(Self(steps)) }
    }

    /// The objects whose existing versions the judgement needs.
    pub fn objects(&self) -> impl Iterator<Item = &ObjectRef> {
        self.0.iter().filter_map(|step| Some(&step.change.as_ref()?.object))
    }

    /// Judges the change against this state, in which `existing` are the versions of its objects,
    /// and computes its effects.
    #[must_use]
    pub fn judge(
        mut self,
        before: &Snapshot,
        existing: &BTreeMap<ObjectRef, Value>,
        decoder: &Decoder,
        mode: &Mode,
    ) -> PlanView {
        for step in &mut self.0 {
            let Some(change) = &mut step.change else { continue };
            step.old = existing.get(&change.object).cloned();
            if mode.delete {
                change.now = Now::Gone;
            }
        }
        let planner = Planner { decoder, mode };
        let (verdicts, after) = if mode.in_order {
            planner.in_order(before, self.0)
        } else {
            planner.at_once(before, self.0)
        };
        PlanView::of(verdicts, effects(before, &after))
    }
}

struct Planner<'a> {
    decoder: &'a Decoder,
    mode: &'a Mode,
}

impl Planner<'_> {
    /// Judges each object with all the others applied. Returns the verdicts and the state with all
    /// of them applied.
    fn at_once(&self, before: &Snapshot, steps: Vec<Step>) -> (Vec<Object>, Snapshot) {
        let mut parts = by_object(steps);
        // If an object is in the file more than once, the last copy counts.
        let change = |copies: &Vec<Step>| copies.last()?.change.clone();
        // One file may hold a cluster network, its network config and its VM networks, so each
        // object is mutated with all the others there too.
        let mut mutated: Vec<Vec<Step>> = Vec::new();
        with_all_others(before, &parts, &change, &mut |copies, state| {
            mutated.push(copies.iter().map(|step| self.mutated(state, step)).collect());
        });
        parts = mutated;
        let mut verdicts = Vec::new();
        with_all_others(before, &parts, &change, &mut |copies, state| {
            for (number, step) in copies.iter().enumerate() {
                let mut verdict = self.judged(state, step);
                if number + 1 < copies.len() {
                    let later = "the file has this object again; the later copy counts";
                    verdict.warnings.push(later.to_owned());
                }
                verdicts.push((step.position, verdict));
            }
        });
        verdicts.sort_by_key(|(position, _)| *position);
        let after = before.with(parts.iter().filter_map(change));
        (verdicts.into_iter().map(|(_, verdict)| verdict).collect(), after)
    }

    /// Judges each object against the state that the ones before it leave. Returns the verdicts and
    /// the state that the last one leaves.
    fn in_order(&self, before: &Snapshot, steps: Vec<Step>) -> (Vec<Object>, Snapshot) {
        let mut state = before.clone();
        // The objects that earlier steps changed.
        let mut earlier: BTreeMap<ObjectRef, Option<Value>> = BTreeMap::new();
        let mut verdicts = Vec::new();
        for mut step in steps {
            let reference = step.change.as_ref().map(|change| change.object.clone());
            if let Some(object) = reference.as_ref().and_then(|it| earlier.get(it)) {
                step.old.clone_from(object);
            }
            let step = self.mutated(&state, &step);
            verdicts.push(self.judged(&state, &step));
            state = state.with(step.change.clone());
            let left = (!self.mode.delete).then_some(step.object);
            earlier.extend(reference.map(|reference| (reference, left)));
        }
        (verdicts, state)
    }

    /// A step whose object is as the mutating webhook would leave it.
    fn mutated(&self, snapshot: &Snapshot, step: &Step) -> Step {
        let Step { position, object, old, change } = step;
        let mut step = Step {
            position: *position,
            object: object.clone(),
            old: old.clone(),
            change: change.clone(),
        };
        if self.mode.delete {
            return step;
        }
        keep_deletion(step.old.as_ref(), &mut step.object);
        let Some(review) = self.review(&step, Webhook::Mutate) else { return step };
        let outcome = judge(&Evidence::of(snapshot.clone()), &review.question, &self.mode.policy);
        let mut mutated = step.object.clone();
        // As with the webhook, an object that can't be mutated is left for validation to refuse.
        if json_patch::patch(&mut mutated, &review.patch(&outcome)).is_ok() {
            step.object = mutated;
        }
        // A mutation leaves kind and name as they are, so the object still has its key.
        step.change = self.decoder.change(&step.object).unwrap_or(step.change);
        step
    }

    /// The verdict on a step in this state.
    fn judged(&self, snapshot: &Snapshot, step: &Step) -> Object {
        let review = self.review(step, Webhook::Validate);
        let outcome = match &review {
            Some(review) => {
                judge(&Evidence::of(snapshot.clone()), &review.question, &self.mode.policy)
            }
            None => Outcome::admitted(),
        };
        let Judgement { violations, mut warnings } = outcome.into_judgement();
        if self.mode.delete && step.change.is_some() && step.old.is_none() {
            warnings.push("there is no such object, so nothing is deleted".to_owned());
        }
        Object {
            kind: step.text("/kind").to_owned(),
            name: step.name(),
            operation: self.operation(step).to_lowercase(),
            judged: review.and_then(|review| review.kind).is_some_and(has_rules),
            violations: violations
                .into_iter()
                .map(|it| Violation {
                    code: it.code.as_str(),
                    message: it.message,
                    field: it.field,
                })
                .collect(),
            warnings,
        }
    }

    fn operation(&self, step: &Step) -> &'static str {
        match &step.old {
            _ if self.mode.delete => "DELETE",
            Some(_) => "UPDATE",
            None => "CREATE",
        }
    }

    /// The request that the API server would make of a step, read as a webhook would read it. Our
    /// own request can always be read.
    fn review(&self, step: &Step, webhook: Webhook) -> Option<Review> {
        let api_version = step.text("/apiVersion");
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let request = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "plan",
                "kind": { "group": group, "version": version, "kind": step.text("/kind") },
                "name": step.text("/metadata/name"),
                "namespace": step.text("/metadata/namespace"),
                "operation": self.operation(step),
                "object": (!self.mode.delete).then_some(&step.object),
                "oldObject": step.old,
            },
        });
        parse(&request.to_string(), webhook, self.decoder).ok()
    }
}

impl Step {
    fn text(&self, pointer: &str) -> &str {
        self.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// The object's name, with its namespace if it is in one.
    fn name(&self) -> String {
        match (&self.change, self.text("/metadata/namespace"), self.text("/metadata/name")) {
            (Some(change), ..) => change.object.key.to_string(),
            (None, "", name) => name.to_owned(),
            (None, namespace, name) => format!("{namespace}/{name}"),
        }
    }
}

/// Puts the copies of one object together, in the order of the file.
fn by_object(steps: Vec<Step>) -> Vec<Vec<Step>> {
    let mut known: BTreeMap<ObjectRef, Vec<Step>> = BTreeMap::new();
    let mut others = Vec::new();
    for step in steps {
        match &step.change {
            Some(change) => known.entry(change.object.clone()).or_default().push(step),
            None => others.push(vec![step]),
        }
    }
    known.into_values().chain(others).collect()
}

/// Keeps the time of a deletion that has begun. No update can take it back, and the API server
/// fills it in.
fn keep_deletion(old: Option<&Value>, new: &mut Value) {
    const TIME: &str = "deletionTimestamp";
    let time = old.and_then(|old| old.get("metadata")?.get(TIME));
    let metadata = new.get_mut("metadata").and_then(Value::as_object_mut);
    if let (Some(time), Some(metadata)) = (time, metadata) {
        metadata.insert(TIME.to_owned(), time.clone());
    }
}
