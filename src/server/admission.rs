//! The webhooks (spec, section 5).

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::Request;
use json_patch::Patch;

use crate::cluster::{Kind, Snapshot};
use crate::decide::review::{self, Judgement};
use crate::k8s::admission::{self, admit, admit_with, judged};
use crate::k8s::mutation;
use crate::metrics::AdmissionLabels;

use super::{App, Refusal, json};

/// The largest AdmissionReview, in bytes.
const MOST_BYTES: usize = 8 << 20;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Webhook {
    Validate,
    Mutate,
}

/// An answer, and how it counts.
type Answer = (Response, &'static str);

pub(super) async fn validate(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    app.review(Webhook::Validate, request).await
}

pub(super) async fn mutate(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    app.review(Webhook::Mutate, request).await
}

impl App {
    async fn review(&self, webhook: Webhook, request: Request<Body>) -> Response {
        let mut labels = AdmissionLabels {
            webhook: if webhook == Webhook::Validate { "validate" } else { "mutate" },
            resource: "other",
            operation: "none",
        };
        let started = Instant::now();
        let held = match self.bodies.read(request, MOST_BYTES).await {
            Ok(held) => held,
            Err(refusal) => {
                self.metrics.admitted(labels, "refused", started.elapsed());
                return refusal.into_response();
            }
        };
        let started = Instant::now();
        let (response, outcome) = match admission::request(&held.bytes) {
            Err(why) => (Refusal::bad(why).into_response(), "refused"),
            Ok(request) => {
                labels.resource = request.kind().map_or("other", Kind::kubernetes);
                labels.operation = request.operation.label();
                self.answer(webhook, &request)
            }
        };
        self.metrics.admitted(labels, outcome, started.elapsed());
        response
    }

    fn answer(&self, webhook: Webhook, request: &admission::Request<'_>) -> Answer {
        let Some(kind) = request.kind() else { return (json(admit(&request.uid)), "allowed") };
        let current = self.reader.current();
        let Some(snapshot) = current.snapshot() else {
            return (Refusal::not_synced().into_response(), "not_synced");
        };
        match (webhook, kind) {
            (Webhook::Validate, _) => self.judge(snapshot, request, kind),
            (Webhook::Mutate, _) => match self.patch(snapshot, request, kind) {
                Ok(patch) => {
                    let outcome = if patch.0.is_empty() { "allowed" } else { "patched" };
                    (json(admit_with(&request.uid, &patch)), outcome)
                }
                // It is for validation, ours or the API server's own, to refuse it.
                Err(why) => {
                    tracing::debug!(uid = %request.uid, %why, "not mutated");
                    (json(admit(&request.uid)), "allowed")
                }
            },
        }
    }

    fn judge(&self, snapshot: &Snapshot, request: &admission::Request<'_>, kind: Kind) -> Answer {
        let trusted = self.options.trusted_users.iter().any(|user| user == request.user());
        let judgement = match request.change(kind, |name| snapshot.config(name).cloned()) {
            Ok(Some(change)) => review::judge(snapshot, &change, trusted),
            Ok(None) => Judgement::default(),
            Err(why) => Judgement::unreadable(kind, &why),
        };
        let answer = json(judged(&request.uid, &judgement));
        if judgement.admitted() {
            return (answer, "allowed");
        }
        self.metrics.violations(&judgement);
        tracing::info!(
            uid = %request.uid,
            user = request.user(),
            operation = request.operation.label(),
            violations = ?judgement.violations.iter().map(|it| it.code.as_str()).collect::<Vec<_>>(),
            "denied"
        );
        (answer, "denied")
    }

    fn patch(
        &self,
        snapshot: &Snapshot,
        request: &admission::Request<'_>,
        kind: Kind,
    ) -> Result<Patch, String> {
        let Some(object) = request.object() else { return Ok(Patch(Vec::new())) };
        let reader = request.reader(&self.options.objects);
        mutation::patch(snapshot, &reader, request.operation, kind, object)
    }
}
