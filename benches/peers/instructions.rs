//! The instructions of a request, counted by callgrind: those of the handler alone, and those of a
//! whole server.
//!
//! They hardly differ from run to run. Callgrind counts what a process executes itself, not what the
//! kernel does for it, and the processor that valgrind shows to a program has no AVX-512.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use lanekeeper::cluster::Options;
use lanekeeper::decide::filter::Rejections;
use lanekeeper::decide::review::Policy;
use lanekeeper::k8s::Decoder;
use lanekeeper::metrics::Metrics;
use lanekeeper::publish;
use lanekeeper::server::{App, Bodies, Calls, Settings};
use lanekeeper::source::Manifests;
use tower::ServiceExt as _;

use crate::cluster::{Ask, Kind, Question};
use crate::report::{ratio, thousands};
use crate::servers::{Program, Server, Setting};
use crate::{Arguments, Bench, floor, requests};

/// About how many bytes of requests are counted, and the most times that each body is asked.
const BYTES: usize = 1 << 20;
const MAX_TURNS: usize = 16;

/// Counts each size, and prints a line for it.
pub fn count(bench: &Bench) {
    let Bench { arguments, programs, setting, .. } = bench;
    let Arguments { sizes, networks, rejections, order, profiles, .. } = arguments;
    let (networks, rejections) = (networks[0], rejections[0].as_str());
    let version = Command::new("valgrind").arg("--version").output();
    let version = version.expect("valgrind is needed; on Debian, install the package valgrind");
    println!(
        "{}, user-space instructions per request, in thousands; --rejections={rejections}",
        String::from_utf8_lossy(&version.stdout).trim()
    );
    let temporary = setting.folder.with_file_name("profiles");
    let folder = profiles.as_ref().unwrap_or(&temporary);
    fs::create_dir_all(folder).unwrap();
    let folder = fs::canonicalize(folder).unwrap();
    let mut handler = Handler::start(setting, rejections, &folder.join("handler"));
    let mut counter = Counter::new(handler.process.id(), &folder.join("handler"));
    let mut servers: Vec<_> = programs
        .iter()
        .map(|(name, program)| {
            let profile = folder.join(name);
            let server = Server::start(name, program, setting, rejections, Some(&profile));
            let counter = Counter::new(server.id(), &profile);
            (server, counter)
        })
        .collect();
    let names = programs.iter().map(|(name, _)| name.clone());
    println!("{}", row("", ["handler".to_owned()].into_iter().chain(names)));
    for (kind, candidates) in sizes.iter().copied() {
        let ask = Ask { kind, candidates, networks, order: *order };
        let questions = ask.questions();
        let turns = (BYTES / questions[0].body.len()).clamp(1, MAX_TURNS);
        let per_request = |count: u64| count / (turns * questions.len()) as u64;
        let size = format!("{candidates}{}", if kind == Kind::Nodes { "-nodes" } else { "" });

        handler.prepare(&questions, setting);
        let mut counts = vec![per_request(counter.count(&size, || handler.ask(turns)))];
        let (requests, mut reply) = (requests(&questions), Vec::new());
        for (server, counter) in &mut servers {
            // This asks each question once already.
            let mut connection = bench.connect(server, &questions, &requests, &mut reply);
            let count = counter.count(&size, || {
                for request in (0..turns).flat_map(|_| &requests) {
                    connection.call(request);
                }
            });
            counts.push(per_request(count));
        }
        println!("{}", row(&ask.to_string(), counts.iter().map(|count| thousands(count / 1000))));
        let servers = programs.iter().zip(&counts[1..]);
        let (_, floor) = servers.clone().find(|((_, it), _)| *it == Program::Floor).unwrap();
        for ((name, _), count) in servers.filter(|((_, it), _)| *it != Program::Floor) {
            #[expect(clippy::cast_precision_loss, reason = "two digits are told")]
            let ratio = ratio(*count as f64 / *floor as f64);
            println!("    {name} ÷ floor: {ratio}");
        }
    }
}

fn row(title: &str, cells: impl Iterator<Item = String>) -> String {
    let mut row = format!("  {title:<36}");
    for cell in cells {
        let _ = write!(row, "{cell:>12}");
    }
    row
}

/// A program under callgrind, which counts nothing until a [`Counter`] says so. The arguments are to
/// be added.
pub fn callgrind(program: &Path, profile: &Path) -> Command {
    let mut option = OsString::from("--callgrind-out-file=");
    option.push(profile);
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--instr-atstart=no"]).arg(option).arg(program);
    command
}

/// Counts what a process under callgrind executes.
struct Counter {
    process: u32,
    profile: PathBuf,
    /// How many profiles were written. Their names end with their numbers.
    written: usize,
}

impl Counter {
    fn new(process: u32, profile: &Path) -> Self {
        Self { process, profile: profile.to_owned(), written: 0 }
    }

    /// Tells callgrind something, and waits until it is done.
    fn tell(&self, words: &[&str]) {
        let mut command = Command::new("vgdb");
        command.arg(format!("--pid={}", self.process)).args(words);
        let output = command.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "valgrind does not answer: {error}");
    }

    /// Returns how many instructions the process executes meanwhile.
    fn count(&mut self, size: &str, work: impl FnOnce()) -> u64 {
        self.tell(&["zero"]);
        // Turned on for each count alone: callgrind_annotate takes the callees of a function that
        // was entered before the last `zero` for the function itself.
        self.tell(&["instrumentation", "on"]);
        work();
        self.tell(&["dump"]);
        self.tell(&["instrumentation", "off"]);
        self.written += 1;
        let written = self.profile.with_added_extension(self.written.to_string());
        let profile = self.profile.with_added_extension(size);
        fs::rename(written, &profile).unwrap();
        let profile = fs::read_to_string(profile).unwrap();
        let total = profile.lines().find_map(|line| line.strip_prefix("totals: ")).unwrap();
        total.parse().unwrap()
    }
}

/// Our handler in a process of its own, without sockets, TLS and HTTP.
struct Handler {
    process: Child,
    answers: BufReader<ChildStdout>,
}

impl Drop for Handler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Handler {
    fn start(setting: &Setting, rejections: &str, profile: &Path) -> Self {
        let mut process = callgrind(&std::env::current_exe().unwrap(), profile)
            .arg("handler")
            .arg(&setting.folder)
            .arg(rejections)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        let mut handler = Self { process, answers };
        handler.wait();
        handler
    }

    /// Waits until the handler has done what it was told.
    fn wait(&mut self) {
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        assert_eq!(line, "done\n", "the handler failed");
    }

    fn tell(&mut self, word: &str) {
        writeln!(self.process.stdin.as_ref().unwrap(), "{word}").unwrap();
        self.wait();
    }

    /// Hands over the questions. The handler answers each of them once already.
    fn prepare(&mut self, questions: &[Question], setting: &Setting) {
        let folder = setting.folder.with_file_name("questions");
        fs::create_dir(&folder).unwrap();
        for (number, question) in questions.iter().enumerate() {
            fs::write(folder.join(number.to_string()), &question.body).unwrap();
        }
        self.tell(folder.to_str().unwrap());
        fs::remove_dir_all(folder).unwrap();
    }

    fn ask(&mut self, turns: usize) {
        self.tell(&turns.to_string());
    }
}

/// The process of a [`Handler`]. A line of its input is a folder of requests to read, or how often
/// to answer those that were read.
pub fn handler(manifests: &str, rejections: &str) {
    let calls = calls(manifests, rejections);
    let runtime = floor::runtime();
    let mut bodies: Vec<Bytes> = Vec::new();
    println!("done");
    for line in io::stdin().lines() {
        let line = line.unwrap();
        let turns = line.parse().unwrap_or_else(|_| {
            let files = fs::read_dir(&line).unwrap();
            bodies = files.map(|file| fs::read(file.unwrap().path()).unwrap().into()).collect();
            1
        });
        for body in (0..turns).flat_map(|_| &bodies) {
            runtime.block_on(answer(calls.clone(), body.clone()));
        }
        println!("done");
    }
}

fn calls(manifests: &str, rejections: &str) -> Calls {
    let mut manifests = Manifests::new(manifests.into(), Decoder::default(), Options::default());
    let (publisher, snapshots) = publish::channel();
    publisher.publish(manifests.read().unwrap(), Duration::ZERO);
    let settings = Settings {
        decoder: Decoder::default(),
        rejections: if rejections == "all" { Rejections::All } else { Rejections::Needed },
        max_filter_body: 128 << 20,
        policy: Policy::default(),
        clients_only: false,
    };
    let metrics = Arc::new(Metrics::new().unwrap());
    let app = App::new(settings, snapshots, None, metrics, Bodies::with_room(1 << 30));
    Calls::new(Arc::new(app))
}

async fn answer(calls: Calls, body: Bytes) {
    let request = Request::post("/scheduler/filter").body(Body::from(body)).unwrap();
    let mut answer = calls.oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    while let Some(frame) = answer.body_mut().frame().await {
        frame.unwrap();
    }
}
