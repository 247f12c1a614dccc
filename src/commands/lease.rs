//! Who holds the Lease of the leader, as the commands see it.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use crate::installed::LEASE_DURATION;

/// The term of a leader, as its last renewal left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Term {
    /// Who holds the Lease.
    pub holder: String,
    /// When the leader renewed it, by the leader's clock.
    pub renewed: String,
    /// How long the Lease is held without a renewal.
    pub duration: Duration,
}

impl Term {
    /// The term in a Lease. There is none if nobody holds it.
    pub fn of(lease: Option<&Value>) -> Option<Self> {
        let spec = lease?.get("spec")?;
        let text = |name: &str| spec.get(name).and_then(Value::as_str).unwrap_or_default();
        let holder = text("holderIdentity");
        let seconds = spec.get("leaseDurationSeconds").and_then(Value::as_u64);
        (!holder.is_empty()).then(|| Self {
            holder: holder.to_owned(),
            renewed: text("renewTime").to_owned(),
            duration: LEASE_DURATION.max(Duration::from_secs(seconds.unwrap_or_default())),
        })
    }
}

/// Watches a Lease by our own clock: the clocks of the leader and of this machine may differ.
#[derive(Default)]
pub(super) struct Observer {
    /// The last term, and when it was first seen as it is.
    seen: Option<(Term, Instant)>,
}

impl Observer {
    /// Takes in what the Lease says now. Returns the term if the Lease may still be held: it is held
    /// until it has not been renewed for its duration.
    pub fn held(&mut self, term: Option<Term>, now: Instant) -> Option<&Term> {
        let Some(term) = term else {
            self.seen = None;
            return None;
        };
        let since = match &self.seen {
            Some((seen, since)) if *seen == term => *since,
            _ => now,
        };
        let is_over = now.duration_since(since) >= term.duration;
        let (term, _) = self.seen.insert((term, since));
        (!is_over).then_some(term)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lease(holder: &str, renewed: &str) -> Option<Term> {
        let spec = json!({
            "holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 20,
        });
        Term::of(Some(&json!({ "spec": spec })))
    }

    #[test]
    fn a_lease_without_a_holder_is_held_by_nobody() {
        for lease in [
            json!({}),
            json!({ "spec": {} }),
            json!({ "spec": { "holderIdentity": null } }),
            json!({ "spec": { "holderIdentity": "", "leaseDurationSeconds": 15 } }),
        ] {
            assert_eq!(Term::of(Some(&lease)), None, "{lease}");
        }
        assert_eq!(Term::of(None), None);
        let term = Term::of(Some(&json!({ "spec": { "holderIdentity": "a" } }))).unwrap();
        assert_eq!(term.duration, LEASE_DURATION);
        let short = json!({ "spec": { "holderIdentity": "a", "leaseDurationSeconds": 1 } });
        assert_eq!(Term::of(Some(&short)).unwrap().duration, LEASE_DURATION);
    }

    #[test]
    fn a_lease_is_held_until_it_was_not_renewed_for_its_duration() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut observer = Observer::default();
        let mut held = |holder: &str, renewed: &str, seconds: u64| {
            observer.held(lease(holder, renewed), at(seconds)).is_some()
        };
        assert!(held("a", "1", 0));
        assert!(held("a", "1", 19));
        assert!(held("a", "2", 20), "it was renewed");
        assert!(held("a", "2", 39));
        assert!(held("b", "2", 40), "another leader");
        assert!(held("b", "2", 59));
        assert!(!held("b", "2", 60));
        assert!(held("b", "3", 61));
        assert!(!held("", "3", 62));
        assert!(held("b", "3", 63));
        assert!(held("b", "3", 82), "the time begins again");
    }
}
