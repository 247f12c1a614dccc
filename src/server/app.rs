//! The state that all handlers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::decide::filter::Rejections;
use crate::decide::review::Policy;
use crate::k8s::Decoder;
use crate::metrics::Metrics;
use crate::present::Present;
use crate::publish::Snapshots;

use super::body::Bodies;

/// How requests are answered.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How objects are read.
    pub decoder: Decoder,
    /// When rejected hosts are named.
    pub rejections: Rejections,
    /// The largest body of a scheduler's request, in bytes.
    pub max_filter_body: usize,
    /// How reviews are judged.
    pub policy: Policy,
    /// Whether only clients with a certificate get an answer.
    pub clients_only: bool,
}

/// The state that all handlers share.
pub struct App {
    pub(super) settings: Settings,
    pub(super) snapshots: Snapshots,
    /// Reads the API server's current state. `None` if the source is manifests.
    pub(super) present: Option<Present>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) bodies: Bodies,
    draining: AtomicBool,
}

impl App {
    /// Puts the shared state together.
    #[must_use]
    pub fn new(
        settings: Settings,
        snapshots: Snapshots,
        present: Option<Present>,
        metrics: Arc<Metrics>,
        bodies: Bodies,
    ) -> Self {
        let draining = AtomicBool::new(false);
        Self { settings, snapshots, present, metrics, bodies, draining }
    }

    /// Makes every further answer the last one on its connection, since the process is about to end.
    /// A client then opens its next connection to another replica. If we closed an idle connection
    /// instead, a request could be on its way, and a Go client does not send a POST again.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}
