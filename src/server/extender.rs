//! The scheduler's three verbs (spec, section 4).

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{Request, StatusCode};

use crate::cluster::Snapshot;
use crate::decide::filter::{Filter, filter as decide_filter};
use crate::decide::needs::Needs;
use crate::decide::prioritize::{BEST, prioritize as decide_prioritize};
use crate::k8s::extender::{
    Args, args, filter_error, filter_result, preemption_args, preemption_result, priorities,
};
use crate::k8s::pod_selection;
use crate::metrics::FilterOutcome;

use super::body::Held;
use super::{App, NOT_SYNCED, json, text};

pub(super) async fn filter(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let held = match app.bodies.read(request, app.options.max_filter_body).await {
        Ok(held) => held,
        Err(refusal) => {
            app.metrics.filter_without_verdict(FilterOutcome::Refused);
            return refusal;
        }
    };
    app.filter(&held).unwrap_or_else(|why| {
        app.metrics.filter_without_verdict(FilterOutcome::Refused);
        text(StatusCode::BAD_REQUEST, why)
    })
}

pub(super) async fn prioritize(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    match app.bodies.read(request, app.options.max_filter_body).await {
        Ok(held) => app.prioritize(&held).unwrap_or_else(|why| text(StatusCode::BAD_REQUEST, why)),
        Err(refusal) => refusal,
    }
}

pub(super) async fn preempt(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    match app.bodies.read(request, app.options.max_filter_body).await {
        Ok(held) => app.preempt(&held).unwrap_or_else(|why| text(StatusCode::BAD_REQUEST, why)),
        Err(refusal) => refusal,
    }
}

impl App {
    fn needs(&self, snapshot: &Snapshot, pod: &str) -> Result<Needs, String> {
        let selection = pod_selection(pod, &self.options.objects.multus_namespace)
            .map_err(|error| format!("Pod: {error}"))?;
        Ok(Needs::of(snapshot, &selection))
    }

    fn filter(&self, body: &Held) -> Result<Response, String> {
        let started = Instant::now();
        let Args { pod, candidates } = args(&body.bytes)?;
        let current = self.reader.current();
        let Some(snapshot) = current.snapshot() else {
            self.metrics.filter_without_verdict(FilterOutcome::NotSynced);
            return Ok(json(filter_error(NOT_SYNCED)));
        };
        let needs = self.needs(snapshot, pod)?;
        let mut filter = Filter::new(snapshot, &needs, candidates.len());
        for (position, name) in candidates.names().enumerate() {
            filter.candidate(&name, || candidates.host(position));
        }
        let verdict = filter.finish();
        let answer =
            filter_result(&candidates, &verdict, self.options.rejections, body.bytes.len());
        self.metrics.filtered(snapshot, &verdict, started.elapsed());
        tracing::debug!(
            candidates = candidates.len(),
            kept = verdict.kept(),
            needs = ?needs.cluster_networks,
            "filtered"
        );
        Ok(json(answer))
    }

    fn prioritize(&self, body: &Held) -> Result<Response, String> {
        let Args { pod, candidates } = args(&body.bytes)?;
        let current = self.reader.current();
        let scores = match current.snapshot() {
            Some(snapshot) => {
                let needs = self.needs(snapshot, pod)?;
                decide_prioritize(snapshot, &needs, candidates.names())
            }
            None => vec![BEST; candidates.len()],
        };
        Ok(json(priorities(&candidates, &scores)))
    }

    fn preempt(&self, body: &Held) -> Result<Response, String> {
        let args = preemption_args(&body.bytes)?;
        let current = self.reader.current();
        let Some(snapshot) = current.snapshot() else {
            return Ok(text(StatusCode::SERVICE_UNAVAILABLE, NOT_SYNCED));
        };
        let needs = self.needs(snapshot, args.pod)?;
        let verdict = decide_filter(snapshot, &needs, args.victims.keys());
        Ok(json(preemption_result(&args, &verdict)))
    }
}
