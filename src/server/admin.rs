//! The plain port: probes and metrics (docs/reference.md, "Ports"). Anyone may read it, so of the
//! cluster it shows only counts and the names of cluster networks.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use tokio::sync::Mutex;

use crate::cluster::Kind;
use crate::metrics::{Ca, Certificates, Metrics};
use crate::pki::Validity;
use crate::publish::{Published, Snapshots, Watches};
use crate::threads::off_thread;

use super::reply::text;

/// The state behind probes and metrics.
pub struct Admin {
    snapshots: Snapshots,
    watches: Watches,
    metrics: Arc<Metrics>,
    certificate: ArcSwap<Certificate>,
    ca: ArcSwapOption<Ca>,
    /// Held while metrics are gathered.
    scrape: Arc<Mutex<()>>,
    stopping: AtomicBool,
}

/// The serving certificate.
pub enum Certificate {
    /// It is served.
    Served(Validity),
    /// There is none yet: why.
    Missing(String),
}

impl Certificate {
    /// Why the server can't be trusted now.
    fn fault(&self) -> Option<String> {
        match self {
            Self::Served(validity) => validity.fault().map(str::to_owned),
            Self::Missing(why) => Some(why.clone()),
        }
    }
}

impl Admin {
    /// We are ready once there is a snapshot, while the serving certificate is valid and no watch
    /// has been broken for too long.
    #[must_use]
    pub fn new(
        snapshots: Snapshots,
        watches: Watches,
        metrics: Arc<Metrics>,
        certificate: Certificate,
    ) -> Self {
        Self {
            snapshots,
            watches,
            metrics,
            certificate: ArcSwap::from_pointee(certificate),
            ca: ArcSwapOption::empty(),
            scrape: Arc::default(),
            stopping: AtomicBool::new(false),
        }
    }

    /// Sets the serving certificate, after it changed.
    pub fn certificate(&self, certificate: Certificate) {
        self.certificate.store(Arc::new(certificate));
    }

    /// Sets what is known of the CA in the Secret.
    pub fn ca(&self, ca: Option<Ca>) {
        self.ca.store(ca.map(Arc::new));
    }

    /// Makes us not ready, since the process is about to end.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// The reasons why we are not ready.
    fn not_ready(&self) -> Vec<String> {
        if self.stopping.load(Ordering::Relaxed) {
            return vec!["shutting down".to_owned()];
        }
        let mut reasons = match &*self.snapshots.current() {
            Published::Synced { .. } => Vec::new(),
            Published::Waiting(what) => what.clone(),
        };
        reasons.extend(self.watches.faults());
        reasons.extend(self.certificate.load().fault());
        reasons
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
    let reasons = admin.not_ready();
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = match (verbose, reasons.is_empty()) {
        (false, true) => "ok".to_owned(),
        (true, true) => {
            let missing = named("not served, so counted as empty", &admin.watches.missing());
            let kept =
                named("no longer served, but the known objects still count", &admin.watches.kept());
            format!(
                "[+] every kind is listed{missing}{kept}\n[+] the serving certificate is valid\nok"
            )
        }
        (_, false) => {
            let lines: Vec<String> = reasons.iter().map(|what| format!("[-] {what}")).collect();
            format!("{}\nnot ready", lines.join("\n"))
        }
    };
    text(status, body)
}

/// `what` with the kinds that it holds for, or nothing if there are none.
fn named(what: &str, kinds: &[Kind]) -> String {
    let names: Vec<_> = kinds.iter().map(|kind| kind.kubernetes()).collect();
    if names.is_empty() { String::new() } else { format!("; {what}: {}", names.join(", ")) }
}

async fn metrics(State(admin): State<Arc<Admin>>) -> Response {
    // On a large cluster, to count VMs takes a while. One scrape is made at a time, even if its client is
    // gone, so that many of them leave the other cores to those who serve the scheduler.
    let turn = admin.scrape.clone().lock_owned().await;
    let scraped = off_thread(true, move || {
        let _turn = turn;
        let serving_expires = match &**admin.certificate.load() {
            Certificate::Served(validity) => Some(validity.until),
            Certificate::Missing(_) => None,
        };
        let ca = admin.ca.load().as_deref().copied();
        admin.metrics.scrape(&admin.snapshots, &Certificates { serving_expires, ca })
    });
    let failed = |error: &dyn Display| text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string());
    match scraped.await {
        Ok(Ok(metrics)) => {
            ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], metrics).into_response()
        }
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&error),
    }
}
