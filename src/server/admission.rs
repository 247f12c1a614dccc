//! The webhooks (spec, section 5).

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{Request, StatusCode};
use json_patch::Patch;

use crate::cluster::{Fact, Kind, Selection, Snapshot};
use crate::decide::needs::Needs;
use crate::decide::review::network_config;
use crate::k8s::admission::{self, Operation, admit, admit_with, judged, unreadable};
use crate::k8s::patch;
use crate::metrics::AdmissionLabels;

use super::{App, NOT_SYNCED, json, text};

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
                return refusal;
            }
        };
        let started = Instant::now();
        let (response, outcome) = match admission::request(&held.bytes) {
            Err(why) => (text(StatusCode::BAD_REQUEST, why), "refused"),
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
            return (text(StatusCode::SERVICE_UNAVAILABLE, NOT_SYNCED), "not_synced");
        };
        match (webhook, kind) {
            (Webhook::Validate, Kind::NetworkConfig) => self.judge(snapshot, request),
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
            (Webhook::Validate, _) => (json(admit(&request.uid)), "allowed"),
        }
    }

    fn judge(&self, snapshot: &Snapshot, request: &admission::Request<'_>) -> Answer {
        let write = match request.network_config() {
            Ok(Some(write)) => write,
            Ok(None) => return (json(admit(&request.uid)), "allowed"),
            Err(why) => {
                return (json(unreadable(&request.uid, Kind::NetworkConfig, &why)), "denied");
            }
        };
        let trusted = self.options.trusted_users.iter().any(|user| user == request.user());
        let judgement = network_config::judge(snapshot, &write, trusted);
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

    /// What has to be changed about the object; nothing about one that is going away.
    fn patch(
        &self,
        snapshot: &Snapshot,
        request: &admission::Request<'_>,
        kind: Kind,
    ) -> Result<Patch, String> {
        let nothing = Ok(Patch(Vec::new()));
        let applies = match request.operation {
            Operation::Create => true,
            Operation::Update => kind != Kind::Vmi,
            Operation::Delete | Operation::Connect => false,
        };
        let Some(object) = request.object().filter(|_| applies) else { return nothing };
        let Some((fact, deleting)) = request.new_facts(&self.options.objects, kind)? else {
            return nothing;
        };
        let needs = |selection: &Selection| Needs::of(snapshot, selection);
        match fact {
            _ if deleting => nothing,
            Fact::NetworkConfig(_) => patch::network_config(object, |config| {
                snapshot.names(&snapshot.covered(&config.selector))
            }),
            Fact::Vm(vm) => patch::vm_affinity(object, &needs(&vm.networks)),
            Fact::Vmi(vmi) => patch::vmi_affinity(object, &needs(&vmi.networks)),
            _ => nothing,
        }
    }
}
