//! The cluster that every server knows, and what the scheduler asks about it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::{fmt, fs};

use serde_json::{Map, Value, json};

pub const HOSTS: usize = 15_000;
const CLUSTER_NETWORKS: usize = 64;
/// Labels that network configs select hosts by, and how many values each has.
const LABELS: usize = 8;
const VALUES: usize = 10;
/// The size of a node as the API server has it, in bytes.
const NODE_SIZE: usize = 10_400;
/// The most bodies of a case, and about how many bytes these may have together.
const MAX_BODIES: usize = 8;
const MAX_BODY_BYTES: usize = 128 << 20;
/// How many workers of kube-scheduler look for feasible hosts at the same time.
const WORKERS: usize = 8;

/// How the request names its candidates.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Names,
    Nodes,
}

/// The order of the candidates in a request.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Order {
    /// That of the scheduler's list of hosts.
    Listed,
    /// As several workers of the scheduler find them at the same time.
    Workers,
}

/// What the scheduler asks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    pub kind: Kind,
    pub candidates: usize,
    /// How many VM networks the pod is on.
    pub networks: usize,
    pub order: Order,
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.kind == Kind::Names { "names" } else { "full nodes" };
        let candidates = crate::report::thousands(self.candidates as u64);
        write!(f, "{candidates} {what}, {} VM network(s)", self.networks)
    }
}

/// A request's body, and the hosts that are to be kept.
pub struct Question {
    pub body: Vec<u8>,
    pub kept: BTreeSet<String>,
}

impl Ask {
    /// Requests as the scheduler sends them: each about the hosts that follow those of the last one.
    pub fn questions(self) -> Vec<Question> {
        let item = if self.kind == Kind::Names { 15 } else { NODE_SIZE };
        let count = (MAX_BODY_BYTES / (item * self.candidates)).clamp(2, MAX_BODIES);
        // Not a divisor of the number of hosts, so that the scheduler's start moves.
        (0..count).map(|turn| self.question(turn * (self.candidates + 1_237) % HOSTS)).collect()
    }

    fn question(self, first: usize) -> Question {
        let hosts: Vec<usize> =
            self.positions().into_iter().map(|at| (first + at) % HOSTS).collect();
        let mut body = format!("{{\"Pod\":{},\"Nodes\":", pod(self.networks));
        match self.kind {
            Kind::Names => {
                let names: Vec<_> = hosts.iter().map(|host| name(*host)).collect();
                let _ = write!(body, "null,\"NodeNames\":{}}}", json!(names));
            }
            Kind::Nodes => {
                body.push_str("{\"metadata\":{},\"items\":[");
                let template = node_template();
                for (position, host) in hosts.iter().enumerate() {
                    body.push_str(if position > 0 { "," } else { "" });
                    body.push_str(&node(&template, *host));
                }
                body.push_str("]},\"NodeNames\":null}");
            }
        }
        let is_kept = |host: &usize| (0..self.networks).all(|network| is_active(network, *host));
        let kept = hosts.into_iter().filter(is_kept).map(name).collect();
        Question { body: body.into_bytes(), kept }
    }

    /// The positions in the scheduler's list, counted from its start, in the order of the request.
    fn positions(self) -> Vec<usize> {
        if self.order == Order::Listed {
            return (0..self.candidates).collect();
        }
        // Each worker takes the next piece of the list, and all add to one list.
        let piece = HOSTS.isqrt();
        let mut workers = [const { 0..0 }; WORKERS];
        let (mut next, mut turn, mut found) = (0, 0, Vec::new());
        while found.len() < self.candidates {
            turn += 1;
            let worker = &mut workers[scatter(turn) % WORKERS];
            if let Some(at) = worker.next() {
                found.push(at);
            } else {
                *worker = next..HOSTS.min(next + piece);
                next = worker.end;
            }
        }
        found
    }
}

/// A number that looks random, and is always the same.
fn scatter(number: usize) -> usize {
    let mixed = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((mixed ^ (mixed >> 29)) >> 8) as usize
}

fn name(host: usize) -> String {
    format!("worker-{host:05}")
}

fn network(number: usize) -> String {
    format!("network-{number:02}")
}

/// The value of a host's label.
fn value(host: usize, label: usize) -> usize {
    scatter(host * LABELS + label) % VALUES
}

/// The label and the values that the configs of a cluster network select by. The first networks
/// have five of ten values, and so half of the hosts. There are 300 configs.
fn selected(network: usize) -> (usize, impl Iterator<Item = usize>) {
    let configs = if network < 44 { 5 } else { 4 };
    let first = network / LABELS;
    (network % LABELS, (0..configs).map(move |config| (first + config) % VALUES))
}

fn is_active(network: usize, host: usize) -> bool {
    let (label, mut values) = selected(network);
    values.any(|selected| selected == value(host, label))
}

/// Removes the white space between the tokens of a JSON text. Keeps the order of its members.
fn compact(json: &str) -> String {
    let (mut is_string, mut is_escaped) = (false, false);
    json.chars()
        .filter(|char| {
            let is_quote = *char == '"' && !is_escaped;
            is_escaped = is_string && *char == '\\' && !is_escaped;
            is_string ^= is_quote;
            is_string || !char.is_ascii_whitespace()
        })
        .collect()
}

/// A launcher pod of KubeVirt's, in the layout of Go's encoding/json.
fn pod(networks: usize) -> String {
    let asked = (0..networks).map(|number| {
        let name = network(number);
        format!(
            r#"{{"interface":"pod{number:08x}","mac":"52:54:00:00:00:{number:02x}","name":"{name}","namespace":"default"}}"#
        )
    });
    let asked = format!("[{}]", asked.collect::<Vec<_>>().join(","));
    compact(include_str!("pod.json")).replace("\"NETWORKS\"", &json!(asked).to_string())
}

/// A node in the layout of Go's encoding/json, without what differs from host to host.
fn node_template() -> String {
    let template = compact(include_str!("node.json"));
    let mut images = String::new();
    for image in 0.. {
        let digest = format!("{:064x}", scatter(image));
        let _ = write!(
            images,
            r#"{}{{"names":["registry.example.com/images/component-{image:02}@sha256:{digest}","registry.example.com/images/component-{image:02}:v1.4.{image}"],"sizeBytes":{}}}"#,
            if image > 0 { "," } else { "" },
            scatter(image) % 900_000_000 + 10_000_000,
        );
        if template.len() + images.len() > NODE_SIZE - 200 {
            break;
        }
    }
    template.replace(r#"{"names":["IMAGES"],"sizeBytes":1}"#, &images)
}

fn node(template: &str, host: usize) -> String {
    let labels: Vec<_> = (0..LABELS)
        .map(|label| format!(r#""example.com/uplink-{label}":"v{}""#, value(host, label)))
        .collect();
    template.replace(r#""example.com/LABELS":"""#, &labels.join(",")).replace("NAME", &name(host))
}

/// Writes the manifests that the servers read. Nodes have the labels that network configs select by.
pub fn write(folder: &Path) {
    let nodes = (0..HOSTS).map(|host| {
        let labels = (0..LABELS).map(|label| {
            (format!("example.com/uplink-{label}"), json!(format!("v{}", value(host, label))))
        });
        let labels: Map<_, _> =
            labels.chain([("kubernetes.io/hostname".to_owned(), json!(name(host)))]).collect();
        json!({ "apiVersion": "v1", "kind": "Node",
                "metadata": { "name": name(host), "labels": labels } })
    });
    let group = "network.harvesterhci.io/v1beta1";
    let cluster_networks = (0..CLUSTER_NETWORKS).map(|number| {
        json!({ "apiVersion": group, "kind": "ClusterNetwork",
                "metadata": { "name": network(number) } })
    });
    let configs = (0..CLUSTER_NETWORKS).flat_map(|number| {
        let (label, values) = selected(number);
        values.map(move |value| {
            json!({ "apiVersion": group, "kind": "VlanConfig",
                "metadata": { "name": format!("config-{number:02}-{value}") },
                "spec": { "clusterNetwork": network(number),
                          "nodeSelector": { format!("example.com/uplink-{label}"): format!("v{value}") },
                          "uplink": { "nics": [format!("ens{number}")] } } })
        })
    });
    let vm_networks = (0..CLUSTER_NETWORKS).map(|number| {
        let name = network(number);
        json!({ "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
                "metadata": { "name": name, "namespace": "default",
                    "labels": { "network.harvesterhci.io/clusternetwork": name } },
                "spec": { "config": json!({ "cniVersion": "0.3.1", "name": name, "type": "bridge",
                    "bridge": format!("{name}-br"), "vlan": 100, "ipam": {} }).to_string() } })
    });
    let list = |file: &str, items: &mut dyn Iterator<Item = Value>| {
        let items: Vec<_> = items.collect();
        let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
        fs::write(folder.join(file), list.to_string()).unwrap();
    };
    list("nodes.json", &mut nodes.into_iter());
    list("cluster-networks.json", &mut cluster_networks.into_iter());
    list("network-configs.json", &mut configs.into_iter());
    list("vm-networks.json", &mut vm_networks.into_iter());
}
