//! What several tests need: snapshots of manifests, a router to call without a socket.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use lanekeeper::cluster::{self, Index, Kind, Snapshot};
use lanekeeper::k8s::extender::Rejections;
use lanekeeper::k8s::objects::Reader;
use lanekeeper::metrics::Metrics;
use lanekeeper::publish;
use lanekeeper::server::{self, App, Bodies, Options};
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
    Manifests::new(path.to_owned(), Reader::default(), cluster::Options::default()).read().unwrap()
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
        let change = Reader::default().change(&document).unwrap();
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

/// A server without a socket.
pub struct Server {
    router: axum::Router,
    pub metrics: Arc<Metrics>,
    pub reader: publish::Reader,
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
        Self::of(snapshot, Options { rejections, max_filter_body, ..Self::options() })
    }

    /// One that refuses VMs which no host can run.
    pub fn denying(snapshot: Snapshot) -> Self {
        Self::of(Some(snapshot), Options { deny_unschedulable: true, ..Self::options() })
    }

    fn options() -> Options {
        Options {
            objects: Reader::default(),
            rejections: Rejections::Needed,
            max_filter_body: 1 << 20,
            trusted_users: vec!["agent".to_owned()],
            deny_unschedulable: false,
        }
    }

    fn of(snapshot: Option<Snapshot>, options: Options) -> Self {
        let (publisher, reader) = publish::channel();
        if let Some(snapshot) = snapshot {
            publisher.publish(snapshot, Duration::ZERO);
        }
        let metrics = Arc::new(Metrics::new().unwrap());
        let app =
            App::new(options, reader.clone(), None, metrics.clone(), Bodies::with_room(256 << 20));
        Self { router: server::router(Arc::new(app)), metrics, reader }
    }

    pub async fn post(&self, path: &str, body: impl Into<Body>) -> Answer {
        let request = Request::post(path).body(body.into()).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        Answer { status, body: String::from_utf8(body.into()).unwrap() }
    }
}
