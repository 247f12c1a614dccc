//! Metrics for Prometheus (docs/reference.md, "Metrics"). Counters are incremented as things
//! happen. Gauges of the snapshot are computed from it at scrape time, so that they can't drift.

mod certificates;
mod registry;
mod rejections;
mod snapshot;

use std::time::Duration;

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, TextEncoder};

use crate::cluster::{Kind, Snapshot};
use crate::decide::filter::Verdict;
use crate::decide::review::Judgement;
use crate::publish::{Published, Snapshots};

use registry::Registry;
use rejections::Rejections;

pub use certificates::{Ca, Certificates};

/// In seconds: from a pod that needs nothing to a request with 1,000 whole Nodes.
const FILTER_BUCKETS: [f64; 12] =
    [25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 50e-3, 250e-3, 1.0];
/// In seconds: from a review from memory to the longest timeout of a webhook.
const ADMISSION_BUCKETS: [f64; 14] =
    [50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 5e-3, 25e-3, 100e-3, 250e-3, 1.0, 2.5, 5.0, 10.0, 30.0];
/// In seconds: from one small read to the longest timeout of a webhook.
const READ_BUCKETS: [f64; 10] = [1e-3, 5e-3, 25e-3, 100e-3, 250e-3, 1.0, 2.5, 5.0, 10.0, 30.0];

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    filter_duration: Histogram,
    /// By [`FilterOutcome`].
    filter_requests: [IntCounter; 4],
    filter_rejections: Rejections,
    extender_requests: IntCounterVec,
    admission_duration: Histogram,
    admission_requests: IntCounterVec,
    admission_violations: IntCounterVec,
    fresh_read_duration: HistogramVec,
    watch_errors: IntCounterVec,
    updates: IntCounterVec,
    leader: IntGauge,
}

/// What the leader writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateKind {
    /// Labels of a host.
    HostLabels,
    /// A cluster network: `mgmt` itself, the condition `ready`, `uplink-mtu`.
    ClusterNetwork,
    /// The label `ready` of a VM network.
    VmNetwork,
    /// An Event of a running VM that is cut off.
    Event,
    /// A nominated host of a waiting pod.
    Nomination,
    /// A Node's annotation that wakes waiting pods.
    Touch,
}

/// What became of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateOutcome {
    /// It was found to be due.
    Proposed,
    /// The API server took it.
    Applied,
    /// The API server did not take it.
    Failed,
    /// Too many were waiting.
    Dropped,
}

/// How a filter request ended.
#[derive(Clone, Copy, Debug)]
pub enum FilterOutcome {
    /// Some host was kept.
    Kept,
    /// No host was kept.
    NoneKept,
    /// There was no snapshot yet.
    NotSynced,
    /// The request was refused: its body was malformed, too large or too slow, or memory was short.
    Refused,
}

/// The scheduler's other verbs.
#[derive(Clone, Copy, Debug)]
pub enum Verb {
    /// Hosts are scored.
    Prioritize,
    /// Candidates on which evicting pods can't help are dropped.
    Preempt,
}

/// How a prioritize or preempt request ended.
#[derive(Clone, Copy, Debug)]
pub enum VerbOutcome {
    /// It was answered.
    Answered,
    /// There was no snapshot yet, or not enough memory.
    Unavailable,
    /// The request was refused: its body was malformed, too large or too slow.
    Refused,
}

/// How a fresh read ended.
#[derive(Clone, Copy, Debug)]
pub enum FreshRead {
    /// Everything was read.
    Read,
    /// Something could not be read.
    Failed,
    /// The read took longer than the webhook's timeout allows.
    TimedOut,
}

impl FreshRead {
    const ALL: [Self; 3] = [Self::Read, Self::Failed, Self::TimedOut];

    fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Failed => "failed",
            Self::TimedOut => "timeout",
        }
    }
}

/// The labels of an admission request. Each has a fixed set of values.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionLabels {
    /// `validate` or `mutate`.
    pub webhook: &'static str,
    /// The kind, or `other`.
    pub resource: &'static str,
    /// `create`, `update`, `delete`, `connect`, or `none` if the request could not be read.
    pub operation: &'static str,
}

impl Metrics {
    /// Every metric, at zero.
    ///
    /// # Errors
    /// If two metrics have the same name.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::for_process()?;
        let filter_requests = registry.counters(
            "filter_requests_total",
            "Filter requests by outcome.",
            &["outcome"],
        )?;
        let filter_rejections = registry.counters(
            "filter_rejections_total",
            "Hosts that were rejected, by cause; a host may have several.",
            &["cluster_network", "cause"],
        )?;
        let metrics = Self {
            filter_duration: registry.histogram(
                "filter_duration_seconds",
                "Time to answer a filter request, once its body has arrived.",
                &FILTER_BUCKETS,
            )?,
            filter_requests: FilterOutcome::LABELS
                .map(|outcome| filter_requests.with_label_values(&[outcome])),
            filter_rejections: Rejections::new(filter_rejections),
            extender_requests: registry.counters(
                "extender_requests_total",
                "Prioritize and preempt requests by outcome.",
                &["verb", "outcome"],
            )?,
            admission_duration: registry.histogram(
                "admission_duration_seconds",
                "Time to answer an admission request, once its body has arrived, fresh reads included.",
                &ADMISSION_BUCKETS,
            )?,
            admission_requests: registry.counters(
                "admission_requests_total",
                "Admission requests by outcome.",
                &["webhook", "resource", "operation", "outcome"],
            )?,
            admission_violations: registry.counters(
                "admission_violations_total",
                "Violations in denied requests, by rule.",
                &["code"],
            )?,
            fresh_read_duration: registry.histograms(
                "fresh_read_duration_seconds",
                "Time that fresh reads from the API server took.",
                &READ_BUCKETS,
                &["outcome"],
            )?,
            watch_errors: registry.counters(
                "watch_errors_total",
                "Lists and watches that broke, by kind.",
                &["kind"],
            )?,
            updates: registry.counters(
                "updates_total",
                "Updates of the leader, by what was to be written and what became of it.",
                &["update", "outcome"],
            )?,
            leader: registry.gauge("leader", "Whether this replica leads: 1 or 0.")?,
            registry,
        };
        for outcome in FreshRead::ALL {
            metrics.fresh_read_duration.with_label_values(&[outcome.as_str()]);
        }
        for kind in Kind::ALL {
            metrics.watch_errors.with_label_values(&[kind.kubernetes()]);
        }
        Ok(metrics)
    }

    /// Counts a filter request without a verdict.
    pub fn filter_without_verdict(&self, outcome: FilterOutcome) {
        self.filter_ended(outcome);
    }

    fn filter_ended(&self, outcome: FilterOutcome) {
        if let Some(counter) = self.filter_requests.get(outcome as usize) {
            counter.inc();
        }
    }

    /// Counts a filter request with its verdict. Cluster networks that do not exist share one empty
    /// label, since anyone who may create VM networks could make up names without end.
    pub fn filtered(&self, snapshot: Option<&Snapshot>, verdict: &Verdict, took: Duration) {
        self.filter_duration.observe(took.as_secs_f64());
        let outcome = if verdict.kept() == 0 && verdict.candidates() > 0 {
            FilterOutcome::NoneKept
        } else {
            FilterOutcome::Kept
        };
        self.filter_ended(outcome);
        for (cause, hosts) in verdict.counts() {
            let network = cause
                .cluster_network()
                .filter(|name| snapshot.is_some_and(|snapshot| snapshot.exists(name)));
            self.filter_rejections.add(network.cloned().unwrap_or_default(), cause.code(), *hosts);
        }
    }

    /// Counts a prioritize or preempt request.
    pub fn verb(&self, verb: Verb, outcome: VerbOutcome) {
        let verb = match verb {
            Verb::Prioritize => "prioritize",
            Verb::Preempt => "preempt",
        };
        let outcome = match outcome {
            VerbOutcome::Answered => "answered",
            VerbOutcome::Unavailable => "unavailable",
            VerbOutcome::Refused => "refused",
        };
        self.extender_requests.with_label_values(&[verb, outcome]).inc();
    }

    /// Counts an admission request. `outcome` is `allowed`, `patched`, `denied`, `unread`,
    /// `not_synced` or `refused`.
    pub fn admitted(&self, labels: AdmissionLabels, outcome: &'static str, took: Duration) {
        self.admission_duration.observe(took.as_secs_f64());
        let AdmissionLabels { webhook, resource, operation } = labels;
        let labels = [webhook, resource, operation, outcome];
        self.admission_requests.with_label_values(&labels).inc();
    }

    /// Counts the violations of a denied request.
    pub fn violations(&self, judgement: &Judgement) {
        for violation in &judgement.violations {
            self.admission_violations.with_label_values(&[violation.code.as_str()]).inc();
        }
    }

    /// Counts a fresh read.
    pub fn fresh_read(&self, outcome: FreshRead, took: Duration) {
        self.fresh_read_duration.with_label_values(&[outcome.as_str()]).observe(took.as_secs_f64());
    }

    /// Counts a list or watch that broke.
    pub fn watch_failed(&self, kind: Kind) {
        self.watch_errors.with_label_values(&[kind.kubernetes()]).inc();
    }

    /// Counts updates of the leader.
    pub fn updates(&self, kind: UpdateKind, outcome: UpdateOutcome, number: u64) {
        let kind = match kind {
            UpdateKind::HostLabels => "host_labels",
            UpdateKind::ClusterNetwork => "cluster_network",
            UpdateKind::VmNetwork => "vm_network",
            UpdateKind::Event => "event",
            UpdateKind::Nomination => "nomination",
            UpdateKind::Touch => "touch",
        };
        let outcome = match outcome {
            UpdateOutcome::Proposed => "proposed",
            UpdateOutcome::Applied => "applied",
            UpdateOutcome::Failed => "failed",
            UpdateOutcome::Dropped => "dropped",
        };
        self.updates.with_label_values(&[kind, outcome]).inc_by(number);
    }

    /// Sets whether this replica leads.
    pub fn leads(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// All metrics in Prometheus' text format. Gauges of the snapshot are left out while there is
    /// none, and so are those of certificates.
    ///
    /// # Errors
    /// If a metric can't be written as text.
    pub fn scrape(
        &self,
        snapshots: &Snapshots,
        certificates: &Certificates,
    ) -> Result<String, prometheus::Error> {
        let now = Registry::default();
        certificates::gauges(&now, certificates)?;
        if let Published::Synced { snapshot, at, took, .. } = &*snapshots.current() {
            snapshot::gauges(&now, snapshot, at.elapsed(), *took)?;
        }
        let mut families = self.registry.gather();
        families.extend(now.gather());
        TextEncoder::new().encode_to_string(&families)
    }
}

impl FilterOutcome {
    /// The values of the label `outcome`, in the order of the variants.
    const LABELS: [&str; 4] = ["kept", "none_kept", "not_synced", "refused"];
}
