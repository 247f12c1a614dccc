//! The scheduler's three verbs (spec, section 4).

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::Request;

use crate::cluster::Selection;
use crate::decide::filter::{Filter, Verdict, filter as decide_filter};
use crate::decide::needs::Needs;
use crate::decide::prioritize::{BEST, prioritize as decide_prioritize};
use crate::k8s::extender::{
    Args, args, filter_error, filter_result, preemption_args, preemption_result, priorities,
};
use crate::metrics::FilterOutcome;

use super::{Answer, App, NOT_SYNCED, Refusal};

pub(super) async fn filter(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let most = app.options.max_filter_body;
    app.decide(request, most, |app, body| {
        let answer = body.and_then(|body| app.filter(body));
        if answer.is_err() {
            app.metrics.filter_without_verdict(FilterOutcome::Refused);
        }
        answer
    })
    .await
}

pub(super) async fn prioritize(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let most = app.options.max_filter_body;
    app.decide(request, most, |app, body| app.prioritize(body?)).await
}

pub(super) async fn preempt(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let most = app.options.max_filter_body;
    app.decide(request, most, |app, body| app.preempt(body?)).await
}

impl App {
    fn selection(&self, pod: &str) -> Result<Selection, Refusal> {
        let selection = self.options.objects.pod_selection(pod);
        selection.map_err(|why| Refusal::bad(format!("Pod: {why}")))
    }

    fn filter(&self, body: &[u8]) -> Answer {
        let started = Instant::now();
        let Args { pod, candidates } = args(body).map_err(Refusal::bad)?;
        let selection = self.selection(pod)?;
        let current = self.reader.current();
        let snapshot = current.snapshot();
        let verdict = match snapshot {
            _ if selection.is_empty() => Verdict::all_kept(candidates.len()),
            Some(snapshot) => {
                let needs = Needs::of(snapshot, &selection);
                let mut filter = Filter::new(snapshot, &needs, candidates.len());
                for (position, name) in candidates.names().enumerate() {
                    filter.candidate(&name, || candidates.host(position));
                }
                filter.finish()
            }
            None => {
                self.metrics.filter_without_verdict(FilterOutcome::NotSynced);
                return Ok(filter_error(NOT_SYNCED));
            }
        };
        let answer = filter_result(&candidates, &verdict, self.options.rejections, body.len());
        self.metrics.filtered(snapshot, &verdict, started.elapsed());
        tracing::debug!(
            candidates = candidates.len(),
            kept = verdict.kept(),
            asked = ?selection.vm_networks,
            "filtered"
        );
        Ok(answer)
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
        tracing::debug!(
            candidates = args.victims.len(),
            kept = verdict.kept(),
            asked = ?selection.vm_networks,
            "preemption"
        );
        Ok(preemption_result(&args, &verdict))
    }
}
