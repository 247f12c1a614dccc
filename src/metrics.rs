//! What Prometheus reads (spec, section 9). Counters are counted as things happen; what the
//! snapshot can tell is computed from it at scrape time, so that it can't drift.

use std::sync::Mutex;
use std::time::Duration;

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use crate::cluster::{Kind, Snapshot};
use crate::decide::filter::Verdict;
use crate::decide::review::Judgement;
use crate::publish::{Published, Reader};

/// Seconds; from a pod that needs nothing to 1,000 whole nodes.
const BUCKETS: [f64; 12] =
    [25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 50e-3, 250e-3, 1.0];

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    filter_duration: Histogram,
    filter_requests: IntCounterVec,
    filter_rejections: IntCounterVec,
    admission_duration: Histogram,
    admission_requests: IntCounterVec,
    admission_violations: IntCounterVec,
    watch_errors: IntCounterVec,
    gauges: Mutex<Gauges>,
}

/// What is set at each scrape, and by one scrape at a time.
struct Gauges {
    objects: IntGaugeVec,
    problems: IntGaugeVec,
    active_hosts: IntGaugeVec,
    snapshot_age: Gauge,
    snapshot_rebuild: Gauge,
    certificate_expiry: IntGauge,
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
    /// The body was refused: malformed, too large, too slow, or one too many.
    Refused,
}

/// What an admission request was about, from closed sets.
#[derive(Clone, Copy, Debug)]
pub struct AdmissionLabels {
    /// `validate` or `mutate`.
    pub webhook: &'static str,
    /// The kind, or `other`.
    pub resource: &'static str,
    /// `create`, `update`, `delete`, `connect`, or `none` where it could not be read.
    pub operation: &'static str,
}

impl Metrics {
    /// Every metric, at zero.
    ///
    /// # Errors
    /// If two metrics had the same name.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let histogram = |name: &str, help: &str| {
            let options = HistogramOpts::new(format!("lanekeeper_{name}"), help);
            let histogram = Histogram::with_opts(options.buckets(BUCKETS.into()))?;
            registry.register(Box::new(histogram.clone()))?;
            Ok::<_, prometheus::Error>(histogram)
        };
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let counter =
                IntCounterVec::new(Opts::new(format!("lanekeeper_{name}"), help), labels)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            let gauge = IntGaugeVec::new(Opts::new(format!("lanekeeper_{name}"), help), labels)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = Gauge::new(format!("lanekeeper_{name}"), help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let expiry = IntGauge::new(
            "lanekeeper_certificate_expiry_timestamp_seconds",
            "When the serving certificate ends, in seconds since 1970.",
        )?;
        registry.register(Box::new(expiry.clone()))?;
        let build = GaugeVec::new(
            Opts::new("lanekeeper_build_info", "Always 1; says which build this is."),
            &["version"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        registry.register(Box::new(build))?;
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Self {
            filter_duration: histogram(
                "filter_duration_seconds",
                "Time to work on a filter request, once its body is there, until its answer can be written.",
            )?,
            filter_requests: counter(
                "filter_requests_total",
                "Filter requests by outcome.",
                &["outcome"],
            )?,
            filter_rejections: counter(
                "filter_rejections_total",
                "Hosts that filter requests rejected, by cause; a host may have several.",
                &["cluster_network", "cause"],
            )?,
            admission_duration: histogram(
                "admission_duration_seconds",
                "Time to work on an admission request, once its body is there, until its answer can be written.",
            )?,
            admission_requests: counter(
                "admission_requests_total",
                "Admission requests by outcome.",
                &["webhook", "resource", "operation", "outcome"],
            )?,
            admission_violations: counter(
                "admission_violations_total",
                "Rules that refused requests broke.",
                &["code"],
            )?,
            watch_errors: counter(
                "watch_errors_total",
                "Lists and watches of the API server that broke, by kind.",
                &["kind"],
            )?,
            gauges: Mutex::new(Gauges {
                objects: gauges("objects", "Objects known, by kind.", &["kind"])?,
                problems: gauges("problems", "Problems known, by the kind of object.", &["kind"])?,
                active_hosts: gauges(
                    "cluster_network_active_hosts",
                    "Hosts on which a cluster network is active.",
                    &["cluster_network"],
                )?,
                snapshot_age: gauge(
                    "snapshot_age_seconds",
                    "Time since the current snapshot was published.",
                )?,
                snapshot_rebuild: gauge(
                    "snapshot_rebuild_seconds",
                    "Time that the last change took to become the current snapshot.",
                )?,
                certificate_expiry: expiry,
            }),
            registry,
        })
    }

    /// Counts a filter request that reached no verdict.
    pub fn filter_without_verdict(&self, outcome: FilterOutcome) {
        self.filter_requests.with_label_values(&[outcome.label()]).inc();
    }

    /// Counts a filter request by its verdict. Cluster networks that do not exist share one empty
    /// label, since anyone who makes a VM network could make up more.
    pub fn filtered(&self, snapshot: Option<&Snapshot>, verdict: &Verdict, took: Duration) {
        self.filter_duration.observe(took.as_secs_f64());
        let outcome = if verdict.kept() == 0 && !verdict.outcomes().is_empty() {
            FilterOutcome::NoneKept
        } else {
            FilterOutcome::Kept
        };
        self.filter_requests.with_label_values(&[outcome.label()]).inc();
        for rejection in verdict.rejections() {
            for cause in &rejection.causes {
                let network = cause
                    .cluster_network()
                    .filter(|name| snapshot.is_some_and(|snapshot| snapshot.exists(name)));
                let labels = [network.map_or("", |name| name), cause.code()];
                self.filter_rejections.with_label_values(&labels).inc_by(rejection.hosts);
            }
        }
    }

    /// Counts an admission request; `outcome` is `allowed`, `patched`, `denied`, or how its body
    /// was refused.
    pub fn admitted(&self, labels: AdmissionLabels, outcome: &'static str, took: Duration) {
        self.admission_duration.observe(took.as_secs_f64());
        let AdmissionLabels { webhook, resource, operation } = labels;
        let labels = [webhook, resource, operation, outcome];
        self.admission_requests.with_label_values(&labels).inc();
    }

    /// Counts the rules that a refused request breaks.
    pub fn violations(&self, judgement: &Judgement) {
        for violation in &judgement.violations {
            self.admission_violations.with_label_values(&[violation.code.as_str()]).inc();
        }
    }

    /// Counts a list or watch that broke.
    pub fn watch_failed(&self, kind: Kind) {
        self.watch_errors.with_label_values(&[kind.kubernetes()]).inc();
    }

    /// All metrics as Prometheus reads them; `certificate_expires` is when the serving certificate
    /// does, in seconds since 1970.
    ///
    /// # Errors
    /// If a metric can't be written as text.
    pub fn scrape(
        &self,
        reader: &Reader,
        certificate_expires: i64,
    ) -> Result<String, prometheus::Error> {
        let gauges = self.gauges.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        gauges.certificate_expiry.set(certificate_expires);
        gauges.active_hosts.reset();
        if let Published::Synced { snapshot, at, took } = &*reader.current() {
            gauges.set(snapshot);
            gauges.snapshot_age.set(at.elapsed().as_secs_f64());
            gauges.snapshot_rebuild.set(took.as_secs_f64());
        }
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

impl Gauges {
    fn set(&self, snapshot: &Snapshot) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let problems = snapshot.problems();
        for kind in Kind::ALL {
            let count = number(snapshot.count(kind));
            self.objects.with_label_values(&[kind.kubernetes()]).set(count);
            self.problems.with_label_values(&[kind.kubernetes()]).set(0);
        }
        self.problems.with_label_values(&["source"]).set(0);
        for problem in &problems {
            let kind = problem.object.as_ref().map_or("source", |object| object.kind.kubernetes());
            self.problems.with_label_values(&[kind]).inc();
        }
        for name in snapshot.cluster_networks() {
            let active = snapshot.network(name).active().map(|hosts| hosts.len());
            let active = active.unwrap_or_else(|| snapshot.count(Kind::Host));
            self.active_hosts.with_label_values(&[name]).set(number(active));
        }
    }
}

impl FilterOutcome {
    fn label(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::NoneKept => "none_kept",
            Self::NotSynced => "not_synced",
            Self::Refused => "refused",
        }
    }
}
