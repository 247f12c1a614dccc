//! The certificate authority of an installation, by given clocks: when a serving certificate is due,
//! the three steps of a change of CA as TLS clients see them, and what is refused.

use std::io::Cursor;
use std::sync::Arc;

use lanekeeper::pki::authority::{Authority, Content, LeafDue, Refused, Role, Step};
use lanekeeper::pki::{AltNames, Pair, Pem, names};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};
use time::{Duration, OffsetDateTime};

const SECOND: Duration = Duration::seconds(1);
const DAY: Duration = Duration::days(1);

/// The moment at which each test begins.
fn start() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
}

fn our_names() -> AltNames {
    let extra = ["lanekeeper.example.com".parse().unwrap(), "*.example.org".parse().unwrap()];
    names("lanekeeper", "net", &["10.96.0.7".parse().unwrap()], &extra)
}

fn made() -> Authority {
    Authority::make(&our_names(), start()).unwrap()
}

fn read(content: &Content) -> Authority {
    Authority::read(content).unwrap().unwrap()
}

/// An authority with these parts replaced, or taken out where they are empty.
fn with(authority: &Authority, parts: &[(&str, &[u8])]) -> Content {
    let mut content = authority.content();
    for (key, bytes) in parts {
        content.insert((*key).to_owned(), bytes.to_vec());
    }
    content
}

fn due(content: &Content, now: OffsetDateTime) -> Option<LeafDue> {
    read(content).leaf_due(&our_names(), now)
}

#[derive(Debug)]
struct Clock(OffsetDateTime);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = self.0.unix_timestamp().try_into().ok()?;
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds)))
    }
}

/// What a client that trusts these CAs alone says of the server of this content.
fn handshake(
    bundle: &[u8],
    content: &Content,
    name: &str,
    now: OffsetDateTime,
) -> Result<(), rustls::Error> {
    let mut roots = RootCertStore::empty();
    for ca in CertificateDer::pem_slice_iter(bundle) {
        roots.add(ca.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_details(provider, Arc::new(Clock(now)))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut server = ServerConnection::new(pair(content).config).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut sent = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut sent).unwrap();
        }
        server.read_tls(&mut Cursor::new(sent)).unwrap();
        server.process_new_packets().unwrap();
        let mut answered = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut answered).unwrap();
        }
        client.read_tls(&mut Cursor::new(answered)).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

fn pair(content: &Content) -> Pair {
    let part = |name: &'static str| Pem { name, bytes: &content[name] };
    Pair::new(&part("tls.crt"), &part("tls.key"), None).unwrap()
}

#[test]
fn clients_of_the_bundle_accept_the_leaf_for_each_name_and_for_no_other() {
    let authority = made();
    let accepts =
        |name: &str| handshake(&authority.bundle(), &authority.content(), name, start()).is_ok();
    for name in [
        "lanekeeper.net.svc",
        "lanekeeper.net.svc.cluster.local",
        "lanekeeper.net",
        "10.96.0.7",
        "localhost",
        "127.0.0.1",
        "lanekeeper.example.com",
        "any.example.org",
    ] {
        assert!(accepts(name), "{name}");
    }
    for name in ["lanekeeper.other.svc", "10.96.0.8", "example.org", "a.b.example.org"] {
        assert!(!accepts(name), "{name}");
    }
}

#[test]
fn a_ca_lasts_ten_years_and_issues_no_further_ca() {
    let (one, other) = (made(), made());
    let ca = one.current();
    assert_ne!(ca.subject, other.current().subject, "two CAs of one moment");
    assert_ne!(ca.key_id(), other.current().key_id());
    assert!(ca.subject.contains("2027-01-15"), "{}", ca.subject);
    let ten_years = start().replace_year(2037).unwrap();
    let until = OffsetDateTime::from_unix_timestamp(ca.validity.until).unwrap();
    assert!((until - ten_years).abs() < 2 * DAY, "{until}");
    assert_eq!(ca.validity.from, (start() - Duration::HOUR).unix_timestamp());
    let (_, parsed) = x509_parser::parse_x509_certificate(&ca.der).unwrap();
    let constraints = parsed.basic_constraints().unwrap().unwrap().value;
    assert!(constraints.ca && constraints.path_len_constraint == Some(0));
    let leaf = one.leaf().unwrap();
    assert!(!leaf.is_ca);
    assert_eq!(leaf.validity.until - leaf.validity.from, 90 * DAY.whole_seconds());
    let (_, leaf) = x509_parser::parse_x509_certificate(&leaf.der).unwrap();
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && !usage.client_auth && !usage.any);
}

#[test]
fn a_leaf_is_due_by_its_own_dates() {
    let content = made().content();
    let from = start() - Duration::HOUR;
    let table = [
        (from - SECOND, Some(LeafDue::NotValidYet)),
        (from, None),
        (start(), None),
        (from + 60 * DAY - SECOND, None),
        (from + 60 * DAY, Some(LeafDue::Aged)),
        (from + 90 * DAY, Some(LeafDue::Aged)),
        (from + 90 * DAY + SECOND, Some(LeafDue::Expired)),
    ];
    for (now, expected) in table {
        assert_eq!(due(&content, now), expected, "{now}");
    }
}

#[test]
fn a_leaf_that_is_missing_or_does_not_match_is_due() {
    let (authority, other) = (made(), made().content());
    let due = |parts: &[(&str, &[u8])]| due(&with(&authority, parts), start());
    assert_eq!(due(&[]), None);
    assert_eq!(due(&[("tls.crt", b"")]), Some(LeafDue::Missing));
    assert_eq!(due(&[("tls.key", b"")]), Some(LeafDue::Missing));
    let unusable = |parts: &[(&str, &[u8])], what: &str| match due(parts) {
        Some(LeafDue::Unusable(why)) => assert!(why.contains(what), "{why}"),
        other => panic!("{what}: {other:?}"),
    };
    unusable(&[("tls.crt", b"odd")], "tls.crt: it contains no certificate");
    unusable(&[("tls.key", b"odd")], "tls.key: not a PEM private key");
    unusable(&[("tls.key", &other["tls.key"])], "tls.key: not the key of tls.crt");
    let strangers = [("tls.crt", &*other["tls.crt"]), ("tls.key", &*other["tls.key"])];
    assert_eq!(due(&strangers), Some(LeafDue::OtherIssuer));
}

#[test]
fn a_leaf_of_a_ca_that_only_looks_like_ours_is_due() {
    let authority = made();
    let ca = authority.current();
    let name = ca.subject.strip_prefix("CN=").unwrap();
    let key_id = (0..40).step_by(2);
    let text = ca.key_id().unwrap();
    let key_id = key_id.map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(key_id);
    let issuer = rcgen::Issuer::new(params, rcgen::KeyPair::generate().unwrap());
    let key = rcgen::KeyPair::generate().unwrap();
    let mut leaf = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    leaf.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let parts = [("tls.crt", leaf.pem()), ("tls.key", key.serialize_pem())];
    let parts = parts.each_ref().map(|(key, pem)| (*key, pem.as_bytes()));
    let authority = read(&with(&authority, &parts));
    assert_eq!(authority.leaf().unwrap().issuer, authority.current().subject);
    assert_eq!(authority.leaf_due(&our_names(), start()), Some(LeafDue::OtherIssuer));
}

#[test]
fn a_leaf_with_other_names_is_due() {
    let authority = made();
    let mut more = our_names();
    more.insert("192.0.2.1".parse().unwrap());
    let lacks = authority.leaf_due(&more, start());
    assert_eq!(lacks, Some(LeafDue::OtherNames("it lacks 192.0.2.1".to_owned())));
    let mut fewer = our_names();
    fewer.remove(&"10.96.0.7".parse().unwrap());
    let surplus = authority.leaf_due(&fewer, start());
    assert_eq!(surplus, Some(LeafDue::OtherNames("it should not have 10.96.0.7".to_owned())));
}

#[test]
fn a_leaf_ends_with_its_ca_and_is_then_not_issued_again_and_again() {
    let mut authority = made();
    let end = OffsetDateTime::from_unix_timestamp(authority.current().validity.until).unwrap();
    let now = end - 30 * DAY;
    authority.issue(&our_names(), now).unwrap();
    assert_eq!(authority.leaf().unwrap().validity.until, end.unix_timestamp());
    for now in [now, end - 20 * DAY, end - DAY, end] {
        assert_eq!(authority.leaf_due(&our_names(), now), None, "{now}");
    }
    let after = end + SECOND;
    assert_eq!(authority.leaf_due(&our_names(), after), Some(LeafDue::Expired));
    let refused = authority.issue(&our_names(), end).unwrap_err();
    assert!(matches!(refused, Refused::CaExpired), "{refused}");
    authority.add_next(after).unwrap();
    authority.promote(after).unwrap();
    assert_eq!(authority.leaf_due(&our_names(), after), None, "a new CA is the way out");
}

#[test]
fn a_step_is_due_in_the_last_year_and_in_the_middle_of_a_change() {
    let mut authority = made();
    let end = OffsetDateTime::from_unix_timestamp(authority.current().validity.until).unwrap();
    assert_eq!(authority.step_due(start()), None);
    assert_eq!(authority.step_due(end - 365 * DAY), None);
    assert_eq!(authority.step_due(end - 365 * DAY + SECOND), Some(Step::Next));
    assert_eq!(authority.step_due(end + DAY), Some(Step::Next));
    authority.add_next(start()).unwrap();
    assert_eq!(authority.step_due(start()), Some(Step::Promote));
    authority.promote(start()).unwrap();
    assert_eq!(authority.step_due(start()), Some(Step::Retire));
    authority.retire(start() + 60 * SECOND).unwrap();
    assert_eq!(authority.step_due(start()), None);
}

#[test]
fn no_client_is_lost_in_a_change_of_ca() {
    let mut authority = made();
    let mut now = start();
    let at_first = (authority.bundle(), authority.content());
    authority.add_next(now).unwrap();
    let published = (authority.bundle(), authority.content());
    now += DAY;
    authority.promote(now).unwrap();
    let promoted = (authority.bundle(), authority.content());
    now += DAY;
    authority.retire(now).unwrap();
    let retired = (authority.bundle(), authority.content());

    // By the bundle that a client has, and the certificate that a replica serves.
    let table = [
        ("at first", &at_first.0, [true, true, false, false]),
        ("published", &published.0, [true; 4]),
        ("promoted", &promoted.0, [true; 4]),
        ("retired", &retired.0, [false, false, true, true]),
    ];
    for (client, bundle, accepts) in table {
        let served = [&at_first.1, &published.1, &promoted.1, &retired.1];
        for (at, content) in served.into_iter().enumerate() {
            let accepted = handshake(bundle, content, "lanekeeper.net.svc", now).is_ok();
            assert_eq!(accepted, accepts[at], "client {client}, server {at}");
        }
    }
    let certificates = |content: &Content| -> Vec<String> {
        content.keys().filter(|key| !key.contains(".key")).cloned().collect()
    };
    assert_eq!(certificates(&at_first.1), ["bundle.crt", "ca.crt", "tls.crt"]);
    assert_eq!(certificates(&published.1), ["bundle.crt", "ca-next.crt", "ca.crt", "tls.crt"]);
    assert_eq!(certificates(&promoted.1), ["bundle.crt", "ca-old.crt", "ca.crt", "tls.crt"]);
    assert_eq!(certificates(&retired.1), ["bundle.crt", "ca.crt", "tls.crt"]);
    assert!(!promoted.1.contains_key("ca-next.key"));
    let leaf = read(&promoted.1).leaf().unwrap();
    assert_eq!(leaf.names, our_names(), "the names are kept");
    assert_eq!(promoted.1["ca.crt"], published.1["ca-next.crt"]);
    assert_eq!(promoted.1["ca-old.crt"], published.1["ca.crt"]);
}

#[test]
fn a_step_that_makes_no_sense_is_refused_and_says_what_to_do() {
    fn refused(result: Result<(), Refused>, says: &str) {
        let why = result.unwrap_err().to_string();
        assert!(why.contains(says), "{why}");
    }
    let now = start();
    let mut authority = made();
    refused(authority.promote(now), "no next CA: run `lanekeeper certs ca next` first");
    refused(authority.retire(now), "no old CA");
    authority.add_next(now).unwrap();
    let published = authority.content();
    refused(authority.add_next(now), "published already");
    refused(authority.retire(now), "no old CA");
    authority.promote(now).unwrap();
    refused(authority.add_next(now), "`lanekeeper certs ca retire` first");
    refused(authority.promote(now), "`lanekeeper certs ca retire` first");
    refused(authority.retire(now), "try again in 60 s");
    refused(authority.retire(now + 59 * SECOND), "try again in 1 s");

    let old_leaf = [("tls.crt", &*published["tls.crt"]), ("tls.key", &*published["tls.key"])];
    let mut with_old_leaf = read(&with(&authority, &old_leaf));
    refused(with_old_leaf.retire(now + DAY), "was not issued by the current CA");
    let mut without_leaf = read(&with(&authority, &[("tls.crt", b"")]));
    refused(without_leaf.retire(now + DAY), "there is no serving certificate");

    authority.retire(now + 60 * SECOND).unwrap();
    refused(authority.retire(now + DAY), "no old CA");
}

#[test]
fn a_ca_is_promoted_without_a_leaf_too() {
    let mut authority = made();
    authority.add_next(start()).unwrap();
    let mut authority = read(&with(&authority, &[("tls.crt", b"odd")]));
    authority.promote(start()).unwrap();
    assert_eq!(authority.leaf_due(&our_names(), start()), Some(LeafDue::Missing));
    assert!(!authority.content().contains_key("tls.crt"), "replicas keep what they have");
}

#[test]
fn what_is_written_reads_the_same() {
    let mut authority = made();
    for _ in 0..2 {
        let content = authority.content();
        assert_eq!(read(&content).content(), content);
        authority.add_next(start()).unwrap();
        let content = authority.content();
        assert_eq!(read(&content).content(), content);
        assert_eq!(
            authority.cas().iter().map(|ca| ca.0).collect::<Vec<_>>(),
            [Role::Current, Role::Next]
        );
        authority.promote(start()).unwrap();
        let content = authority.content();
        assert_eq!(read(&content).content(), content);
        assert_eq!(content["bundle.crt"], [&*content["ca.crt"], &content["ca-old.crt"]].concat());
        authority.retire(start() + DAY).unwrap();
    }
}

#[test]
fn only_an_empty_secret_has_no_authority() {
    assert!(Authority::read(&Content::new()).unwrap().is_none());
    let foreign = [("note".to_owned(), b"by hand".to_vec()), ("ca.crt".to_owned(), Vec::new())];
    assert!(Authority::read(&foreign.into()).unwrap().is_none(), "other keys do not count");
    let mut authority = made();
    authority.add_next(start()).unwrap();
    let next = authority.content();
    authority.promote(start()).unwrap();
    let old = authority.content();
    let other = made().content();
    let not_a_ca = &next["tls.crt"];
    let two = [&*next["ca.crt"], &next["ca-next.crt"]].concat();
    let table: [(&Content, &str, &[u8], &str); 13] = [
        (&next, "ca.crt", b"", "ca.crt: it is missing"),
        (&next, "ca.key", b"", "ca.key: it is missing"),
        (&next, "ca.crt", b"odd", "ca.crt: it contains no certificate"),
        (&next, "ca.key", b"odd", "ca.key: not a PEM private key"),
        (&next, "ca.key", &other["ca.key"], "ca.key: not the key of ca.crt"),
        (&next, "ca.crt", not_a_ca, "ca.crt: not a CA's certificate"),
        (&next, "ca.crt", &two, "ca.crt: it contains more than one certificate"),
        (&next, "ca-next.crt", b"", "ca-next.crt: it is missing"),
        (&next, "ca-next.key", b"", "ca-next.key: it is missing"),
        (&next, "ca-next.key", b"odd", "ca-next.key: not a PEM private key"),
        (&old, "ca-old.crt", b"odd", "ca-old.crt: it contains no certificate"),
        (&old, "ca-old.crt", not_a_ca, "ca-old.crt: not a CA's certificate"),
        (&old, "ca.key", b"", "ca.key: it is missing"),
    ];
    for (content, key, bytes, expected) in table {
        let mut content = content.clone();
        content.insert(key.to_owned(), bytes.to_vec());
        let why = Authority::read(&content).err().unwrap().to_string();
        assert!(why.contains(expected), "{why}");
    }
    for alone in ["tls.crt", "bundle.crt", "ca-old.crt", "ca-next.key"] {
        let content = if alone == "ca-old.crt" { &old } else { &next };
        let left = [(alone.to_owned(), content[alone].clone())].into();
        assert!(Authority::read(&left).is_err(), "there was a CA: {alone}");
    }
}
