//! The index at 15,000 hosts, 64 cluster networks and 300 network configs: one change of a host, and
//! a rebuild; and the memory that it takes with 100,000 VMIs and their launcher pods.

use std::cell::Cell;
use std::fs;

use divan::Bencher;
use lanekeeper::cluster::{
    Change, ClusterNetwork, Fact, Host, Index, Key, Kind, LauncherPod, NetworkConfig, Now,
    ObjectRef, Options, Selection, Snapshot, UplinkOptions, VmNetwork, Vmi,
};

const HOSTS: usize = 15_000;
const NETWORKS: usize = 64;
const CONFIGS: usize = 300;
const VMIS: usize = 100_000;
/// Labels that a Node has besides those that network configs select.
const LABELS: usize = 20;

fn main() {
    let before = resident();
    let mut index = synced();
    fill(&mut index, changes());
    let without = resident();
    fill(&mut index, vmis());
    let mib = |bytes: u64| bytes >> 20;
    let all = resident();
    // What is printed is the benchmark's result.
    #[expect(clippy::print_stdout, reason = "the figures are what it is for")]
    {
        println!(
            "memory of {HOSTS} hosts, {NETWORKS} networks, {CONFIGS} configs: {} MiB",
            mib(without - before)
        );
        println!("memory of {VMIS} VMIs with their pods besides: {} MiB", mib(all - without));
    }
    drop(index);
    divan::main();
}

/// The memory of this process, in bytes.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn change(kind: Kind, key: Key, fact: Fact) -> Change {
    Change { object: ObjectRef { kind, key }, now: Now::Is(fact) }
}

fn host(number: usize, turn: usize) -> Change {
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

fn network(number: usize) -> String {
    format!("network-{}", number % NETWORKS)
}

fn changes() -> impl Iterator<Item = Change> {
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
            options: UplinkOptions::default(),
            deleting: false,
        };
        let key = Key::cluster_scoped(format!("config-{number}"));
        change(Kind::NetworkConfig, key, Fact::NetworkConfig(facts))
    });
    networks.chain(vm_networks).chain(configs).chain((0..HOSTS).map(|number| host(number, 0)))
}

fn vmis() -> impl Iterator<Item = Change> {
    (0..VMIS).flat_map(|number| {
        let name = format!("vm-{number:06}");
        let host = format!("worker-{:05}", number % HOSTS);
        let uid = format!("5f0c3a52-6f0e-4a4e-9a53-{number:012}");
        let networks = || {
            let key = Key::in_namespace("default", &format!("net-{}", number % NETWORKS));
            Selection::of(vec![key], None)
        };
        let key = Key::in_namespace("default", &name);
        let vmi = Vmi {
            uid: uid.as_str().into(),
            networks: networks(),
            host: Some(host.as_str().into()),
            active_hosts: [host.as_str().into()].into(),
            ..Vmi::default()
        };
        let pod = LauncherPod {
            vmi: key.clone(),
            vmi_uid: uid.into(),
            ended: false,
            host: Some(host.into()),
            networks: networks(),
        };
        let pod_key = Key::in_namespace("default", &format!("virt-launcher-{name}-x7k2p"));
        [
            change(Kind::Vmi, key, Fact::Vmi(vmi)),
            change(Kind::LauncherPod, pod_key, Fact::LauncherPod(pod)),
        ]
    })
}

fn synced() -> Index {
    let mut index = Index::new(Options::default());
    for kind in Kind::ALL {
        index.listed(kind);
    }
    index
}

fn fill(index: &mut Index, changes: impl IntoIterator<Item = Change>) {
    for change in changes {
        index.apply(change);
    }
}

fn built() -> Index {
    let mut index = synced();
    fill(&mut index, changes());
    index
}

/// A host is labelled into another rack, and the snapshot of that is taken, as is done for each
/// change that is published: one host leaves a config and enters another, of another network.
#[divan::bench]
fn one_host_event(bencher: Bencher<'_, '_>) {
    let mut index = built();
    let mut published: Option<Snapshot> = index.snapshot();
    let turn = Cell::new(0);
    bencher
        .with_inputs(|| {
            turn.set(turn.get() + 1);
            host(turn.get() * 7 % HOSTS, turn.get())
        })
        .bench_local_values(|change| {
            index.apply(change);
            published = index.snapshot();
            published.is_some()
        });
}

/// The same facts again: nothing is to be done.
#[divan::bench]
fn one_host_event_without_a_change(bencher: Bencher<'_, '_>) {
    let mut index = built();
    bencher.with_inputs(|| host(4_711, 0)).bench_local_values(|change| index.apply(change));
}

#[divan::bench(sample_count = 10)]
fn rebuild(bencher: Bencher<'_, '_>) {
    bencher.with_inputs(|| changes().collect::<Vec<_>>()).bench_local_values(|changes| {
        let mut index = synced();
        fill(&mut index, changes);
        index
    });
}
