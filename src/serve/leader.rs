//! Starts the controller with its election, and stops both in order.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use crate::api::Api;
use crate::controller::{Controller, Elector, Issuer, Leadership, identity};
use crate::decide::upkeep::Scope;
use crate::installed::lease_path;
use crate::metrics::Metrics;
use crate::publish::Snapshots;

use super::parts::{Parts, Stage};

/// How long the writes in flight, and then the release of the Lease, may take during a shutdown.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Where a pod finds its namespace.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// The namespace of our Lease, Secret and Service: the given one, or the one that we run in.
pub(super) fn namespace(given: Option<String>) -> String {
    let ours = || std::fs::read_to_string(NAMESPACE_FILE).ok().map(|it| it.trim().to_owned());
    given.or_else(ours).filter(|name| !name.is_empty()).unwrap_or("lanekeeper-system".to_owned())
}

/// Stops the controller, and then its election.
pub(super) struct Stop {
    controller: Stopper,
    elector: Stopper,
}

/// Stops one part.
struct Stopper {
    stop: oneshot::Sender<()>,
    stopped: oneshot::Receiver<()>,
}

impl Stopper {
    /// Asks the part to stop and waits until it has, but not for long.
    async fn stop(self) {
        let _ = self.stop.send(());
        let _ = tokio::time::timeout(STOP_TIMEOUT, self.stopped).await;
    }
}

impl Stop {
    /// Ends the writes in flight, and then gives the Lease up.
    pub async fn stop(self) {
        self.controller.stop().await;
        self.elector.stop().await;
    }
}

/// What the leader does.
pub(super) struct Duties {
    /// What it keeps.
    pub scope: Scope,
    /// What it issues certificates with, unless somebody else does.
    pub issuer: Option<Issuer>,
}

/// Starts the controller. It contends for the Lease once there is a snapshot.
pub(super) fn start(
    parts: &mut Parts,
    api: Api,
    namespace: &str,
    duties: Duties,
    snapshots: Snapshots,
    metrics: Arc<Metrics>,
) -> Stop {
    let identity = identity();
    let api = api.identified(&identity);
    let leadership = Leadership::default();
    let (terms, told) = watch::channel(false);
    let elector = Elector::new(api.clone(), lease_path(namespace), identity, leadership.clone());
    let mut synced = snapshots.clone();
    let elector = part(parts, "the election", |mut stop| async move {
        tokio::select! {
            _ = synced.next() => elector.run(stop, terms).await,
            _ = &mut stop => {}
        }
    });
    let Duties { scope, issuer } = duties;
    let controller = Controller { api, snapshots, scope, issuer, metrics, leadership };
    let controller = part(parts, "the controller", |stop| controller.run(stop, told));
    Stop { controller, elector }
}

/// Starts a part that ends when it is asked to.
fn part<F: Future<Output = ()> + Send + 'static>(
    parts: &mut Parts,
    name: &'static str,
    run: impl FnOnce(oneshot::Receiver<()>) -> F,
) -> Stopper {
    let (stop, stops) = oneshot::channel();
    let (ends, stopped) = oneshot::channel();
    let run = run(stops);
    let task = Box::pin(async move {
        run.await;
        let _ = ends.send(());
        Ok(())
    });
    parts.start(Stage::Controller, name, task);
    Stopper { stop, stopped }
}
