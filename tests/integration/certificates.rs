//! The certificates of an installation, against an API server that keeps objects in memory: what the
//! leader keeps right, and the steps of an administrator.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::SeqCst;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use lanekeeper::commands::certs::{Action, Answer, Error, certs_of};
use lanekeeper::controller::{Issuer, IssuerError};
use lanekeeper::pki::authority::{Authority, Content};
use lanekeeper::view::Form;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::store::{Objects, Store};

const SECRET: &str = "/api/v1/namespaces/net/secrets/lanekeeper-tls";
const SERVICE: &str = "/api/v1/namespaces/net/services/lanekeeper";
const VALIDATING: &str =
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/lanekeeper";
const MUTATING: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/lanekeeper";

fn secret(content: &Content) -> Value {
    let data: serde_json::Map<String, Value> =
        content.iter().map(|(key, bytes)| (key.clone(), STANDARD.encode(bytes).into())).collect();
    json!({
        "metadata": { "name": "lanekeeper-tls", "namespace": "net", "resourceVersion": "1" },
        "type": "Opaque",
        "data": data,
    })
}

fn webhooks(names: &[&str]) -> Value {
    let webhooks: Vec<Value> =
        names.iter().map(|name| json!({ "name": name, "clientConfig": {} })).collect();
    json!({ "metadata": { "name": "lanekeeper", "resourceVersion": "1" }, "webhooks": webhooks })
}

/// As the manifests leave it: the Secret is empty, and no webhook has a CA.
fn installed() -> Store {
    Store::new([
        (
            SECRET.to_owned(),
            json!({ "metadata": { "name": "lanekeeper-tls", "resourceVersion": "1" } }),
        ),
        (SERVICE.to_owned(), json!({ "spec": { "clusterIPs": ["10.96.0.7", "fd00::7"] } })),
        (VALIDATING.to_owned(), webhooks(&["a", "b"])),
        (MUTATING.to_owned(), webhooks(&["c"])),
    ])
}

fn issuer() -> Issuer {
    let extra = vec!["lanekeeper.example.com".parse().unwrap()];
    Issuer { namespace: "net".to_owned(), extra }
}

async fn keep(store: &Store) -> Result<(), IssuerError> {
    issuer().keep(&store.api(), &|| true).await
}

fn content(store: &Store) -> Content {
    let secret = store.get(SECRET);
    let data = secret["data"].as_object().cloned().unwrap_or_default();
    data.into_iter()
        .map(|(key, value)| (key, STANDARD.decode(value.as_str().unwrap()).unwrap()))
        .collect()
}

fn authority(store: &Store) -> Authority {
    Authority::read(&content(store)).unwrap().unwrap()
}

fn names(store: &Store) -> BTreeSet<String> {
    authority(store).leaf().unwrap().names.iter().map(ToString::to_string).collect()
}

/// `caBundle` of every webhook.
fn bundles(store: &Store) -> Vec<Vec<u8>> {
    [VALIDATING, MUTATING]
        .iter()
        .flat_map(|path| store.get(path)["webhooks"].as_array().cloned().unwrap_or_default())
        .map(|webhook| {
            let bundle = webhook["clientConfig"]["caBundle"].as_str().unwrap_or_default();
            STANDARD.decode(bundle).unwrap()
        })
        .collect()
}

fn refuse(store: &Store, method: &Method, path: &'static str, code: u16) {
    let method = method.clone();
    store.hook(move |called, at, _: &mut Objects| {
        let refused = *called == method && at == path;
        refused.then(|| (code, json!({ "message": "no" })))
    });
}

fn allow(store: &Store) {
    store.hook(|_, _, _| None);
}

/// Makes the store's certificates as old as this.
fn age(store: &Store, age: Duration) {
    let mut authority = authority(store);
    let names = authority.leaf().unwrap().names;
    authority.issue(&names, OffsetDateTime::now_utc() - age).unwrap();
    store.put(SECRET, secret(&authority.content()));
}

#[tokio::test]
async fn an_installation_gets_its_certificates_from_nothing() {
    let store = installed();
    keep(&store).await.unwrap();
    let expected = [
        "lanekeeper.net",
        "lanekeeper.net.svc",
        "lanekeeper.net.svc.cluster.local",
        "localhost",
        "127.0.0.1",
        "10.96.0.7",
        "fd00::7",
        "lanekeeper.example.com",
    ];
    assert_eq!(names(&store), expected.map(str::to_owned).into());
    let bundle = content(&store)["bundle.crt"].clone();
    assert_eq!(bundles(&store), vec![bundle; 3]);
    let written =
        [format!("PUT {SECRET}"), format!("PATCH {VALIDATING}"), format!("PATCH {MUTATING}")];
    assert_eq!(store.writes(), written, "the Secret comes first");
    keep(&store).await.unwrap();
    assert!(store.writes().is_empty(), "nothing is due");
}

#[tokio::test]
async fn what_is_not_installed_is_not_missed() {
    let store = Store::new([(SECRET.to_owned(), secret(&Content::new()))]);
    keep(&store).await.unwrap();
    assert!(!names(&store).contains("10.96.0.7"));
    assert_eq!(store.writes(), [format!("PUT {SECRET}")]);
    store.put(VALIDATING, webhooks(&["a"]));
    store.put(SERVICE, json!({ "spec": { "clusterIP": "None", "clusterIPs": ["None"] } }));
    keep(&store).await.unwrap();
    assert_eq!(
        store.writes(),
        [format!("PATCH {VALIDATING}")],
        "a headless Service has no address"
    );
    let nothing = Store::new([]);
    let why = keep(&nothing).await.unwrap_err().to_string();
    assert!(why.contains("Secret net/lanekeeper-tls does not exist: name the namespace"), "{why}");
}

#[tokio::test]
async fn only_what_differs_is_written() {
    let store = installed();
    keep(&store).await.unwrap();
    store.writes();
    let before = content(&store);

    let mut wrong = store.get(VALIDATING);
    wrong["webhooks"][1]["clientConfig"]["caBundle"] = json!("b2xk");
    store.put(VALIDATING, wrong);
    keep(&store).await.unwrap();
    assert_eq!(store.writes(), [format!("PATCH {VALIDATING}")]);

    let mut with_more = before.clone();
    with_more.insert("note".to_owned(), b"by hand".to_vec());
    with_more.remove("bundle.crt");
    store.put(SECRET, secret(&with_more));
    keep(&store).await.unwrap();
    assert_eq!(store.writes(), [format!("PUT {SECRET}")]);
    with_more.insert("bundle.crt".to_owned(), before["bundle.crt"].clone());
    assert_eq!(content(&store), with_more, "keys of others are kept");
}

#[tokio::test]
async fn a_leaf_is_rotated_under_the_same_ca() {
    let store = installed();
    keep(&store).await.unwrap();
    age(&store, Duration::days(59));
    store.writes();
    keep(&store).await.unwrap();
    assert!(store.writes().is_empty(), "it is not due yet");
    age(&store, Duration::days(61));
    let before = content(&store);
    keep(&store).await.unwrap();
    assert_eq!(store.writes(), [format!("PUT {SECRET}")]);
    let after = content(&store);
    for key in ["ca.crt", "ca.key", "bundle.crt"] {
        assert_eq!(after[key], before[key], "{key}");
    }
    assert_ne!(after["tls.crt"], before["tls.crt"]);
    assert_ne!(after["tls.key"], before["tls.key"], "a new key each time");
}

#[tokio::test]
async fn a_service_that_cannot_be_read_takes_no_name_away() {
    let store = installed();
    keep(&store).await.unwrap();
    store.writes();
    for code in [403, 500, 503] {
        refuse(&store, &Method::GET, SERVICE, code);
        keep(&store).await.unwrap();
        assert!(store.writes().is_empty(), "{code}");
    }
    age(&store, Duration::days(61));
    keep(&store).await.unwrap();
    assert!(names(&store).contains("10.96.0.7"), "the address is kept in a new leaf, too");
    allow(&store);
    store.put(SERVICE, json!({ "spec": { "clusterIPs": ["10.96.0.8"] } }));
    keep(&store).await.unwrap();
    assert!(names(&store).contains("10.96.0.8") && !names(&store).contains("10.96.0.7"));
}

#[tokio::test]
async fn another_write_that_comes_first_is_kept() {
    let store = installed();
    let mut theirs = Authority::make(&"x".parse().into_iter().collect(), OffsetDateTime::now_utc());
    let theirs = theirs.as_mut().unwrap().content();
    let raced = theirs.clone();
    store.hook(move |method, path, objects| {
        if *method == Method::PUT && path == SECRET {
            let mut secret = secret(&raced);
            secret["metadata"]["resourceVersion"] = json!("2");
            objects.insert(path.to_owned(), secret);
        }
        None
    });
    let error = keep(&store).await.unwrap_err();
    assert!(error.is_conflict(), "{error}");
    assert_eq!(content(&store), theirs);
    assert!(bundles(&store).iter().all(Vec::is_empty), "a CA that was not stored is not trusted");
    allow(&store);
    keep(&store).await.unwrap();
    assert_eq!(content(&store)["ca.crt"], theirs["ca.crt"]);
    assert_eq!(bundles(&store), vec![theirs["bundle.crt"].clone(); 3]);
}

#[tokio::test]
async fn a_refusal_says_what_was_refused() {
    for (method, path, says) in [
        (Method::GET, SECRET, "can't read Secret net/lanekeeper-tls: forbidden: no"),
        (Method::PUT, SECRET, "can't write Secret net/lanekeeper-tls: forbidden: no"),
        (Method::GET, VALIDATING, "can't read ValidatingWebhookConfiguration lanekeeper"),
        (Method::PATCH, VALIDATING, "can't change caBundle of ValidatingWebhookConfiguration"),
        (Method::PATCH, MUTATING, "can't change caBundle of MutatingWebhookConfiguration"),
    ] {
        let store = installed();
        refuse(&store, &method, path, 403);
        let error = keep(&store).await.unwrap_err();
        assert!(error.to_string().contains(says) && !error.is_conflict(), "{error}");
        let other = if path == VALIDATING { MUTATING } else { VALIDATING };
        if path != SECRET {
            let patched = format!("PATCH {other}");
            assert!(store.writes().contains(&patched), "the other configuration is kept right");
        }
    }
}

#[tokio::test]
async fn a_webhook_that_moved_meanwhile_is_looked_at_again() {
    let store = installed();
    let mut moved = false;
    store.hook(move |method, path, objects| {
        if *method == Method::PATCH && path == VALIDATING && !std::mem::replace(&mut moved, true) {
            objects.insert(path.to_owned(), webhooks(&["new", "a", "b"]));
        }
        None
    });
    let error = keep(&store).await.unwrap_err();
    assert!(error.is_conflict(), "{error}");
    keep(&store).await.unwrap();
    assert_eq!(bundles(&store), vec![content(&store)["bundle.crt"].clone(); 4]);
}

#[tokio::test]
async fn a_damaged_ca_is_left_as_it_is() {
    let store = installed();
    keep(&store).await.unwrap();
    for key in ["ca.crt", "ca.key"] {
        for bytes in [b"odd".to_vec(), Vec::new()] {
            let mut damaged = content(&store);
            damaged.insert(key.to_owned(), bytes);
            let store = installed();
            store.put(SECRET, secret(&damaged));
            let why = keep(&store).await.unwrap_err().to_string();
            assert!(why.contains(&format!("is damaged: {key}: ")), "{why}");
            assert!(why.contains("kubectl -n net patch secret lanekeeper-tls"), "{why}");
            assert!(store.writes().is_empty());
        }
    }
}

#[tokio::test]
async fn the_remedy_of_a_damaged_ca_brings_a_new_one() {
    let store = installed();
    keep(&store).await.unwrap();
    let before = content(&store);
    // What the patch `{"data":null}` leaves.
    let mut emptied = store.get(SECRET);
    emptied.as_object_mut().unwrap().remove("data");
    store.put(SECRET, emptied);
    keep(&store).await.unwrap();
    assert_ne!(content(&store)["ca.crt"], before["ca.crt"]);
    assert_eq!(bundles(&store), vec![content(&store)["bundle.crt"].clone(); 3]);
}

#[tokio::test]
async fn a_replica_that_no_longer_leads_writes_nothing() {
    let store = installed();
    let kept = issuer().keep(&store.api(), &|| false).await;
    assert!(matches!(kept, Err(IssuerError::NotLeading)));
    assert!(store.writes().is_empty());
    let left = std::sync::atomic::AtomicUsize::new(1);
    let once = || left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
    let kept = issuer().keep(&store.api(), &once).await;
    assert!(matches!(kept, Err(IssuerError::NotLeading)));
    assert_eq!(store.writes(), [format!("PUT {SECRET}")], "it lost the Lease after this");
}

async fn certs(store: &Store, action: Action, now: OffsetDateTime) -> Result<Answer, Error> {
    certs_of(&store.api(), "net", action, now).await
}

#[tokio::test]
async fn an_administrator_changes_the_ca_in_three_steps() {
    let store = installed();
    let mut now = OffsetDateTime::now_utc();
    let why = certs(&store, Action::Show, now).await.err().unwrap().to_string();
    assert!(why.contains("Secret net/lanekeeper-tls is empty"), "{why}");
    keep(&store).await.unwrap();
    let json = Action::Status(Form::Json);
    let status = async |now| {
        let answer = certs(&store, json, now).await.unwrap();
        let view: Value = serde_json::from_str(&answer.text).unwrap();
        (answer.due, view["stepDue"].clone(), view["cas"].as_array().unwrap().len())
    };
    assert_eq!(status(now).await, (false, json!(null), 1));
    let refused = async |action, now, says: &str| {
        store.writes();
        let why = certs(&store, action, now).await.err().unwrap().to_string();
        assert!(why.contains(says), "{why}");
        assert!(store.writes().is_empty(), "a step that is refused writes nothing");
    };
    refused(Action::Promote, now, "there is no next CA").await;
    refused(Action::Retire, now, "there is no old CA").await;

    let published = certs(&store, Action::Next, now).await.unwrap();
    assert!(!published.due && published.text.contains("lanekeeper certs ca show --namespace net"));
    assert_eq!(status(now).await, (true, json!("promote"), 2));
    let shown = certs(&store, Action::Show, now).await.unwrap().text;
    assert_eq!(shown.matches("BEGIN CERTIFICATE").count(), 2);
    assert_eq!(shown.as_bytes(), content(&store)["bundle.crt"]);
    refused(Action::Next, now, "published already").await;
    let lacks = "caBundle of a of ValidatingWebhookConfiguration lanekeeper, \
                 b of ValidatingWebhookConfiguration lanekeeper, \
                 c of MutatingWebhookConfiguration lanekeeper";
    refused(Action::Promote, now, lacks).await;
    keep(&store).await.unwrap();

    let promoted = certs(&store, Action::Promote, now).await.unwrap();
    assert!(promoted.text.contains("assumes that every kube-scheduler was restarted"));
    assert_eq!(status(now).await, (true, json!("retire"), 2));
    keep(&store).await.unwrap();
    assert_eq!(bundles(&store), vec![content(&store)["bundle.crt"].clone(); 3]);
    refused(Action::Retire, now, "try again in").await;
    now += Duration::MINUTE;
    certs(&store, Action::Retire, now).await.unwrap();
    assert_eq!(status(now).await, (false, json!(null), 1));
    keep(&store).await.unwrap();
    assert_eq!(bundles(&store), vec![content(&store)["ca.crt"].clone(); 3]);
}

#[tokio::test]
async fn a_step_begins_again_if_the_leader_writes_meanwhile() {
    let store = installed();
    keep(&store).await.unwrap();
    let mut races = 2;
    store.hook(move |method, path, objects| {
        if *method == Method::PUT && races > 0 {
            races -= 1;
            objects.get_mut(path).unwrap()["metadata"]["resourceVersion"] =
                json!((100 + races).to_string());
        }
        None
    });
    let now = OffsetDateTime::now_utc();
    certs(&store, Action::Next, now).await.unwrap();
    assert!(authority(&store).next().is_some());
}

#[tokio::test]
async fn the_status_names_what_there_is() {
    let store = installed();
    keep(&store).await.unwrap();
    let now = OffsetDateTime::now_utc();
    let table = certs(&store, Action::Status(Form::Table), now).await.unwrap().text;
    for part in ["current  CN=Lanekeeper CA ", "\nnames: ", "10.96.0.7", "\nstep due: none\n"] {
        assert!(table.contains(part), "{part}: {table}");
    }
    let year = Duration::days(365);
    let late = certs(&store, Action::Status(Form::Table), now + 10 * year).await.unwrap();
    assert!(late.due);
    for part in ["step due: next: run `lanekeeper certs ca next --namespace net`", "has expired"] {
        assert!(late.text.contains(part), "{part}: {}", late.text);
    }
}
