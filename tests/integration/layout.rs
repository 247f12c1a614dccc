//! The reader of kube-scheduler's own layout says what the general reader says.

use lanekeeper::cluster::{Key, Options, Selection, Snapshot};
use lanekeeper::decide::filter::{Filter, Rejections, Verdict};
use lanekeeper::decide::needs::Needs;
use lanekeeper::k8s::Decoder;
use lanekeeper::k8s::extender::{Args, any_args, args, pod_and_names};
use lanekeeper::k8s::replies::{filter_list, filter_result};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::json;

use crate::harness::snapshot_from;

/// What is read from a request: the pod, the names, and the candidates as a reply has them that keeps
/// all.
#[derive(Debug, PartialEq)]
struct Read {
    pod: String,
    names: Vec<String>,
    reply: String,
}

fn read(body: &str, args: Args<'_>) -> Option<Read> {
    let pod = args.pod(&Decoder::default()).ok()?;
    let names = args.candidates.iter(body).map(|it| it.name().into_owned()).collect();
    let verdict = Verdict::all_kept(args.candidates.len());
    let reply = filter_result(args.candidates, verdict);
    let text = reply.to_vec(body);
    assert_eq!(reply.length(body), text.len());
    Some(Read { pod: format!("{pod:?}"), names, reply: String::from_utf8(text).unwrap() })
}

/// Text that looks like what the reader looks for, or needs escapes, or is a name.
fn text() -> impl Strategy<Value = String> {
    let piece = select(vec![
        r#","Nodes":null,"NodeNames":["#,
        r#","Nodes":{"metadata":{},"items":["#,
        r#"]},"NodeNames":null}"#,
        r#"},{"metadata":{"name":""#,
        r#"{"metadata":{"name":"h9"}}"#,
        r#""nodeName":"h1""#,
        "]}",
        "\",\"",
        "\\",
        "\n",
        "\u{0}",
        "é",
        "h1",
        "worker-7.example.com",
        ",",
        "",
    ]);
    proptest::collection::vec(piece, 0..3).prop_map(|pieces| pieces.concat())
}

fn pod() -> impl Strategy<Value = String> {
    let networks = select(vec!["net", "a/b, c", r#"[{"name":"net","namespace":"n"}]"#, "[{", ""]);
    let host = proptest::option::weighted(0.2, text());
    // A member that Go writes, or one that a general reader takes for another.
    let member = select(vec![
        r#""generation":-1"#,
        r#""finalizers":[]"#,
        r#""managedFields":[{"fieldsV1":{"f:metadata":{"f:annotations":{".":{}}}}},{}]"#,
        r#""annotations":null"#,
        r#""annotations":{}"#,
        r#""Annotations":{"k8s.v1.cni.cncf.io/networks":"other"}"#,
        r#""annotations":{"k8s.v1.cni.cncf.io\/networks":"other"}"#,
        r#""annotations":{"k8s.v1.cni.cncf.io/networks":null}"#,
        r#""annotations":{"k8s.v1.cni.cncf.io/networks":"a","k8s.v1.cni.cncf.io/networks":"b"}"#,
        r#""NAME":"other""#,
        r#""name":null"#,
        r#""name":"\u0061""#,
        r#""name\u017fpace":"other""#,
        r#""namespace":"""#,
        r#""other":{"annotations":{"k8s.v1.cni.cncf.io/networks":"other"}}"#,
    ]);
    let member = proptest::option::weighted(0.3, (member, any::<bool>()));
    (text(), networks, text(), host, member).prop_map(|(name, networks, odd, host, member)| {
        // In Go's order: metadata comes first.
        let metadata = json!({
            "name": name, "namespace": "ns", "labels": { "odd": odd, &odd: odd },
            "annotations": { "k8s.v1.cni.cncf.io/networks": networks, "other": odd },
            "ownerReferences": [{ "name": odd, "controller": true }],
        });
        let mut metadata = metadata.to_string();
        match member {
            Some((member, true)) => metadata.insert_str(1, &format!("{member},")),
            Some((member, false)) => metadata.insert_str(metadata.len() - 1, &format!(",{member}")),
            None => {}
        }
        let mut spec = json!({ "containers": [{ "name": odd, "args": [odd] }] });
        if let Some(host) = host {
            spec["nodeName"] = json!(host);
        }
        format!(r#"{{"metadata":{metadata},"spec":{spec},"status":{{}}}}"#)
    })
}

/// A request as kube-scheduler writes it.
fn request() -> impl Strategy<Value = String> {
    let hosts = proptest::collection::vec((text(), text()), 0..4);
    (pod(), hosts, any::<bool>()).prop_map(|(pod, hosts, whole)| {
        if whole {
            let node = |(name, odd): &(String, String)| {
                let rest = json!({ "labels": { "odd": odd }, "annotations": { odd: name } });
                let rest = rest.to_string();
                let name = json!(name);
                format!(r#"{{"metadata":{{"name":{name},{},"spec":{{}}}}"#, &rest[1..])
            };
            let nodes: Vec<_> = hosts.iter().map(node).collect();
            let nodes = nodes.join(",");
            format!(
                r#"{{"Pod":{pod},"Nodes":{{"metadata":{{}},"items":[{nodes}]}},"NodeNames":null}}"#
            )
        } else {
            let names: Vec<_> = hosts.iter().map(|(name, _)| name).collect();
            format!(r#"{{"Pod":{pod},"Nodes":null,"NodeNames":{}}}"#, json!(names))
        }
    })
}

/// The same, with a part taken out or put elsewhere, or something else in its place. Whole Nodes stay
/// as they are, since a Node that does not begin as Go writes it would count as a part of the one
/// before.
fn changed() -> impl Strategy<Value = String> {
    (request(), any::<[Index; 3]>(), text()).prop_map(|(request, at, odd)| {
        let mut characters: Vec<char> = request.chars().collect();
        let nodes = request.find(r#"},"Nodes":{"metadata""#);
        let most = nodes.map_or(characters.len(), |at| request[..at].chars().count());
        let mut at = at.map(|index| index.index(most + 1));
        at[..2].sort_unstable();
        let part: Vec<char> = characters.drain(at[0]..at[1].min(at[0] + 40)).collect();
        let place = at[2].min(most - part.len());
        let put: Vec<char> = if odd.is_empty() { part } else { odd.chars().collect() };
        characters.splice(place..place, put);
        characters.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn both_readers_say_the_same_of_a_request(body in request()) {
        let general = read(&body, any_args(&body).unwrap());
        prop_assert_eq!(read(&body, args(&body).unwrap()), general);
    }

    #[test]
    fn both_readers_say_the_same_of_any_json(body in changed()) {
        let quick = args(&body).ok().and_then(|args| read(&body, args));
        // What the general reader refuses need not be refused, but must not make the other one panic.
        if let Some(general) = any_args(&body).ok().and_then(|args| read(&body, args)) {
            prop_assert_eq!(quick, Some(general));
        }
    }
}

#[test]
fn what_is_only_passed_on_is_not_looked_into() {
    let nodes = r#"{"Pod":{"metadata":{}},"Nodes":{"metadata":{},"items":[{"metadata":{"name":"a"}?},{"metadata":{"name":"b"}}]},"NodeNames":null}"#;
    assert!(any_args(nodes).is_err());
    let read = read(nodes, args(nodes).unwrap()).unwrap();
    assert_eq!(read.names, ["a", "b"]);
    assert!(read.reply.contains(r#"[{"metadata":{"name":"a"}?},{"metadata":{"name":"b"}}]"#));
}

#[test]
fn members_behind_the_pod_are_no_part_of_it() {
    for name in [r#""a""#, r#""\u0061""#, r#""a","labels":{"x":"},\"Pod\":"}"#] {
        let body = format!(
            r#"{{"Pod":{{"metadata":{{"name":{name}}}}},"Other":{{"a":[]}},"Nodes":null,"NodeNames":["h1"]}}"#
        );
        let pod = args(&body).unwrap().pod(&Decoder::default()).unwrap();
        assert_eq!(&*pod.name, "a", "{body}");
    }
}

#[test]
fn another_layout_is_left_to_the_general_reader() {
    for list in [
        r#"["a", "b"]"#,
        r#"["a",]"#,
        r#"["a""b"]"#,
        r#"["a",,"b"]"#,
        r#"["a,"b"]"#,
        r#"["a",b]"#,
        "[a]",
        r#"["a]"#,
        r#"["a"b]"#,
        r#"["\u0061"]"#,
        "[\"a\u{1}\"]",
        "[]",
        r#"[""]"#,
        r#"["a","b"]"#,
    ] {
        let body = format!(r#"{{"Pod":{{"metadata":{{}}}},"Nodes":null,"NodeNames":{list}}}"#);
        let of = |args: Result<Args<'_>, _>| args.ok().map(|args| read(&body, args).unwrap());
        assert_eq!(of(args(&body)), of(any_args(&body)), "{list}");
        assert_eq!(
            args(&body).is_ok(),
            serde_json::from_str::<Vec<&str>>(list).is_ok() || list.contains("u0061")
        );
    }
}

/// Hosts in the order in which they were added, every third of them with the network.
fn cluster() -> Snapshot {
    let host = |number: usize| {
        let labels = json!({ "third": (number % 3).to_string() });
        json!({ "apiVersion": "v1", "kind": "Node",
                "metadata": { "name": format!("h{number}"), "labels": labels } })
    };
    let group = "network.harvesterhci.io/v1beta1";
    let objects = vec![
        json!({ "apiVersion": group, "kind": "ClusterNetwork", "metadata": { "name": "cn" } }),
        json!({ "apiVersion": group, "kind": "VlanConfig", "metadata": { "name": "vc" },
                "spec": { "clusterNetwork": "cn", "nodeSelector": { "third": "1" } } }),
        json!({ "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
                "metadata": { "name": "net", "namespace": "default",
                              "labels": { "network.harvesterhci.io/clusternetwork": "cn" } } }),
    ];
    snapshot_from((0..70).map(host).chain(objects), Options::default())
}

proptest! {
    #[test]
    fn a_list_of_names_is_answered_as_one_candidate_after_the_other(
        runs in proptest::collection::vec((0_usize..70, 1_usize..40, any::<bool>()), 0..6),
        odd in proptest::option::of((text(), any::<Index>())),
        rejections in select(vec![Rejections::Needed, Rejections::All]),
        missing in any::<bool>(),
        tail in select(vec!["", "", "", ",", "]", " ", "\u{1}", ",\"", "x"]),
    ) {
        let mut names = Vec::new();
        for (first, count, backwards) in runs {
            let mut run: Vec<_> = (first..first + count).map(|it| format!("h{it}")).collect();
            if backwards {
                run.reverse();
            }
            names.extend(run);
        }
        if let Some((odd, at)) = odd {
            names.insert(at.index(names.len() + 1), odd);
        }
        let list = serde_json::to_string(&names).unwrap();
        let list = format!("{}{tail}", &list[1..list.len() - 1]);
        let body = format!(r#"{{"Pod":{{"metadata":{{"annotations":{{}}}}}},"Nodes":null,"NodeNames":[{list}]}}"#);
        let snapshot = cluster();
        let mut asked = vec![Key::in_namespace("default", "net")];
        asked.extend(missing.then(|| Key::in_namespace("default", "missing")));
        let selection = Selection::of(asked, Vec::new());
        let needs = Needs::of(&snapshot, &selection);

        let told = |reply: Vec<u8>, verdict: &Verdict| {
            let counts = format!("{:?}", verdict.counts());
            (String::from_utf8(reply).unwrap(), verdict.kept(), verdict.candidates(), counts)
        };
        let general = any_args(&body).ok().map(|args| {
            let mut filter = Filter::new(&snapshot, &needs, args.candidates.len());
            for candidate in args.candidates.iter(&body) {
                filter.candidate(&candidate.name(), || None);
            }
            let verdict = filter.finish(rejections);
            let said = told(Vec::new(), &verdict);
            let reply = filter_result(args.candidates, verdict).to_vec(&body);
            (String::from_utf8(reply).unwrap(), said.1, said.2, said.3)
        });
        let (_, found) = pod_and_names(&body, &Decoder::default()).unwrap();
        prop_assert_eq!(found, &*list);
        let filter = Filter::new(&snapshot, &needs, 0);
        let before = b"before";
        let mut reply = before.to_vec();
        let quick = filter_list(found, filter, rejections, &mut reply);
        let quick = quick.map(|verdict| told(reply.split_off(before.len()), &verdict));
        let escaped = |name: &String| name.contains(['"', '\\', '\n', '\0']);
        let plain = tail.is_empty() && !names.iter().any(escaped);
        // Blanks and escapes are left to the general reader, and so is an empty list.
        prop_assert_eq!(quick, general.filter(|_| plain && !names.is_empty()), "{}", body);
    }
}
