//! The whole program: a real process, real TLS, real signals.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::bodies::half_a_request;
use crate::harness::project;
use crate::lines;

/// How long a condition is waited for.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A running `lanekeeper serve`, in a folder of its own with a copy of the examples.
pub struct Process {
    child: Child,
    pub folder: TempDir,
    pub https: SocketAddr,
    pub admin: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
}

/// A folder with a copy of what the README speaks of.
pub fn copy_of_project() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for part in ["examples", "docs"] {
        copy(&project().join(part), &folder.path().join(part));
    }
    folder
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

pub fn program() -> PathBuf {
    env!("CARGO_BIN_EXE_lanekeeper").into()
}

impl Process {
    pub fn start(folder: TempDir, more: &[&str]) -> Self {
        let mut child = Command::new(program())
            .args(["serve", "--cluster", "examples"])
            .args([
                "--listen",
                "127.0.0.1:0",
                "--admin-listen",
                "127.0.0.1:0",
                "--ui-listen",
                "127.0.0.1:0",
            ])
            .args(more)
            .current_dir(folder.path())
            .env_remove("RUST_LOG")
            .stderr(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let log = lines::of(child.stderr.take().unwrap());
        let address = |what: &str| {
            let line = until(what, || logged(&log, what));
            let line: Value = serde_json::from_str(&line).unwrap();
            line["address"].as_str().unwrap().parse().unwrap()
        };
        let https = address("serving the extender and the webhooks");
        let admin = address("serving probes and metrics");
        Self { child, folder, https, admin, log }
    }

    pub fn ready(self) -> Self {
        until("readiness", || {
            let (status, body) = self.admin("/readyz");
            (status == 200).then_some(body)
        });
        self
    }

    /// A GET of the plain port.
    pub fn admin(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// A figure that the kernel keeps of its memory, in bytes: `VmHWM`, the most so far, or `VmSize`, what
    /// it has addresses for.
    pub fn memory(&self, figure: &str) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let mut lines = status.lines();
        let figure = lines.find_map(|line| line.strip_prefix(figure)?.strip_prefix(':'));
        figure.unwrap().trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    }

    /// Whether a line of the log holds this text.
    pub fn said(&self, what: &str) -> bool {
        logged(&self.log, what).is_some()
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    fn exit(&mut self) -> ExitStatus {
        until("the end", || self.child.try_wait().unwrap())
    }

    /// A client that trusts the CA made for development, and no other.
    pub fn client(&self) -> reqwest::Client {
        let ca = fs::read(self.folder.path().join("certs/dev/ca.crt")).unwrap();
        client(&ca)
    }

    pub async fn post(
        &self,
        client: &reqwest::Client,
        path: &str,
        body: String,
    ) -> reqwest::Response {
        let url = format!("https://localhost:{}{path}", self.https.port());
        client.post(url).body(body).send().await.unwrap()
    }
}

/// TLS that trusts this CA, and no other.
pub fn tls(ca: &[u8]) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn client(ca: &[u8]) -> reqwest::Client {
    reqwest::Client::builder().tls_backend_preconfigured(tls(ca)).no_proxy().build().unwrap()
}

fn logged(log: &Mutex<Vec<String>>, what: &str) -> Option<String> {
    log.lock().unwrap().iter().find(|line| line.contains(what)).cloned()
}

/// Waits for something to be there.
pub fn until<T>(what: &str, mut there: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(it) = there() {
            return it;
        }
        assert!(started.elapsed() < PATIENCE, "{what} did not come about");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn args(networks: &str, names: &[&str]) -> String {
    json!({
        "Pod": { "metadata": { "namespace": "default",
                 "annotations": { "k8s.v1.cni.cncf.io/networks": networks } } },
        "NodeNames": names,
    })
    .to_string()
}

#[tokio::test]
async fn it_answers_over_tls_with_a_certificate_made_on_the_first_run_and_used_again() {
    let process = Process::start(copy_of_project(), &[]).ready();
    let client = process.client();
    let answer = process
        .post(&client, "/scheduler/filter", args("vm-network-b,vm-network-c", &["host1", "host2"]))
        .await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.version(), reqwest::Version::HTTP_11);
    assert!(
        answer.headers().contains_key("content-length"),
        "an older Go client drops chunked ones"
    );
    assert!(!answer.headers().contains_key("connection"), "kept alive");
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["NodeNames"], json!(["host2"]));

    let (status, metrics) = process.admin("/metrics");
    assert_eq!(status, 200);
    for metric in [
        "lanekeeper_build_info{version=",
        "lanekeeper_certificate_expiry_timestamp_seconds 1",
        "lanekeeper_snapshot_age_seconds ",
        "lanekeeper_snapshot_rebuild_seconds ",
        "lanekeeper_filter_duration_seconds_count 1",
        "process_open_fds",
    ] {
        assert!(metrics.contains(metric), "{metric} is not in\n{metrics}");
    }
    assert_eq!(process.admin("/livez").0, 200);
    assert_eq!(process.admin("/scheduler/filter").0, 404, "no cluster data on the plain port");
    let get = client.get(format!("https://localhost:{}/scheduler/filter", process.https.port()));
    let answer = get.send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["allow"]),
        (405, &"POST".parse().unwrap())
    );

    let ca = fs::read(process.folder.path().join("certs/dev/ca.crt")).unwrap();
    let stranger = Process::start(copy_of_project(), &[]).ready();
    let refused =
        stranger.client().post(format!("https://localhost:{}/validate", process.https.port()));
    assert!(refused.send().await.is_err(), "another CA's certificate is not trusted");

    // The same folder again: the same CA.
    let folder = copy_of_project();
    fs::create_dir(folder.path().join("certs")).unwrap();
    copy(&process.folder.path().join("certs/dev"), &folder.path().join("certs/dev"));
    let again = Process::start(folder, &[]).ready();
    assert_eq!(fs::read(again.folder.path().join("certs/dev/ca.crt")).unwrap(), ca);
    again.post(&client, "/validate", String::new()).await;
}

#[tokio::test]
async fn a_denial_is_one_line_that_names_the_object_the_user_and_the_rules() {
    let process = Process::start(copy_of_project(), &[]).ready();
    let review = fs::read_to_string(project().join("docs/requests/move-network-config-b.json"));
    process.post(&process.client(), "/validate", review.unwrap()).await;
    let line = until("the line", || logged(&process.log, "\"denied\""));
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["level"], "INFO");
    for (field, value) in [
        ("kind", "VlanConfig"),
        ("namespace", ""),
        ("name", "network-config-b"),
        ("operation", "update"),
        ("codes", "vc-running-vms"),
        ("uid", "7a8c6e3e-0001"),
    ] {
        assert_eq!(line[field], value, "{field}: {line}");
    }
    assert!(line["user"].is_string() && line["span"]["id"].is_u64(), "{line}");
    assert_eq!(line["span"]["path"], "/validate");
}

#[tokio::test]
async fn a_certificate_that_is_given_is_served_and_read_again_when_it_changes() {
    use lanekeeper::pki;
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    pki::for_development(one.path()).unwrap();
    pki::for_development(other.path()).unwrap();
    let file = |name: &str| one.path().join(name).to_str().unwrap().to_owned();
    let (cert, key) = (file("tls.crt"), file("tls.key"));
    let process =
        Process::start(copy_of_project(), &["--tls-cert", &cert, "--tls-key", &key]).ready();
    assert!(!process.folder.path().join("certs").exists());
    let before = client(&fs::read(one.path().join("ca.crt")).unwrap());
    assert_eq!(process.post(&before, "/validate", String::new()).await.status(), 400);

    // Half a change is none: the key does not match yet.
    fs::copy(other.path().join("tls.key"), &key).unwrap();
    until("the report", || logged(&process.log, "the certificate is not changed"));
    assert_eq!(process.post(&before, "/validate", String::new()).await.status(), 400);
    fs::copy(other.path().join("tls.crt"), &cert).unwrap();
    until("the change", || logged(&process.log, "certificate changed"));
    let after = client(&fs::read(other.path().join("ca.crt")).unwrap());
    assert_eq!(process.post(&after, "/validate", String::new()).await.status(), 400);
    // The connection made before is still good.
    assert_eq!(process.post(&before, "/validate", String::new()).await.status(), 400);
}

#[tokio::test]
async fn broken_at_the_start_it_is_alive_but_not_ready_and_names_file_and_line() {
    let folder = copy_of_project();
    fs::write(folder.path().join("examples/odd.yaml"), "a: 1\nb: c: d\n").unwrap();
    let process = Process::start(folder, &[]);
    until("the report", || {
        let (status, body) = process.admin("/readyz?verbose");
        assert_eq!(status, 503);
        body.contains("examples/odd.yaml: line 2: ").then_some(())
    });
    assert_eq!(process.admin("/livez").0, 200);
    let client = process.client();
    let answer = process.post(&client, "/scheduler/filter", args("vm-network-a", &["host0"])).await;
    let answer: Value = answer.json().await.unwrap();
    assert!(answer["Error"].as_str().unwrap().contains("not synced"));
    fs::remove_file(process.folder.path().join("examples/odd.yaml")).unwrap();
    let _ready = process.ready();
}

/// What the plain port answers to a GET from this address, if it answers.
async fn get_from(address: &str, process: &Process) -> Option<String> {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(address.parse().unwrap()).unwrap();
    let mut stream = socket.connect(process.admin).await.ok()?;
    let request = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

/// Connections from this address, each of which has been answered once and says nothing more.
async fn idle_from(address: &str, process: &Process, count: usize) -> Vec<TcpStream> {
    let mut open = Vec::new();
    for _ in 0..count {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(address.parse().unwrap()).unwrap();
        let mut stream = socket.connect(process.admin).await.unwrap();
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok\n") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "an answer");
        }
        open.push(stream.into_std().unwrap());
    }
    open
}

#[tokio::test]
async fn connections_are_bounded_in_number_and_one_address_has_half_of_them() {
    // Nobody has connected to it yet: a connection counts a little longer than its client sees it.
    let process = Process::start(copy_of_project(), &[]);
    let is_closed = |stream: &TcpStream| {
        stream.set_nonblocking(true).unwrap();
        match (&*stream).read(&mut [0]) {
            Ok(bytes) => bytes == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    };
    // The server answers nobody who says nothing, and closes those beyond its bound.
    let open: Vec<TcpStream> =
        (0..32 + 8).map(|_| TcpStream::connect(process.admin).unwrap()).collect();
    until("eight to be closed", || {
        let closed = open.iter().filter(|stream| is_closed(stream)).count();
        assert!(closed <= 8, "{closed}");
        (closed == 8).then_some(())
    });
    until("the log to say so", || logged(&process.log, "too many connections are open"));
    // Two addresses have all of them, and say nothing.
    let more = idle_from("127.0.0.2:0", &process, 32).await;
    let probe = get_from("127.0.0.3:0", &process).await.unwrap();
    assert!(probe.starts_with("HTTP/1.1 200"), "a client with few gets a place: {probe}");
    until("the place to be lost by another one", || {
        let closed = open.iter().chain(&more).filter(|stream| is_closed(stream)).count();
        assert!(closed <= 8 + 1, "{closed}");
        (closed == 8 + 1).then_some(())
    });
    drop((open, more));
    until("a probe to be answered", || {
        let mut stream = TcpStream::connect(process.admin).unwrap();
        write!(stream, "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(())
    });
}

#[test]
fn log_lines_that_cant_be_written_are_lost_and_nothing_else() {
    let folder = copy_of_project();
    let mut process = Process::start(folder, &[]).ready();
    // Nobody reads the log any more: it is closed at its next line.
    process.log = Arc::default();
    for hosts in 7..=9 {
        let file = process.folder.path().join(format!("examples/{hosts}.yaml"));
        let host = format!("apiVersion: v1\nkind: Node\nmetadata: {{name: more{hosts}}}\n");
        fs::write(&file, host).unwrap();
        let count = format!("lanekeeper_objects{{kind=\"Node\"}} {hosts}\n");
        until("the new host, which is logged, to be counted", || {
            process.admin("/metrics").1.contains(&count).then_some(())
        });
    }
    process.signal("TERM");
    assert!(process.exit().success());
}

#[test]
fn a_head_of_more_than_64_kib_is_refused() {
    let process = Process::start(copy_of_project(), &[]).ready();
    for (size, is_read) in [(60 << 10, true), (65 << 10, false)] {
        let mut stream = TcpStream::connect(process.admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let field = "x".repeat(size);
        let _ = write!(stream, "GET /livez HTTP/1.1\r\nX: {field}\r\nConnection: close\r\n\r\n");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        assert_eq!(answer.starts_with("HTTP/1.1 200"), is_read, "{size}: {answer}");
    }
}

#[test]
fn with_a_certificate_that_has_expired_it_is_not_ready_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2020, 2, 1);
    let cert = params.self_signed(&key).unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(file("tls.crt"), cert.pem()).unwrap();
    fs::write(file("tls.key"), key.serialize_pem()).unwrap();
    let more = ["--tls-cert", &file("tls.crt"), "--tls-key", &file("tls.key")];
    let process = Process::start(copy_of_project(), &more);
    until("the report", || {
        let (status, body) = process.admin("/readyz?verbose");
        assert_eq!(status, 503);
        (body == "[-] the serving certificate has expired\nnot ready\n").then_some(())
    });
}

#[tokio::test]
async fn sigterm_makes_it_not_ready_then_drains_and_ends_well() {
    let mut process = Process::start(copy_of_project(), &[]).ready();
    let client = process.client();
    let answer = process.post(&client, "/validate", String::new()).await;
    assert_eq!((answer.status().as_u16(), answer.headers().get("connection")), (400, None));
    // A call in flight, so that there is something to wait for.
    let in_flight = half_a_request(&process, 10, 1).await;
    process.signal("TERM");
    until("not ready", || {
        let (status, body) = process.admin("/readyz");
        (status == 503 && body.contains("shutting down")).then_some(())
    });
    // Calls still come in until everybody has learned of it, each on a connection of its own.
    let answer = process.post(&client, "/validate", String::new()).await;
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.headers()["connection"], "close");
    drop((client, in_flight));
    assert!(process.exit().success());
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut process = Process::start(copy_of_project(), &[]).ready();
    let _in_flight = half_a_request(&process, 10, 1).await;
    process.signal("TERM");
    until("not ready", || (process.admin("/readyz").0 == 503).then_some(()));
    process.signal("TERM");
    assert_eq!(process.exit().code(), Some(2));
}

#[test]
fn what_keeps_it_from_starting_is_said_on_one_line_with_status_2() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let folder = copy_of_project();
    for (more, why) in [
        (vec!["--listen", &*taken], "can't listen on"),
        (vec!["--tls-cert", "no.crt", "--tls-key", "no.key"], "no.crt: No such file"),
    ] {
        let output = Command::new(program())
            .args([
                "serve",
                "--cluster",
                "examples",
                "--admin-listen",
                "127.0.0.1:0",
                "--ui-listen",
                "127.0.0.1:0",
            ])
            .args(&more)
            .current_dir(folder.path())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        let last = said.lines().last().unwrap();
        assert!(last.starts_with("lanekeeper: ") && last.contains(why), "{said}");
    }
}
