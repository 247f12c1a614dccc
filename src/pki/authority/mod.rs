//! The certificate authority of an installation, as the Secret `lanekeeper-tls` keeps it: the CA
//! that issues the serving certificate, and in the middle of a change of CA the one to come or the
//! one before. Nothing here reads a clock or does input or output.
//!
//! kube-scheduler reads the CA of its extender once, at its start. So a new CA takes three steps of
//! an administrator, who restarts kube-scheduler between the first and the second:
//!
//! ```text
//!            trusted        serving certificate issued by
//!            ca             ca
//! next       ca, next       ca
//! promote    ca, old        ca      the next CA is the CA now, and the CA before is the old one
//! retire     ca             ca
//! ```

mod signer;
mod steps;

use std::collections::BTreeMap;

use time::OffsetDateTime;

use super::certificate::Certificate;
use super::names::AltNames;
use super::pair::certified;
use super::pem::Pem;
use super::{Error, Validity};

use signer::{BACKDATED, Leaf, Signer, read_ca};

pub use steps::{LeafDue, Refused, Role, Step};

/// The CA that issues serving certificates.
const CA_CERT: &str = "ca.crt";
const CA_KEY: &str = "ca.key";
/// The CA that is published, and issues nothing yet.
const NEXT_CERT: &str = "ca-next.crt";
const NEXT_KEY: &str = "ca-next.key";
/// The CA before, which is still trusted.
const OLD_CERT: &str = "ca-old.crt";
/// Every CA to trust.
const BUNDLE: &str = "bundle.crt";
/// The serving certificate.
pub const TLS_CERT: &str = "tls.crt";
/// Its key.
pub const TLS_KEY: &str = "tls.key";
/// Every key of the Secret that is ours.
pub const KEYS: [&str; 8] =
    [CA_CERT, CA_KEY, NEXT_CERT, NEXT_KEY, OLD_CERT, BUNDLE, TLS_CERT, TLS_KEY];

/// A new CA is due this long before the end of the current one.
const NEXT_BEFORE: i64 = 365 * 24 * 60 * 60;
/// How old a serving certificate must be before the old CA is retired, in seconds. Each replica reads
/// the Secret every few seconds, so by then nobody serves a certificate of the old CA any more. One that
/// can't read the Secret says so in its log.
const SERVED_AFTER: i64 = 60;

/// The data of the Secret, by key.
pub type Content = BTreeMap<String, Vec<u8>>;

/// The certificate authority of an installation.
pub struct Authority {
    current: Signer,
    next: Option<Signer>,
    old: Option<(Certificate, Vec<u8>)>,
    leaf: Option<Leaf>,
}

impl Authority {
    /// Makes a new CA, for an installation that has none, and a serving certificate under it.
    ///
    /// # Errors
    /// If they can't be made.
    pub fn make(names: &AltNames, now: OffsetDateTime) -> Result<Self, Error> {
        let current = Signer::make(now)?;
        let leaf = Some(current.issue(names, now)?);
        Ok(Self { current, next: None, old: None, leaf })
    }

    /// Reads the data of the Secret. Returns `None` if none of our keys is set: only then may a new
    /// CA be made, since kube-scheduler and the API server trust one that was there before.
    ///
    /// # Errors
    /// If a CA is missing or can't be used. The error names the key. The serving certificate is not
    /// checked, since a new one can be issued.
    pub fn read(content: &Content) -> Result<Option<Self>, Error> {
        let part = |key: &'static str| -> Option<Pem<'_>> {
            let bytes = content.get(key).filter(|bytes| !bytes.is_empty())?;
            Some(Pem { name: key, bytes })
        };
        if KEYS.into_iter().all(|key| part(key).is_none()) {
            return Ok(None);
        }
        let required = |key: &'static str| {
            let why = "it is missing".to_owned();
            part(key).ok_or(Error::Unusable { what: key.to_owned(), why })
        };
        let signer = |cert, key| Signer::read(&required(cert)?, &required(key)?);
        let has_next = part(NEXT_CERT).or(part(NEXT_KEY)).is_some();
        let old = part(OLD_CERT).map(|pem| read_ca(&pem).map(|old| (old, pem.bytes.to_vec())));
        let leaf = part(TLS_CERT).zip(part(TLS_KEY));
        Ok(Some(Self {
            current: signer(CA_CERT, CA_KEY)?,
            next: has_next.then(|| signer(NEXT_CERT, NEXT_KEY)).transpose()?,
            old: old.transpose()?,
            leaf: leaf.map(|(cert, key)| Leaf {
                cert_pem: cert.bytes.to_vec(),
                key_pem: key.bytes.to_vec(),
            }),
        }))
    }

    /// The data of the Secret.
    #[must_use]
    pub fn content(&self) -> Content {
        let Self { current, next, old, leaf } = self;
        let mut content = Content::new();
        let mut put = |key: &str, bytes: &[u8]| content.insert(key.to_owned(), bytes.to_vec());
        put(CA_CERT, &current.cert_pem);
        put(CA_KEY, &current.key_pem);
        if let Some(next) = next {
            put(NEXT_CERT, &next.cert_pem);
            put(NEXT_KEY, &next.key_pem);
        }
        if let Some((_, pem)) = old {
            put(OLD_CERT, pem);
        }
        if let Some(leaf) = leaf {
            put(TLS_CERT, &leaf.cert_pem);
            put(TLS_KEY, &leaf.key_pem);
        }
        put(BUNDLE, &self.bundle());
        content
    }

    /// Every CA to trust, in PEM. It goes into `caBundle` of the webhook configurations, and into
    /// kube-scheduler's configuration.
    #[must_use]
    pub fn bundle(&self) -> Vec<u8> {
        let next = self.next.as_ref().map(|next| next.cert_pem.as_slice());
        let old = self.old.as_ref().map(|(_, pem)| pem.as_slice());
        let mut bundle = Vec::new();
        for pem in [Some(self.current.cert_pem.as_slice()), next, old].into_iter().flatten() {
            bundle.extend_from_slice(pem.trim_ascii());
            bundle.push(b'\n');
        }
        bundle
    }

    /// Every CA, and what it is for.
    #[must_use]
    pub fn cas(&self) -> Vec<(Role, &Certificate)> {
        let next = self.next.as_ref().map(|next| (Role::Next, &next.certificate));
        let old = self.old.as_ref().map(|(old, _)| (Role::Old, old));
        [Some((Role::Current, &self.current.certificate)), next, old]
            .into_iter()
            .flatten()
            .collect()
    }

    /// The CA that issues serving certificates.
    #[must_use]
    pub fn current(&self) -> &Certificate {
        &self.current.certificate
    }

    /// The CA that is published and will be promoted.
    #[must_use]
    pub fn next(&self) -> Option<&Certificate> {
        self.next.as_ref().map(|next| &next.certificate)
    }

    /// The serving certificate, if it can be read and its key is there.
    ///
    /// # Errors
    /// Why not.
    pub fn leaf(&self) -> Result<Certificate, LeafDue> {
        let leaf = self.leaf.as_ref().ok_or(LeafDue::Missing)?;
        let cert = Pem { name: TLS_CERT, bytes: &leaf.cert_pem };
        let key = Pem { name: TLS_KEY, bytes: &leaf.key_pem };
        let (leaf, _) =
            certified(&cert, &key).map_err(|error| LeafDue::Unusable(error.to_string()))?;
        Ok(leaf)
    }

    /// Why a serving certificate with these names must be issued, or `None` if it need not.
    #[must_use]
    pub fn leaf_due(&self, names: &AltNames, now: OffsetDateTime) -> Option<LeafDue> {
        let leaf = match self.leaf() {
            Ok(leaf) => leaf,
            Err(due) => return Some(due),
        };
        if let Some(due) = self.leaf_invalid(&leaf, now) {
            return Some(due);
        }
        if leaf.names != *names {
            return Some(LeafDue::OtherNames(difference(&leaf.names, names)));
        }
        let Validity { from, until } = leaf.validity;
        let is_aged = now.unix_timestamp() >= from + (until - from) / 3 * 2;
        // A new certificate would end with the CA, too.
        let can_be_longer = until < self.current.certificate.validity.until;
        (is_aged && can_be_longer).then_some(LeafDue::Aged)
    }

    /// Why clients that trust the current CA alone would not accept the serving certificate.
    fn leaf_invalid(&self, leaf: &Certificate, now: OffsetDateTime) -> Option<LeafDue> {
        let now = now.unix_timestamp();
        if now < leaf.validity.from {
            return Some(LeafDue::NotValidYet);
        }
        if now > leaf.validity.until {
            return Some(LeafDue::Expired);
        }
        let is_ours = leaf.is_issued_by(&self.current.certificate, now);
        (!is_ours).then_some(LeafDue::OtherIssuer)
    }

    /// Issues a serving certificate with these names.
    ///
    /// # Errors
    /// If the CA has expired, or the certificate can't be made.
    pub fn issue(&mut self, names: &AltNames, now: OffsetDateTime) -> Result<(), Refused> {
        if now.unix_timestamp() >= self.current.certificate.validity.until {
            return Err(Refused::CaExpired);
        }
        self.leaf = Some(self.current.issue(names, now)?);
        Ok(())
    }

    /// Publishes a new CA beside the current one.
    ///
    /// # Errors
    /// If an earlier change of CA is not complete.
    pub fn add_next(&mut self, now: OffsetDateTime) -> Result<(), Refused> {
        if self.next.is_some() {
            return Err(Refused::NextExists);
        }
        if self.old.is_some() {
            return Err(Refused::OldExists);
        }
        self.next = Some(Signer::make(now)?);
        Ok(())
    }

    /// Makes the next CA the current one, and issues a serving certificate under it, with the names
    /// of the one before. If that can't be read, the leader issues one.
    ///
    /// # Errors
    /// If there is no next CA, or an old one is not retired.
    pub fn promote(&mut self, now: OffsetDateTime) -> Result<(), Refused> {
        if self.old.is_some() {
            return Err(Refused::OldExists);
        }
        let names = self.leaf().map(|leaf| leaf.names);
        let next = self.next.take().ok_or(Refused::NoNext)?;
        let old = std::mem::replace(&mut self.current, next);
        self.old = Some((old.certificate, old.cert_pem));
        self.leaf = None;
        if let Ok(names) = names { self.issue(&names, now) } else { Ok(()) }
    }

    /// Stops trusting the old CA.
    ///
    /// # Errors
    /// If there is none, or a replica may still need it.
    pub fn retire(&mut self, now: OffsetDateTime) -> Result<(), Refused> {
        if self.old.is_none() {
            return Err(Refused::NoOld);
        }
        let leaf = self.leaf().map_err(Refused::LeafNotReady)?;
        if let Some(due) = self.leaf_invalid(&leaf, now) {
            return Err(Refused::LeafNotReady(due));
        }
        let issued = leaf.validity.from + BACKDATED.whole_seconds();
        let age = now.unix_timestamp() - issued;
        if age < SERVED_AFTER {
            return Err(Refused::TooSoon(SERVED_AFTER - age));
        }
        self.old = None;
        Ok(())
    }

    /// The step that an administrator should take now.
    #[must_use]
    pub fn step_due(&self, now: OffsetDateTime) -> Option<Step> {
        if self.old.is_some() {
            Some(Step::Retire)
        } else if self.next.is_some() {
            Some(Step::Promote)
        } else {
            let left = self.current.certificate.validity.until - now.unix_timestamp();
            (left < NEXT_BEFORE).then_some(Step::Next)
        }
    }
}

/// What a certificate's names lack and have too many.
fn difference(has: &AltNames, wanted: &AltNames) -> String {
    let list = |names: Vec<String>, verb: &str| {
        (!names.is_empty()).then(|| format!("it {verb} {}", names.join(", ")))
    };
    let lacks = wanted.difference(has).map(ToString::to_string).collect();
    let surplus = has.difference(wanted).map(ToString::to_string).collect();
    let parts = [list(lacks, "lacks"), list(surplus, "should not have")];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", and ")
}
