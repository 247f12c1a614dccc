//! Whether the serving certificate and its CA are valid, and for how long.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::api::Error;

use super::check::Check;
use super::secret::{Content, SECRET};

pub(super) const CERTIFICATE: &str = "certificate";
pub(super) const AUTHORITY: &str = "ca";

/// How long before its end a CA is replaced.
const CA_IS_DUE: Duration = Duration::days(365);
/// How much later than due the leader may rotate the serving certificate.
const SLACK: Duration = Duration::hours(1);

/// When a certificate is valid.
#[derive(Clone, Copy)]
struct Dates {
    from: OffsetDateTime,
    until: OffsetDateTime,
}

impl Dates {
    /// Those of the first certificate in PEM.
    fn of(pem: &[u8]) -> Option<Self> {
        let der = CertificateDer::from_pem_slice(pem).ok()?;
        let (_, certificate) = X509Certificate::from_der(&der).ok()?;
        let validity = certificate.validity();
        let at = |time: i64| OffsetDateTime::from_unix_timestamp(time).ok();
        Some(Self {
            from: at(validity.not_before.timestamp())?,
            until: at(validity.not_after.timestamp())?,
        })
    }

    /// Why the certificate is not valid now.
    fn fault(self, now: OffsetDateTime) -> Option<String> {
        if now < self.from {
            Some(format!("is not valid before {}", self.from))
        } else if now > self.until {
            Some(format!("has expired at {}", self.until))
        } else {
            None
        }
    }

    /// When two thirds of the time have passed.
    fn is_due_at(self) -> OffsetDateTime {
        self.from + (self.until - self.from) * 2 / 3
    }
}

/// Checks the serving certificate. The leader rotates it after two thirds of its time.
pub(super) fn serving(
    content: &Result<Content, Error>,
    now: OffsetDateTime,
    namespace: &str,
) -> Check {
    let content = match content {
        Ok(content) => content,
        Err(why) => {
            return Check::unread(CERTIFICATE, &format!("get Secret {namespace}/{SECRET}"), why);
        }
    };
    let remedy = format!(
        "the leader issues it: see the check `leader`, and its log with `kubectl -n {namespace} logs \
         deployment/lanekeeper`"
    );
    let Some(pem) = content.get("tls.crt") else {
        let says = format!(
            "Secret {namespace}/{SECRET} has no certificate: one is given with --tls-cert, or none \
             was issued yet"
        );
        return Check::skipped(CERTIFICATE, says);
    };
    let Some(dates) = Dates::of(pem) else {
        return Check::failed(CERTIFICATE, "tls.crt of the Secret holds no certificate", remedy);
    };
    if let Some(fault) = dates.fault(now) {
        return Check::failed(CERTIFICATE, format!("the serving certificate {fault}"), remedy);
    }
    let due = dates.is_due_at();
    if now > due + SLACK {
        let says = format!(
            "the serving certificate is valid until {}, and should have been rotated at {due}",
            dates.until
        );
        return Check::failed(CERTIFICATE, says, remedy);
    }
    Check::ok(CERTIFICATE, format!("the serving certificate is valid until {}", dates.until))
}

/// Checks the CAs, and says which step of a change of CA is due.
pub(super) fn authority(
    content: &Result<Content, Error>,
    now: OffsetDateTime,
    namespace: &str,
) -> Check {
    let content = match content {
        Ok(content) => content,
        Err(why) => {
            return Check::unread(AUTHORITY, &format!("get Secret {namespace}/{SECRET}"), why);
        }
    };
    let Some(ca) = content.get("ca.crt") else {
        let says =
            format!("Secret {namespace}/{SECRET} has no CA: the leader issues no certificate");
        return Check::skipped(AUTHORITY, says);
    };
    let Some(ca) = Dates::of(ca) else {
        let remedy = "restore the Secret from a backup; if there is none, delete it, and restart every \
                      kube-scheduler with the new CA";
        return Check::failed(AUTHORITY, "ca.crt of the Secret holds no certificate", remedy);
    };
    if let Some(fault) = ca.fault(now) {
        let remedy = "`lanekeeper certs ca next`, restart every kube-scheduler with the new bundle, \
                      `lanekeeper certs ca promote`";
        return Check::failed(AUTHORITY, format!("the CA {fault}"), remedy);
    }
    let scheduler =
        "every kube-scheduler was restarted with what `lanekeeper certs ca show` prints";
    if content.contains_key("ca-next.crt") {
        let says = "a next CA is published and does not issue certificates yet";
        return Check::failed(
            AUTHORITY,
            says,
            format!("once {scheduler}: lanekeeper certs ca promote"),
        );
    }
    if content.contains_key("ca-old.crt") {
        let says = "an old CA is still trusted";
        let remedy =
            "once every replica serves a certificate of the new CA: lanekeeper certs ca retire";
        return Check::failed(AUTHORITY, says, remedy);
    }
    if ca.until - now < CA_IS_DUE {
        let says = format!("the CA expires at {}", ca.until);
        return Check::failed(AUTHORITY, says, "lanekeeper certs ca next");
    }
    Check::ok(AUTHORITY, format!("the CA is valid until {}", ca.until))
}
