//! The index at 15,000 hosts, 64 cluster networks and 300 network configs: one change of a host, and
//! a rebuild; and the memory that it takes with 100,000 VMs, their running instances and launcher pods.

mod large;

use std::cell::Cell;
use std::fs;

use divan::Bencher;
use lanekeeper::cluster::{Change, Snapshot};

use large::{CONFIGS, HOSTS, NETWORKS, VMIS, built, changes, fill, host, pods, synced, vmis, vms};

/// As in our program.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    let mut index = synced();
    let mut resident = resident();
    let mut measure = |what: &str, count: usize, changes: &mut dyn Iterator<Item = Change>| {
        fill(&mut index, changes);
        let before = std::mem::replace(&mut resident, self::resident());
        let bytes = resident - before;
        // What is printed is the benchmark's result.
        #[expect(clippy::print_stdout, reason = "the figures are what it is for")]
        {
            println!("{what}: {} MiB, {} bytes each", bytes >> 20, bytes / count as u64);
        }
    };
    let hosts = format!("{HOSTS} hosts, with {NETWORKS} networks and {CONFIGS} configs");
    measure(&hosts, HOSTS, &mut changes());
    measure("VMIs", VMIS, &mut vmis(VMIS));
    measure("VMs", VMIS, &mut vms(VMIS));
    measure("launcher pods", VMIS, &mut pods(VMIS));
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
