//! The webhooks (spec, section 5).

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::Request;

use crate::cluster::{Kind, Snapshot};
use crate::decide::review::{self, Policy, Scope};
use crate::k8s::admission::{self, admit, admit_with, judged, unread};
use crate::k8s::mutation;
use crate::metrics::AdmissionLabels;

use super::{Answer, App, Refusal, respond};

/// The largest AdmissionReview, in bytes.
const MOST_BYTES: usize = 8 << 20;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Webhook {
    Validate,
    Mutate,
}

/// How long reads may take of a webhook's time where the request does not say; the API server's own
/// default.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What of that time is left for all but reads.
const MARGIN: Duration = Duration::from_secs(1);

pub(super) async fn validate(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    app.review(Webhook::Validate, request).await
}

pub(super) async fn mutate(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    app.review(Webhook::Mutate, request).await
}

/// An answer, and how it counts.
type Counted = (Answer, &'static str);

/// What a review goes by.
struct Known {
    /// What is known, with what was read afresh for it.
    snapshot: Snapshot,
    /// Why something could not be read afresh.
    unread: Option<String>,
}

/// The time that a webhook call has, as the API server says in its address.
fn time_of(query: Option<&str>) -> Duration {
    let given = query.into_iter().flat_map(|query| query.split('&'));
    let mut seconds =
        given.filter_map(|it| it.strip_prefix("timeout=")?.strip_suffix('s')?.parse().ok());
    let all = seconds.next_back().map_or(TIMEOUT, Duration::from_secs);
    all.saturating_sub(MARGIN).max(MARGIN / 2)
}

/// The kind that a request is about, if the webhook has anything to do with it.
fn asks(webhook: Webhook, request: &admission::Request<'_>) -> Option<Kind> {
    request.kind().filter(|kind| match webhook {
        Webhook::Validate => admission::has_rules(*kind),
        Webhook::Mutate => mutation::applies(request.operation, *kind),
    })
}

impl App {
    async fn review(self: Arc<Self>, webhook: Webhook, request: Request<Body>) -> Response {
        let started = Instant::now();
        let time = time_of(request.uri().query());
        let held = self.bodies.read(request, MOST_BYTES).await;
        let known = match &held {
            Ok(held) => self.known(webhook, &held.bytes, time).await,
            Err(_) => None,
        };
        respond(held, move |body| self.count(webhook, started, body, known)).await
    }

    /// What is known, once what the request needs has been read afresh. Nothing before we are synced.
    async fn known(&self, webhook: Webhook, body: &[u8], time: Duration) -> Option<Known> {
        let snapshot = self.reader.current().snapshot()?.clone();
        let objects = &self.options.objects;
        let change = self.present.as_ref().zip(admission::request(body).ok());
        let change = change.and_then(|(present, request)| {
            let kind = asks(webhook, &request)?;
            let change = match webhook {
                Webhook::Validate => {
                    let known = |name: &str| snapshot.config(name).cloned();
                    request.change(kind, &request.reader(objects), known).ok()??
                }
                Webhook::Mutate => mutation::speaks_of(&request, kind, objects)?,
            };
            Some((present, change))
        });
        let Some((present, change)) = change else { return Some(Known { snapshot, unread: None }) };
        let scope = |snapshot: &Snapshot| match webhook {
            Webhook::Validate => review::scope(snapshot, &change),
            // A patch destroys nothing.
            Webhook::Mutate => {
                let Scope { unknown, configs_of, .. } = review::scope(snapshot, &change);
                Scope { unknown, configs_of, ..Scope::default() }
            }
        };
        let refreshed = tokio::time::timeout(time, present.refresh(snapshot.clone(), scope)).await;
        Some(match refreshed {
            Ok(Ok(snapshot)) => Known { snapshot, unread: None },
            Ok(Err(why)) => Known { snapshot, unread: Some(why) },
            Err(_) => Known { snapshot, unread: Some(format!("not within {} s", time.as_secs())) },
        })
    }

    fn count(
        &self,
        webhook: Webhook,
        started: Instant,
        body: Result<&[u8], Refusal>,
        known: Option<Known>,
    ) -> Answer {
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
                self.answer(webhook, &request, known)
            }
        };
        self.metrics.admitted(labels, outcome, started.elapsed());
        answer
    }

    fn answer(
        &self,
        webhook: Webhook,
        request: &admission::Request<'_>,
        known: Option<Known>,
    ) -> Counted {
        let Some(kind) = asks(webhook, request) else {
            return (Ok(admit(&request.uid)), "allowed");
        };
        let Some(known) = known else {
            return (Err(Refusal::not_synced()), "not_synced");
        };
        match webhook {
            Webhook::Validate => self.judge(&known, request, kind),
            Webhook::Mutate => {
                match mutation::patch(&known.snapshot, &self.options.objects, request, kind) {
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

    fn judge(&self, known: &Known, request: &admission::Request<'_>, kind: Kind) -> Counted {
        let trusted = self.options.trusted_users.iter().any(|user| user == request.user());
        let policy = Policy { trusted, deny_unschedulable: self.options.deny_unschedulable };
        let mut judgement = request.judge(kind, &known.snapshot, &self.options.objects, policy);
        if let Some(why) = &known.unread {
            tracing::warn!(uid = %request.uid, %why, "not read afresh");
            // An outage must not hold up a VM's edit or a node's change.
            if !matches!(kind, Kind::Vm | Kind::Host) {
                return (Ok(unread(&request.uid, why)), "unread");
            }
            judgement.warnings.push(format!("judged by what was known before: {why}"));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_server_says_how_much_time_there_is() {
        let seconds = |query: &str| time_of(Some(query)).as_secs_f64();
        assert_eq!((seconds("timeout=10s"), seconds("timeout=30s")), (9.0, 29.0));
        assert_eq!((seconds("timeout=1s"), seconds("timeout=0s")), (0.5, 0.5));
        assert_eq!((seconds("a=b&timeout=5s"), seconds("timeout=soon")), (4.0, 9.0));
        assert_eq!(time_of(None), Duration::from_secs(9));
    }
}
