//! The webhooks (spec, section 5).

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::Request;

use crate::cluster::{Kind, Snapshot};
use crate::decide::review::Policy;
use crate::k8s::admission::{self, admit, admit_with, judged};
use crate::k8s::mutation;
use crate::metrics::AdmissionLabels;

use super::{Answer, App, Refusal};

/// The largest AdmissionReview, in bytes.
const MOST_BYTES: usize = 8 << 20;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Webhook {
    Validate,
    Mutate,
}

pub(super) async fn validate(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    app.decide(request, MOST_BYTES, |app, body| app.review(Webhook::Validate, body)).await
}

pub(super) async fn mutate(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    app.decide(request, MOST_BYTES, |app, body| app.review(Webhook::Mutate, body)).await
}

/// An answer, and how it counts.
type Counted = (Answer, &'static str);

impl App {
    fn review(&self, webhook: Webhook, body: Result<&[u8], Refusal>) -> Answer {
        let started = Instant::now();
        let mut labels = AdmissionLabels {
            webhook: if webhook == Webhook::Validate { "validate" } else { "mutate" },
            resource: "other",
            operation: "none",
        };
        let request = body.and_then(|body| admission::request(body).map_err(Refusal::bad));
        let (answer, outcome) = match request {
            Err(refusal) => (Err(refusal), "refused"),
            Ok(request) => {
                labels.resource = request.kind().map_or("other", Kind::kubernetes);
                labels.operation = request.operation.label();
                self.answer(webhook, &request)
            }
        };
        self.metrics.admitted(labels, outcome, started.elapsed());
        answer
    }

    fn answer(&self, webhook: Webhook, request: &admission::Request<'_>) -> Counted {
        let asks = |kind: &Kind| match webhook {
            Webhook::Validate => admission::has_rules(*kind),
            Webhook::Mutate => mutation::applies(request.operation, *kind),
        };
        let Some(kind) = request.kind().filter(asks) else {
            return (Ok(admit(&request.uid)), "allowed");
        };
        let current = self.reader.current();
        let Some(snapshot) = current.snapshot() else {
            return (Err(Refusal::not_synced()), "not_synced");
        };
        match webhook {
            Webhook::Validate => self.judge(snapshot, request, kind),
            Webhook::Mutate => {
                match mutation::patch(snapshot, &self.options.objects, request, kind) {
                    Ok(patch) => {
                        let outcome = if patch.0.is_empty() { "allowed" } else { "patched" };
                        (Ok(admit_with(&request.uid, &patch)), outcome)
                    }
                    // It is for validation, ours or the API server's own, to refuse it.
                    Err(why) => {
                        tracing::debug!(uid = %request.uid, %why, "not mutated");
                        (Ok(admit(&request.uid)), "allowed")
                    }
                }
            }
        }
    }

    fn judge(&self, snapshot: &Snapshot, request: &admission::Request<'_>, kind: Kind) -> Counted {
        let trusted = self.options.trusted_users.iter().any(|user| user == request.user());
        let policy = Policy { trusted, deny_unschedulable: self.options.deny_unschedulable };
        let judgement = request.judge(kind, snapshot, &self.options.objects, policy);
        let answer = Ok(judged(&request.uid, &judgement));
        if judgement.admitted() {
            return (answer, "allowed");
        }
        self.metrics.violations(&judgement);
        tracing::info!(
            uid = %request.uid,
            user = request.user(),
            operation = request.operation.label(),
            violations = judgement.codes().join(","),
            "denied"
        );
        (answer, "denied")
    }
}
