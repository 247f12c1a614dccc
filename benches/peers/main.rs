//! Our program beside its peers: a floor, which reads and answers the same bytes on our own server
//! stack and does nothing else, and a scheduler extender written in Go the usual way.
//!
//! `cargo bench --bench peers`; see its `--help` after `--`. Each server runs on one core and the
//! load on another one; one server at a time is asked, in rounds that take turns. Not timed by divan,
//! since what is compared are processes. Needs Go, and `taskset` for the cores. With
//! `--instructions`, counts instructions instead; that needs valgrind.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a benchmark that can't go on has failed, and prints what it found"
)]

mod cluster;
mod floor;
mod instructions;
mod load;
mod report;
mod servers;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fs, io};

use clap::Parser;
use clap::builder::ArgPredicate;
use rustls::ClientConfig;
use serde_json::Value;

use cluster::{Ask, Kind, Order, Question};
use load::{Connection, request};
use report::{Case, Measured};
use servers::{Program, Server, Setting};

/// As in our program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// After this time, a case begins no further round: sixteen requests of 52 MB at the same time take
/// the Go extender half a minute.
const CASE_TIME: Duration = Duration::from_secs(45);

/// Measures our program beside a floor and a Go extender. Without arguments: every size, from 1, 4
/// and 16 connections, and from one connection also three VM networks and --rejections=all.
#[derive(Parser)]
struct Arguments {
    /// Numbers of candidates: of names, or with "-nodes" behind them of full nodes.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "100,1000,5000,15000,100-nodes,1000-nodes,5000-nodes",
        default_value_if("instructions", ArgPredicate::IsPresent, "100,1000,15000,100-nodes,1000-nodes"),
        value_parser = size
    )]
    sizes: Vec<(Kind, usize)>,
    /// Numbers of connections.
    #[arg(long, value_delimiter = ',', default_value = "1,4,16")]
    connections: Vec<usize>,
    /// How many VM networks the pod is on.
    #[arg(long, value_delimiter = ',', default_value = "1,3")]
    networks: Vec<usize>,
    /// When our program names rejected hosts.
    #[arg(long, value_delimiter = ',', default_value = "needed,all", value_parser = ["needed", "all"])]
    rejections: Vec<String>,
    /// The order of the candidates.
    #[arg(long, value_enum, default_value = "listed")]
    order: Order,
    /// The most rounds of a case. After 45 seconds no further round begins.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long a round asks one server. It is warmed up for a fifth of that before.
    #[arg(long, default_value_t = 0.4)]
    seconds: f64,
    /// Another build of our program to measure in the same rounds. `ours` replaces that of this
    /// worktree. Repeatable.
    #[arg(long = "server", value_name = "NAME=PATH", value_parser = build)]
    servers: Vec<(String, PathBuf)>,
    /// Leave the Go extender out.
    #[arg(long)]
    no_go: bool,
    /// Count the instructions of our handler, our program and the floor with valgrind's callgrind
    /// instead: over one connection, with the first number of VM networks and the first value of
    /// --rejections. Takes minutes.
    #[arg(long)]
    instructions: bool,
    /// Where --instructions keeps what callgrind wrote, for its tool that lists functions.
    #[arg(long, value_name = "FOLDER", requires = "instructions")]
    profiles: Option<PathBuf>,
    /// What `cargo bench` passes.
    #[arg(long, hide = true)]
    bench: bool,
}

fn size(text: &str) -> Result<(Kind, usize), String> {
    let (number, kind) =
        text.strip_suffix("-nodes").map_or((text, Kind::Names), |number| (number, Kind::Nodes));
    match number.parse() {
        Ok(number @ 1..=cluster::HOSTS) => Ok((kind, number)),
        _ => Err(format!("a size is a number from 1 to {}", cluster::HOSTS)),
    }
}

fn build(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("NAME=PATH is expected")?;
    Ok((name.to_owned(), fs::canonicalize(path).map_err(|error: io::Error| error.to_string())?))
}

/// The programs, in the order in which they take turns.
fn programs(arguments: &Arguments) -> Vec<(String, Program)> {
    let mut programs: Vec<_> = arguments
        .servers
        .iter()
        .map(|(name, path)| (name.clone(), Program::Ours(path.clone())))
        .collect();
    if programs.iter().all(|(name, _)| name != "ours") {
        let ours = Program::Ours(env!("CARGO_BIN_EXE_lanekeeper").into());
        programs.insert(0, ("ours".to_owned(), ours));
    }
    programs.push(("floor".to_owned(), Program::Floor));
    if !arguments.no_go && !arguments.instructions {
        programs.push(("go".to_owned(), Program::Go(go_peer())));
    }
    programs
}

/// The encoding/json that Go has by default since 1.27. It takes a quarter less CPU time.
const GO_EXPERIMENT: (&str, &str) = ("GOEXPERIMENT", "jsonv2");

/// Builds the Go extender. Returns its path.
fn go_peer() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers/go");
    let peer = Path::new(env!("CARGO_BIN_EXE_lanekeeper")).with_file_name("peers").join("peer");
    let go = |arguments: &[&str]| {
        let mut command = Command::new("go");
        command.args(arguments).current_dir(&source).env(GO_EXPERIMENT.0, GO_EXPERIMENT.1);
        command
    };
    let built = go(&["build", "-o"]).arg(&peer).arg(".").status();
    assert!(built.expect("Go is needed, or --no-go").success(), "the Go extender does not build");
    let version = go(&["env", "GOVERSION"]).output().unwrap().stdout;
    println!("Go: {}, with {}", String::from_utf8_lossy(&version).trim(), GO_EXPERIMENT.1);
    peer
}

/// The hosts that a reply keeps.
fn kept(reply: &[u8]) -> BTreeSet<String> {
    let reply: Value = serde_json::from_slice(reply).unwrap();
    assert_eq!(reply["Error"], "");
    let items = reply["NodeNames"].as_array().or_else(|| reply["Nodes"]["items"].as_array());
    let name =
        |item: &Value| item.as_str().or(item["metadata"]["name"].as_str()).map(str::to_owned);
    items.unwrap().iter().filter_map(name).collect()
}

/// Holds the requests to what the Go types write.
fn check_layout(peer: &Path, body: &[u8], folder: &Path) {
    let file = folder.with_extension("body");
    fs::write(&file, body).unwrap();
    let body_of_go = Command::new(peer)
        .arg("layout")
        .stdin(Stdio::from(fs::File::open(&file).unwrap()))
        .output()
        .unwrap();
    assert!(body_of_go.stdout == body, "a request is not as Go writes it");
    fs::remove_file(file).unwrap();
}

/// What all cases share.
struct Bench {
    arguments: Arguments,
    programs: Vec<(String, Program)>,
    setting: Setting,
    client: Arc<ClientConfig>,
}

fn requests(questions: &[Question]) -> Vec<Vec<u8>> {
    let request = |question: &Question| request("POST", "/scheduler/filter", &question.body);
    questions.iter().map(request).collect()
}

impl Bench {
    /// Opens a connection, and checks what the server answers to each request. The floor answers
    /// with `reply`, which the first server sets.
    fn connect(
        &self,
        server: &Server,
        questions: &[Question],
        requests: &[Vec<u8>],
        reply: &mut Vec<u8>,
    ) -> Connection {
        let mut connection = Connection::open(&self.client, server.port);
        let is_floor = server.program == Program::Floor;
        if is_floor {
            connection.call(&request("PUT", "/reply", reply));
        }
        for (question, request) in questions.iter().zip(requests).rev() {
            let answer = connection.call(request);
            let expected = if is_floor { &questions[0].kept } else { &question.kept };
            assert!(kept(&answer) == *expected, "{} keeps other hosts", server.name);
            if server.name == self.programs[0].0 {
                *reply = answer;
            }
        }
        connection
    }

    fn case(&self, ask: Ask, connections: usize, rejections: &str) -> Case {
        let questions = ask.questions();
        if let Some((_, Program::Go(peer))) = self.programs.last() {
            check_layout(peer, &questions[0].body, &self.setting.folder);
        }
        let servers: Vec<_> = self
            .programs
            .iter()
            .map(|(name, program)| Server::start(name, program, &self.setting, rejections, None))
            .collect();
        let requests = requests(&questions);
        let mut reply = Vec::new();
        for server in &servers {
            self.connect(server, &questions, &requests, &mut reply);
            server.forget_peak();
        }
        let time = Duration::from_secs_f64(self.arguments.seconds);
        let mut rounds: Vec<Vec<_>> = servers.iter().map(|_| Vec::new()).collect();
        let begun = Instant::now();
        for round in 0..self.arguments.rounds {
            if round > 0 && begun.elapsed() > CASE_TIME {
                break;
            }
            for (server, rounds) in servers.iter().zip(&mut rounds) {
                rounds.push(load::round(&self.client, server, &requests, connections, time));
            }
        }
        let servers = servers.iter().zip(rounds).map(|(server, rounds)| Measured {
            name: server.name.clone(),
            is_ours: server.is_ours(),
            rounds,
            peak: server.peak(),
            at_rest: server.at_rest,
        });
        let rejections = rejections.to_owned();
        let (request, reply) = (questions[0].body.len(), reply.len());
        Case { ask, connections, rejections, request, reply, servers: servers.collect() }
    }

    /// Every case. What is not the first of its list is measured over the first number of
    /// connections alone.
    fn cases(&self) -> Vec<(Ask, usize, String)> {
        let Arguments { sizes, connections, networks, rejections, order, .. } = &self.arguments;
        let mut cases = Vec::new();
        for (turn, rejections) in rejections.iter().enumerate() {
            for (kind, candidates) in sizes.iter().copied() {
                for (variant, networks) in networks.iter().copied().enumerate() {
                    let is_main = turn == 0 && variant == 0;
                    if turn > 0 && variant > 0 {
                        continue;
                    }
                    let ask = Ask { kind, candidates, networks, order: *order };
                    let connections = &connections[..if is_main { connections.len() } else { 1 }];
                    for connections in connections {
                        cases.push((ask, *connections, rejections.clone()));
                    }
                }
            }
        }
        cases
    }

    /// Measures every case, and prints it.
    fn compare(&self) {
        let mut cases = Vec::new();
        for (ask, connections, rejections) in self.cases() {
            let case = self.case(ask, connections, &rejections);
            println!("{}", case.table());
            cases.push(case);
        }
        for (name, _) in self.programs.iter().filter(|(_, it)| matches!(it, Program::Ours(_))) {
            for rejections in &self.arguments.rejections {
                println!("{}", report::summary(&cases, name, rejections));
            }
        }
    }
}

fn main() {
    rustls::crypto::aws_lc_rs::default_provider().install_default().unwrap();
    let words: Vec<_> = std::env::args().skip(1).collect();
    if let [word, cert, key, address] = words.as_slice()
        && word == "floor"
    {
        floor::serve(cert, key, address);
        return;
    }
    if let [word, manifests, rejections] = words.as_slice()
        && word == "handler"
    {
        instructions::handler(manifests, rejections);
        return;
    }
    // `cargo test --benches` and the like only want to know that it is there.
    if !words.iter().any(|word| word == "--bench") {
        return;
    }
    let begun = Instant::now();
    let arguments = Arguments::parse();
    let programs = programs(&arguments);
    let folder = tempfile::tempdir().unwrap();
    let manifests = folder.path().join("cluster");
    fs::create_dir(&manifests).unwrap();
    cluster::write(&manifests);
    let files = lanekeeper::pki::for_development(&folder.path().join("tls")).unwrap();
    let client = load::client(&folder.path().join("tls/ca.crt"));
    let pinned = servers::pin_load();
    if !pinned {
        println!("There is one core only, or no taskset: nothing is pinned.");
    }
    let setting = Setting { folder: manifests, files, pinned };
    let bench = Bench { arguments, programs, setting, client };
    if bench.arguments.instructions {
        instructions::count(&bench);
    } else {
        bench.compare();
    }
    println!("took {:.0} s", begun.elapsed().as_secs_f64());
}
