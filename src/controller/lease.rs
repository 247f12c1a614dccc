//! Elects the leader by a Lease: at most one replica writes at a time.
//!
//! A term is held until a deadline on our own monotonic clock, counted from the moment before the
//! renewal was sent. Another replica takes over only after it has seen the Lease unchanged for its
//! whole duration, counted from the moment when it saw the last change. So no two clocks are
//! compared, and with a write that takes at most `WRITE_TIMEOUT`, an old leader's last write has
//! ended before a new leader's first one begins:
//!
//! ```text
//! RENEW_DEADLINE + WRITE_TIMEOUT < LEASE_DURATION
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};

use crate::api::{Api, Error, WRITE_TIMEOUT};
use crate::installed::LEASE_DURATION;

/// How long a leader writes after its last renewal.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// How often the Lease is renewed or looked at.
const RETRY_INTERVAL: Duration = Duration::from_secs(2);

const _: () = assert!(
    RENEW_DEADLINE.as_secs() + WRITE_TIMEOUT.as_secs() < LEASE_DURATION.as_secs(),
    "an old leader's last write must end before a new leader's first one"
);

/// Whether this replica leads. All clones share one answer.
#[derive(Clone, Default)]
pub struct Leadership(Arc<Mutex<Option<Instant>>>);

impl Leadership {
    /// Returns whether this replica leads now, and may begin a write.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.until().is_some_and(|until| Instant::now() < until)
    }

    fn until(&self) -> MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A replica that wants to lead.
pub struct Elector {
    api: Api,
    path: String,
    identity: String,
    leadership: Leadership,
    /// The Lease as it was last seen to change, and when.
    seen: Option<(String, Instant)>,
}

/// The parts of a Lease that we read.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    holder_identity: Option<String>,
    lease_duration_seconds: Option<u64>,
    lease_transitions: Option<i64>,
    acquire_time: Option<String>,
}

impl Elector {
    /// A replica of this identity, which no other replica may have.
    #[must_use]
    pub fn new(api: Api, path: String, identity: String, leadership: Leadership) -> Self {
        Self { api, path, identity, leadership, seen: None }
    }

    /// Contends for the Lease until `stop` is sent or dropped, and tells each change of the term. Gives
    /// the Lease up at the end.
    pub async fn run(mut self, mut stop: oneshot::Receiver<()>, terms: watch::Sender<bool>) {
        let mut every = tokio::time::interval(RETRY_INTERVAL);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reported = String::new();
        loop {
            let ends = *self.leadership.until();
            tokio::select! {
                _ = &mut stop => break,
                _ = every.tick() => {
                    let tried = tokio::select! {
                        tried = self.try_lead() => tried,
                        _ = &mut stop => break,
                    };
                    let why = match tried {
                        Ok(()) => String::new(),
                        // We may not make it.
                        Err(Error::NotFound) => {
                            "it does not exist; apply the output of `lanekeeper manifests` again"
                                .to_owned()
                        }
                        Err(error) => error.to_string(),
                    };
                    if !why.is_empty() && why != reported {
                        tracing::warn!("Lease {} can't be acquired or renewed: {why}", self.path);
                    }
                    reported = why;
                }
                // The deadline passes although a renewal is late.
                () = tokio::time::sleep_until(ends.unwrap_or_else(Instant::now)), if ends.is_some() => {
                    *self.leadership.until() = None;
                }
            }
            let leads = self.leadership.is_held();
            let changed = terms.send_if_modified(|told| std::mem::replace(told, leads) != leads);
            if changed {
                tracing::info!(identity = self.identity, leads, "leadership changed");
            }
        }
        terms.send_replace(false);
        if let Err(error) = self.release().await {
            tracing::warn!("Lease {} is not given up and ends by itself: {error}", self.path);
        }
    }

    /// Acquires or renews the Lease, if it is free or ours.
    ///
    /// # Errors
    /// If the Lease can't be read or written. A term that is held goes on until its deadline.
    pub async fn try_lead(&mut self) -> Result<(), Error> {
        let begun = Instant::now();
        let lease = self.api.get_value(&self.path).await?.ok_or(Error::NotFound)?;
        let spec = spec(&lease)?;
        let is_ours = spec.holder_identity.as_deref() == Some(&self.identity);
        if !is_ours && !self.is_free(&lease, &spec, begun) {
            *self.leadership.until() = None;
            return Ok(());
        }
        let now = Timestamp::now();
        let transitions = spec.lease_transitions.unwrap_or_default();
        let holds = is_ours && spec.acquire_time.is_some();
        let mut renewed = lease;
        if let Some(object) = renewed.as_object_mut() {
            let acquired = if holds { json!(spec.acquire_time) } else { micro_time(now) };
            object.insert(
                "spec".to_owned(),
                json!({
                    "holderIdentity": self.identity,
                    "leaseDurationSeconds": LEASE_DURATION.as_secs(),
                    "acquireTime": acquired,
                    "renewTime": micro_time(now),
                    "leaseTransitions": if is_ours { transitions } else { transitions + 1 },
                }),
            );
        }
        // The resource version in it makes this fail if another replica came first.
        match self.api.replace(&self.path, &renewed).await {
            Ok(_) => {
                *self.leadership.until() = Some(begun + RENEW_DEADLINE);
                Ok(())
            }
            Err(Error::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Returns whether no replica holds the Lease: it says so, or has not changed for as long as it
    /// says, and at least for `LEASE_DURATION`. The Lease was read after `begun`.
    fn is_free(&mut self, lease: &Value, spec: &Spec, begun: Instant) -> bool {
        if spec.holder_identity.as_deref().is_none_or(str::is_empty) {
            return true;
        }
        let version = lease.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        let version = version.unwrap_or_default();
        match &self.seen {
            Some((seen, since)) if seen == version => {
                let seconds = spec.lease_duration_seconds.unwrap_or_default();
                begun.duration_since(*since) > LEASE_DURATION.max(Duration::from_secs(seconds))
            }
            _ => {
                // Counted from now and not from before the read: the Lease may have changed in
                // between.
                self.seen = Some((version.to_owned(), Instant::now()));
                false
            }
        }
    }

    /// Gives the Lease up, so that another replica need not wait. Nothing may be written after this.
    ///
    /// # Errors
    /// If the Lease can't be read or written. It then ends by itself.
    pub async fn release(&mut self) -> Result<(), Error> {
        if self.leadership.until().take().is_none() {
            return Ok(());
        }
        let mut lease = self.api.get_value(&self.path).await?.ok_or(Error::NotFound)?;
        if spec(&lease)?.holder_identity.as_deref() != Some(&self.identity) {
            return Ok(());
        }
        if let Some(spec) = lease.get_mut("spec").and_then(Value::as_object_mut) {
            spec.insert("holderIdentity".to_owned(), "".into());
        }
        self.api.replace(&self.path, &lease).await.map(drop)
    }
}

fn spec(lease: &Value) -> Result<Spec, Error> {
    let spec = lease.get("spec").filter(|spec| !spec.is_null()).cloned().unwrap_or(json!({}));
    serde_json::from_value(spec).map_err(|error| Error::Unreadable(format!("the Lease: {error}")))
}

/// A time as Kubernetes' `MicroTime`.
fn micro_time(time: Timestamp) -> Value {
    format!("{time:.6}").into()
}

/// The identity of this replica: the host's name and a random part, since two replicas may share a
/// host.
#[must_use]
pub fn identity() -> String {
    let host = std::env::var("POD_NAME").ok().filter(|name| !name.is_empty());
    let host =
        host.or_else(|| Some(std::fs::read_to_string("/etc/hostname").ok()?.trim().to_owned()));
    let host = host.filter(|name| !name.is_empty()).unwrap_or_else(|| "lanekeeper".to_owned());
    format!("{host}_{:08x}", fastrand::u32(..))
}
