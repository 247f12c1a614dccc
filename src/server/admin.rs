//! The plain port: probes and metrics, and nothing of the cluster's but counts and names of
//! cluster networks (docs/reference.md, "Server").

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};

use crate::cluster::Kind;
use crate::metrics::Metrics;
use crate::pki::Validity;
use crate::publish::{Published, Snapshots, Watches};

use super::reply::text;

/// What probes and scrapes need.
pub struct Admin {
    snapshots: Snapshots,
    watches: Watches,
    metrics: Arc<Metrics>,
    certificate: ArcSwap<Validity>,
    stopping: AtomicBool,
}

impl Admin {
    /// Ready once there is a snapshot, and while the serving certificate is good and no watch has
    /// been broken for long.
    #[must_use]
    pub fn new(
        snapshots: Snapshots,
        watches: Watches,
        metrics: Arc<Metrics>,
        certificate: Validity,
    ) -> Self {
        Self {
            snapshots,
            watches,
            metrics,
            certificate: ArcSwap::from_pointee(certificate),
            stopping: AtomicBool::new(false),
        }
    }

    /// Takes over the dates of the certificate that is served from now on.
    pub fn certificate(&self, validity: Validity) {
        self.certificate.store(Arc::new(validity));
    }

    /// From now on not ready, since the process is about to end.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// What keeps us from being ready.
    fn not_ready(&self) -> Vec<String> {
        if self.stopping.load(Ordering::Relaxed) {
            return vec!["shutting down".to_owned()];
        }
        let mut waiting = match &*self.snapshots.current() {
            Published::Synced { .. } => Vec::new(),
            Published::Waiting(what) => what.clone(),
        };
        waiting.extend(self.watches.faults());
        waiting.extend(self.certificate.load().fault().map(str::to_owned));
        waiting
    }
}

/// `/livez`, `/readyz` and `/metrics`.
pub fn router(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/livez", get(async || text(StatusCode::OK, "ok")))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(admin)
}

async fn readyz(State(admin): State<Arc<Admin>>, RawQuery(query): RawQuery) -> Response {
    let verbose = query.is_some_and(|query| query.split('&').any(|it| it.starts_with("verbose")));
    let waiting = admin.not_ready();
    let status = if waiting.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = match (verbose, waiting.is_empty()) {
        (false, true) => "ok".to_owned(),
        (true, true) => {
            let missing = named("not served, so counted as empty", &admin.watches.missing());
            let kept = named(
                "no longer served, so what was known of it still counts",
                &admin.watches.kept(),
            );
            format!(
                "[+] every kind is listed{missing}{kept}\n[+] the serving certificate is valid\nok"
            )
        }
        (_, false) => {
            let lines: Vec<String> = waiting.iter().map(|what| format!("[-] {what}")).collect();
            format!("{}\nnot ready", lines.join("\n"))
        }
    };
    text(status, body)
}

/// Says which kinds something holds for, if it holds for any.
fn named(what: &str, kinds: &[Kind]) -> String {
    let names: Vec<_> = kinds.iter().map(|kind| kind.kubernetes()).collect();
    if names.is_empty() { String::new() } else { format!("; {what}: {}", names.join(", ")) }
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    match admin.metrics.scrape(&admin.snapshots, admin.certificate.load().until) {
        Ok(metrics) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], metrics).into_response(),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}
