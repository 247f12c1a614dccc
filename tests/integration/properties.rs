//! Properties of the index: the order in which objects' changes come does not matter, what is kept
//! as changes come is what would be built afresh, and what is kept of activity is what the spec's
//! own words give.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lanekeeper::cluster::{
    Activation, Change, ClusterNetwork, Cni, CniConfig, Difference, Fact, Host, HostChoice, Index,
    Key, Kind, Labels, LauncherPod, Mac, Migration, Moves, Namespace, NetworkConfig, Now,
    ObjectRef, Options, Run, Selection, Snapshot, UplinkMtu, UplinkOptions, UplinkStatus, Vm,
    VmNetwork, Vmi, Waiting,
};
use lanekeeper::decide::causes::Cause;
use lanekeeper::decide::filter::{Filter, Rejections, Verdict};
use lanekeeper::decide::needs::Needs;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

const NETWORKS: [&str; 4] = ["mgmt", "a", "b", "c"];
const CONFIGS: [&str; 4] = ["c0", "c1", "c2", "c3"];
const HOSTS: [&str; 4] = ["h0", "h1", "h2", "h3"];
const LABELS: [(&str, &str); 4] = [("rack", "1"), ("rack", "2"), ("ssd", "yes"), ("gpu", "")];
fn labels() -> impl Strategy<Value = Labels> {
    subsequence(LABELS.to_vec(), 0..=3).prop_map(|pairs| pairs.into_iter().collect())
}

/// Labels of a host for cluster networks, right and wrong ones. No selector has them.
fn network_labels() -> impl Strategy<Value = Vec<(String, &'static str)>> {
    let label = |name: &'static str| {
        let value = proptest::option::of(select(vec!["true", "true", "other"]));
        value.prop_map(move |value| Some((format!("network.harvesterhci.io/{name}"), value?)))
    };
    let labels: Vec<_> = ["a", "b", "c", "gone", "mgmt"].map(label).into();
    labels.prop_map(|labels| labels.into_iter().flatten().collect())
}

fn waiting() -> impl Strategy<Value = Waiting> {
    (select(vec!["w1", "w2"]), labels(), prop::bool::weighted(0.1), some_host()).prop_map(
        |(uid, labels, is_nominated, host)| Waiting {
            uid: uid.into(),
            hosts: HostChoice { labels, ..HostChoice::default() },
            nominated: host.filter(|_| is_nominated),
        },
    )
}

fn some_host() -> impl Strategy<Value = Option<lanekeeper::cluster::Name>> {
    proptest::option::of(select(&HOSTS[..]).prop_map(Into::into))
}

fn selection() -> impl Strategy<Value = Arc<Selection>> {
    (subsequence(vec!["n0", "n1", "n2", "gone"], 0..=2), any::<bool>()).prop_map(|(names, fine)| {
        let keys = names.into_iter().map(|name| Key::in_namespace("ns", name)).collect();
        Selection::of(keys, (!fine).then(|| "odd".into()).into_iter().collect()).into()
    })
}

fn vmi() -> impl Strategy<Value = Fact> {
    (
        select(vec!["", "u1", "u2"]),
        prop::bool::weighted(0.2),
        selection(),
        some_host(),
        some_host(),
        (some_host(), select(vec!["", "m1"])),
    )
        .prop_map(|(uid, finished, networks, host, active, (target, migration))| {
            Fact::Vmi(Vmi {
                uid: uid.into(),
                finished,
                networks,
                host,
                moves: Some(Box::new(Moves {
                    active_hosts: active.into_iter().collect(),
                    target,
                    uid: migration.into(),
                })),
                ..Vmi::default()
            })
        })
}

fn launcher_pod() -> impl Strategy<Value = Fact> {
    (
        select(vec!["v0", "v1"]),
        select(vec!["", "u1", "u2"]),
        any::<bool>(),
        some_host(),
        selection(),
        (any::<bool>(), waiting()),
    )
        .prop_map(|(vmi, vmi_uid, ended, host, networks, (attached, waiting))| {
            let unattached = if attached { Box::default() } else { networks.vm_networks.clone() };
            Fact::LauncherPod(LauncherPod {
                vmi: Key::in_namespace("ns", vmi),
                vmi_uid: vmi_uid.into(),
                ended,
                waiting: (host.is_none() && !ended).then(|| Box::new(waiting)),
                unattached,
                host,
                networks,
            })
        })
}

fn fact(kind: Kind) -> BoxedStrategy<Fact> {
    match kind {
        Kind::ClusterNetwork => (
            select(vec![
                UplinkMtu::Unset,
                UplinkMtu::Is(0),
                UplinkMtu::Is(9000),
                UplinkMtu::Unreadable("odd".into()),
            ]),
            any::<Option<bool>>(),
        )
            .prop_map(|(uplink_mtu, ready)| {
                Fact::ClusterNetwork(ClusterNetwork { uplink_mtu, ready })
            })
            .boxed(),
        Kind::NetworkConfig => (
            select(&NETWORKS[..]),
            labels(),
            prop::bool::weighted(0.2),
            select(vec![0, 1500, 9000]),
        )
            .prop_map(|(network, selector, deleting, mtu)| {
                Fact::NetworkConfig(NetworkConfig {
                    cluster_network: network.into(),
                    selector,
                    deleting,
                    options: Box::new(UplinkOptions { mtu, ..UplinkOptions::default() }),
                    ..NetworkConfig::default()
                })
            })
            .boxed(),
        Kind::UplinkStatus => {
            (select(&NETWORKS[..]), select(&CONFIGS[..]), select(&HOSTS[..]), any::<bool>())
                .prop_map(|(network, config, host, ready)| {
                    Fact::UplinkStatus(UplinkStatus {
                        cluster_network: network.into(),
                        config: config.into(),
                        host: host.into(),
                        ready,
                        message: "".into(),
                    })
                })
                .boxed()
        }
        Kind::VmNetwork => {
            let network = || proptest::option::of(select(&NETWORKS[..]));
            (network(), network(), any::<Option<bool>>())
                .prop_map(|(label, bridge, ready)| {
                    let bridge = bridge.map(|network| format!("{network}-br").into());
                    let config = CniConfig::Is(Box::new(Cni { bridge, ..Cni::default() }));
                    let label = label.map(Into::into);
                    Fact::VmNetwork(VmNetwork { label, config, ready, ..VmNetwork::default() })
                })
                .boxed()
        }
        Kind::Vm => {
            let run = select(vec![Run::Asked, Run::Halted, Run::Receiving]);
            (selection(), select(vec![0, 1]), any::<bool>(), labels(), run)
                .prop_map(|(networks, mac, deleting, labels, run)| {
                    let macs = [(Mac([mac; 6]), Key::in_namespace("ns", "n0"))].into();
                    let hosts = HostChoice { labels, ..HostChoice::default() }.into();
                    Fact::Vm(Vm { networks, macs, deleting, hosts, run })
                })
                .boxed()
        }
        Kind::Namespace => {
            any::<bool>().prop_map(|terminating| Fact::Namespace(Namespace { terminating })).boxed()
        }
        Kind::Vmi => vmi().boxed(),
        Kind::Migration => {
            (select(vec!["v0", "v1"]), some_host(), select(vec!["", "m1"]), any::<bool>())
                .prop_map(|(vmi, target, uid, sends)| {
                    let (vmi, uid) = (Key::in_namespace("ns", vmi), uid.into());
                    Fact::Migration(Migration { vmi, uid, sends, target })
                })
                .boxed()
        }
        Kind::LauncherPod => launcher_pod().boxed(),
        _ => {
            let some = subsequence(LABELS.to_vec(), 0..=3);
            (some, network_labels(), prop::bool::weighted(0.2))
                .prop_map(|(some, ours, witness)| {
                    let some = some.into_iter().map(|(key, value)| (key.to_owned(), value));
                    Fact::Host(Host { labels: some.chain(ours).collect(), witness })
                })
                .boxed()
        }
    }
}

fn objects() -> Vec<ObjectRef> {
    let named = |kind: Kind, names: &[&str]| {
        let key = |name: &&str| {
            if kind.namespaced() {
                Key::in_namespace("ns", name)
            } else {
                Key::cluster_scoped(*name)
            }
        };
        names.iter().map(|name| ObjectRef { kind, key: key(name) }).collect::<Vec<_>>()
    };
    [
        named(Kind::ClusterNetwork, &NETWORKS),
        named(Kind::NetworkConfig, &CONFIGS),
        named(Kind::UplinkStatus, &["s0", "s1", "s2", "s3"]),
        named(Kind::VmNetwork, &["n0", "n1", "n2"]),
        named(Kind::Namespace, &["ns"]),
        named(Kind::Vm, &["v0", "v1"]),
        named(Kind::Vmi, &["v0", "v1"]),
        named(Kind::Migration, &["m0", "m1"]),
        named(Kind::LauncherPod, &["p0", "p1", "p2"]),
        named(Kind::Host, &HOSTS),
    ]
    .concat()
}

/// The states that one object goes through.
fn history(object: ObjectRef) -> impl Strategy<Value = Vec<Change>> {
    let now = prop_oneof![
        6 => fact(object.kind).prop_map(Now::Is),
        1 => Just(Now::Gone),
        1 => (select(vec!["odd", "odder"]), proptest::option::of(fact(object.kind))).prop_map(
            |(why, last)| Now::Malformed { why: why.into(), last: last.map(Box::new) },
        ),
    ];
    proptest::collection::vec(now, 0..4).prop_map(move |states| {
        states.into_iter().map(|now| Change { object: object.clone(), now }).collect()
    })
}

pub fn histories() -> impl Strategy<Value = Vec<Vec<Change>>> {
    objects().into_iter().map(history).collect::<Vec<_>>()
}

/// What becomes of one or two objects.
pub fn few_histories() -> impl Strategy<Value = Vec<Vec<Change>>> {
    subsequence(objects(), 1..=2)
        .prop_flat_map(|objects| objects.into_iter().map(history).collect::<Vec<_>>())
}

/// Weaves histories together, each in its own order, by the given choices.
fn weave(histories: &[Vec<Change>], choices: &[usize]) -> Vec<Change> {
    let mut left: Vec<std::collections::VecDeque<Change>> =
        histories.iter().map(|history| history.iter().cloned().collect()).collect();
    let mut woven = Vec::new();
    let mut choices = choices.iter().cycle();
    loop {
        left.retain(|history| !history.is_empty());
        if left.is_empty() {
            return woven;
        }
        let turn = choices.next().unwrap() % left.len();
        woven.extend(left[turn].pop_front());
    }
}

pub fn synced(options: Options) -> Index {
    let mut index = Index::new(options);
    for kind in Kind::ALL {
        index.listed(kind);
    }
    index
}

pub fn picture(snapshot: &Snapshot) -> String {
    format!("{snapshot:?}")
}

pub fn options() -> impl Strategy<Value = Options> {
    (any::<bool>(), any::<bool>()).prop_map(|(reported, strict_vm_networks)| Options {
        activation: if reported { Activation::Reported } else { Activation::Covered },
        strict_vm_networks,
    })
}

/// The last state of every object that has one.
pub fn outcome(histories: &[Vec<Change>]) -> BTreeMap<ObjectRef, Now> {
    histories
        .iter()
        .filter_map(|history| history.last())
        .map(|change| (change.object.clone(), change.now.clone()))
        .collect()
}

/// Why a cluster network is not active on a host, in the spec's own words and by brute force.
fn by_the_book(
    objects: &BTreeMap<ObjectRef, Now>,
    options: Options,
    network: &str,
    host_name: &str,
    host: &Host,
) -> Option<&'static str> {
    if network == "mgmt" {
        return None;
    }
    let facts = |kind: Kind| {
        objects.iter().filter(move |(object, _)| object.kind == kind).filter_map(|(object, now)| {
            match now {
                Now::Is(fact) => Some((object.key.name(), fact)),
                Now::Malformed { last, .. } => Some((object.key.name(), &**last.as_ref()?)),
                Now::Gone => None,
            }
        })
    };
    if !facts(Kind::ClusterNetwork).any(|(name, _)| name == network) {
        return Some("cluster-network-not-found");
    }
    if host.witness {
        return Some("witness-host");
    }
    let covering: Vec<&str> = facts(Kind::NetworkConfig)
        .filter(|(_, fact)| {
            matches!(fact, Fact::NetworkConfig(config)
                if &*config.cluster_network == network
                    && !config.deleting
                    && host.labels.contain(&config.selector))
        })
        .map(|(name, _)| name)
        .collect();
    if covering.is_empty() {
        return Some("host-not-covered");
    }
    let reports = |config: &str, is_ready: bool| {
        facts(Kind::UplinkStatus).any(|(_, fact)| {
            matches!(fact, Fact::UplinkStatus(status)
                if &*status.cluster_network == network
                    && &*status.config == config
                    && &*status.host == host_name
                    && status.ready == is_ready)
        })
    };
    let up = |config: &&str| match options.activation {
        Activation::Covered => !reports(config, false),
        Activation::Reported => reports(config, true) && !reports(config, false),
    };
    if covering.iter().any(up) {
        None
    } else if covering.iter().any(|config| reports(config, false)) {
        Some("uplink-not-ready")
    } else {
        Some("uplink-not-reported")
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_order_gives_one_snapshot(
        histories in histories(),
        one in proptest::collection::vec(any::<usize>(), 1..40),
        other in proptest::collection::vec(any::<usize>(), 1..40),
        options in options(),
    ) {
        let run = |choices: &[usize]| {
            let mut index = synced(options);
            for change in weave(&histories, choices) {
                index.apply(change);
            }
            picture(&index.snapshot().unwrap())
        };
        prop_assert_eq!(run(&one), run(&other));
    }

    #[test]
    fn kept_as_changes_come_equals_built_afresh(
        histories in histories(),
        choices in proptest::collection::vec(any::<usize>(), 1..40),
        options in options(),
    ) {
        let mut kept = synced(options);
        for change in weave(&histories, &choices) {
            kept.apply(change);
        }
        let mut afresh = synced(options);
        for (object, now) in outcome(&histories) {
            afresh.apply(Change { object, now });
        }
        prop_assert_eq!(picture(&kept.snapshot().unwrap()), picture(&afresh.snapshot().unwrap()));
    }

    #[test]
    fn a_snapshot_never_changes_and_with_equals_apply(
        histories in histories(),
        choices in proptest::collection::vec(any::<usize>(), 1..40),
    ) {
        let changes = weave(&histories, &choices);
        let (first, rest) = changes.split_at(changes.len() / 2);
        let mut index = synced(Options::default());
        for change in first {
            index.apply(change.clone());
        }
        let early = index.snapshot().unwrap();
        let before = picture(&early);
        for change in rest {
            index.apply(change.clone());
        }
        prop_assert_eq!(picture(&early), before);
        prop_assert_eq!(
            picture(&early.with(rest.to_vec())),
            picture(&index.snapshot().unwrap())
        );
    }

    #[test]
    fn a_difference_names_what_became_different_and_nothing_else(
        before in histories(),
        after in histories(),
        options in options(),
    ) {
        let mut index = synced(options);
        let apply = |index: &mut Index, changes: Vec<Change>| {
            for change in changes {
                index.apply(change);
            }
            index.snapshot().unwrap()
        };
        let first = apply(&mut index, before.concat());
        let second = apply(&mut index, after.concat());
        let difference = Difference::between(&first, &second);

        // The objects, by what was last said of each.
        let facts = |objects: &BTreeMap<ObjectRef, Now>| -> BTreeMap<ObjectRef, Fact> {
            let fact = |now: &Now| match now {
                Now::Is(fact) => Some(fact.clone()),
                Now::Malformed { last, .. } => last.as_deref().cloned(),
                Now::Gone => None,
            };
            objects.iter().filter_map(|(object, now)| Some((object.clone(), fact(now)?))).collect()
        };
        let mut told = outcome(&before);
        let old = facts(&told);
        told.extend(outcome(&after));
        let new = facts(&told);
        let names: BTreeSet<&ObjectRef> = old.keys().chain(new.keys()).collect();
        let changed: Vec<ObjectRef> =
            names.into_iter().filter(|name| old.get(name) != new.get(name)).cloned().collect();
        prop_assert_eq!(&difference.objects, &changed);

        // The hosts of each cluster network, one by one.
        let active = |snapshot: &Snapshot, name: &lanekeeper::cluster::Name| -> BTreeSet<String> {
            let hosts = snapshot.hosts().into_iter();
            let there = snapshot.exists(name);
            hosts
                .filter(|host| there && snapshot.network(name).inactive(*host).is_none())
                .map(|host| host.name().to_string())
                .collect()
        };
        let networks: BTreeSet<_> =
            first.cluster_networks().chain(second.cluster_networks()).cloned().collect();
        for name in networks {
            let (old, new) = (active(&first, &name), active(&second, &name));
            let told = difference.cluster_networks.iter().find(|(network, _)| *network == name);
            prop_assert_eq!(told.is_some(), old != new, "{}", name);
            if let Some((_, changed)) = told {
                let texts = |names: &[lanekeeper::cluster::Name]| -> BTreeSet<String> {
                    names.iter().map(ToString::to_string).collect()
                };
                prop_assert_eq!(texts(&changed.gained), &new - &old);
                prop_assert_eq!(texts(&changed.lost), &old - &new);
                prop_assert_eq!(changed.left, new.len());
            }
        }
        prop_assert!(Difference::between(&second, &second.clone()).is_empty());

        // Whether the snapshots share anything makes no difference.
        let mut other = synced(options);
        let again = apply(&mut other, [before.concat(), after.concat()].concat());
        prop_assert_eq!(Difference::between(&first, &again), difference);
    }

    #[test]
    fn unchanged_facts_are_no_change(histories in histories()) {
        let mut index = synced(Options::default());
        for change in histories.concat() {
            index.apply(change);
        }
        for (object, now) in outcome(&histories) {
            let change = Change { object, now };
            prop_assert!(!index.apply(change));
        }
    }

    #[test]
    fn activity_is_what_the_spec_says(histories in histories(), options in options()) {
        let mut index = synced(options);
        for change in histories.concat() {
            index.apply(change);
        }
        let snapshot = index.snapshot().unwrap();
        let objects = outcome(&histories);
        for network in NETWORKS {
            let name = network.into();
            let view = snapshot.network(&name);
            for (object, now) in &objects {
                let facts = match now {
                    Now::Is(fact) => fact,
                    Now::Malformed { last: Some(last), .. } => last,
                    _ => continue,
                };
                let Fact::Host(facts) = facts else { continue };
                let host = snapshot.host(object.key.name()).unwrap();
                let expected = by_the_book(&objects, options, network, host.name(), facts);
                let code = |why| Cause::Inactive { cluster_network: name.clone(), why }.code();
                prop_assert_eq!(view.inactive(host).map(code), expected);
                let unknown = view.inactive_on_unknown(host.name(), facts);
                prop_assert_eq!(unknown.map(code), expected, "by the labels that came along");
            }
        }
    }

    #[test]
    fn what_is_looked_up_is_what_a_search_of_all_finds(histories in histories()) {
        let mut index = synced(Options::default());
        for change in histories.concat() {
            index.apply(change);
        }
        let snapshot = index.snapshot().unwrap();
        let objects = outcome(&histories);
        let facts = objects.iter().filter_map(|(object, now)| match now {
            Now::Is(fact) => Some((&object.key, fact)),
            Now::Malformed { last: Some(last), .. } => Some((&object.key, &**last)),
            _ => None,
        });
        let facts: Vec<_> = facts.collect();
        let hosts = facts.iter().filter_map(|(key, fact)| match fact {
            Fact::Host(host) => Some((key.text(), host)),
            _ => None,
        });
        for (_, host) in hosts.clone() {
            let all = snapshot.configs().filter(|(_, config, _)| config.covers(host));
            let all: BTreeSet<_> = all.map(|(name, ..)| name).collect();
            let found: BTreeSet<_> = snapshot.configs_covering(host).map(|(name, _)| name).collect();
            prop_assert_eq!(found, all);
        }
        for (key, fact) in &facts {
            match fact {
                Fact::NetworkConfig(config) => {
                    let all = hosts.clone().filter(|(_, host)| host.is_covered_by(&config.selector));
                    let all: Vec<_> = all.map(|(name, _)| name).collect();
                    prop_assert_eq!(snapshot.names(&snapshot.covered(&config.selector)), all);
                }
                Fact::Vmi(vmi) => {
                    let used = snapshot.selection_of(key).unwrap().vm_networks;
                    for network in ["n0", "n1", "n2", "gone"] {
                        let network = Key::in_namespace("ns", network);
                        let uses = !vmi.finished && used.contains(&network);
                        prop_assert_eq!(snapshot.is_using(key, &network), uses);
                    }
                }
                _ => {}
            }
        }
    }

    #[test]
    fn a_verdict_partitions_its_candidates(
        histories in histories(),
        asked in selection(),
        candidates in subsequence(vec!["h0", "h1", "h2", "h3", "other", "another"], 0..6).prop_shuffle(),
    ) {
        let mut index = synced(Options::default());
        for change in histories.concat() {
            index.apply(change);
        }
        let snapshot = index.snapshot().unwrap();
        let needs = Needs::of(&snapshot, &asked);
        let mut filter = Filter::new(&snapshot, &needs, candidates.len());
        for name in &candidates {
            filter.candidate(name, || None);
        }
        let verdict = filter.finish(Rejections::All);
        prop_assert_eq!(verdict.outcomes().len(), candidates.len());
        let kept = verdict.outcomes().iter().filter(|it| it.is_kept()).count();
        prop_assert_eq!(verdict.kept(), kept);
        for (candidate, outcome) in candidates.iter().zip(verdict.outcomes()) {
            let host = snapshot.host(candidate);
            let active = |host| {
                needs.cluster_networks.iter().all(|name| snapshot.network(name).inactive(host).is_none())
            };
            let should = needs.nothing()
                || needs.everywhere.is_empty() && host.is_some_and(active);
            match outcome.rejection() {
                None => prop_assert!(should && outcome.is_kept()),
                Some(place) => {
                    prop_assert!(!should);
                    let causes = &verdict.rejections()[place].0;
                    prop_assert!(!causes.is_empty());
                    let reasons: Vec<_> = causes.iter().map(Cause::reason).collect();
                    prop_assert!(reasons.is_sorted(), "{:?}", reasons);
                }
            }
        }
        // What is counted is what is named, whether it is named or not.
        let mut named = BTreeMap::new();
        for outcome in verdict.outcomes() {
            for cause in outcome.rejection().map_or(&[][..], |place| &verdict.rejections()[place].0) {
                *named.entry(cause.reason()).or_default() += 1;
            }
        }
        prop_assert_eq!(&counted(&verdict), &named);
        let mut filter = Filter::new(&snapshot, &needs, candidates.len());
        for name in &candidates {
            filter.candidate(name, || None);
        }
        let unnamed = filter.finish(Rejections::Needed);
        prop_assert_eq!(counted(&unnamed), named);
        prop_assert_eq!(unnamed.names_causes(), unnamed.kept() == 0);
        for (outcome, full) in unnamed.outcomes().iter().zip(verdict.outcomes()) {
            prop_assert_eq!(outcome.is_kept(), full.is_kept());
            prop_assert!(!unnamed.names_causes() || outcome == full);
        }
    }
}

/// The number of hosts that are rejected for each cause.
fn counted(verdict: &Verdict) -> BTreeMap<String, u64> {
    let mut counted = BTreeMap::new();
    for (cause, hosts) in verdict.counts() {
        *counted.entry(cause.reason()).or_default() += hosts;
    }
    counted
}

#[test]
fn nothing_is_known_before_every_kind_is_listed() {
    let mut index = Index::new(Options::default());
    for kind in Kind::ALL {
        assert!(index.snapshot().is_none(), "{kind:?} is not listed yet");
        index.listed(kind);
    }
    assert!(index.snapshot().is_some());
}
