//! How many pods a real scheduler places in a second: without an extender, with us, and with an
//! extender written in Go the usual way. For a run by hand, as those of `large`:
//! `LANEKEEPER_LARGE=1 cargo test --test live -- throughput:: --nocapture`.
//!
//! `LANEKEEPER_ROUNDS` is how often each case is measured, `LANEKEEPER_CASES` the names of cases,
//! separated by commas, and `LANEKEEPER_PROGRAM` the build of our program to measure, which should
//! be an optimized one. `LANEKEEPER_PROFILES` is a folder for CPU profiles of the scheduler and of the
//! API server in each case, for `go tool pprof`; taking them costs some of the rate.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs};

use futures_util::{StreamExt as _, future};
use http_body_util::BodyExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, WatchEvent, WatchParams};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::fixture::{
    ControlPlane, Lanekeeper, Process, cpu_of, free_port, program, project, until, within,
};
use crate::objects::{documents, launcher_pod, like, vmi};
use crate::waking::{all_labelled, host, labelled};

const HOSTS: usize = 5_000;
const PODS: u32 = 2_000;
/// The pods' VM network, and its cluster network.
const NETWORK: &str = "wide";
/// The label that the network config selects half of the hosts by.
const LABEL: &str = "example.com/uplink";
const KUBEVIRT_POD: &str = include_str!("../../benches/peers/pod.json");
/// How many connections make objects.
const CONNECTIONS: usize = 8;
/// How long the scheduler may take for all pods.
const SAMPLE_TIME: Duration = Duration::from_mins(5);
/// What is profiled: less time than the scheduler takes for all pods.
const PROFILE: &str = "/debug/pprof/profile?seconds=5";
/// More requests a second than the scheduler could send, so that its client does not limit it.
const UNLIMITED: usize = 5_000;

/// What the scheduler asks.
#[derive(Clone, Copy)]
enum Extender {
    Nobody,
    /// Nobody, though our program runs and watches.
    Unasked,
    /// Our program, with this value of `--rejections`, by these verbs.
    Ours(&'static str, &'static [&'static str]),
    /// The Go extender of the benchmark `peers`. It has the filter verb only.
    Go,
}

struct Case {
    name: &'static str,
    extender: Extender,
    /// Whether the scheduler's client is limited as in the configuration that we print.
    is_limited: bool,
    /// Further arguments of the scheduler.
    arguments: &'static [&'static str],
}

impl Case {
    const fn of(name: &'static str, extender: Extender) -> Self {
        Self { name, extender, is_limited: false, arguments: &[] }
    }

    const fn limited(self) -> Self {
        Self { is_limited: true, ..self }
    }
}

const ALL_VERBS: &[&str] = &["filter", "prioritize", "preempt"];
const SHIPPED_VERBS: &[&str] = &["filter", "preempt"];
const SHIPPED: Extender = Extender::Ours("needed", SHIPPED_VERBS);

const CASES: &[Case] = &[
    Case::of("none", Extender::Nobody),
    // Any extender turns this off.
    Case {
        arguments: &["--feature-gates=OpportunisticBatching=false"],
        ..Case::of("none-unbatched", Extender::Nobody)
    },
    Case::of("unasked", Extender::Unasked),
    Case::of("shipped", SHIPPED),
    Case::of("shipped-rejections-all", Extender::Ours("all", SHIPPED_VERBS)),
    Case::of("filter", Extender::Ours("needed", &["filter"])),
    Case::of("filter-prioritize", Extender::Ours("needed", &["filter", "prioritize"])),
    Case::of("go-filter", Extender::Go),
    Case::of("none-limited", Extender::Nobody).limited(),
    Case::of("shipped-limited", SHIPPED).limited(),
];

/// A running extender.
enum Running {
    Nobody,
    Ours(Lanekeeper),
    Go(Process),
}

impl Running {
    fn process(&self) -> Option<&Process> {
        match self {
            Self::Nobody => None,
            Self::Ours(ours) => Some(&ours.process),
            Self::Go(process) => Some(process),
        }
    }

    fn cpu(&self) -> Duration {
        self.process().map_or(Duration::ZERO, Process::cpu)
    }

    /// Ends it. Ours gives up its Lease, so that the next one leads at once.
    async fn stop(mut self) {
        if let Self::Ours(ours) = &mut self {
            ours.process.signal("TERM");
            until("our program to end", async || (!ours.process.is_running()).then_some(())).await;
        }
    }
}

/// What one scheduler did with all pods, from the first bind to the last one.
struct Sample {
    time: Duration,
    scheduler: Duration,
    extender: Duration,
    /// That of etcd too.
    api_server: Duration,
    /// What processes used that are not part of this.
    others: Duration,
}

impl Sample {
    fn rate(&self) -> f64 {
        f64::from(PODS - 1) / self.time.as_secs_f64()
    }
}

/// CPU times at one moment.
struct Times {
    at: Instant,
    scheduler: Duration,
    extender: Duration,
    api_server: Duration,
    /// Of all processes.
    machine: Duration,
    test: Duration,
}

impl Times {
    fn now(plane: &ControlPlane, scheduler: &Process, extender: &Running) -> Self {
        let machine = fs::read_to_string("/proc/stat").unwrap();
        let ticks: Vec<u64> = machine
            .lines()
            .next()
            .unwrap()
            .split_whitespace()
            .skip(1)
            .flat_map(str::parse)
            .collect();
        // user, nice, system, and the time of interrupts; not idle and iowait.
        let busy = ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6];
        Self {
            at: Instant::now(),
            scheduler: scheduler.cpu(),
            extender: extender.cpu(),
            api_server: plane.cpu(),
            machine: Duration::from_millis(busy * 10),
            test: cpu_of(std::process::id()),
        }
    }

    fn since(&self, first: &Self) -> Sample {
        let scheduler = self.scheduler.saturating_sub(first.scheduler);
        let extender = self.extender.saturating_sub(first.extender);
        let api_server = self.api_server.saturating_sub(first.api_server);
        let known = scheduler + extender + api_server + self.test.saturating_sub(first.test);
        let others = self.machine.saturating_sub(first.machine + known);
        Sample { time: self.at - first.at, scheduler, extender, api_server, others }
    }
}

/// A cluster, and the programs that are measured in it.
struct Setting {
    plane: ControlPlane,
    ours: PathBuf,
    peer: PathBuf,
    pods: Api<Pod>,
}

fn name(number: usize) -> String {
    format!("worker-{number:05}")
}

fn network_config() -> Value {
    let mut config = like("VlanConfig", NETWORK);
    config["spec"] = json!({
        "clusterNetwork": NETWORK, "nodeSelector": {LABEL: "yes"}, "uplink": {"nics": ["enp1s0"]},
    });
    config
}

fn vm_network() -> Value {
    let mut network = like("NetworkAttachmentDefinition", NETWORK);
    network["metadata"]["labels"] = json!({"network.harvesterhci.io/clusternetwork": NETWORK});
    network["spec"] = json!({"config": r#"{"type":"bridge","bridge":"wide-br","vlan":100}"#});
    network
}

/// A host that fits [`pod`], if it has the network.
fn kubevirt_host(number: usize) -> Value {
    let mut host = host(&name(number));
    let labels = &mut host["metadata"]["labels"];
    labels[LABEL] = json!(["yes", "no"][number % 2]);
    labels["kubernetes.io/arch"] = json!("amd64");
    labels["kubevirt.io/schedulable"] = json!("true");
    labels["machine-type.node.kubevirt.io/q35"] = json!("true");
    for part in ["capacity", "allocatable"] {
        let resources = &mut host["status"][part];
        resources["ephemeral-storage"] = json!("100Gi");
        resources["devices.kubevirt.io/kvm"] = json!("1000");
        resources["devices.kubevirt.io/vhost-net"] = json!("1000");
    }
    host
}

/// A VM's pod as KubeVirt makes it, with the node affinity that our webhook gives the VM. It has no
/// volumes on disks, which no one here would provide, and no preference of its owner's.
fn pod(number: u32) -> Value {
    let mut vmi = vmi(&format!("vm-{number:04}"), &[NETWORK]);
    vmi["metadata"]["uid"] = json!(format!("00000000-0000-0000-0000-{number:012}"));
    let own = launcher_pod(&vmi);
    let mut pod: Value = serde_json::from_str(KUBEVIRT_POD).unwrap();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod.as_object_mut().unwrap().remove("status");
    let metadata = &mut pod["metadata"];
    for member in ["generateName", "uid", "resourceVersion", "creationTimestamp"] {
        metadata.as_object_mut().unwrap().remove(member);
    }
    metadata["name"] = own["metadata"]["name"].clone();
    metadata["ownerReferences"] = own["metadata"]["ownerReferences"].clone();
    for part in ["labels", "annotations"] {
        let own = own["metadata"][part].as_object().unwrap().clone();
        metadata[part].as_object_mut().unwrap().extend(own);
    }
    let spec = &mut pod["spec"];
    spec["volumes"].as_array_mut().unwrap().retain(|it| it["persistentVolumeClaim"].is_null());
    spec["containers"][0].as_object_mut().unwrap().remove("volumeDevices");
    let affinity = spec["affinity"].as_object_mut().unwrap();
    affinity.remove("podAntiAffinity");
    let terms = "/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    spec["affinity"].pointer_mut(terms).unwrap()[0]["matchExpressions"] = json!([
        {"key": format!("network.harvesterhci.io/{NETWORK}"), "operator": "In", "values": ["true"]},
        {"key": "node-labeller.kubevirt.io/obsolete-host-model", "operator": "DoesNotExist"},
    ]);
    pod
}

/// Builds the Go extender with the encoding/json that Go has by default since 1.27.
fn build_peer(folder: &Path) -> PathBuf {
    let peer = folder.join("peer");
    let built = Command::new("go")
        .args(["build", "-o"])
        .arg(&peer)
        .arg(".")
        .current_dir(project().join("benches/peers/go"))
        .env("GOEXPERIMENT", "jsonv2")
        .status();
    assert!(built.unwrap().success(), "the Go extender's build");
    peer
}

impl Setting {
    async fn make() -> Self {
        let ours = env::var_os("LANEKEEPER_PROGRAM")
            .map_or_else(|| env!("CARGO_BIN_EXE_lanekeeper").into(), PathBuf::from);
        let plane = ControlPlane::start().await;
        let peer = build_peer(plane.folder.path());
        let pods = Api::namespaced(plane.client.clone(), "default");
        let setting = Self { plane, ours, peer, pods };
        let hosts: Vec<_> = (0..HOSTS).map(kubevirt_host).collect();
        setting.make_all("/api/v1/nodes", &hosts).await;
        let plane = &setting.plane;
        plane.install().await;
        plane.install_foreign_kinds().await;
        plane.create(&like("ClusterNetwork", NETWORK)).await;
        plane.create(&network_config()).await;
        plane.create(&vm_network()).await;
        let folder = plane.folder.path();
        for (file, items) in [
            ("nodes.json", hosts),
            ("network-configs.json", vec![network_config()]),
            ("vm-networks.json", vec![vm_network()]),
        ] {
            fs::write(folder.join(file), json!({"items": items}).to_string()).unwrap();
        }
        // The hosts get their labels, which later runs find.
        let ours = setting.start(SHIPPED).await;
        all_labelled(plane, HOSTS).await;
        within(SAMPLE_TIME, "the network's label", async || {
            (labelled(plane, NETWORK).await == HOSTS / 2).then_some(())
        })
        .await;
        ours.stop().await;
        setting
    }

    /// Makes objects, several at a time.
    async fn make_all(&self, path: &str, objects: &[Value]) {
        let requests = futures_util::stream::iter(objects).map(async |object| {
            let request = http::Request::post(path).header("content-type", "application/json");
            let request = request.body(object.to_string().into_bytes()).unwrap();
            self.plane.client.request::<Value>(request).await.unwrap();
        });
        requests.buffer_unordered(CONNECTIONS).for_each(async |()| {}).await;
    }

    async fn start(&self, extender: Extender) -> Running {
        let folder = self.plane.folder.path();
        let (cert, key) = (folder.join("tls/tls.crt"), folder.join("tls/tls.key"));
        let address = format!("127.0.0.1:{}", self.plane.port);
        match extender {
            Extender::Nobody => Running::Nobody,
            Extender::Unasked | Extender::Ours(..) => {
                let rejections = match extender {
                    Extender::Ours(rejections, _) => rejections,
                    _ => "needed",
                };
                let process = Process::start(
                    Command::new(&self.ours)
                        .arg("serve")
                        .arg("--kubeconfig")
                        .arg(self.plane.our_kubeconfig().await)
                        .arg("--tls-cert")
                        .arg(cert)
                        .arg("--tls-key")
                        .arg(key)
                        .args([
                            "--listen",
                            &address,
                            "--admin-listen",
                            "127.0.0.1:0",
                            "--ui-listen",
                            "127.0.0.1:0",
                        ])
                        .args(["--rejections", rejections])
                        .env_remove("RUST_LOG"),
                );
                Running::Ours(Lanekeeper::of(process).await.ready().await)
            }
            Extender::Go => {
                let mut command = Command::new(&self.peer);
                command.arg("serve").arg(folder).arg(cert).arg(key).arg(&address);
                let process = Process::start(&mut command);
                until("the Go extender", async || TcpStream::connect(&address).ok()).await;
                Running::Go(process)
            }
        }
    }

    /// The configuration that `lanekeeper manifests --scheduler` prints, for a case.
    fn start_scheduler(&self, case: &Case, port: u16) -> Process {
        let folder = self.plane.folder.path();
        let printed = Command::new(&self.ours)
            .args(["manifests", "--scheduler", "kubeadm", "--ca-file"])
            .arg(folder.join("tls/ca.crt"))
            .args(["--url", &format!("https://127.0.0.1:{}", self.plane.port)])
            .output()
            .unwrap();
        assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
        let mut config = documents(&String::from_utf8(printed.stdout).unwrap()).remove(0);
        config["leaderElection"] = json!({"leaderElect": false});
        let client = &mut config["clientConnection"];
        client["kubeconfig"] = json!(folder.join("admin.kubeconfig"));
        if !case.is_limited {
            client["qps"] = json!(UNLIMITED);
            client["burst"] = json!(UNLIMITED);
        }
        let verbs = match case.extender {
            Extender::Nobody | Extender::Unasked => {
                config["extenders"] = json!([]);
                &[]
            }
            Extender::Ours(_, verbs) => verbs,
            Extender::Go => &["filter"],
        };
        if let Some(Value::Object(extender)) = config.pointer_mut("/extenders/0") {
            for verb in ALL_VERBS {
                extender.remove(&format!("{verb}Verb"));
            }
            for verb in verbs {
                extender.insert(format!("{verb}Verb"), json!(verb));
            }
            extender.insert("weight".to_owned(), json!(1));
        }
        let file = folder.join("scheduler.yaml");
        fs::write(&file, config.to_string()).unwrap();
        let mut command = Command::new(program());
        command
            .args(["scheduler", "--bind-address=127.0.0.1", &format!("--secure-port={port}")])
            .arg("--authorization-always-allow-paths=/debug/pprof/*")
            .args(["--tls-cert-file".as_ref(), folder.join("tls/tls.crt").as_os_str()])
            .args(["--tls-private-key-file".as_ref(), folder.join("tls/tls.key").as_os_str()])
            .args(["--config".as_ref(), file.as_os_str()])
            .args(case.arguments);
        Process::start(&mut command)
    }

    /// Writes a profile of the API server, and of the scheduler on a port.
    async fn profile(&self, folder: &Path, case: &Case, port: u16) {
        let api_server = async {
            let request = http::Request::get(PROFILE).body(kube::client::Body::empty()).unwrap();
            let answer = self.plane.client.send(request).await.unwrap();
            answer.into_body().collect().await.unwrap().to_bytes()
        };
        let scheduler = async {
            let ca = fs::read(self.plane.folder.path().join("tls/ca.crt")).unwrap();
            let ca = reqwest::Certificate::from_pem(&ca).unwrap();
            let client = reqwest::Client::builder().tls_certs_only([ca]).no_proxy().build();
            let url = format!("https://localhost:{port}{PROFILE}");
            let answer = client.unwrap().get(url).send().await.unwrap();
            answer.error_for_status().unwrap().bytes().await.unwrap()
        };
        let (api_server, scheduler) = tokio::join!(api_server, scheduler);
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join(format!("{}-api-server.pprof", case.name)), api_server).unwrap();
        fs::write(folder.join(format!("{}-scheduler.pprof", case.name)), scheduler).unwrap();
    }

    async fn delete_pods(&self) {
        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        self.pods.delete_collection(&now, &ListParams::default()).await.unwrap();
        within(SAMPLE_TIME, "the pods to be gone", async || {
            let left = self.pods.list_metadata(&ListParams::default().limit(1)).await.unwrap();
            left.items.is_empty().then_some(())
        })
        .await;
    }

    async fn sample(&self, case: &Case) -> Sample {
        let extender = self.start(case.extender).await;
        let pods: Vec<_> = (0..PODS).map(pod).collect();
        self.make_all("/api/v1/namespaces/default/pods", &pods).await;
        // Tells of each pod once, when it is bound. Metadata alone, which cost little.
        let is_bound = WatchParams::default().fields("spec.nodeName!=").disable_bookmarks();
        let bound = self.pods.watch_metadata(&is_bound, "0").await.unwrap();
        let mut bound = std::pin::pin!(bound);
        let port = free_port();
        let scheduler = self.start_scheduler(case, port);
        let times = || Times::now(&self.plane, &scheduler, &extender);
        let (mut first, mut last, mut count) = (None, None, 0);
        let begun = Notify::new();
        let all = async {
            while count < PODS {
                if let WatchEvent::Added(_) = bound.next().await.unwrap().unwrap() {
                    first.get_or_insert_with(times);
                    begun.notify_one();
                    count += 1;
                }
            }
            last = Some(times());
        };
        let profiles = env::var_os("LANEKEEPER_PROFILES").map(PathBuf::from);
        let profile = async {
            if let Some(folder) = &profiles {
                begun.notified().await;
                self.profile(folder, case, port).await;
            }
        };
        let ended = tokio::time::timeout(SAMPLE_TIME, future::join(all, profile)).await;
        assert!(ended.is_ok(), "{count} pods bound:\n{}", scheduler.end_of_log());
        let sample = last.unwrap().since(&first.unwrap());
        if let (Extender::Ours(..), Running::Ours(ours)) = (case.extender, &extender) {
            let asked = ours.metric("lanekeeper_filter_requests_total", &[]).await;
            assert!(asked >= u64::from(PODS), "asked {asked} times");
        }
        drop(scheduler);
        extender.stop().await;
        self.delete_pods().await;
        sample
    }
}

/// A figure's median, and its smallest and largest value.
fn spread(values: impl IntoIterator<Item = f64>, digits: usize) -> String {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let (low, high) = (values[0], values[values.len() - 1]);
    let middle = f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2]);
    format!("{middle:.digits$} ({low:.digits$}..{high:.digits$})")
}

fn print_table(cases: &[&Case], samples: &BTreeMap<&str, Vec<Sample>>) {
    eprintln!(
        "| {:<22} | {:<22} | {:<20} | {:<20} | {:<20} | {:<20} | {:<17} |",
        "case",
        "pods/s",
        "of none",
        "scheduler CPU s",
        "extender CPU s",
        "API, etcd CPU s",
        "other load"
    );
    for case in cases {
        let of = &samples[case.name];
        let column = |figure: fn(&Sample) -> f64, digits| spread(of.iter().map(figure), digits);
        // A limited case is compared with the limited one that has no extender.
        let none = if case.is_limited { "none-limited" } else { "none" };
        let ratio = samples.get(none).map_or_else(String::new, |none| {
            spread(of.iter().zip(none).map(|(it, none)| it.rate() / none.rate()), 3)
        });
        eprintln!(
            "| {:<22} | {:<22} | {ratio:<20} | {:<20} | {:<20} | {:<20} | {:<17} |",
            case.name,
            column(Sample::rate, 1),
            column(|it| it.scheduler.as_secs_f64(), 2),
            column(|it| it.extender.as_secs_f64(), 2),
            column(|it| it.api_server.as_secs_f64(), 2),
            column(|it| it.others.as_secs_f64() / it.time.as_secs_f64(), 2),
        );
    }
}

/// Prints pods per second and CPU times of each case. The rounds take turns, and every second one
/// goes through the cases backwards.
pub async fn pods_per_second() {
    let rounds = env::var("LANEKEEPER_ROUNDS").map_or(3, |rounds| rounds.parse().unwrap());
    let wanted = env::var("LANEKEEPER_CASES").unwrap_or_default();
    let wanted: Vec<&str> = wanted.split(',').filter(|name| !name.is_empty()).collect();
    for name in &wanted {
        assert!(CASES.iter().any(|case| case.name == *name), "there is no case {name}");
    }
    let is_wanted = |case: &&Case| wanted.is_empty() || wanted.contains(&case.name);
    let cases: Vec<&Case> = CASES.iter().filter(is_wanted).collect();
    let setting = Setting::make().await;
    // What comes first is slower.
    setting.sample(&CASES[0]).await;
    let mut samples: BTreeMap<&str, Vec<Sample>> = BTreeMap::new();
    for round in 0..rounds {
        let mut turn = cases.clone();
        if round % 2 == 1 {
            turn.reverse();
        }
        for case in turn {
            let sample = setting.sample(case).await;
            eprintln!("round {round}, {}: {:.1} pods/s", case.name, sample.rate());
            samples.entry(case.name).or_default().push(sample);
        }
    }
    print_table(&cases, &samples);
}
