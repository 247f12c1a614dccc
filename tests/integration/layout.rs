//! The reader of kube-scheduler's own layout says what the general reader says.

use lanekeeper::decide::filter::Verdict;
use lanekeeper::k8s::Decoder;
use lanekeeper::k8s::extender::{Args, any_args, args};
use lanekeeper::k8s::replies::filter_result;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::json;

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
    (text(), networks, text(), host).prop_map(|(name, networks, odd, host)| {
        // In Go's order: metadata comes first.
        let metadata = json!({
            "name": name, "namespace": "ns",
            "annotations": { "k8s.v1.cni.cncf.io/networks": networks, "other": odd },
        });
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
fn another_layout_is_left_to_the_general_reader() {
    for list in [
        r#"["a", "b"]"#,
        r#"["a",]"#,
        r#"["a""b"]"#,
        r#"["a",,"b"]"#,
        r#"["a,"b"]"#,
        r#"["a",b]"#,
        r#"[a]"#,
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
