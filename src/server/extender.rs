//! The scheduler's three verbs (spec, section 4).

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::Request;

use crate::cluster::Selection;
use crate::decide::filter::{Filter, Verdict, filter as decide_filter};
use crate::decide::needs::Needs;
use crate::decide::prioritize::{BEST, prioritize as decide_prioritize};
use crate::k8s::extender::{
    Args, args, filter_error, filter_result, preemption_args, preemption_result, priorities,
};
use crate::metrics::FilterOutcome;

use super::{App, NOT_SYNCED, Refusal, json};

/// An answer's body, or why there is none.
type Answer = Result<Vec<u8>, Refusal>;

pub(super) async fn filter(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let metrics = app.metrics.clone();
    let answer = app.decide(request, App::filter).await;
    if !answer.status().is_success() {
        metrics.filter_without_verdict(FilterOutcome::Refused);
    }
    answer
}

pub(super) async fn prioritize(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    app.decide(request, App::prioritize).await
}

pub(super) async fn preempt(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    app.decide(request, App::preempt).await
}

impl App {
    /// Reads the body and decides, away from the other connections' work if there is much of it.
    /// The room that the body takes is given back when the answer is written.
    async fn decide(
        self: Arc<Self>,
        request: Request<Body>,
        how: fn(&Self, &[u8]) -> Answer,
    ) -> Response {
        let held = match self.bodies.read(request, self.options.max_filter_body).await {
            Ok(held) => held,
            Err(refusal) => return refusal.into_response(),
        };
        held.away(move |held| match how(&self, &held.bytes) {
            Ok(answer) => json(held.answer(answer)),
            Err(refusal) => refusal.into_response(),
        })
        .await
    }

    fn selection(&self, pod: &str) -> Result<Selection, Refusal> {
        let selection = self.options.objects.pod_selection(pod);
        selection.map_err(|why| Refusal::bad(format!("Pod: {why}")))
    }

    fn filter(&self, body: &[u8]) -> Answer {
        let started = Instant::now();
        let Args { pod, candidates } = args(body).map_err(Refusal::bad)?;
        let selection = self.selection(pod)?;
        let verdict = if selection.is_empty() {
            let verdict = Verdict::all_kept(candidates.len());
            self.metrics.filtered(None, &verdict, started.elapsed());
            verdict
        } else {
            let current = self.reader.current();
            let Some(snapshot) = current.snapshot() else {
                self.metrics.filter_without_verdict(FilterOutcome::NotSynced);
                return Ok(filter_error(NOT_SYNCED));
            };
            let needs = Needs::of(snapshot, &selection);
            let mut filter = Filter::new(snapshot, &needs, candidates.len());
            for (position, name) in candidates.names().enumerate() {
                filter.candidate(&name, || candidates.host(position));
            }
            let verdict = filter.finish();
            self.metrics.filtered(Some(snapshot), &verdict, started.elapsed());
            verdict
        };
        tracing::debug!(
            candidates = candidates.len(),
            kept = verdict.kept(),
            asked = ?selection.vm_networks,
            "filtered"
        );
        Ok(filter_result(&candidates, &verdict, self.options.rejections, body.len()))
    }

    fn prioritize(&self, body: &[u8]) -> Answer {
        let Args { pod, candidates } = args(body).map_err(Refusal::bad)?;
        let selection = self.selection(pod)?;
        let current = self.reader.current();
        let scores = match current.snapshot() {
            Some(snapshot) if !selection.is_empty() => {
                decide_prioritize(snapshot, &Needs::of(snapshot, &selection), candidates.names())
            }
            _ => vec![BEST; candidates.len()],
        };
        Ok(priorities(&candidates, &scores))
    }

    fn preempt(&self, body: &[u8]) -> Answer {
        let args = preemption_args(body).map_err(Refusal::bad)?;
        let selection = self.selection(args.pod)?;
        let verdict = if selection.is_empty() {
            Verdict::all_kept(args.victims.len())
        } else {
            let current = self.reader.current();
            let Some(snapshot) = current.snapshot() else {
                return Err(Refusal::not_synced());
            };
            decide_filter(snapshot, &Needs::of(snapshot, &selection), args.victims.keys())
        };
        Ok(preemption_result(&args, &verdict))
    }
}
