//! What the leader and a scrape cost at 15,000 hosts, 64 cluster networks, 300 network configs and
//! 100,000 VMs.

mod large;

use std::borrow::Cow;
use std::sync::LazyLock;
use std::time::Duration;

use divan::Bencher;
use lanekeeper::cluster::{
    Change, Fact, HostChoice, Key, Kind, LauncherPod, Selection, Snapshot, Waiting,
};
use lanekeeper::decide::feasible::{Fits, unschedulable};
use lanekeeper::decide::upkeep::{Scope, Waker, count_cut_off, targets};

use large::{HOSTS, NETWORKS, built, change, fill, host, vmis};

fn main() {
    divan::main();
}

/// The pods that wait.
const WAITING: usize = 1_000;

static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(|| {
    let mut index = built();
    fill(&mut index, vmis());
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
            networks: Selection::of(vec![key], Vec::new()),
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
