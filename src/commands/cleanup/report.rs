//! What cleanup found and did, as a value and as a table.

use std::fmt::Write as _;

use serde::Serialize;

/// The most errors that are listed.
const MAX_ERRORS: usize = 20;
/// The most VMIs that are listed.
const MAX_VMIS: usize = 20;

/// An object that held something of ours.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Found {
    pub name: String,
    pub parts: Vec<String>,
}

/// What could not be done. Errors beyond the first ones are counted.
#[derive(Debug, Default, Serialize)]
pub(super) struct Errors {
    listed: Vec<String>,
    more: usize,
}

impl Errors {
    pub fn push(&mut self, error: String) {
        if self.listed.len() < MAX_ERRORS {
            self.listed.push(error);
        } else {
            self.more += 1;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }
}

/// What was found and, except for a dry run, taken out.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    pub dry_run: bool,
    pub webhook_configurations: Vec<&'static str>,
    /// Who holds the Lease; only in a dry run.
    pub leader: Option<String>,
    pub vms: Vec<Found>,
    /// The VMIs that keep the affinity.
    pub vmis: Vec<String>,
    /// Whether the labels of hosts were left, since some VM could not be cleaned.
    pub labels_stay: bool,
    pub hosts: Vec<Found>,
    pub vm_networks: Vec<Found>,
    pub errors: Errors,
}

impl Report {
    /// Returns whether nothing is left to clean.
    pub fn is_clean(&self) -> bool {
        let nothing_found = self.webhook_configurations.is_empty()
            && self.leader.is_none()
            && self.vms.is_empty()
            && self.hosts.is_empty()
            && self.vm_networks.is_empty();
        self.errors.is_empty() && (nothing_found || !self.dry_run)
    }
}

pub(super) fn table(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String can't fail.
    let verb = if report.dry_run { "would delete" } else { "deleted" };
    for kind in &report.webhook_configurations {
        let _ = writeln!(text, "{verb} {kind} lanekeeper");
    }
    if let Some(leader) = &report.leader {
        let _ = writeln!(text, "would wait until {leader} no longer holds the Lease");
    }
    let verb = if report.dry_run { "would clean" } else { "cleaned" };
    for (found, one, several) in [
        (&report.vms, "VM", "VMs"),
        (&report.hosts, "host", "hosts"),
        (&report.vm_networks, "VM network", "VM networks"),
    ] {
        let what = if found.len() == 1 { one } else { several };
        let _ = writeln!(text, "{verb} {} {what}", found.len());
        for Found { name, parts } in found.iter().filter(|_| report.dry_run) {
            let _ = writeln!(text, "  {name}: {}", parts.join(", "));
        }
    }
    if !report.vmis.is_empty() {
        let named = report.vmis.iter().take(MAX_VMIS).cloned().collect::<Vec<_>>().join(", ");
        let more = report.vmis.len().saturating_sub(MAX_VMIS);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let _ = writeln!(
            text,
            "VMIs that keep the affinity, which nobody may change in a VMI: {named}{more}. They can't \
             migrate, and one that waits for a host can't start: restart their VMs"
        );
    }
    if report.labels_stay {
        text.push_str(
            "the labels of hosts stay, since some VMs could not be cleaned and may need them. \
             Correct what is below and run cleanup again\n",
        );
    }
    for error in &report.errors.listed {
        let _ = writeln!(text, "error: {error}");
    }
    if report.errors.more > 0 {
        let _ = writeln!(text, "and {} more errors", report.errors.more);
    }
    if report.is_clean() && report.dry_run {
        text.push_str("nothing of Lanekeeper is left\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_listed_up_to_a_limit_and_then_counted() {
        let mut report = Report::default();
        assert!(report.is_clean());
        for number in 0..23 {
            report.errors.push(format!("e{number}"));
        }
        assert!(!report.is_clean());
        let text = table(&report);
        assert!(text.contains("error: e19\nand 3 more errors\n"), "{text}");
    }

    #[test]
    fn a_dry_run_that_finds_something_is_not_clean() {
        let vms = vec![Found { name: "default/vm".into(), parts: vec!["x".into(), "y".into()] }];
        let mut report = Report { dry_run: true, vms, ..Report::default() };
        assert!(!report.is_clean());
        assert!(table(&report).contains("would clean 1 VM\n  default/vm: x, y\n"));
        report.dry_run = false;
        assert!(report.is_clean());
        assert!(table(&report).contains("cleaned 1 VM\n"));
        let report = Report { dry_run: true, leader: Some("a".into()), ..Report::default() };
        assert!(!report.is_clean());
    }
}
