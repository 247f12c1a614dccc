//! What the leader, a scrape and `check` cost at 15,000 hosts, 64 cluster networks, 300 network configs and
//! 100,000 VMs.

mod large;

use std::borrow::Cow;
use std::sync::LazyLock;
use std::time::Duration;

use divan::Bencher;
use lanekeeper::cluster::{
    Change, Fact, HostChoice, Key, Kind, Labels, LauncherPod, Link, LinkMonitor, LinkState, Name,
    NetworkConfig, Now, ObjectRef, Selection, Snapshot, UplinkStatus, Waiting,
};
use lanekeeper::decide::check::findings;
use lanekeeper::decide::feasible::{Fits, unschedulable};
use lanekeeper::decide::upkeep::{Scope, Waker, count_cut_off, targets};

use large::{CONFIGS, HOSTS, NETWORKS, VMIS, built, change, fill, host, network, workload};

fn main() {
    divan::main();
}

/// The pods that wait.
const WAITING: usize = 1_000;

static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(|| {
    let mut index = built();
    fill(&mut index, workload(VMIS));
    index.snapshot().unwrap_or_else(|| std::process::abort())
});

fn after(changes: impl IntoIterator<Item = Change>) -> Snapshot {
    SNAPSHOT.with(changes)
}

/// Gauges of a scrape.
#[divan::bench(sample_count = 10)]
fn count_vms_on_inactive_hosts() -> usize {
    count_cut_off(&SNAPSHOT)
}

#[divan::bench(sample_count = 10)]
fn count_vms_that_no_host_can_run() -> usize {
    unschedulable(&SNAPSHOT)
}

/// The same, if a thousand VMs have a node selector each that no host has.
#[divan::bench(sample_count = 10)]
fn look_for_hosts_of_a_thousand_selectors(bencher: Bencher<'_, '_>) {
    let choices: Vec<HostChoice> = (0..1_000)
        .map(|number| {
            let labels = [("rack", format!("none-{number}"))].into_iter().collect();
            HostChoice { labels, terms: None }
        })
        .collect();
    let networks = Selection::default();
    bencher.bench(|| {
        let mut fits = Fits::new(&SNAPSHOT);
        choices.iter().filter(|it| fits.of(Cow::Borrowed(&networks), it).first.is_some()).count()
    });
}

/// The same cluster, with what all hosts report of uplinks and links.
fn reported(links: fn(usize) -> LinkState, ready: fn(usize) -> bool) -> Snapshot {
    let name = |host: usize| Name::from(format!("worker-{host:05}"));
    let statuses = (0..HOSTS).map(|host| {
        let config = host % CONFIGS;
        let facts = UplinkStatus {
            cluster_network: network(config).into(),
            config: format!("config-{config}").into(),
            host: name(host),
            ready: ready(host),
            message: "no carrier".into(),
        };
        let key = Key::cluster_scoped(format!("status-{host}"));
        change(Kind::UplinkStatus, key, Fact::UplinkStatus(facts))
    });
    let of = |host: usize| {
        let names = ["enp7s0", "enp8s0", "eno1", "eno2"].into_iter().enumerate();
        let links = names.map(|(at, name)| Link {
            name: name.into(),
            kind: "device".into(),
            mac: None,
            state: if at < 2 { links(host) } else { LinkState::Up },
            index: i64::try_from(at).unwrap_or_default(),
            master: None,
        });
        (name(host), links.collect())
    };
    let links = LinkMonitor { links: (0..HOSTS).map(of).collect() };
    let monitor = change(Kind::LinkMonitor, Key::cluster_scoped("nic"), Fact::LinkMonitor(links));
    after(statuses.chain([monitor]))
}

/// Everything that is wrong, if nothing is.
#[divan::bench(sample_count = 10)]
fn check_a_sound_cluster(bencher: Bencher<'_, '_>) {
    let snapshot = reported(|_| LinkState::Up, |_| true);
    bencher.bench(|| findings(&snapshot).len());
}

/// The same, if all links are down, no uplink is ready, all network configs overlap, no cluster network exists, and so no VM has a
/// host, and each runs where it is cut off.
#[divan::bench(sample_count = 10)]
fn check_a_ruined_cluster(bencher: Bencher<'_, '_>) {
    let snapshot = reported(|_| LinkState::Down, |_| false);
    let configs: Vec<Change> = (0..CONFIGS)
        .filter_map(|number| {
            let name = format!("config-{number}");
            let facts = snapshot.config(&name)?;
            let facts = NetworkConfig { selector: Labels::default(), ..facts.clone() };
            let key = Key::cluster_scoped(name);
            Some(change(Kind::NetworkConfig, key, Fact::NetworkConfig(facts)))
        })
        .collect();
    let networks = (0..NETWORKS).map(|number| ObjectRef {
        kind: Kind::ClusterNetwork,
        key: Key::cluster_scoped(network(number)),
    });
    let gone = networks.map(|object| Change { object, now: Now::Gone });
    let snapshot = snapshot.with(configs.into_iter().chain(gone));
    bencher.bench(|| findings(&snapshot).len());
}

/// Every object is looked at.
#[divan::bench(sample_count = 10)]
fn resync() -> usize {
    targets(None, &SNAPSHOT, Scope::All).len()
}

#[divan::bench]
fn one_host_relabelled(bencher: Bencher<'_, '_>) {
    let after = after([host(4_711, 1)]);
    bencher.bench(|| targets(Some(&SNAPSHOT), &after, Scope::All).len());
}

#[divan::bench(sample_count = 10)]
fn every_host_relabelled(bencher: Bencher<'_, '_>) {
    let after = after((0..HOSTS).map(|number| host(number, 1)));
    bencher.bench(|| targets(Some(&SNAPSHOT), &after, Scope::All).len());
}

/// Pods wait, each on one of the cluster networks.
#[divan::bench(sample_count = 20)]
fn a_thousand_pods_wait(bencher: Bencher<'_, '_>) {
    let pods = (0..WAITING).map(|number| {
        let key = Key::in_namespace("default", &format!("net-{}", number % NETWORKS));
        let pod = LauncherPod {
            vmi: Key::in_namespace("default", &format!("waiting-{number}")),
            vmi_uid: "u".into(),
            ended: false,
            host: None,
            networks: Selection::of(vec![key], Vec::new()).into(),
            unattached: Box::default(),
            waiting: Some(Box::new(Waiting { uid: "u".into(), ..Waiting::default() })),
        };
        let key = Key::in_namespace("default", &format!("virt-launcher-waiting-{number}"));
        change(Kind::LauncherPod, key, Fact::LauncherPod(pod))
    });
    let snapshot = after(pods);
    let mut waker = Waker::default();
    let mut now = Duration::ZERO;
    bencher.bench_local(|| {
        now += Duration::from_secs(1);
        waker.step(&snapshot, now).nominations.len()
    });
}
