//! The web page's API, without a socket: what it answers, whom it refuses, and that its description
//! is complete.

mod answers;
mod network_configs;
mod networks;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use lanekeeper::cluster::{self, Name, ObjectRef};
use lanekeeper::k8s::Decoder;
use lanekeeper::publish;
use lanekeeper::server::ui::{self, Objects, Reading, Ui};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::harness::{documents, examples, policy, project, snapshot_from};

/// Objects that are given.
struct Given(BTreeMap<ObjectRef, Value>);

impl Given {
    fn of(documents: &[Value]) -> Self {
        let decoder = Decoder::default();
        let keyed = documents.iter().filter_map(|document| {
            Some((decoder.change(document).unwrap()?.object, document.clone()))
        });
        Self(keyed.collect())
    }
}

impl Objects for Given {
    fn object<'a>(&'a self, object: &'a ObjectRef) -> Reading<'a, Option<Value>> {
        Box::pin(async { Ok(self.0.get(object).cloned()) })
    }

    fn cordoned(&self) -> Reading<'_, BTreeSet<Name>> {
        let cordoned = self.0.iter().filter(|(_, it)| it["spec"]["unschedulable"] == true);
        let names = cordoned.map(|(object, _)| Name::from(object.key.as_str())).collect();
        Box::pin(async { Ok(names) })
    }
}

/// Objects that can't be read.
struct Unreadable;

impl Objects for Unreadable {
    fn object<'a>(&'a self, _: &'a ObjectRef) -> Reading<'a, Option<Value>> {
        Box::pin(async { Err("the API server is away".into()) })
    }

    fn cordoned(&self) -> Reading<'_, BTreeSet<Name>> {
        Box::pin(async { Err("the API server is away".into()) })
    }
}

/// The page over manifests.
pub struct Page {
    router: axum::Router,
    _publisher: publish::Publisher,
}

const LOCAL: &str = "127.0.0.1:8081";

impl Page {
    /// The page over these manifests, in YAML.
    pub fn of(yaml: &str) -> Self {
        let documents = documents(yaml);
        let given = Given::of(&documents);
        Self::with(Some(documents), Box::new(given), LOCAL)
    }

    fn with(documents: Option<Vec<Value>>, objects: Box<dyn Objects>, address: &str) -> Self {
        let (publisher, snapshots) = publish::channel();
        match documents {
            Some(documents) => {
                let snapshot = snapshot_from(documents, cluster::Options::default());
                publisher.publish(snapshot, Duration::ZERO);
            }
            None => publisher.waiting(vec!["VlanConfig is not listed yet".to_owned()]),
        }
        let address: SocketAddr = address.parse().unwrap();
        let ui = Ui::new(snapshots, objects, Decoder::default(), policy(), address);
        Self { router: ui::router(Arc::new(ui)), _publisher: publisher }
    }

    async fn send(&self, request: Request<Body>) -> (StatusCode, HeaderMap, Vec<u8>) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        (head.status, head.headers, body.collect().await.unwrap().to_bytes().into())
    }

    /// The answer to a GET below `/api/v1/`.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        let request = Request::get(format!("/api/v1/{path}")).header("host", "localhost:8081");
        let (status, _, body) = self.send(request.body(Body::empty()).unwrap()).await;
        (status.as_u16(), serde_json::from_slice(&body).unwrap())
    }

    /// The answer to a POST below `/api/v1/`.
    pub async fn post(&self, path: &str, body: impl Into<Body>) -> (u16, Value) {
        let request = Request::post(format!("/api/v1/{path}")).header("host", "localhost");
        let (status, _, body) = self.send(request.body(body.into()).unwrap()).await;
        (status.as_u16(), serde_json::from_slice(&body).unwrap())
    }

    /// The answer to a form, which must be one.
    pub async fn form(&self, path: &str, form: Value) -> Value {
        let (status, answer) = self.post(&format!("planner/{path}"), form.to_string()).await;
        assert_eq!(status, 200, "{answer}");
        // What the page shows is what the objects of its YAML would do.
        if let Some(yaml) = answer["yaml"].as_str().filter(|yaml| !yaml.is_empty()) {
            let (status, plan) = self.post("plan", yaml.to_owned()).await;
            assert_eq!((status, &plan), (200, &answer["plan"]), "{yaml}");
        }
        answer
    }
}

/// The reference cluster, in YAML.
pub fn reference() -> String {
    let mut files: Vec<_> = ["", "running"]
        .iter()
        .flat_map(|folder| fs::read_dir(examples().join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "yaml"))
        .collect();
    files.sort();
    let texts: Vec<String> = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    // Documents in a list are unfolded by the program; the tests' reader does not.
    let objects = lanekeeper::k8s::documents::read(&texts.join("\n---\n"), false).unwrap();
    let documents: Vec<String> = objects.iter().map(|it| format!("---\n{it}\n")).collect();
    documents.concat()
}

#[tokio::test]
async fn the_description_names_every_path_and_each_answers() {
    let page = Page::of(&reference());
    let (_, document) = page.get("openapi.json").await;
    let paths = document["paths"].as_object().unwrap();
    let source = fs::read_to_string(project().join("src/server/ui/mod.rs")).unwrap();
    let routes: BTreeSet<String> = source
        .split(".route(\"")
        .skip(1)
        .map(|rest| format!("/api/v1{}", rest.split('"').next().unwrap()))
        .collect();
    assert_eq!(routes, paths.keys().cloned().collect());
    for (path, methods) in paths {
        let place = if path.contains("hosts") { "host1" } else { "cluster-a" };
        let name = match &**path {
            path if path.contains("/vm-networks/") => "vm-network-a",
            path if path.contains("/vms/") => "vm1",
            _ => place,
        };
        let sample = path.replace("{namespace}", "default").replace("{name}", name);
        let sample = sample.trim_start_matches("/api/v1/");
        let status = match methods.as_object().unwrap().keys().next().unwrap().as_str() {
            // It never ends.
            "get" if sample == "events" => continue,
            "get" => page.get(sample).await.0,
            "post" if sample == "plan" => {
                let change =
                    fs::read_to_string(project().join("docs/changes/cluster-b-on-host3.yaml"));
                page.post(sample, change.unwrap()).await.0
            }
            _ => page.post(sample, "{}").await.0,
        };
        assert_eq!(status, 200, "{path}");
    }
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let strange: Vec<&String> =
        schemas.keys().filter(|name| name.ends_with(|c: char| c.is_ascii_digit())).collect();
    assert!(strange.is_empty(), "two types share a name: {strange:?}");
}

#[tokio::test]
async fn every_file_of_the_page_is_served_and_no_other() {
    let page = Page::of("");
    let get = |path: String| Request::get(path).header("host", "localhost");
    let mut found = 0;
    for entry in fs::read_dir(project().join("src/server/page")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let request = get(format!("/{name}")).body(Body::empty()).unwrap();
        let (status, headers, body) = page.send(request).await;
        assert_eq!(status, StatusCode::OK, "{name}");
        assert_eq!(body, fs::read(&path).unwrap(), "{name}");
        let kind = match path.extension().unwrap().to_str().unwrap() {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            _ => "text/html; charset=utf-8",
        };
        assert_eq!(headers["content-type"], kind, "{name}");
        found += 1;
    }
    assert!(found > 10);
    for (path, status) in
        [("/", 200), ("/index.html", 200), ("/nope.js", 404), ("/../Cargo.toml", 404)]
    {
        let request = get(path.to_owned()).body(Body::empty()).unwrap();
        assert_eq!(page.send(request).await.0, status, "{path}");
    }
}

#[tokio::test]
async fn a_browser_is_told_to_be_strict_on_every_answer() {
    let page = Page::of("");
    for path in ["/", "/main.js", "/nope", "/api/v1/overview", "/api/v1/nope"] {
        let request = Request::get(path).header("host", "localhost");
        let (_, headers, _) = page.send(request.body(Body::empty()).unwrap()).await;
        let policy = headers["content-security-policy"].to_str().unwrap();
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["cache-control"], "no-store", "{path}");
        assert!(headers.get("access-control-allow-origin").is_none(), "{path}");
    }
}

#[tokio::test]
async fn on_loopback_only_requests_that_name_this_machine_are_answered() {
    let local = Page::of("");
    let open = Page::with(Some(Vec::new()), Box::new(Unreadable), "0.0.0.0:8081");
    let v6 = Page::with(Some(Vec::new()), Box::new(Unreadable), "[::1]:8081");
    let asking = |host: Option<&str>| {
        let request = Request::get("/api/v1/overview");
        let request = match host {
            Some(host) => request.header("host", host),
            None => request,
        };
        request.body(Body::empty()).unwrap()
    };
    let own = ["localhost", "localhost:8081", "127.0.0.1:1", "[::1]:8081", "LOCALHOST:8081"];
    for host in own {
        for page in [&local, &v6, &open] {
            assert_eq!(page.send(asking(Some(host))).await.0, 200, "{host}");
        }
    }
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "x@y", ""] {
        for page in [&local, &v6] {
            assert_eq!(page.send(asking(Some(host))).await.0, 403, "{host}");
        }
        assert_eq!(open.send(asking(Some(host))).await.0, 200, "{host}");
    }
    assert_eq!(local.send(asking(None)).await.0, 403);
}

#[tokio::test]
async fn a_page_of_another_site_may_link_here_and_make_no_plan() {
    let page = Page::of("");
    for (method, path, site, status) in [
        ("POST", "plan", "cross-site", 403),
        ("POST", "planner/network-config", "same-site", 403),
        ("POST", "plan", "same-origin", 400),
        ("POST", "plan", "none", 400),
        ("GET", "overview", "cross-site", 200),
    ] {
        let request = Request::builder().method(method).uri(format!("/api/v1/{path}"));
        let request = request.header("host", "localhost").header("sec-fetch-site", site);
        let (found, ..) = page.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(found, status, "{method} {path} {site}");
    }
}

#[tokio::test]
async fn before_the_first_snapshot_it_says_what_is_waited_for() {
    let page = Page::with(None, Box::new(Unreadable), LOCAL);
    for path in ["overview", "hosts/h", "vms", "problems", "planner"] {
        let (status, answer) = page.get(path).await;
        assert_eq!(status, 503, "{path}");
        assert!(answer["error"].as_str().unwrap().contains("VlanConfig"), "{answer}");
    }
}

#[tokio::test]
async fn a_body_that_is_no_change_is_refused_with_the_reason() {
    let page = Page::of(&reference());
    let many = "{apiVersion: v1, kind: Node, metadata: {name: h}}\n---\n".repeat(501);
    let large = "#".repeat((1 << 20) + 1);
    for (body, status, why) in [
        ("", 400, "holds no object"),
        ("a: [", 400, "line 1"),
        ("{", 400, "line 1"),
        ("a: 1", 400, "object 1: not a Kubernetes object: it lacks apiVersion or kind"),
        ("{apiVersion: v1, kind: Node, metadata: {name: h, labels: [x]}}", 200, ""),
        (&*many, 413, "501 objects"),
        (&*large, 413, "1048576 bytes"),
    ] {
        let (found, answer) = page.post("plan", body.to_owned()).await;
        assert_eq!(found, status, "{answer}");
        let said = answer["error"].as_str().unwrap_or_default();
        assert!(said.contains(why), "{said}");
    }
    assert_eq!(page.post("plan", vec![0xff, 0xfe]).await.0, 400);
    assert_eq!(page.post("plan?delete=maybe", "").await.0, 400);
    assert_eq!(page.get("vms?limit=x").await.0, 400);
    let (status, answer) = page.post("planner/network-config", r#"{"nics":"x"}"#).await;
    assert_eq!(status, 400);
    assert!(answer["error"].as_str().unwrap().contains("nics"), "{answer}");
    assert_eq!(page.post("overview", "").await.0, 405);
    assert_eq!(page.get("plan").await.0, 405);
}

#[tokio::test]
async fn an_object_that_cant_be_read_is_no_answer_but_cordons_may_be_unknown() {
    let documents = documents(&reference());
    let page = Page::with(Some(documents), Box::new(Unreadable), LOCAL);
    let (status, answer) = page
        .post(
            "plan",
            json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "host0"}}).to_string(),
        )
        .await;
    assert_eq!(status, 502);
    assert!(answer["error"].as_str().unwrap().contains("the API server is away"), "{answer}");
    let (status, host) = page.get("hosts/host0").await;
    assert_eq!((status, &host["cordoned"]), (200, &Value::Null));
    let form = page.form("network-config", json!({ "name": "n" })).await;
    assert_eq!(form["cordoned"], Value::Null);
}
