//! Reads the objects of a YAML or JSON file, which may hold several documents and lists.

use std::fmt;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::decode::Malformed;

/// The most events, nodes, documents and bytes of a YAML file. The YAML reader's own limits suit a
/// configuration file, but a dump of a cluster is larger. `files` limits the size of the file.
const MAX_YAML: usize = 1 << 30;

/// Why a file can't be read, and in which line.
#[derive(Debug)]
pub struct Broken {
    /// The line, counted from 1, if the error is about one.
    pub line: Option<u64>,
    /// What is wrong.
    pub why: String,
}

impl Broken {
    /// An error about the whole file.
    #[must_use]
    pub fn whole(why: String) -> Self {
        Self { line: None, why }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.why),
            None => f.write_str(&self.why),
        }
    }
}

/// Reads all objects of a text. Lists are unfolded, and empty documents are skipped.
///
/// # Errors
/// If the text is not JSON, or not YAML. The error says why, and in which line.
pub fn read(text: &str, json: bool) -> Result<Vec<Value>, Broken> {
    let mut objects = Vec::new();
    each(text, json, &mut |object| objects.push(object))?;
    Ok(objects)
}

/// Hands over each object of a text, as [`read`] returns them. A list in JSON is read item by item, so
/// that a dump of a cluster takes little more memory than its text.
///
/// # Errors
/// As for [`read`]. Objects before the error may have been handed over by then.
pub fn each(text: &str, json: bool, take: &mut dyn FnMut(Value)) -> Result<(), Broken> {
    if json {
        return each_of_json(text, take);
    }
    from_yaml(text)?.into_iter().for_each(|document| unfold(document, take));
    Ok(())
}

fn each_of_json(text: &str, take: &mut dyn FnMut(Value)) -> Result<(), Broken> {
    let parse = |raw: &RawValue| {
        // A raw value is a part of the text, so that its address tells the lines before it.
        let begin = raw.get().as_ptr().addr() - text.as_ptr().addr();
        serde_json::from_str(raw.get()).map_err(|error| {
            let before = text.get(..begin).unwrap_or_default();
            broken(error, before.matches('\n').count())
        })
    };
    for document in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
        let document = document.map_err(|error| broken(error, 0))?;
        let Some(List { api_version, kind, items }) = List::of(document) else {
            unfold(parse(document)?, take);
            continue;
        };
        for item in items {
            let mut item = parse(item)?;
            inherit(&api_version, &kind, &mut item);
            unfold(item, take);
        }
    }
    Ok(())
}

/// An error in a text that follows this many lines.
fn broken(error: serde_json::Error, lines: usize) -> Broken {
    let line = u64::try_from(lines + error.line()).ok();
    Broken { line, why: Malformed::from(error).to_string() }
}

/// A list in JSON, as the API server and kubectl write it, with its items unread.
#[derive(Deserialize)]
struct List<'t> {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
    #[serde(borrow)]
    items: Vec<&'t RawValue>,
}

impl<'t> List<'t> {
    /// `None` for whatever else the document is, a list of any other form among it.
    fn of(document: &'t RawValue) -> Option<Self> {
        let is_object = document.get().starts_with('{');
        let list: Self = serde_json::from_str(document.get()).ok().filter(|_| is_object)?;
        list.kind.ends_with("List").then_some(list)
    }
}

fn from_yaml(text: &str) -> Result<Vec<Value>, Broken> {
    let options = serde_saphyr::options! {
        // The limits on the expansion of aliases stay as they are.
        budget: serde_saphyr::budget! {
            max_events: MAX_YAML,
            max_nodes: MAX_YAML,
            max_documents: MAX_YAML,
            max_total_scalar_bytes: MAX_YAML,
            max_total_comment_bytes: MAX_YAML,
        },
        // kubectl reads octal numbers like this.
        legacy_octal_numbers: true,
    };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| Broken {
        line: error.location().map(|location| location.line()),
        why: without_position(
            &error.without_snippet().render_with_formatter(&serde_saphyr::UserMessageFormatter),
        ),
    })
}

/// Removes the line and column at the end of a message, since `Broken` puts the line before it.
fn without_position(message: &str) -> String {
    message.rsplit_once(" at line ").map_or(message, |(message, _)| message).to_owned()
}

fn unfold(document: Value, take: &mut dyn FnMut(Value)) {
    let is_list =
        document.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
    match document {
        Value::Null => {}
        Value::Object(mut list) if is_list => match list.remove("items") {
            Some(Value::Array(items)) => {
                for mut item in items {
                    inherit(text(&list, "apiVersion"), text(&list, "kind"), &mut item);
                    unfold(item, take);
                }
            }
            // Go writes an empty list as null.
            Some(Value::Null) => {}
            // A kind may end with `List` and be no list.
            Some(other) => {
                list.insert("items".to_owned(), other);
                take(Value::Object(list));
            }
            None => take(Value::Object(list)),
        },
        object => take(object),
    }
}

/// Gives an item of a typed list, such as a `NodeList`, the kind and version of the list's items if
/// it lacks its own, as kubectl does. An API server writes typed lists like this.
fn inherit(api_version: &str, kind: &str, item: &mut Value) {
    // The kind `List` itself says nothing about its items.
    let Some(kind) = kind.strip_suffix("List").filter(|kind| !kind.is_empty()) else { return };
    let Value::Object(item) = item else { return };
    if text(item, "apiVersion").is_empty() || text(item, "kind").is_empty() {
        item.insert("apiVersion".to_owned(), api_version.into());
        item.insert("kind".to_owned(), kind.into());
    }
}

fn text<'o>(of: &'o Map<String, Value>, member: &str) -> &'o str {
    of.get(member).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::{each, read};

    fn names(text: &str, json: bool) -> Vec<String> {
        read(text, json)
            .unwrap()
            .iter()
            .map(|object| object["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn documents_and_lists_are_unfolded() {
        let yaml = "
metadata: {name: a}
---
# nothing but a comment
---
kind: List
items:
- metadata: {name: b}
- kind: NodeList
  items: [{metadata: {name: c}}]
";
        assert_eq!(names(yaml, false), ["a", "b", "c"]);
        let json =
            r#"{"metadata":{"name":"a"}} {"kind":"List","items":[{"metadata":{"name":"b"}}]}"#;
        assert_eq!(names(json, true), ["a", "b"]);
        assert!(read("", false).unwrap().is_empty());
    }

    #[test]
    fn items_of_a_typed_list_have_its_kind_and_version() {
        let kinds = |yaml: &str| {
            let objects = read(yaml, false).unwrap();
            let text = |object: &Value, name: &str| object[name].as_str().map(str::to_owned);
            objects.iter().map(|it| (text(it, "apiVersion"), text(it, "kind"))).collect::<Vec<_>>()
        };
        let is = |version: &str, kind: &str| (Some(version.to_owned()), Some(kind.to_owned()));
        let list = |list: &str, item: &str| format!("{{{list}, items: [{item}]}}");
        let vms = "apiVersion: kubevirt.io/v1, kind: VirtualMachineList";
        // As in kubectl, an item has both of its own or takes both.
        for item in ["{metadata: {name: a}}", "{apiVersion: '', kind: null}", "{kind: Other}"] {
            assert_eq!(kinds(&list(vms, item)), [is("kubevirt.io/v1", "VirtualMachine")], "{item}");
        }
        let own = "{apiVersion: kubevirt.io/v1alpha3, kind: Other}";
        assert_eq!(kinds(&list(vms, own)), [is("kubevirt.io/v1alpha3", "Other")]);
        assert_eq!(kinds(&list("apiVersion: v1, kind: List", "{a: b}")), [(None, None)]);
        for (text, count) in [
            ("{apiVersion: v1, kind: NodeList, items: null}", 0),
            ("{apiVersion: v1, kind: NodeList, items: []}", 0),
            ("{apiVersion: example.com/v1, kind: AllowList, spec: {}}", 1),
            ("{apiVersion: example.com/v1, kind: AllowList, items: {a: b}}", 1),
        ] {
            assert_eq!(kinds(text).len(), count, "{text}");
        }
    }

    #[test]
    fn json_gives_the_same_objects_as_yaml() {
        for text in [
            r#"{"kind": "VirtualMachineList", "apiVersion": "kubevirt.io/v1",
                "items": [{"a": 1}, {"kind": "K", "apiVersion": "v1"}, null, 3]}"#,
            r#"{"items": [{"a": 1}], "metadata": {}, "kind": "NodeList", "apiVersion": "v1"}"#,
            r#"{"apiVersion": "v1", "kind": "List", "items": [
                {"apiVersion": "v1", "kind": "NodeList", "items": [{"a": 1}]}, {"b": [1]}]}"#,
            r#"{"kind": "List", "items": [{"a": 1}]}"#,
            r#"{"apiVersion": "v1", "kind": "List", "items": null}"#,
            r#"{"apiVersion": "v1", "kind": "List"}"#,
            r#"{"apiVersion": "v1", "kind": "AllowList", "items": {"a": 1}}"#,
            r#"{"apiVersion": "v1", "kind": "Other", "items": [1, 2]}"#,
            r#"{"apiVersion": 1, "kind": "NodeList", "items": [{"a": 1}]}"#,
            r#"["v1", "NodeList", [{"a": 1}]]"#,
            r#""a List""#,
            "null",
        ] {
            assert_eq!(read(text, true).unwrap(), read(text, false).unwrap(), "{text}");
        }
    }

    #[test]
    fn items_of_a_list_in_json_are_handed_over_one_by_one() {
        let list = "{\n\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [\n{\"a\": 1},\n{\n\"b\":\n 1e999}]}";
        let mut taken = Vec::new();
        let error = each(list, true, &mut |object| taken.push(object)).unwrap_err();
        assert_eq!(taken, [serde_json::json!({ "a": 1 })]);
        assert_eq!(error.line, Some(6), "{error}");
    }

    #[test]
    fn an_error_names_the_line() {
        let said = read("a: 1\na: 2\n", false).unwrap_err().to_string();
        assert!(said.starts_with("line 2: ") && !said.contains("at line"), "{said}");
        assert!(!said.contains("Policy"), "no advice for programmers: {said}");
        let said = read("{\n\"a\": }", true).unwrap_err().to_string();
        assert_eq!(said, "line 2: a valid JSON value is missing");
        assert_eq!(read("a: 1\nb: [\n", false).unwrap_err().line, Some(2));
        assert_eq!(read("a: 1\nb: c: d\n", false).unwrap_err().line, Some(2));
        assert_eq!(read("{\n\"a\": }", true).unwrap_err().line, Some(2));
    }

    #[test]
    fn a_dump_larger_than_a_configuration_file_is_read() {
        let node = "- metadata: {name: host}\n  status: {a: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}\n";
        let yaml = format!("kind: List\nitems:\n{}", node.repeat(20_000));
        assert_eq!(read(&yaml, false).unwrap().len(), 20_000);
    }
}
