//! Registers metrics with our prefix as they are created.

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{
    Error, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge,
    IntGaugeVec, Opts,
};

/// Metrics with our prefix.
#[derive(Default)]
pub(super) struct Registry(prometheus::Registry);

fn options(name: &str, help: &str) -> Opts {
    Opts::new(format!("lanekeeper_{name}"), help)
}

impl Registry {
    /// A registry with the build's version and the standard metrics of the process.
    pub fn for_process() -> Result<Self, Error> {
        let registry = Self::default();
        let help = "Always 1; the label is the version of this build.";
        let build = registry.register(GaugeVec::new(options("build_info", help), &["version"]))?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        #[cfg(target_os = "linux")]
        registry
            .0
            .register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(registry)
    }

    fn register<C: Collector + Clone + 'static>(&self, made: Result<C, Error>) -> Result<C, Error> {
        let made = made?;
        self.0.register(Box::new(made.clone()))?;
        Ok(made)
    }

    pub fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> Result<Histogram, Error> {
        let options = HistogramOpts::from(options(name, help)).buckets(buckets.to_vec());
        self.register(Histogram::with_opts(options))
    }

    pub fn histograms(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
        labels: &[&str],
    ) -> Result<HistogramVec, Error> {
        let options = HistogramOpts::from(options(name, help)).buckets(buckets.to_vec());
        self.register(HistogramVec::new(options, labels))
    }

    pub fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, Error> {
        self.register(IntCounterVec::new(options(name, help), labels))
    }

    pub fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, Error> {
        self.register(IntGauge::with_opts(options(name, help)))
    }

    pub fn seconds(&self, name: &str, help: &str) -> Result<Gauge, Error> {
        self.register(Gauge::with_opts(options(name, help)))
    }

    pub fn gauges(&self, name: &str, help: &str, label: &str) -> Result<IntGaugeVec, Error> {
        self.register(IntGaugeVec::new(options(name, help), &[label]))
    }

    pub fn gather(&self) -> Vec<MetricFamily> {
        self.0.gather()
    }
}
