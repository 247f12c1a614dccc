//! The program as it is served, on manifests in a folder of its own.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::browser::until;
use crate::lines;
use crate::ports::free_port;

/// The folder of manifests, inside the server's own.
const CLUSTER: &str = "cluster";

/// The program's command.
pub fn lanekeeper() -> Command {
    Command::new(env!("CARGO_BIN_EXE_lanekeeper"))
}

/// A running `lanekeeper serve`.
pub struct Server {
    process: Option<Child>,
    folder: TempDir,
    page: SocketAddr,
}

impl Server {
    /// Serves a copy of the reference cluster.
    pub async fn of_the_examples() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        copy(&examples, &folder.path().join(CLUSTER));
        Self::start(folder).await
    }

    /// Serves these objects alone.
    pub async fn of(objects: &[Value]) -> Self {
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(CLUSTER)).unwrap();
        fs::write(folder.path().join(CLUSTER).join("all.json"), list.to_string()).unwrap();
        Self::start(folder).await
    }

    async fn start(folder: TempDir) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let (process, page) = serve(folder.path(), &address).await;
        Self { process: Some(process), folder, page }
    }

    /// Ends the process in order.
    pub async fn stop(&mut self) {
        let mut process = self.process.take().unwrap();
        let id = process.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &id]).status().unwrap().success());
        until("the end of the server", async || process.try_wait().unwrap()).await;
    }

    /// Starts it again on the same port, which the browser tries meanwhile.
    pub async fn start_again(&mut self) {
        let (process, page) = serve(self.folder.path(), &self.page.to_string()).await;
        assert_eq!(page, self.page);
        self.process = Some(process);
    }

    /// The folder of the manifests.
    pub fn cluster(&self) -> PathBuf {
        self.folder.path().join(CLUSTER)
    }

    /// Where the page is.
    pub fn url(&self) -> String {
        format!("http://{}/", self.page)
    }
}

async fn serve(folder: &Path, page: &str) -> (Child, SocketAddr) {
    let mut process = lanekeeper()
        .args(["serve", "--cluster", CLUSTER, "--ui-listen", page])
        .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .current_dir(folder)
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = lines::of(process.stderr.take().unwrap());
    let page = until("the address of the page", async || {
        let log = log.lock().unwrap();
        if let Some(status) = process.try_wait().unwrap() {
            panic!("the server ended with {status}:\n{}", log.join("\n"));
        }
        let line = log.iter().find(|line| line.contains("serving the web page"))?;
        let line: Value = serde_json::from_str(line).unwrap();
        Some(line["address"].as_str().unwrap().parse().unwrap())
    });
    let page = page.await;
    (process, page)
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
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
