//! What every handler has.

use std::sync::Arc;

use crate::decide::review::Policy;
use crate::k8s::Decoder;
use crate::k8s::replies::Rejections;
use crate::metrics::Metrics;
use crate::present::Present;
use crate::publish::Snapshots;

use super::body::Bodies;

/// How requests are answered.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How objects are read.
    pub decoder: Decoder,
    /// Whether rejected hosts are always named.
    pub rejections: Rejections,
    /// The largest body of a scheduler's request, in bytes.
    pub max_filter_body: usize,
    /// How reviews are judged.
    pub policy: Policy,
    /// Whether only clients with a certificate are answered.
    pub clients_only: bool,
}

/// What every handler has.
pub struct App {
    pub(super) settings: Settings,
    pub(super) snapshots: Snapshots,
    /// The API server's present state, where there is an API server.
    pub(super) present: Option<Present>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) bodies: Bodies,
}

impl App {
    /// Everything that answers need.
    #[must_use]
    pub fn new(
        settings: Settings,
        snapshots: Snapshots,
        present: Option<Present>,
        metrics: Arc<Metrics>,
        bodies: Bodies,
    ) -> Self {
        Self { settings, snapshots, present, metrics, bodies }
    }
}
