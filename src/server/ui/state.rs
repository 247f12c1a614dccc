//! The state behind the page, and how its answers are computed.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Bytes;
use http::StatusCode;
use serde::Serialize;
use tokio::sync::{Mutex, Semaphore};

use crate::cluster::{Name, Snapshot};
use crate::decide::review::Policy;
use crate::k8s::Decoder;
use crate::publish::{Published, Snapshots};
use crate::server::reply::NOT_SYNCED;
use crate::threads::off_thread;

use super::objects::Objects;
use super::refused::Refused;

/// The most answers that are computed at a time. Further requests wait.
const MAX_ANSWERS: usize = 2;
/// How long an answer waits for which hosts are cordoned, which it can do without.
const CORDONED_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a request waits for its turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);
/// Writes an answer as JSON.
pub(super) fn written<V: Serialize>(answer: &V) -> Result<Bytes, Refused> {
    Ok(serde_json::to_vec(answer)?.into())
}

/// The state behind the page.
pub struct Ui {
    pub(super) snapshots: Snapshots,
    pub(super) objects: Box<dyn Objects>,
    pub(super) decoder: Decoder,
    pub(super) policy: Policy,
    /// Whether only this machine can connect, so that a request names it.
    pub(super) is_local: bool,
    turns: Semaphore,
    /// Answers that every viewer of the page asks for, each with the version of its snapshot. While an
    /// answer is computed, the lock is held, so that it is computed once for all.
    shared: Mutex<HashMap<&'static str, (u64, Bytes)>>,
}

impl Ui {
    /// The page over these snapshots, listening on `address`. Plans are judged by `policy`.
    #[must_use]
    pub fn new(
        snapshots: Snapshots,
        objects: Box<dyn Objects>,
        decoder: Decoder,
        policy: Policy,
        address: SocketAddr,
    ) -> Self {
        Self {
            snapshots,
            objects,
            decoder,
            policy,
            is_local: address.ip().is_loopback(),
            turns: Semaphore::new(MAX_ANSWERS),
            shared: Mutex::default(),
        }
    }

    /// The hosts that are cordoned; `None` if that could not be read soon.
    pub(super) async fn cordoned(&self) -> Option<BTreeSet<Name>> {
        tokio::time::timeout(CORDONED_TIMEOUT, self.objects.cordoned()).await.ok()?.ok()
    }

    /// The current snapshot and its version.
    pub(super) fn snapshot(&self) -> Result<(Snapshot, u64), Refused> {
        match &*self.snapshots.current() {
            Published::Synced { snapshot, version, .. } => Ok((snapshot.clone(), *version)),
            Published::Waiting(what) => {
                let why = format!("{NOT_SYNCED}: {}", what.join("; "));
                Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, why))
            }
        }
    }

    /// Computes an answer off the threads that serve connections, when it is its turn.
    pub(super) async fn compute(
        &self,
        answer: impl FnOnce() -> Result<Bytes, Refused> + Send + 'static,
    ) -> Result<Bytes, Refused> {
        let turn = tokio::time::timeout(TURN_TIMEOUT, self.turns.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            let why = "too many answers are being computed; try again";
            return Err(Refused::new(StatusCode::SERVICE_UNAVAILABLE, why));
        };
        off_thread(true, answer).await?
    }

    /// An answer that is the same for all who ask for it of the same snapshot.
    pub(super) async fn shared(
        &self,
        name: &'static str,
        answer: impl FnOnce(&Snapshot, u64) -> Result<Bytes, Refused> + Send + 'static,
    ) -> Result<Bytes, Refused> {
        let mut shared = self.shared.lock().await;
        let (snapshot, version) = self.snapshot()?;
        if let Some((of, bytes)) = shared.get(name)
            && *of == version
        {
            return Ok(bytes.clone());
        }
        let bytes = self.compute(move || answer(&snapshot, version)).await?;
        shared.insert(name, (version, bytes.clone()));
        Ok(bytes)
    }
}
