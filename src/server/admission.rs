//! The webhooks (docs/reference.md, "Admission").

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::Request;

use crate::cluster::{Kind, Snapshot};
use crate::decide::review::{self, Evidence, Outcome, Question, Subject, Webhook};
use crate::k8s::admission::{Review, parse};
use crate::metrics::{AdmissionLabels, FreshRead};
use crate::threads::off_thread;

use super::app::App;
use super::body::{Cost, Held};
use super::reply::Refusal;

/// The largest AdmissionReview, in bytes.
const MAX_BYTES: usize = 8 << 20;
/// How long reads may take of a webhook's time where the request does not say; the API server's own
/// default.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest time that an API server gives a webhook.
const MAX_TIMEOUT: Duration = Duration::from_secs(30);
/// What of that time is left for all but reads.
const MARGIN: Duration = Duration::from_secs(1);

pub(super) async fn validate(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    app.review(Webhook::Validate, request).await
}

pub(super) async fn mutate(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    app.review(Webhook::Mutate, request).await
}

/// The time that reads have, of a webhook call whose body took so long to come in. The API server
/// says in the call's address how long it waits.
fn time_for_reads(query: Option<&str>, body_took: Duration) -> Duration {
    let given = query.into_iter().flat_map(|query| query.split('&'));
    let mut seconds =
        given.filter_map(|it| it.strip_prefix("timeout=")?.strip_suffix('s')?.parse().ok());
    let all = seconds.next_back().map_or(DEFAULT_TIMEOUT, Duration::from_secs).min(MAX_TIMEOUT);
    all.saturating_sub(body_took).saturating_sub(MARGIN).max(MARGIN / 2)
}

/// What a review came to.
enum Answer {
    /// An outcome, and the review that it answers.
    Outcome(Review, Outcome),
    /// Nothing is known yet.
    NotSynced(Review),
}

impl App {
    async fn review(self: Arc<Self>, webhook: Webhook, request: Request<Body>) -> Response {
        let arrived = Instant::now();
        let query = request.uri().query().map(str::to_owned);
        let held = self.bodies.read(request, MAX_BYTES, Cost::Twice).await;
        let started = Instant::now();
        let within = time_for_reads(query.as_deref(), started - arrived);
        match self.answer(webhook, held, within).await {
            Ok((held, answer)) => self.finish(webhook, held, answer, started.elapsed()),
            Err(refusal) => {
                let labels = AdmissionLabels {
                    webhook: label(webhook),
                    resource: "other",
                    operation: "none",
                };
                self.metrics.admitted(labels, "refused", started.elapsed());
                refusal.into_response()
            }
        }
    }

    /// Parse, read what must be read afresh, judge.
    async fn answer(
        &self,
        webhook: Webhook,
        held: Result<Held, Refusal>,
        within: Duration,
    ) -> Result<(Held, Answer), Refusal> {
        let mut held = held?;
        let decoder = self.settings.decoder.clone();
        let parsed = off_thread(held.is_large(), move || {
            let review = parse(held.text(), webhook, &decoder)?;
            // The review owns what it needs.
            held.forget();
            Ok::<_, Refusal>((held, review))
        });
        let (held, review) = parsed.await??;
        if matches!(review.question.subject, Subject::Nothing) {
            return Ok((held, Answer::Outcome(review, Outcome::admitted())));
        }
        let Some(snapshot) = self.snapshots.current().snapshot().cloned() else {
            return Ok((held, Answer::NotSynced(review)));
        };
        let question = review.question.clone();
        let evidence = self.evidence(snapshot, &question, within).await;
        let policy = self.settings.policy.clone();
        let is_large = question.is_large();
        let judged = off_thread(is_large, move || review::judge(&evidence, &question, &policy));
        let outcome = judged.await?;
        Ok((held, Answer::Outcome(review, outcome)))
    }

    /// What is known, once what the question needs has been read afresh.
    async fn evidence(
        &self,
        snapshot: Snapshot,
        question: &Arc<Question>,
        within: Duration,
    ) -> Evidence {
        let Some(present) = &self.present else { return Evidence::of(snapshot) };
        let started = Instant::now();
        let read = tokio::time::timeout(within, present.refresh(&snapshot, question)).await;
        let (outcome, evidence) = match read {
            Ok(Ok(None)) => return Evidence::of(snapshot),
            Ok(Ok(Some(snapshot))) => (FreshRead::Read, Evidence::of(snapshot)),
            Ok(Err(error)) => {
                (FreshRead::Failed, Evidence { snapshot, unread: Some(error.to_string()) })
            }
            Err(_) => {
                let why = format!("it took longer than {:.1} s", within.as_secs_f64());
                (FreshRead::TimedOut, Evidence { snapshot, unread: Some(why) })
            }
        };
        self.metrics.fresh_read(outcome, started.elapsed());
        if let Some(why) = &evidence.unread {
            tracing::warn!(%why, "the current state could not be read");
        }
        evidence
    }

    /// Writes the answer, counts and logs it.
    fn finish(&self, webhook: Webhook, held: Held, answer: Answer, took: Duration) -> Response {
        let labels = |review: &Review| AdmissionLabels {
            webhook: label(webhook),
            resource: review.kind.map_or("other", Kind::kubernetes),
            operation: review.operation.label(),
        };
        let (review, outcome) = match answer {
            Answer::NotSynced(review) => {
                self.metrics.admitted(labels(&review), "not_synced", took);
                return Refusal::not_synced().into_response();
            }
            Answer::Outcome(review, outcome) => (review, outcome),
        };
        let patch = review.patch(&outcome);
        let word = match &outcome {
            Outcome::Admitted { .. } if !patch.0.is_empty() => "patched",
            Outcome::Admitted { .. } => "allowed",
            Outcome::Denied(_) => "denied",
            Outcome::Undecided(_) => "unread",
        };
        self.metrics.admitted(labels(&review), word, took);
        self.log(&review, &outcome);
        held.answer(review.encode(&outcome, &patch))
    }

    fn log(&self, review: &Review, outcome: &Outcome) {
        let kind = review.kind.map_or("other", Kind::kubernetes);
        let (namespace, name) = (&*review.namespace, &*review.name);
        let (uid, user) = (&*review.uid, &*review.question.user);
        let operation = review.operation.label();
        match outcome {
            Outcome::Denied(judgement) => {
                self.metrics.violations(judgement);
                let codes = judgement.codes().join(",");
                tracing::info!(uid, user, operation, kind, namespace, name, codes, "denied");
            }
            Outcome::Undecided(why) => {
                tracing::warn!(uid, user, operation, kind, namespace, name, %why, "undecided");
            }
            Outcome::Admitted { .. } => {
                tracing::debug!(uid, user, operation, kind, namespace, name, "admitted");
            }
        }
    }
}

fn label(webhook: Webhook) -> &'static str {
    match webhook {
        Webhook::Validate => "validate",
        Webhook::Mutate => "mutate",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_server_says_how_much_time_there_is() {
        let seconds = |query: &str| time_for_reads(Some(query), Duration::ZERO).as_secs_f64();
        assert_eq!((seconds("timeout=10s"), seconds("timeout=30s")), (9.0, 29.0));
        assert_eq!((seconds("timeout=31s"), seconds("timeout=9999999s")), (29.0, 29.0));
        assert_eq!((seconds("timeout=1s"), seconds("timeout=0s")), (0.5, 0.5));
        assert_eq!((seconds("a=b&timeout=5s"), seconds("timeout=soon")), (4.0, 9.0));
        assert_eq!(time_for_reads(None, Duration::ZERO), Duration::from_secs(9));
    }

    #[test]
    fn what_the_body_took_is_not_there_for_reads() {
        let seconds =
            |took| time_for_reads(Some("timeout=10s"), Duration::from_secs(took)).as_secs();
        assert_eq!((seconds(0), seconds(3), seconds(8)), (9, 6, 1));
        assert_eq!(time_for_reads(Some("timeout=10s"), Duration::from_secs(29)), MARGIN / 2);
    }
}
