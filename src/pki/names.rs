//! The names in a serving certificate: its subject alternative names.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use rustls::pki_types::DnsName;

/// A name by which clients reach the server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AltName {
    /// A DNS name in lower case. Its first label may be `*`.
    Dns(String),
    /// An IP address.
    Ip(IpAddr),
}

/// The names in a certificate.
pub type AltNames = BTreeSet<AltName>;

/// A text is neither a DNS name nor an IP address.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a DNS name or an IP address")]
pub struct NotAName;

impl FromStr for AltName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        let name = text.strip_prefix("*.").unwrap_or(text);
        // A certificate can't have the dot at the end that DNS allows.
        if name.ends_with('.') || DnsName::try_from(name).is_err() {
            return Err(NotAName);
        }
        Ok(Self::Dns(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for AltName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

/// The names of a Service with these addresses, those for clients on the same host, and `extra`
/// ones.
#[must_use]
pub fn names(service: &str, namespace: &str, addresses: &[IpAddr], extra: &[AltName]) -> AltNames {
    let dns = [
        format!("{service}.{namespace}"),
        format!("{service}.{namespace}.svc"),
        format!("{service}.{namespace}.svc.cluster.local"),
        "localhost".to_owned(),
    ];
    let dns = dns.into_iter().map(AltName::Dns);
    let addresses = addresses.iter().copied().map(AltName::Ip);
    let local = AltName::Ip(Ipv4Addr::LOCALHOST.into());
    dns.chain(addresses).chain([local]).chain(extra.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_names_and_addresses_are_read() {
        let reads = |text: &str| text.parse::<AltName>().map(|name| name.to_string());
        for text in ["a", "a.example.com", "*.example.com", "a_b.c", "10.0.0.1", "fd00::1"] {
            assert_eq!(reads(text), Ok(text.to_owned()));
        }
        assert_eq!(reads("A.Example.COM"), Ok("a.example.com".to_owned()));
        for text in [
            "",
            ".",
            "a.",
            "a..b",
            "-a.b",
            "*",
            "*.",
            "a.*.b",
            "https://a.b",
            "a:8443",
            "[fd00::1]",
            "10.0.0.256",
            "10.0.0.0/24",
            "a b",
            "ä.example.com",
        ] {
            assert_eq!(reads(text), Err(NotAName), "{text}");
        }
        let longest = format!("{}.{}", "a".repeat(63), "b".repeat(63));
        assert!(reads(&longest).is_ok());
        assert!(reads(&format!("{longest}c")).is_err(), "a label is too long");
    }

    #[test]
    fn the_names_are_those_of_the_service_the_host_and_the_extra_ones() {
        let extra = ["lanekeeper.example.com", "192.0.2.1"].map(|it| it.parse().unwrap());
        let addresses = ["10.96.0.7", "fd00::7"].map(|it| it.parse().unwrap());
        let names = names("lanekeeper", "net", &addresses, &extra);
        let names: BTreeSet<String> = names.iter().map(ToString::to_string).collect();
        let expected = [
            "lanekeeper.net",
            "lanekeeper.net.svc",
            "lanekeeper.net.svc.cluster.local",
            "localhost",
            "127.0.0.1",
            "10.96.0.7",
            "fd00::7",
            "lanekeeper.example.com",
            "192.0.2.1",
        ];
        assert_eq!(names, expected.map(str::to_owned).into());
    }
}
