//! The certificate authority of an installation as a value and as a table.

use std::fmt::Write as _;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::installed::SECRET;
use crate::pki::authority::{Authority, Step};
use crate::pki::{Certificate, Validity};
use crate::view::{self, Tone, cell};

/// What there is, and what is due.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Status {
    secret: String,
    cas: Vec<Ca>,
    /// The serving certificate, if it can be read.
    certificate: Option<Leaf>,
    /// Why the leader has to issue a serving certificate.
    certificate_due: Option<String>,
    /// The step that the administrator has to take.
    step_due: Option<&'static str>,
    /// What to do for it.
    what_to_do: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ca {
    role: &'static str,
    subject: String,
    key_id: Option<String>,
    valid_from: String,
    valid_until: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Leaf {
    issuer: String,
    names: Vec<String>,
    valid_from: String,
    valid_until: String,
}

impl Status {
    pub fn of(authority: &Authority, namespace: &str, now: OffsetDateTime) -> Self {
        let ca = |role: &'static str, ca: &Certificate| {
            let [valid_from, valid_until] = dates(ca.validity);
            Ca { role, subject: ca.subject.clone(), key_id: ca.key_id(), valid_from, valid_until }
        };
        let leaf = authority.leaf();
        // Which names it should have, the leader knows.
        let due = match &leaf {
            Ok(leaf) => authority.leaf_due(&leaf.names, now),
            Err(due) => Some(due.clone()),
        };
        let step = authority.step_due(now);
        Self {
            secret: format!("{namespace}/{SECRET}"),
            cas: authority.cas().into_iter().map(|(role, it)| ca(role.as_str(), it)).collect(),
            certificate: leaf.ok().map(|leaf| {
                let [valid_from, valid_until] = dates(leaf.validity);
                let names = leaf.names.iter().map(ToString::to_string).collect();
                Leaf { issuer: leaf.issuer, names, valid_from, valid_until }
            }),
            certificate_due: due.map(|due| due.to_string()),
            step_due: step.map(Step::as_str),
            what_to_do: step.map(|step| what_to_do(step, &flag(namespace))),
        }
    }

    /// Returns whether something is due.
    pub fn is_due(&self) -> bool {
        self.certificate_due.is_some() || self.step_due.is_some()
    }
}

/// How the commands name an installation outside the usual namespace.
pub(in crate::commands) fn flag(namespace: &str) -> String {
    if namespace == "lanekeeper-system" {
        String::new()
    } else {
        format!(" --namespace {namespace}")
    }
}

/// What an administrator does for this step.
pub(in crate::commands) fn what_to_do(step: Step, flag: &str) -> String {
    match step {
        Step::Next => format!("run `lanekeeper certs ca next{flag}`"),
        Step::Promote => format!(
            "give the output of `lanekeeper certs ca show{flag}` to every kube-scheduler, restart it, \
             and run `lanekeeper certs ca promote{flag}`"
        ),
        Step::Retire => format!("run `lanekeeper certs ca retire{flag}`"),
    }
}

/// When a certificate is valid, as RFC 3339.
fn dates(validity: Validity) -> [String; 2] {
    [validity.from, validity.until].map(|at| {
        let time = OffsetDateTime::from_unix_timestamp(at).ok();
        time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| at.to_string())
    })
}

pub(super) fn table(status: &Status) -> String {
    let cas = status.cas.iter().map(|Ca { role, subject, valid_from, valid_until, .. }| {
        [*role, subject, valid_from, valid_until].map(|text| cell(Tone::Plain, text)).to_vec()
    });
    let mut text = view::table(&["CA", "SUBJECT", "VALID FROM", "VALID UNTIL"], cas);
    // Writing to a String can't fail.
    match &status.certificate {
        Some(Leaf { issuer, names, valid_from, valid_until }) => {
            let _ = writeln!(
                text,
                "\nserving certificate: valid from {valid_from} until {valid_until}"
            );
            let _ = writeln!(text, "issued by: {issuer}");
            let _ = writeln!(text, "names: {}", names.join(", "));
        }
        None => text.push_str("\nserving certificate: none that can be used\n"),
    }
    text.push('\n');
    if let Some(due) = &status.certificate_due {
        let _ = writeln!(text, "the leader has to issue a serving certificate: {due}");
    }
    match (&status.step_due, &status.what_to_do) {
        (Some(step), Some(what)) => {
            let _ = writeln!(text, "step due: {step}: {what}");
        }
        _ => text.push_str("step due: none\n"),
    }
    text
}
