//! The scheduler's three verbs (docs/reference.md, "Scheduler extender").

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::{Request, StatusCode};

use crate::cluster::Snapshot;
use crate::decide::filter::{Filter, Rejections, Verdict};
use crate::decide::needs::Needs;
use crate::decide::prioritize::{BEST, prioritize as decide_prioritize};
use crate::k8s::ScheduledPod;
use crate::k8s::extender::{Args, Candidate, Candidates, args, pod_and_names, preemption_args};
use crate::k8s::replies::{
    filter_error, filter_list, filter_result, preemption_result, priorities,
};
use crate::metrics::{FilterOutcome, Verb, VerbOutcome};
use crate::threads::off_thread;

use super::app::App;
use super::body::{Cost, RequestBody};
use super::buffers;
use super::reply::{NOT_SYNCED, Refusal};

type HandlerResult = Result<Response, Refusal>;

impl App {
    pub(super) async fn answer_filter(self: Arc<Self>, request: Request<Body>) -> Response {
        let worker = self.clone();
        let answer = self.work(request, move |body| worker.filter(body)).await;
        if answer.is_err() {
            self.metrics.filter_without_verdict(FilterOutcome::Refused);
        }
        answer.into_response()
    }

    pub(super) async fn answer_prioritize(self: Arc<Self>, request: Request<Body>) -> Response {
        let worker = self.clone();
        let answer = self.work(request, move |body| worker.prioritize(body)).await;
        self.count(Verb::Prioritize, answer)
    }

    pub(super) async fn answer_preempt(self: Arc<Self>, request: Request<Body>) -> Response {
        let worker = self.clone();
        let answer = self.work(request, move |body| worker.preempt(body)).await;
        self.count(Verb::Preempt, answer)
    }

    /// Reads the body and decides. A large body is processed off the threads that serve
    /// connections.
    async fn work(
        &self,
        request: Request<Body>,
        decide: impl FnOnce(RequestBody) -> HandlerResult + Send + 'static,
    ) -> HandlerResult {
        let body = self.bodies.read(request, self.settings.max_filter_body, Cost::Bytes).await?;
        off_thread(body.is_large(), move || decide(body)).await?
    }

    fn count(&self, verb: Verb, answer: HandlerResult) -> Response {
        let outcome = match &answer {
            Ok(_) => VerbOutcome::Answered,
            Err(refusal) if refusal.status == StatusCode::SERVICE_UNAVAILABLE => {
                VerbOutcome::Unavailable
            }
            Err(_) => VerbOutcome::Refused,
        };
        self.metrics.verb(verb, outcome);
        answer.into_response()
    }

    fn pod(&self, args: &Args<'_>) -> Result<ScheduledPod, Refusal> {
        args.pod(&self.settings.decoder).map_err(|why| why.within("Pod").into())
    }

    fn filter(&self, mut body: RequestBody) -> HandlerResult {
        let started = Instant::now();
        if let Some(reply) = self.filter_list(body.text(), started) {
            body.charge(reply.len())?;
            return Ok(body.answer(reply));
        }
        let args = args(body.text())?;
        let pod = self.pod(&args)?;
        let candidates = args.candidates;
        body.charge(candidates.cost())?;
        let current = self.snapshots.current();
        let snapshot = current.snapshot();
        let verdict = match snapshot {
            _ if pod.networks.is_empty() => Verdict::all_kept(candidates.len()),
            Some(snapshot) => {
                let rejections = self.settings.rejections;
                self.verdict(snapshot, &pod, &candidates, body.text(), rejections)
            }
            None => {
                self.metrics.filter_without_verdict(FilterOutcome::NotSynced);
                return Ok(body.answer(filter_error(NOT_SYNCED)));
            }
        };
        self.filtered(snapshot, &pod, &verdict, started);
        Ok(body.reply(filter_result(candidates, verdict)))
    }

    /// Answers a request of the usual kind, in which kube-scheduler names hosts. `None` for any other.
    fn filter_list(&self, body: &str, started: Instant) -> Option<Vec<u8>> {
        let (pod, names) = pod_and_names(body, &self.settings.decoder)?;
        let current = self.snapshots.current();
        let snapshot = current.snapshot()?;
        let needs = Needs::of(snapshot, &pod.networks);
        if needs.nothing() {
            return None;
        }
        let filter = Filter::new(snapshot, &needs, 0);
        let mut reply = buffers::take();
        let verdict = filter_list(names, filter, self.settings.rejections, &mut reply)?;
        self.filtered(Some(snapshot), &pod, &verdict, started);
        Some(reply)
    }

    fn filtered(
        &self,
        snapshot: Option<&Snapshot>,
        pod: &ScheduledPod,
        verdict: &Verdict,
        started: Instant,
    ) {
        self.metrics.filtered(snapshot, verdict, started.elapsed());
        tracing::debug!(
            candidates = verdict.candidates(),
            kept = verdict.kept(),
            asked = ?pod.networks.vm_networks,
            namespace = &*pod.namespace,
            pod = &*pod.name,
            "filtered"
        );
    }

    /// The verdict on all candidates.
    fn verdict(
        &self,
        snapshot: &Snapshot,
        pod: &ScheduledPod,
        candidates: &Candidates,
        body: &str,
        rejections: Rejections,
    ) -> Verdict {
        let needs = Needs::of(snapshot, &pod.networks);
        let mut filter = Filter::new(snapshot, &needs, candidates.len());
        for candidate in candidates.iter(body) {
            let name = candidate.name();
            // The scheduler asks about a bound pod for a deferred resize.
            if pod.host.as_deref() == Some(&*name) {
                filter.keep();
                continue;
            }
            filter.candidate(&name, || {
                candidates.are_nodes().then(|| candidate.host(&self.settings.decoder))?
            });
        }
        filter.finish(rejections)
    }

    fn prioritize(&self, mut body: RequestBody) -> HandlerResult {
        let args = args(body.text())?;
        let pod = self.pod(&args)?;
        let candidates = args.candidates;
        body.charge(candidates.cost())?;
        let current = self.snapshots.current();
        let scores = match current.snapshot() {
            Some(snapshot) if !pod.networks.is_empty() => {
                let needs = Needs::of(snapshot, &pod.networks);
                let names = candidates.iter(body.text()).map(Candidate::name);
                decide_prioritize(snapshot, &needs, names)
            }
            _ => vec![BEST; candidates.len()],
        };
        Ok(body.reply(priorities(candidates, scores)))
    }

    fn preempt(&self, mut body: RequestBody) -> HandlerResult {
        let args = preemption_args(body.text())?;
        let pod = self.pod(&args)?;
        let candidates = args.candidates;
        body.charge(candidates.cost())?;
        let verdict = if pod.networks.is_empty() {
            Verdict::all_kept(candidates.len())
        } else {
            let current = self.snapshots.current();
            let Some(snapshot) = current.snapshot() else {
                return Err(Refusal::not_synced());
            };
            self.verdict(snapshot, &pod, &candidates, body.text(), Rejections::Needed)
        };
        tracing::debug!(
            candidates = candidates.len(),
            kept = verdict.kept(),
            asked = ?pod.networks.vm_networks,
            namespace = &*pod.namespace,
            pod = &*pod.name,
            "preemption"
        );
        Ok(body.reply(preemption_result(candidates, verdict)))
    }
}
