//! How pods and VMs name the VM networks that they ask for (spec, section 3).

use crate::cluster::{Key, Name, Selection};

use super::fold::Members;

/// The annotation that lists a pod's further networks.
pub(crate) const NETWORKS: &str = "k8s.v1.cni.cncf.io/networks";
/// The annotation that replaces a pod's first network.
pub(crate) const DEFAULT_NETWORK: &str = "v1.multus-cni.io/default-network";

/// Collects what is asked for, and the first reason why some of it can't be read.
#[derive(Default)]
pub(crate) struct Asked {
    keys: Vec<Key>,
    unreadable: Option<Name>,
}

impl Asked {
    pub fn add(&mut self, found: Result<Vec<Key>, String>, at: &str) {
        match found {
            Ok(keys) => self.keys.extend(keys),
            Err(why) => {
                self.unreadable.get_or_insert_with(|| format!("{at}: {why}").into());
            }
        }
    }

    pub fn selection(self) -> Selection {
        Selection::of(self.keys, self.unreadable)
    }
}

/// Reads a list of networks as Multus does: a JSON list, or `[namespace/]name[@interface]`
/// separated by commas.
pub(crate) fn networks(text: &str, namespace: &str) -> Result<Vec<Key>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    if text.contains(['[', '{', '"']) {
        let elements: Vec<Members<'_>> = serde_json::from_str(text)
            .map_err(|error| format!("not a list of networks: {error}"))?;
        return elements
            .iter()
            .map(|element| {
                let given = element.text("namespace")?.filter(|namespace| !namespace.is_empty());
                let name = element.text("name")?.unwrap_or_default();
                key(given.as_deref().unwrap_or(namespace), &name)
            })
            .collect();
    }
    text.split(',')
        .map(|item| {
            let (network, interface) = item.split_once('@').unwrap_or((item, ""));
            if interface.contains(['@', '/']) {
                return Err(format!("{item:?} is not [namespace/]name[@interface]"));
            }
            network_name(network, namespace)
        })
        .collect()
}

/// Reads `name` or `namespace/name`.
pub(crate) fn network_name(text: &str, namespace: &str) -> Result<Key, String> {
    let (namespace, name) = text.split_once('/').unwrap_or((namespace, text));
    key(namespace.trim(), name.trim())
}

/// A VM network's key. Its name may hold dots, which Multus's own short form refuses.
fn key(namespace: &str, name: &str) -> Result<Key, String> {
    for (part, text, most) in [("namespace", namespace, 63), ("name", name, 253)] {
        let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let fine = !text.is_empty()
            && text.len() <= most
            && text.bytes().all(|c| inner(c) || matches!(c, b'-' | b'.'))
            && text.bytes().next().is_some_and(inner)
            && text.bytes().last().is_some_and(inner);
        if !fine {
            return Err(format!("{text:?} is not the {part} of a VM network"));
        }
    }
    Ok(Key::in_namespace(namespace, name))
}

#[cfg(test)]
mod tests {
    use super::networks;

    fn read(text: &str) -> Result<Vec<String>, String> {
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
    }

    #[test]
    fn what_multus_could_not_read_either_is_an_error() {
        for text in [
            " ",
            ",",
            "a,",
            "a/b/c",
            "a@b@c",
            "A",
            "-a",
            "a.",
            "/a",
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
        ] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }
}
