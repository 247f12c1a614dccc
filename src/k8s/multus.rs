//! Reads which VM networks a pod or VM asks for (docs/reference.md, "What a pod or VM needs").

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::Deserialize;

use crate::cluster::{Key, Name, Selection, is_dns_subdomain};

use super::decode::{Decoder, Malformed, each};
use super::fold::Members;
use super::meta::{DEFAULT_NETWORK, NETWORKS};
use super::plain::echo;

/// The longest name of a network interface, in bytes.
const MAX_INTERFACE: usize = 15;

/// Collects the VM networks that are asked for, and what can't be read.
#[derive(Default)]
pub(crate) struct Asked {
    keys: Vec<Key>,
    unreadable: Vec<Name>,
}

impl Asked {
    pub fn add(&mut self, found: Result<Vec<Key>, Malformed>, at: &str) {
        match found {
            Ok(keys) => self.keys.extend(keys),
            Err(why) => self.unreadable.push(why.within(at).into()),
        }
    }

    pub fn selection(self) -> Selection {
        Selection::of(self.keys, self.unreadable)
    }
}

/// Reads a list of networks as Multus does: a JSON list, or `[namespace/]name[@interface]`
/// separated by commas.
pub(crate) fn networks(text: &str, namespace: &str) -> Result<Vec<Key>, Malformed> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    if text.contains(['[', '{', '"']) {
        let mut keys = Vec::new();
        let mut wrong = None;
        let mut json = serde_json::Deserializer::from_str(text);
        each(&mut json, |element: Members<'_>| {
            match element_key(&element, namespace) {
                Ok(key) => keys.push(key),
                Err(why) => wrong = wrong.take().or(Some(why)),
            }
            Ok(())
        })
        .and_then(|()| json.end())
        .map_err(|error| Malformed::from(error).about("not a list of networks"))?;
        return wrong.map_or(Ok(keys), Err);
    }
    text.split(',')
        .map(|item| {
            let (network, interface) = item.split_once('@').unwrap_or((item, ""));
            let interface = interface.trim();
            let wrong = |c: char| matches!(c, '@' | '/' | ' ' | '\t'..='\r');
            if interface.len() > MAX_INTERFACE || interface.contains(wrong) {
                let why = format!("{} is not [namespace/]name[@interface]", echo(item));
                return Err(Malformed::new(why));
            }
            network_name(network, namespace)
        })
        .collect()
}

/// The key that an element of the JSON list names.
fn element_key(element: &Members<'_>, namespace: &str) -> Result<Key, Malformed> {
    let given = element.text("namespace")?.unwrap_or_default();
    let name = element.text("name")?.unwrap_or_default();
    key(non_empty(&given, namespace), &name)
}

/// The VM networks that a pod's annotations ask for.
pub(crate) fn pod_networks<'a>(
    annotation: impl Fn(&str) -> Option<&'a str>,
    namespace: &str,
    decoder: &Decoder,
) -> Selection {
    let mut asked = Asked::default();
    if let Some(text) = annotation(NETWORKS) {
        asked.add(networks(text, namespace), NETWORKS);
    }
    if let Some(text) = annotation(DEFAULT_NETWORK) {
        let found = networks(text, &decoder.multus_namespace).and_then(|keys| match keys.len() {
            0 | 1 => Ok(keys),
            more => Err(Malformed::new(format!("{more} networks, but only one is allowed"))),
        });
        asked.add(found, DEFAULT_NETWORK);
    }
    asked.selection()
}

/// The VM networks that a pod asks for and that its network status lacks. A status that can't be
/// read says nothing, so none are lacking.
pub(crate) fn unattached(asked: &Selection, status: &str, namespace: &str) -> Box<[Key]> {
    #[derive(Deserialize)]
    struct Network<'a> {
        #[serde(default, borrow)]
        name: Cow<'a, str>,
    }
    let Ok(networks) = serde_json::from_str::<Vec<Network<'_>>>(status) else {
        return Box::default();
    };
    // The cluster's own network has a name of its plug-in's choice, which names no VM network.
    let attached: BTreeSet<Key> =
        networks.iter().filter_map(|it| network_name(&it.name, namespace).ok()).collect();
    asked.vm_networks.iter().filter(|key| !attached.contains(key)).cloned().collect()
}

/// Reads `name` or `namespace/name`. An empty namespace means the default one.
pub(crate) fn network_name(text: &str, namespace: &str) -> Result<Key, Malformed> {
    let (given, name) = text.split_once('/').unwrap_or(("", text));
    key(non_empty(given.trim(), namespace), name.trim())
}

fn non_empty<'a>(given: &'a str, default: &'a str) -> &'a str {
    if given.is_empty() { default } else { given }
}

/// A VM network's key. Its name may contain dots, although Multus's own short form refuses them.
fn key(namespace: &str, name: &str) -> Result<Key, Malformed> {
    for (part, text, max) in [("namespace", namespace, 63), ("name", name, 253)] {
        if text.len() > max || !is_dns_subdomain(text) {
            let why = format!("{} is not a valid {part} of a VM network", echo(text));
            return Err(Malformed::new(why));
        }
    }
    Ok(Key::in_namespace(namespace, name))
}

#[cfg(test)]
mod tests {
    use super::{DEFAULT_NETWORK, Decoder, NETWORKS, networks, pod_networks};

    fn read(text: &str) -> Result<Vec<String>, super::Malformed> {
        Ok(networks(text, "default")?.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn both_forms_are_read() {
        assert_eq!(read("").unwrap(), [""; 0]);
        assert_eq!(read("[]").unwrap(), [""; 0]);
        assert_eq!(read("a").unwrap(), ["default/a"]);
        assert_eq!(read("a@net1, other/b.c ,d").unwrap(), ["default/a", "other/b.c", "default/d"]);
        assert_eq!(
            read(r#"[{"name":"a","interface":"pod1"},{"name":"b.c","namespace":"other"}]"#)
                .unwrap(),
            ["default/a", "other/b.c"]
        );
        assert_eq!(read(r#"[{"name":"a","namespace":null}]"#).unwrap(), ["default/a"]);
        assert_eq!(read(r#"[{"Name":"a","NAMESPACE":"b","name":"c"}]"#).unwrap(), ["b/c"]);
        assert_eq!(read("a @net1, b / c").unwrap(), ["default/a", "b/c"]);
        assert_eq!(read("a@, b@ 123456789012345 ").unwrap(), ["default/a", "default/b"]);
        assert_eq!(
            read("[{\"\u{17f}\":1,\"name\u{17f}pace\":\"b\",\"name\":\"a\"}]").unwrap(),
            ["b/a"]
        );
    }

    #[test]
    fn an_empty_namespace_is_the_default() {
        assert_eq!(read("/a, /b").unwrap(), ["default/a", "default/b"]);
        assert_eq!(read(r#"[{"name":"a","namespace":""}]"#).unwrap(), ["default/a"]);
        let annotations = |name: &str| {
            [(NETWORKS, "/a"), (DEFAULT_NETWORK, "/d")]
                .into_iter()
                .find(|it| it.0 == name)
                .map(|it| it.1)
        };
        let pod = pod_networks(annotations, "ns", &Decoder::default());
        assert_eq!(format!("{:?}", pod.vm_networks), "[kube-system/d, ns/a]");
    }

    #[test]
    fn what_multus_cant_read_is_an_error() {
        for text in [
            " ",
            ",",
            "a,",
            "a/b/c",
            "a@b@c",
            "A",
            "-a",
            "a.",
            "/",
            "a/",
            "{}",
            "[null]",
            "[{}]",
            r#"{"name":"a"}"#,
            r#"[{"name":7}]"#,
            "[",
            r#"["a"]"#,
            r#"[{"name":"a/b"}]"#,
            r#"[["a"]]"#,
            "a@b/c",
            "a@1234567890123456",
            "a@b c",
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }
}
