//! The servers, each a process of its own on one core.

use std::collections::HashMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lanekeeper::pki::Files;

use crate::instructions::callgrind;

/// How long a server may take to start. Under valgrind it takes several times as long.
const START_TIMEOUT: Duration = Duration::from_mins(5);
const CORE_OF_SERVERS: &str = "0";
const CORE_OF_LOAD: &str = "1";

/// What a server is.
#[derive(Clone, PartialEq, Eq)]
pub enum Program {
    /// A build of ours, by its path.
    Ours(PathBuf),
    Floor,
    Go(PathBuf),
}

/// What the servers read.
pub struct Setting {
    pub folder: PathBuf,
    pub files: Files,
    /// Whether load and servers have a core each.
    pub pinned: bool,
}

/// A running server; ended with this.
pub struct Server {
    pub name: String,
    pub program: Program,
    pub port: u16,
    /// Its memory once it was ready, in bytes.
    pub at_rest: u64,
    process: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Keeps the threads of this process on the core of the load. Returns whether there are two cores.
pub fn pin_load() -> bool {
    if thread::available_parallelism().unwrap().get() < 2 {
        return false;
    }
    let process = std::process::id().to_string();
    let pinned = Command::new("taskset")
        .args(["--all-tasks", "--cpu-list", "--pid", CORE_OF_LOAD, &process])
        .stdout(Stdio::null())
        .status();
    pinned.is_ok_and(|status| status.success())
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Asks over plain HTTP. Returns whether the answer is 200.
fn is_ready(port: u16) -> bool {
    let Ok(mut socket) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let mut answer = String::new();
    socket.write_all(request).is_ok()
        && socket.read_to_string(&mut answer).is_ok()
        && answer.starts_with("HTTP/1.1 200 ")
}

/// Lets a command run on one core.
fn on_core(core: &str, command: &Command) -> Command {
    let mut pinned = Command::new("taskset");
    pinned.args(["--cpu-list", core]).arg(command.get_program()).args(command.get_args());
    pinned
}

impl Server {
    /// Starts a server. With the path of a profile, it runs under callgrind.
    pub fn start(
        name: &str,
        program: &Program,
        setting: &Setting,
        rejections: &str,
        profile: Option<&Path>,
    ) -> Self {
        let (port, admin) = (free_port(), free_port());
        let address = format!("127.0.0.1:{port}");
        let Setting { folder, files, pinned } = setting;
        let path = match program {
            Program::Ours(path) | Program::Go(path) => path.clone(),
            Program::Floor => std::env::current_exe().unwrap(),
        };
        let mut command = match profile {
            Some(profile) => callgrind(&path, profile),
            None => Command::new(path),
        };
        if *pinned {
            command = on_core(CORE_OF_SERVERS, &command);
        }
        match program {
            Program::Ours(_) => command
                .args(["serve", "--cluster"])
                .arg(folder)
                .arg("--tls-cert")
                .arg(&files.cert)
                .arg("--tls-key")
                .arg(&files.key)
                .args(["--rejections", rejections, "--listen", &address])
                .args(["--admin-listen", &format!("127.0.0.1:{admin}")])
                .args(["--ui-listen", "127.0.0.1:0"])
                // Sixteen requests of 52 MB at the same time would be refused.
                .args(["--max-body-memory", "4GiB"]),
            Program::Floor => command.arg("floor").arg(&files.cert).arg(&files.key).arg(&address),
            Program::Go(_) => {
                command.arg("serve").arg(folder).arg(&files.cert).arg(&files.key).arg(&address)
            }
        };
        let process = command.stderr(Stdio::null()).spawn().unwrap();
        let name = name.to_owned();
        let mut server = Self { name, program: program.clone(), port, at_rest: 0, process };
        let begun = Instant::now();
        while !match program {
            Program::Ours(_) => is_ready(admin),
            Program::Floor | Program::Go(_) => TcpStream::connect(("127.0.0.1", port)).is_ok(),
        } {
            assert!(server.process.try_wait().unwrap().is_none(), "{} ended", server.name);
            assert!(begun.elapsed() < START_TIMEOUT, "{} is not ready", server.name);
            thread::sleep(Duration::from_millis(20));
        }
        server.at_rest = server.memory("VmRSS");
        server
    }

    /// The id of its process.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    pub fn is_ours(&self) -> bool {
        matches!(self.program, Program::Ours(_))
    }

    fn file(&self, name: &str) -> PathBuf {
        Path::new("/proc").join(self.id().to_string()).join(name)
    }

    fn memory(&self, figure: &str) -> u64 {
        let status = fs::read_to_string(self.file("status")).unwrap();
        let line = status.lines().find(|line| line.starts_with(figure)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
    }

    /// The most memory since [`Server::forget_peak`], in bytes.
    pub fn peak(&self) -> u64 {
        self.memory("VmHWM")
    }

    /// Lets the peak begin at what is used now.
    pub fn forget_peak(&self) {
        fs::write(self.file("clear_refs"), "5").unwrap();
    }

    /// The CPU time of each thread.
    pub fn cpu(&self) -> HashMap<String, Duration> {
        let threads = fs::read_dir(self.file("task")).unwrap().flatten();
        threads
            .filter_map(|thread| {
                let times = fs::read_to_string(thread.path().join("schedstat")).ok()?;
                let nanoseconds = times.split(' ').next()?.parse().ok()?;
                let id = thread.file_name().into_string().ok()?;
                Some((id, Duration::from_nanos(nanoseconds)))
            })
            .collect()
    }

    /// The CPU time since then. A thread that has ended meanwhile was idle: tokio ends those that
    /// were idle for longer than a round takes.
    pub fn cpu_since(&self, before: &HashMap<String, Duration>) -> Duration {
        let now = self.cpu();
        now.iter()
            .map(|(id, time)| time.saturating_sub(before.get(id).copied().unwrap_or_default()))
            .sum()
    }
}
