//! The counters of rejected hosts, which every filter request looks up.

use arc_swap::ArcSwap;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use prometheus::{IntCounter, IntCounterVec};

use crate::cluster::Name;

/// The cluster network, and the code of the cause.
type Labels = (Name, &'static str);

/// Counters by cluster network and cause. Those that were looked up before are found without a lock.
pub(super) struct Rejections {
    all: IntCounterVec,
    known: ArcSwap<HashMap<Labels, IntCounter, FixedState>>,
}

impl Rejections {
    pub fn new(all: IntCounterVec) -> Self {
        Self { all, known: ArcSwap::default() }
    }

    pub fn add(&self, cluster_network: Name, cause: &'static str, hosts: u64) {
        let labels = (cluster_network, cause);
        if let Some(counter) = self.known.load().get(&labels) {
            return counter.inc_by(hosts);
        }
        let counter = self.all.with_label_values(&[&*labels.0, cause]);
        counter.inc_by(hosts);
        self.known.rcu(|known| {
            let mut known = HashMap::clone(known);
            known.insert(labels.clone(), counter.clone());
            known
        });
    }
}

#[cfg(test)]
mod tests {
    use prometheus::Opts;

    use super::*;

    #[test]
    fn what_is_found_again_counts_on() {
        let all = IntCounterVec::new(Opts::new("n", "h"), &["cluster_network", "cause"]).unwrap();
        let rejections = Rejections::new(all.clone());
        for (network, cause, hosts) in [
            ("a", "x", 1),
            ("b", "x", 2),
            ("a", "y", 4),
            ("a", "x", 8),
            ("", "x", 16),
            ("b", "x", 32),
        ] {
            rejections.add(network.into(), cause, hosts);
        }
        let counted = |network: &str, cause: &str| all.with_label_values(&[network, cause]).get();
        let counted = [("a", "x"), ("b", "x"), ("a", "y"), ("", "x")].map(|(n, c)| counted(n, c));
        assert_eq!(counted, [9, 34, 4, 16]);
    }
}
