//! A control plane for one test: etcd, kube-apiserver and, where asked for, kube-scheduler, on free
//! ports, and our own program beside them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kube::Client;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::objects::{documents, node_status};

/// How long a condition is waited for.
pub const PATIENCE: Duration = Duration::from_mins(1);

pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The fixture's program, where it could be built.
pub fn program() -> PathBuf {
    project().join("target/control-plane/control-plane")
}

/// Builds it, where there is Go.
pub fn build() -> bool {
    if Command::new("go").arg("version").output().is_err() {
        return false;
    }
    let built = Command::new(project().join("tests/control-plane/build")).arg(program()).status();
    assert!(built.unwrap().success(), "the control plane's build");
    true
}

/// A process that ends with the test.
pub struct Process {
    child: Child,
    pub log: Arc<Mutex<Vec<String>>>,
}

impl Process {
    pub fn start(command: &mut Command) -> Self {
        // The fixture ends when its standard input does, so with the tests, however they end.
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = log.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        Self { child, log }
    }

    pub fn said(&self, what: &str) -> bool {
        self.log.lock().unwrap().iter().any(|line| line.contains(what))
    }

    fn end_of_log(&self) -> String {
        let log = self.log.lock().unwrap();
        log.iter().rev().take(15).rev().cloned().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits until something holds.
pub async fn until<T>(what: &str, mut holds: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(it) = holds().await {
            return it;
        }
        assert!(started.elapsed() < PATIENCE, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A running control plane.
pub struct ControlPlane {
    pub folder: TempDir,
    etcd_port: u16,
    api_port: u16,
    /// The port that our own program is to have.
    pub port: u16,
    extra: Vec<String>,
    _etcd: Process,
    api: Option<Process>,
    scheduler: Option<Process>,
    /// As an administrator.
    pub client: Client,
}

impl ControlPlane {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With further arguments for the API server.
    pub async fn with(extra: &[&str]) -> Self {
        Self::prepared(|_, _| extra.iter().map(|&it| it.to_owned()).collect()).await
    }

    /// With arguments that speak of files in the folder, or of the port that our program is to have.
    pub async fn prepared(arguments: impl FnOnce(&Path, u16) -> Vec<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let (etcd_port, api_port, port) = (free_port(), free_port(), free_port());
        let etcd = Process::start(
            Command::new(program())
                .arg("etcd")
                .arg(path.join("etcd"))
                .arg(format!("127.0.0.1:{etcd_port}")),
        );
        fs::write(path.join("tokens.csv"), "admin-token,admin,admin,system:masters\n").unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        fs::write(path.join("sa.key"), key.serialize_pem()).unwrap();
        fs::write(path.join("sa.pub"), key.public_key_pem()).unwrap();
        lanekeeper::pki::for_development(&path.join("tls")).unwrap();
        let extra = arguments(path, port);
        let api = start_api_server(path, etcd_port, api_port, &extra);
        until("the API server's certificate", async || {
            path.join("certs/apiserver.crt").exists().then_some(())
        })
        .await;
        let kubeconfig = kubeconfig(path, api_port, "admin-token");
        fs::write(path.join("admin.kubeconfig"), &kubeconfig).unwrap();
        let client = client(&kubeconfig).await;
        let mut plane = Self {
            folder,
            etcd_port,
            api_port,
            port,
            extra,
            _etcd: etcd,
            api: Some(api),
            scheduler: None,
            client,
        };
        plane.wait_for_api_server().await;
        plane
    }

    async fn wait_for_api_server(&mut self) {
        let started = Instant::now();
        loop {
            // One that is starting may take a connection and never answer on it.
            let request = http::Request::get("/readyz").body(Vec::new()).unwrap();
            let soon = Duration::from_secs(2);
            let answer = tokio::time::timeout(soon, self.client.request_text(request)).await;
            if answer.is_ok_and(|answer| answer.is_ok_and(|text| text == "ok")) {
                return;
            }
            let api = self.api.as_mut().unwrap();
            let is_running = api.child.try_wait().unwrap().is_none();
            let log = api.end_of_log();
            let in_time = started.elapsed() < PATIENCE;
            assert!(is_running && in_time, "the API server is not ready:\n{log}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn stop_api_server(&mut self) {
        self.api = None;
    }

    pub async fn start_api_server(&mut self) {
        let path = self.folder.path();
        self.api = Some(start_api_server(path, self.etcd_port, self.api_port, &self.extra));
        self.wait_for_api_server().await;
    }

    /// Drops etcd's history: a watch that would go on from it is refused.
    pub fn compact(&self) {
        let done = Command::new(program())
            .args(["compact", &format!("127.0.0.1:{}", self.etcd_port)])
            .stdin(Stdio::piped())
            .status();
        assert!(done.unwrap().success());
    }

    /// kube-scheduler, with the configuration that we ship and this cluster's addresses in it.
    pub fn start_scheduler(&mut self) {
        self.start_scheduler_as(None);
    }

    /// The same, which shows a client certificate when it calls us.
    pub fn start_scheduler_as(&mut self, known: Option<&ClientCertificate>) {
        let path = self.folder.path();
        let shipped = fs::read_to_string(project().join("manifests/kube-scheduler/config.yaml"));
        let mut config: Value = serde_saphyr::from_str(&shipped.unwrap()).unwrap();
        let client = &mut config["clientConnection"];
        client["kubeconfig"] = json!(path.join("admin.kubeconfig"));
        client["qps"] = json!(1000);
        client["burst"] = json!(1000);
        config["leaderElection"] = json!({"leaderElect": false});
        let extender = &mut config["extenders"][0];
        extender["urlPrefix"] = json!(format!("https://localhost:{}/scheduler", self.port));
        extender["tlsConfig"]["caFile"] = json!(path.join("tls/ca.crt"));
        if let Some(known) = known {
            extender["tlsConfig"]["certFile"] = json!(known.cert);
            extender["tlsConfig"]["keyFile"] = json!(known.key);
        }
        let file = path.join("scheduler.yaml");
        fs::write(&file, config.to_string()).unwrap();
        let scheduler = Process::start(
            Command::new(program())
                .args(["scheduler", "--secure-port=0", "--v=2", "--config"])
                .arg(file),
        );
        self.scheduler = Some(scheduler);
    }

    /// What `lanekeeper manifests` prints for this cluster.
    pub fn manifests(&self) -> Vec<Value> {
        let printed = Command::new(env!("CARGO_BIN_EXE_lanekeeper"))
            .arg("manifests")
            .args(["--url", &format!("https://localhost:{}", self.port), "--ca-file"])
            .arg(self.folder.path().join("tls/ca.crt"))
            .output()
            .unwrap();
        assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
        documents(&String::from_utf8(printed.stdout).unwrap())
    }

    /// Applies all of it but the webhooks, so that objects can be made before our program runs.
    pub async fn install(&self) {
        for document in self.manifests() {
            if !document["kind"].as_str().unwrap().ends_with("WebhookConfiguration") {
                self.apply(&document).await;
            }
        }
    }

    /// Applies the webhooks.
    pub async fn install_webhooks(&self) {
        for document in self.manifests() {
            if document["kind"].as_str().unwrap().ends_with("WebhookConfiguration") {
                self.apply(&document).await;
            }
        }
    }

    /// KubeVirt's and Multus's kinds.
    pub async fn install_foreign_kinds(&self) {
        let text = fs::read_to_string(project().join("tests/live/foreign-kinds.yaml")).unwrap();
        for document in documents(&text) {
            self.apply(&document).await;
        }
    }

    /// The reference cluster: what its files hold, without VMIs and pods.
    pub async fn apply_examples(&self) {
        for file in ["hosts", "cluster-networks", "network-configs", "vm-networks", "vms"] {
            let path = project().join("examples").join(file).with_extension("yaml");
            for mut object in documents(&fs::read_to_string(path).unwrap()) {
                if object["kind"] == "Node" {
                    object["status"] = node_status();
                }
                self.apply(&object).await;
            }
        }
    }

    /// A kubeconfig of our own account, with the rights that we ship.
    async fn our_kubeconfig(&self) -> PathBuf {
        let request = http::Request::post(
            "/api/v1/namespaces/lanekeeper-system/serviceaccounts/lanekeeper/token",
        )
        .header("content-type", "application/json")
        .body(
            json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}})
                .to_string()
                .into_bytes(),
        )
        .unwrap();
        let answer: Value = self.client.request(request).await.unwrap();
        let token = answer["status"]["token"].as_str().unwrap();
        let file = self.folder.path().join("lanekeeper.kubeconfig");
        fs::write(&file, kubeconfig(self.folder.path(), self.api_port, token)).unwrap();
        file
    }

    /// Our program, under its own account; ready or not.
    pub async fn lanekeeper(&self) -> Lanekeeper {
        self.lanekeeper_with(&[]).await
    }

    /// The same, with further arguments.
    pub async fn lanekeeper_with(&self, extra: &[&str]) -> Lanekeeper {
        let kubeconfig = self.our_kubeconfig().await;
        let path = self.folder.path();
        let process = Process::start(
            Command::new(env!("CARGO_BIN_EXE_lanekeeper"))
                .arg("serve")
                .arg("--kubeconfig")
                .arg(kubeconfig)
                .arg("--tls-cert")
                .arg(path.join("tls/tls.crt"))
                .arg("--tls-key")
                .arg(path.join("tls/tls.key"))
                .args(["--listen", &format!("127.0.0.1:{}", self.port)])
                .args(["--admin-listen", "127.0.0.1:0"])
                .args(extra)
                .env("RUST_LOG", "debug,hyper=info,rustls=info,tower=info,kube=info"),
        );
        let admin = until("our address", async || {
            let log = process.log.lock().unwrap();
            let line = log.iter().find(|line| line.contains("serving probes and metrics"))?;
            let line: Value = serde_json::from_str(line).unwrap();
            Some(line["address"].as_str().unwrap().to_owned())
        })
        .await;
        Lanekeeper { process, admin }
    }
}

/// Our program.
pub struct Lanekeeper {
    pub process: Process,
    admin: String,
}

impl Lanekeeper {
    pub async fn readiness(&self) -> (bool, String) {
        let answer = reqwest::get(format!("http://{}/readyz?verbose", self.admin)).await.unwrap();
        (answer.status().is_success(), answer.text().await.unwrap())
    }

    pub async fn ready(self) -> Self {
        until("readiness", async || self.readiness().await.0.then_some(())).await;
        self
    }

    /// Whether a metric has a sample with this label.
    pub async fn metric_is_there(&self, name: &str, label: &str) -> bool {
        let answer = reqwest::get(format!("http://{}/metrics", self.admin)).await.unwrap();
        let text = answer.text().await.unwrap();
        text.lines().any(|line| line.starts_with(name) && line.contains(label))
    }

    /// The sum of a metric's samples whose name and labels hold all of these.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> u64 {
        let answer = reqwest::get(format!("http://{}/metrics", self.admin)).await.unwrap();
        let text = answer.text().await.unwrap();
        let samples = text.lines().filter(|line| {
            line.starts_with(name) && labels.iter().all(|label| line.contains(label))
        });
        samples.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }
}

/// A certificate by which a client is known, and the CA that issued it.
pub struct ClientCertificate {
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
}

impl ClientCertificate {
    /// Makes one, with a CA of its own.
    pub fn make(folder: &Path) -> Self {
        let made = Self {
            ca: folder.join("client-ca.crt"),
            cert: folder.join("client.crt"),
            key: folder.join("client.key"),
        };
        let ca_key = rcgen::KeyPair::generate().unwrap();
        let mut ca = rcgen::CertificateParams::default();
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        fs::write(&made.ca, ca.self_signed(&ca_key).unwrap().pem()).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let mut client = rcgen::CertificateParams::new(["client".to_owned()]).unwrap();
        client.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let issuer = rcgen::Issuer::from_params(&ca, &ca_key);
        fs::write(&made.cert, client.signed_by(&key, &issuer).unwrap().pem()).unwrap();
        fs::write(&made.key, key.serialize_pem()).unwrap();
        made
    }
}

fn start_api_server(path: &Path, etcd_port: u16, port: u16, extra: &[String]) -> Process {
    let at = |name: &str| path.join(name).display().to_string();
    Process::start(
        Command::new(program())
            .arg("apiserver")
            .args([
                format!("--etcd-servers=http://127.0.0.1:{etcd_port}"),
                format!("--secure-port={port}"),
                "--bind-address=127.0.0.1".to_owned(),
                "--advertise-address=127.0.0.1".to_owned(),
                "--endpoint-reconciler-type=none".to_owned(),
                format!("--cert-dir={}", at("certs")),
                format!("--token-auth-file={}", at("tokens.csv")),
                "--authorization-mode=RBAC".to_owned(),
                // Nobody makes default service accounts here, nor takes a new node's taint off.
                "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition".to_owned(),
                "--service-account-issuer=https://test".to_owned(),
                format!("--service-account-key-file={}", at("sa.pub")),
                format!("--service-account-signing-key-file={}", at("sa.key")),
                "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            ])
            .args(extra),
    )
}

fn kubeconfig(path: &Path, port: u16, token: &str) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {
            "server": format!("https://127.0.0.1:{port}"),
            "certificate-authority": path.join("certs/apiserver.crt"),
        }}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    })
    .to_string()
}

async fn client(kubeconfig: &str) -> Client {
    let kubeconfig = Kubeconfig::from_yaml(kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    Client::try_from(config).unwrap()
}
