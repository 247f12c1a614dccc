//! The webhooks (docs/reference.md, "Admission").

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::Request;

use crate::cluster::{Kind, Snapshot};
use crate::decide::Audience;
use crate::decide::review::{self, Evidence, Outcome, Question, Subject, Webhook};
use crate::k8s::admission::{Review, parse};
use crate::metrics::{AdmissionLabels, FreshRead};
use crate::threads::off_thread;

use super::app::App;
use super::body::{Cost, RequestBody};
use super::reply::Refusal;

/// The largest AdmissionReview, in bytes.
const MAX_BYTES: usize = 8 << 20;
/// The webhook's timeout if the request does not name one: the API server's own default.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest timeout that an API server grants a webhook.
const MAX_TIMEOUT: Duration = Duration::from_secs(30);
/// The part of the timeout that is reserved for everything but reads.
const RESERVED: Duration = Duration::from_secs(1);

/// How long fresh reads may take for a request whose body took `body_took` to arrive. The API
/// server puts its timeout into the request's query.
fn time_for_reads(query: Option<&str>, body_took: Duration) -> Duration {
    let given = query.into_iter().flat_map(|query| query.split('&'));
    let mut seconds =
        given.filter_map(|it| it.strip_prefix("timeout=")?.strip_suffix('s')?.parse().ok());
    let all = seconds.next_back().map_or(DEFAULT_TIMEOUT, Duration::from_secs).min(MAX_TIMEOUT);
    all.saturating_sub(body_took).saturating_sub(RESERVED).max(RESERVED / 2)
}

/// The result of a review.
enum Answer {
    /// The review has this outcome.
    Outcome(Review, Outcome),
    /// There is no snapshot yet.
    NotSynced(Review),
}

impl App {
    pub(super) async fn review(
        self: Arc<Self>,
        webhook: Webhook,
        request: Request<Body>,
    ) -> Response {
        let arrived = Instant::now();
        let query = request.uri().query().map(str::to_owned);
        let body = self.bodies.read(request, MAX_BYTES, Cost::Twice).await;
        let started = Instant::now();
        let timeout = time_for_reads(query.as_deref(), started - arrived);
        match self.answer(webhook, body, timeout).await {
            Ok((body, answer)) => self.finish(webhook, body, answer, started.elapsed()),
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

    /// Parses the body, reads what must be read afresh, and judges the question.
    async fn answer(
        &self,
        webhook: Webhook,
        body: Result<RequestBody, Refusal>,
        timeout: Duration,
    ) -> Result<(RequestBody, Answer), Refusal> {
        let mut body = body?;
        let decoder = self.settings.decoder.clone();
        let parsed = off_thread(body.is_large(), move || {
            let review = parse(body.text(), webhook, &decoder)?;
            // The review owns what it needs, so the body can be freed.
            body.free();
            Ok::<_, Refusal>((body, review))
        });
        let (body, review) = parsed.await??;
        if matches!(review.question.subject, Subject::Nothing) {
            return Ok((body, Answer::Outcome(review, Outcome::admitted())));
        }
        let Some(snapshot) = self.snapshots.current().snapshot().cloned() else {
            return Ok((body, Answer::NotSynced(review)));
        };
        let question = review.question.clone();
        let evidence = self.evidence(snapshot, &question, timeout).await;
        let policy = self.settings.policy.clone();
        let is_large = question.is_large();
        let judged = off_thread(is_large, move || review::judge(&evidence, &question, &policy));
        let outcome = judged.await?;
        Ok((body, Answer::Outcome(review, outcome)))
    }

    /// Reads what the question needs afresh. If that fails, the evidence is the snapshot alone, and
    /// says why.
    async fn evidence(
        &self,
        snapshot: Snapshot,
        question: &Arc<Question>,
        timeout: Duration,
    ) -> Evidence {
        let Some(present) = &self.present else { return Evidence::of(snapshot) };
        let started = Instant::now();
        let read = tokio::time::timeout(timeout, present.refresh(&snapshot, question)).await;
        let (outcome, evidence) = match read {
            Ok(Ok(None)) => return Evidence::of(snapshot),
            Ok(Ok(Some(snapshot))) => (FreshRead::Read, Evidence::of(snapshot)),
            Ok(Err(error)) => {
                tracing::warn!(why = %error, "the current state could not be read");
                let object = question.object();
                let audience =
                    object.as_ref().map_or(Audience::Everyone, |it| Audience::of(&it.key));
                let unread = Some(error.told_to(audience));
                (FreshRead::Failed, Evidence { snapshot, unread })
            }
            Err(_) => {
                let why = format!("it took longer than {:.1} s", timeout.as_secs_f64());
                tracing::warn!(why, "the current state could not be read");
                (FreshRead::TimedOut, Evidence { snapshot, unread: Some(why) })
            }
        };
        self.metrics.fresh_read(outcome, started.elapsed());
        evidence
    }

    /// Counts, logs and writes the answer.
    fn finish(
        &self,
        webhook: Webhook,
        body: RequestBody,
        answer: Answer,
        took: Duration,
    ) -> Response {
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
        let outcome_label = match &outcome {
            Outcome::Admitted { .. } if !patch.0.is_empty() => "patched",
            Outcome::Admitted { .. } => "allowed",
            Outcome::Denied(_) => "denied",
            Outcome::Undecided(_) => "unread",
        };
        self.metrics.admitted(labels(&review), outcome_label, took);
        self.log(&review, &outcome);
        body.answer(review.encode(&outcome, &patch))
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
    fn the_query_sets_the_time_for_reads() {
        let seconds = |query: &str| time_for_reads(Some(query), Duration::ZERO).as_secs_f64();
        assert_eq!((seconds("timeout=10s"), seconds("timeout=30s")), (9.0, 29.0));
        assert_eq!((seconds("timeout=31s"), seconds("timeout=9999999s")), (29.0, 29.0));
        assert_eq!((seconds("timeout=1s"), seconds("timeout=0s")), (0.5, 0.5));
        assert_eq!((seconds("a=b&timeout=5s"), seconds("timeout=soon")), (4.0, 9.0));
        assert_eq!(time_for_reads(None, Duration::ZERO), Duration::from_secs(9));
    }

    #[test]
    fn the_time_for_the_body_is_subtracted() {
        let seconds =
            |took| time_for_reads(Some("timeout=10s"), Duration::from_secs(took)).as_secs();
        assert_eq!((seconds(0), seconds(3), seconds(8)), (9, 6, 1));
        assert_eq!(time_for_reads(Some("timeout=10s"), Duration::from_secs(29)), RESERVED / 2);
    }
}
