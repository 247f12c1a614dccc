//! When waiting pods are woken, with given times.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lanekeeper::cluster::{Change, Key, Name, Now, Options, Snapshot};
use lanekeeper::decide::needs::Needs;
use lanekeeper::decide::upkeep::{Nomination, Wake, Waker};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::harness::snapshot_from;
use crate::properties::{histories, options, synced};
use crate::upkeep::{cluster_network, config, node, vm_network};

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A launcher pod for which the scheduler found no host.
fn waiting(name: &str, uid: &str, network: &str) -> Value {
    let networks = if network.is_empty() {
        json!({})
    } else {
        json!({ "k8s.v1.cni.cncf.io/networks": network })
    };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "ns", "uid": uid, "annotations": networks,
            "labels": { "kubevirt.io": "virt-launcher", "vm.kubevirt.io/name": name },
        },
        "spec": {},
        "status": { "phase": "Pending", "conditions": [
            { "type": "PodScheduled", "status": "False", "reason": "Unschedulable" }] },
    })
}

/// The same, with a nominated host.
fn nominated_on(host: &str) -> Value {
    let mut pod = waiting("p", "1", "net");
    pod["status"]["nominatedNodeName"] = json!(host);
    pod
}

/// Three hosts. The cluster network `a` is active on these of them.
fn hosts(active: &[&str]) -> Vec<Value> {
    let node = |name: &&str| {
        let a = if active.contains(name) { "yes" } else { "no" };
        node(name, &[("a", a), ("kubernetes.io/hostname", name)])
    };
    let hosts = ["h0", "h1", "h2"];
    let base = [
        cluster_network("a", None, None),
        config("c", "a", &[("a", "yes")], 0),
        vm_network("net", "a", None),
    ];
    base.into_iter().chain(hosts.iter().map(node)).collect()
}

fn snapshot(active: &[&str], pods: &[Value]) -> Snapshot {
    snapshot_from(hosts(active).into_iter().chain(pods.iter().cloned()), Options::default())
}

/// One pod that wants the cluster network.
fn one(active: &[&str]) -> Snapshot {
    snapshot(active, &[waiting("p", "1", "net")])
}

/// What is to be done, in short.
fn short(wake: &Wake) -> String {
    let nominations = wake.nominations.iter().map(|nomination| {
        let hosts: Vec<&str> = nomination.hosts.iter().map(|host| &**host).collect();
        format!("{} on {}", nomination.pod.name(), hosts.join(","))
    });
    let touch = wake.touch.iter().map(|host| format!("touch {host}"));
    let again = wake.again.iter().map(|again| format!("again {}", again.as_millis()));
    nominations.chain(touch).chain(again).collect::<Vec<_>>().join("; ")
}

/// Steps at given times in milliseconds, and compares what is to be done.
fn check(what: &str, steps: &[(u64, &Snapshot, &str)]) {
    let mut waker = Waker::default();
    for (at, snapshot, expected) in steps {
        let wake = waker.step(snapshot, ms(*at));
        assert_eq!(short(&wake), *expected, "{what}, at {at}");
    }
}

#[test]
fn a_pod_that_becomes_feasible_is_woken_by_one_touch() {
    let (none, some) = (one(&[]), one(&["h1"]));
    check(
        "newly feasible",
        &[
            (0, &none, ""),
            (5_000, &none, ""),
            (6_000, &some, "touch h1; again 7000"),
            (6_010, &some, "again 7000"),
            (7_000, &some, "p on h1; again 12000"),
        ],
    );
    let gone = snapshot(&["h1"], &[]);
    check(
        "bound after the touch",
        &[(0, &none, ""), (10, &some, "touch h1; again 1010"), (500, &gone, "")],
    );
    check("nothing waits", &[(0, &snapshot(&[], &[]), ""), (10, &gone, "")]);
    check(
        "it is gone before it could be kept",
        &[(0, &none, ""), (10, &gone, ""), (20, &some, "p on h1; again 5020")],
    );
}

#[test]
fn at_most_one_node_is_touched_a_second() {
    let pods = |first: &str, second: &str| {
        snapshot(&["h1"], &[waiting("p", "1", first), waiting("q", "2", second)])
    };
    let neither = pods("none", "none");
    check(
        "a second pod within the second",
        &[
            (0, &neither, ""),
            (100, &pods("net", "none"), "touch h1; again 1100"),
            (200, &pods("net", "net"), "again 1100"),
            (1_099, &pods("net", "net"), "again 1100"),
            (1_100, &pods("net", "net"), "p on h1; touch h1; again 1200"),
            (1_200, &pods("net", "net"), "q on h1; again 6100"),
        ],
    );
    let only = snapshot(&["h1"], &[waiting("q", "2", "net")]);
    check(
        "the second is bound meanwhile",
        &[
            (0, &neither, ""),
            (100, &pods("net", "none"), "touch h1; again 1100"),
            (200, &pods("net", "net"), "again 1100"),
            (300, &snapshot(&["h1"], &[]), ""),
            (1_300, &only, "q on h1; again 6300"),
        ],
    );
    check("two at once", &[(0, &neither, ""), (100, &pods("net", "net"), "touch h1; again 1100")]);
    check(
        "an hour later",
        &[
            (0, &pods("none", "none"), ""),
            (100, &pods("net", "none"), "touch h1; again 1100"),
            (3_600_000, &pods("none", "net"), "touch h1; again 3601000"),
        ],
    );
}

#[test]
fn a_node_that_is_gone_is_not_touched() {
    let pods = |first: &str, second: &str| [waiting("p", "1", first), waiting("q", "2", second)];
    let without_h1 = hosts(&["h1", "h2"]).into_iter().filter(|it| it["metadata"]["name"] != "h1");
    let without_h1 = snapshot_from(without_h1.chain(pods("net", "net")), Options::default());
    let mut waker = Waker::default();
    waker.step(&snapshot(&["h1"], &pods("none", "none")), ms(0));
    waker.step(&snapshot(&["h1"], &pods("net", "none")), ms(100));
    waker.step(&snapshot(&["h1"], &pods("net", "net")), ms(200));
    let touched = waker.step(&without_h1, ms(1_100)).touch.unwrap();
    assert!(["h0", "h2"].contains(&&*touched), "another one wakes the pods as well: {touched}");
}

#[test]
fn a_pod_whose_sample_missed_its_hosts_is_nominated_on_one_after_the_other() {
    let all = ["h0", "h1", "h2"];
    let mut missed = one(&all);
    let mut waker = Waker::default();
    let mut nominated = BTreeSet::new();
    let (mut now, mut last) = (0, None);
    for wait in [5, 10, 20, 30, 30, 30] {
        let wake = waker.step(&missed, ms(now));
        let [Nomination { pod, uid, hosts }] = &*wake.nominations else { panic!("{wake:?}") };
        assert_eq!((pod.as_str(), &*uid.to_string(), wake.touch), ("ns/p", "1", None));
        assert_eq!(wake.again, Some(ms(now + wait * 1_000)));
        assert_eq!(hosts.iter().collect::<BTreeSet<_>>().len(), 3, "each is a candidate");
        assert_ne!(last.as_ref(), Some(&hosts[0]), "it is another one");
        // The one that was nominated is touched, so that an older scheduler looks again.
        waker.nominated(pod, hosts[0].clone());
        missed = snapshot(&all, &[nominated_on(&hosts[0])]);
        nominated.insert(hosts[0].clone());
        last = Some(hosts[0].clone());
        assert_eq!(waker.step(&missed, ms(now + 1_000)).touch, last);
        assert!(waker.step(&missed, ms(now + wait * 1_000 - 1)).nominations.is_empty());
        now += wait * 1_000;
    }
    assert_eq!(nominated.len(), 3, "all were tried");
}

#[test]
fn a_first_nomination_that_the_scheduler_dropped_is_made_once_more() {
    let all = ["h0", "h1", "h2"];
    let dropped = one(&all);
    let mut waker = Waker::default();
    let first = waker.step(&dropped, ms(0)).nominations.remove(0);
    waker.nominated(&first.pod, first.hosts[0].clone());
    assert_eq!(waker.step(&dropped, ms(10)).again, Some(ms(1_010)));
    assert!(waker.step(&dropped, ms(1_009)).nominations.is_empty());
    let wake = waker.step(&dropped, ms(1_010));
    assert_eq!(wake.nominations, std::slice::from_ref(&first), "on the same host");
    assert_eq!(wake.again, Some(ms(6_010)));
    // Once more, and not again and again: a host without room is dropped too.
    waker.nominated(&first.pod, first.hosts[0].clone());
    assert!(waker.step(&dropped, ms(6_009)).nominations.is_empty());
    let next = waker.step(&dropped, ms(6_010)).nominations.remove(0);
    assert_ne!(next.hosts[0], first.hosts[0]);

    // One that stands is not made again.
    let stands = snapshot(&all, &[nominated_on(&first.hosts[0])]);
    let mut waker = Waker::default();
    waker.step(&dropped, ms(0));
    waker.nominated(&first.pod, first.hosts[0].clone());
    assert_eq!(waker.step(&stands, ms(10)).again, Some(ms(1_010)));
    let wake = waker.step(&stands, ms(1_010));
    assert_eq!((wake.nominations.len(), wake.again), (0, Some(ms(5_000))));
    assert_eq!(waker.step(&dropped, ms(4_999)).nominations, []);
}

#[test]
fn the_next_nomination_goes_on_after_the_host_that_was_taken() {
    let missed = one(&["h0", "h1", "h2"]);
    let mut waker = Waker::default();
    let first = waker.step(&missed, ms(0)).nominations.remove(0).hosts;
    // The first is cordoned, so that the second was nominated.
    waker.nominated(&Key::in_namespace("ns", "p"), first[1].clone());
    let second = waker.step(&missed, ms(5_000)).nominations.remove(0).hosts;
    assert_eq!(second[0], first[2]);
}

#[test]
fn a_host_that_the_scheduler_nominated_is_left_alone() {
    let nominated = |host: Value| {
        let mut pod = waiting("p", "1", "net");
        pod["status"]["nominatedNodeName"] = host;
        snapshot(&["h0", "h1"], &[pod])
    };
    let (none, empty) = (nominated(Value::Null), nominated(json!("")));
    let evicting = nominated(json!("h0"));
    let mut waker = Waker::default();
    assert_eq!(short(&waker.step(&evicting, ms(0))), "again 5000");
    assert_eq!(short(&waker.step(&evicting, ms(5_000))), "again 10000");
    let first = waker.step(&none, ms(10_000)).nominations.remove(0);
    // What stands there now is ours.
    let ours = first.hosts[0].clone();
    waker.nominated(&first.pod, ours.clone());
    let ours = nominated(json!(&*ours));
    assert!(waker.step(&ours, ms(11_000)).nominations.is_empty());
    assert_eq!(waker.step(&ours, ms(15_000)).nominations.len(), 1);
    assert_eq!(Waker::default().step(&empty, ms(0)).nominations.len(), 1);
}

#[test]
fn a_pod_that_was_feasible_before_is_woken_again() {
    let (none, some) = (one(&[]), one(&["h1"]));
    check(
        "feasible, infeasible, feasible",
        &[
            (0, &some, "p on h1; again 5000"),
            (5_000, &some, "p on h1; again 15000"),
            (6_000, &none, ""),
            (7_000, &some, "touch h1; again 8000"),
            (8_000, &some, "p on h1; again 13000"),
        ],
    );
    let another = snapshot(&["h1"], &[waiting("p", "2", "net")]);
    check(
        "another pod of its name",
        &[(0, &some, "p on h1; again 5000"), (1_000, &another, "p on h1; again 6000")],
    );
    check(
        "another pod of its name, after one that no host could take",
        &[(0, &none, ""), (1_000, &another, "p on h1; again 6000")],
    );
}

#[test]
fn a_pod_that_needs_no_network_waits_for_room() {
    let mgmt = vm_network("m", "mgmt", None);
    let any = snapshot(&["h1"], &[waiting("p", "1", ""), waiting("q", "2", "m"), mgmt.clone()]);
    check("needs nothing", &[(0, &any, ""), (60_000, &any, "")]);
    let needs = |network: &str| snapshot(&["h1"], &[waiting("p", "1", network), mgmt.clone()]);
    check(
        "its network comes under mgmt",
        &[(0, &needs("none"), ""), (100, &needs("m"), "touch h0"), (9_000, &needs("m"), "")],
    );
    check(
        "its network moves",
        &[
            (0, &needs("m"), ""),
            (100, &needs("net"), "p on h1; again 5100"),
            (200, &needs("m"), ""),
        ],
    );
}

#[test]
fn a_pods_own_node_selector_and_affinity_hold() {
    let pinned = |host: &str| {
        let mut pod = waiting("p", "1", "net");
        pod["spec"]["nodeSelector"] = json!({ "kubernetes.io/hostname": host });
        pod
    };
    let preferring = |hosts: &[&str]| {
        let mut pod = waiting("p", "1", "net");
        let expression =
            json!({ "key": "kubernetes.io/hostname", "operator": "In", "values": hosts });
        // What the webhook requires is not the VM's own.
        let ours =
            json!({ "key": "network.harvesterhci.io/a", "operator": "In", "values": ["true"] });
        pod["spec"]["affinity"]["nodeAffinity"] = json!({
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{ "matchExpressions": [expression, ours] }] } });
        pod
    };
    for (pod, expected) in [
        (pinned("h1"), "p on h1; again 5000"),
        (pinned("h0"), ""),
        (preferring(&["h0", "h1"]), "p on h1; again 5000"),
        (preferring(&["h0"]), ""),
    ] {
        check("own", &[(0, &snapshot(&["h1", "h2"], &[pod]), expected)]);
    }
    check(
        "the host that it wants comes",
        &[
            (0, &snapshot(&["h1"], &[pinned("h2")]), ""),
            (10, &snapshot(&["h1", "h2"], &[pinned("h2")]), "touch h2; again 1010"),
        ],
    );
}

#[test]
fn twenty_pods_a_second_are_nominated_and_none_is_forgotten() {
    let pods: Vec<Value> =
        (0..130).map(|number| waiting(&format!("p{number:03}"), "1", "net")).collect();
    let snapshot = snapshot(&["h0", "h1"], &pods);
    let mut waker = Waker::default();
    let mut times: BTreeMap<Key, Vec<u64>> = BTreeMap::new();
    let mut now = 0;
    while now < 60_000 {
        let wake = waker.step(&snapshot, ms(now));
        assert!(wake.nominations.len() <= 20, "at {now}");
        for nomination in wake.nominations {
            times.entry(nomination.pod).or_default().push(now);
        }
        let again = u64::try_from(wake.again.unwrap().as_millis()).unwrap();
        assert!(again > now);
        now = again;
    }
    assert_eq!(times.len(), 130);
    let first = times.values().map(|times| times[0]).max().unwrap();
    assert_eq!(first, 6_000, "those that wait have their turn before others have a second one");
    let second = times.values().map(|times| times[1]).max().unwrap();
    assert!(second <= 13_000, "{second}");
}

#[test]
fn at_most_sixteen_hosts_are_proposed_and_pods_begin_at_different_ones() {
    let many = (0..40).map(|number| node(&format!("n{number:02}"), &[("a", "yes")]));
    let pods: Vec<Value> =
        (0..10).map(|number| waiting(&format!("p{number}"), "1", "net")).collect();
    let all = hosts(&[]).into_iter().chain(many).chain(pods);
    let snapshot = snapshot_from(all, Options::default());
    let mut waker = Waker::default();
    let proposed = waker.step(&snapshot, ms(0)).nominations;
    assert_eq!(proposed.len(), 10);
    let mut firsts = BTreeSet::new();
    for Nomination { hosts, .. } in &proposed {
        assert_eq!(hosts.iter().collect::<BTreeSet<_>>().len(), 16);
        firsts.insert(hosts[0].clone());
    }
    assert!(firsts.len() > 5, "{firsts:?}");
    // None of the sixteen takes new pods, so the next ones are others.
    let pod = &proposed[0].pod;
    let again = waker.step(&snapshot, ms(5_000)).nominations;
    let again = again.iter().find(|nomination| nomination.pod == *pod).unwrap();
    assert!(again.hosts.iter().all(|host| !proposed[0].hosts.contains(host)));
}

/// What must hold of each step.
#[derive(Default)]
struct Watched {
    touched: Option<Duration>,
}

impl Watched {
    fn step(&mut self, waker: &mut Waker, snapshot: &Snapshot, now: Duration) -> Wake {
        let wake = waker.step(snapshot, now);
        assert!(wake.again.is_none_or(|again| again > now), "{wake:?}");
        let waiting: BTreeMap<_, _> =
            snapshot.waiting_pods().map(|(key, pod, facts)| (key, (pod, facts))).collect();
        if waiting.is_empty() {
            assert_eq!(wake, Wake::default());
        }
        if let Some(host) = &wake.touch {
            assert!(snapshot.host(host).is_some());
            assert!(self.touched.is_none_or(|touched| now >= touched + ms(1_000)));
            self.touched = Some(now);
        }
        let pods: BTreeSet<&Key> = wake.nominations.iter().map(|it| &it.pod).collect();
        assert_eq!(pods.len(), wake.nominations.len(), "each once");
        for Nomination { pod, uid, hosts } in &wake.nominations {
            let (facts, waiting) = waiting[pod];
            assert_eq!(*uid, waiting.uid);
            assert!(!hosts.is_empty() && hosts.len() <= 16);
            let needs = Needs::of(snapshot, &facts.networks);
            assert!(needs.everywhere.is_empty() && !needs.nothing());
            for host in hosts {
                let host = snapshot.host(host).unwrap();
                assert!(snapshot.allows(&waiting.hosts, host));
                let active = |name: &Name| snapshot.network(name).inactive(host).is_none();
                assert!(needs.cluster_networks.iter().all(active));
            }
        }
        wake
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn stepping_when_asked_to_makes_progress(
        rounds in proptest::collection::vec((histories(), 0_u64..3_000, 0_usize..6), 1..5),
        options in options(),
    ) {
        let mut index = synced(options);
        let (mut waker, mut watched, mut now) = (Waker::default(), Watched::default(), ms(0));
        for (changes, wait, steps) in rounds {
            for change in changes.concat() {
                index.apply(change);
            }
            let snapshot = index.snapshot().unwrap();
            now += ms(wait);
            let mut wake = watched.step(&mut waker, &snapshot, now);
            for _ in 0..steps {
                for Nomination { pod, hosts, .. } in &wake.nominations {
                    waker.nominated(pod, hosts[0].clone());
                }
                if !wake.nominations.is_empty() {
                    wake = watched.step(&mut waker, &snapshot, now);
                    prop_assert!(wake.nominations.is_empty(), "nothing changed");
                }
                let Some(again) = wake.again else { break };
                now = again;
                let foreign = snapshot.waiting_pods().any(|(.., facts)| facts.nominated.is_some());
                wake = watched.step(&mut waker, &snapshot, now);
                prop_assert!(foreign || wake.touch.is_some() || !wake.nominations.is_empty());
            }
        }
        // Whatever was done before, a cluster in which nothing waits is left alone.
        let gone = index.snapshot().unwrap().waiting_pods().map(|(key, ..)| Change {
            object: lanekeeper::cluster::ObjectRef {
                kind: lanekeeper::cluster::Kind::LauncherPod,
                key: key.clone(),
            },
            now: Now::Gone,
        }).collect::<Vec<_>>();
        for change in gone {
            index.apply(change);
        }
        prop_assert_eq!(waker.step(&index.snapshot().unwrap(), now), Wake::default());
    }
}
