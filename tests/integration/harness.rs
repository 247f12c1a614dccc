//! What several tests need: snapshots of manifests, a router to call without a socket.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use lanekeeper::cluster::{self, Index, Kind, Snapshot};
use lanekeeper::decide::filter::Rejections;
use lanekeeper::decide::review::Policy;
use lanekeeper::k8s::Decoder;
use lanekeeper::metrics::Metrics;
use lanekeeper::present::Present;
use lanekeeper::publish;
use lanekeeper::server::{App, Bodies, Calls, Settings};
use lanekeeper::source::Manifests;
use serde_json::Value;
use tower::ServiceExt;

/// The project's folder.
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The reference cluster.
pub fn examples() -> PathBuf {
    project().join("examples")
}

/// A snapshot of manifests in a folder or file.
pub fn snapshot_of(path: &Path) -> Snapshot {
    Manifests::new(path.to_owned(), Decoder::default(), cluster::Options::default()).read().unwrap()
}

/// A snapshot of these manifests, in YAML.
pub fn snapshot(yaml: &str) -> Snapshot {
    snapshot_with(yaml, cluster::Options::default())
}

/// The same, read in another way.
pub fn snapshot_with(yaml: &str, options: cluster::Options) -> Snapshot {
    snapshot_from(documents(yaml), options)
}

/// A snapshot of these objects.
pub fn snapshot_from(
    objects: impl IntoIterator<Item = Value>,
    options: cluster::Options,
) -> Snapshot {
    let mut index = Index::new(options);
    for document in objects {
        let change = Decoder::default().change(&document).unwrap();
        index.apply(change.expect("an object that matters"));
    }
    for kind in Kind::ALL {
        index.listed(kind);
    }
    index.snapshot().unwrap()
}

/// The documents of a YAML text.
pub fn documents(yaml: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap();
    documents.into_iter().filter(|document| !document.is_null()).collect()
}

/// How the tests' servers judge.
pub fn policy() -> Policy {
    Policy { trusted_users: vec!["agent".to_owned()], ..Policy::default() }
}

/// A server without a socket.
pub struct Server {
    calls: Calls,
    pub metrics: Arc<Metrics>,
    pub snapshots: publish::Snapshots,
}

/// What a server answered.
pub struct Answer {
    pub status: StatusCode,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.body))
    }
}

impl Server {
    /// One that has this snapshot; none if it has not synced yet.
    pub fn new(snapshot: Option<Snapshot>) -> Self {
        Self::with(snapshot, Rejections::Needed, 1 << 20)
    }

    pub fn with(
        snapshot: Option<Snapshot>,
        rejections: Rejections,
        max_filter_body: usize,
    ) -> Self {
        Self::of(snapshot, Settings { rejections, max_filter_body, ..Self::settings() })
    }

    /// One that refuses VMs which no host can run.
    pub fn denying(snapshot: Snapshot) -> Self {
        Self::judging(snapshot, Policy { deny_unschedulable: true, ..policy() })
    }

    /// One that judges so.
    pub fn judging(snapshot: Snapshot, policy: Policy) -> Self {
        Self::of(Some(snapshot), Settings { policy, ..Self::settings() })
    }

    fn settings() -> Settings {
        Settings {
            decoder: Decoder::default(),
            rejections: Rejections::Needed,
            max_filter_body: 1 << 20,
            policy: policy(),
            clients_only: false,
        }
    }

    /// One that reads this API server's present state.
    pub fn reading(snapshot: Snapshot, present: Present) -> Self {
        Self::with_present(Some(snapshot), Self::settings(), Some(present))
    }

    /// One that answers no client without a certificate.
    pub fn for_clients_only(snapshot: Snapshot, present: Present) -> Self {
        let settings = Settings { clients_only: true, ..Self::settings() };
        Self::with_present(Some(snapshot), settings, Some(present))
    }

    fn of(snapshot: Option<Snapshot>, settings: Settings) -> Self {
        Self::with_present(snapshot, settings, None)
    }

    fn with_present(
        snapshot: Option<Snapshot>,
        settings: Settings,
        present: Option<Present>,
    ) -> Self {
        let (publisher, snapshots) = publish::channel();
        if let Some(snapshot) = snapshot {
            publisher.publish(snapshot, Duration::ZERO);
        }
        let metrics = Arc::new(Metrics::new().unwrap());
        let bodies = Bodies::with_room(256 << 20);
        let app = App::new(settings, snapshots.clone(), present, metrics.clone(), bodies);
        Self { calls: Calls::new(Arc::new(app)), metrics, snapshots }
    }

    pub async fn post(&self, path: &str, body: impl Into<Body>) -> Answer {
        let request = Request::post(path).body(body.into()).unwrap();
        let response = self.calls.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        Answer { status, body: String::from_utf8(body.into()).unwrap() }
    }
}
