#![allow(dead_code, reason = "each benchmark uses a part of it")]
//! A large cluster, as facts: 15,000 hosts, 64 cluster networks, 300 network configs, 100,000 VMs with
//! their running instances and launcher pods.

use lanekeeper::cluster::{
    Change, ClusterNetwork, Fact, Host, Index, Key, Kind, LauncherPod, Mac, NetworkConfig, Now,
    ObjectRef, Options, Selection, Uid, Vm, VmNetwork, Vmi,
};

pub const HOSTS: usize = 15_000;
pub const NETWORKS: usize = 64;
pub const CONFIGS: usize = 300;
pub const VMIS: usize = 100_000;
/// Labels that a Node has besides those that network configs select.
pub const LABELS: usize = 20;

pub fn change(kind: Kind, key: Key, fact: Fact) -> Change {
    Change { object: ObjectRef { kind, key }, now: Now::Is(fact) }
}

pub fn host(number: usize, turn: usize) -> Change {
    let selected = format!("rack-{}", (number + turn) % CONFIGS);
    let labels = (0..LABELS)
        .map(|label| {
            (format!("example.com/label-{label}"), format!("value-{}", number % (label + 1)))
        })
        .chain([
            ("rack".to_owned(), selected),
            ("kubernetes.io/hostname".to_owned(), format!("worker-{number:05}")),
        ]);
    let facts = Host { labels: labels.collect(), witness: false };
    change(Kind::Host, Key::cluster_scoped(format!("worker-{number:05}")), Fact::Host(facts))
}

pub fn network(number: usize) -> String {
    format!("network-{}", number % NETWORKS)
}

pub fn changes() -> impl Iterator<Item = Change> {
    let networks = (0..NETWORKS).map(|number| {
        let key = Key::cluster_scoped(network(number));
        change(Kind::ClusterNetwork, key, Fact::ClusterNetwork(ClusterNetwork::default()))
    });
    let vm_networks = (0..NETWORKS).map(|number| {
        let facts = VmNetwork { label: Some(network(number).into()), ..VmNetwork::default() };
        let key = Key::in_namespace("default", &format!("net-{number}"));
        change(Kind::VmNetwork, key, Fact::VmNetwork(facts))
    });
    let configs = (0..CONFIGS).map(|number| {
        let facts = NetworkConfig {
            cluster_network: network(number).into(),
            selector: [("rack", format!("rack-{number}"))].into_iter().collect(),
            nics: ["enp7s0".into(), "enp8s0".into()].into(),
            options: Box::default(),
            named_after: None,
            deleting: false,
            label: None,
            description: "".into(),
        };
        let key = Key::cluster_scoped(format!("config-{number}"));
        change(Kind::NetworkConfig, key, Fact::NetworkConfig(facts))
    });
    networks.chain(vm_networks).chain(configs).chain((0..HOSTS).map(|number| host(number, 0)))
}

/// The MAC address of a VM.
pub fn mac(number: usize) -> Mac {
    let [_, _, _, _, _, bytes @ ..] = number.to_be_bytes();
    let [high, middle, low] = bytes;
    Mac([0x52, 0x54, 0x00, high, middle, low])
}

fn networks(number: usize) -> Selection {
    Selection::of(vec![vm_network(number)], Vec::new())
}

fn vm_network(number: usize) -> Key {
    Key::in_namespace("default", &format!("net-{}", number % NETWORKS))
}

/// The key of a VM and its VMI.
fn vm_key(number: usize) -> Key {
    Key::in_namespace("default", &format!("vm-{number:06}"))
}

fn uid(number: usize) -> Uid {
    Uid::from(&*format!("5f0c3a52-6f0e-4a4e-9a53-{number:012}"))
}

/// The host that a VM runs on.
fn host_of(number: usize) -> String {
    format!("worker-{:05}", number % HOSTS)
}

pub fn vms(count: usize) -> impl Iterator<Item = Change> {
    (0..count).map(|number| {
        let facts = Vm {
            networks: networks(number).into(),
            macs: [(mac(number), vm_network(number))].into(),
            ..Vm::default()
        };
        change(Kind::Vm, vm_key(number), Fact::Vm(facts))
    })
}

pub fn vmis(count: usize) -> impl Iterator<Item = Change> {
    (0..count).map(|number| {
        let facts = Vmi {
            uid: uid(number),
            networks: networks(number).into(),
            host: Some(host_of(number).into()),
            ..Vmi::default()
        };
        change(Kind::Vmi, vm_key(number), Fact::Vmi(facts))
    })
}

pub fn pods(count: usize) -> impl Iterator<Item = Change> {
    (0..count).map(|number| {
        let facts = LauncherPod {
            unattached: Box::default(),
            waiting: None,
            vmi: vm_key(number),
            vmi_uid: uid(number),
            ended: false,
            host: Some(host_of(number).into()),
            networks: networks(number).into(),
        };
        let name = format!("virt-launcher-vm-{number:06}-x7k2p");
        change(Kind::LauncherPod, Key::in_namespace("default", &name), Fact::LauncherPod(facts))
    })
}

/// VMs, their running instances and launcher pods.
pub fn workload(count: usize) -> impl Iterator<Item = Change> {
    vms(count).chain(vmis(count)).chain(pods(count))
}

pub fn synced() -> Index {
    let mut index = Index::new(Options::default());
    for kind in Kind::ALL {
        index.listed(kind);
    }
    index
}

pub fn fill(index: &mut Index, changes: impl IntoIterator<Item = Change>) {
    for change in changes {
        index.apply(change);
    }
}

pub fn built() -> Index {
    let mut index = synced();
    fill(&mut index, changes());
    index
}
