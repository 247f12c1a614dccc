//! The objects in a file: YAML or JSON, one or many, lists taken apart.

use std::fmt;

use serde_json::Value;

/// The largest file that is read, in bytes.
pub(super) const MOST_BYTES: u64 = 512 << 20;

/// A file that can't be read, and where.
#[derive(Debug)]
pub(super) struct Broken {
    pub line: Option<u64>,
    pub why: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.why),
            None => f.write_str(&self.why),
        }
    }
}

/// Reads all objects of a file. Lists are taken apart; empty documents are nothing.
pub(super) fn read(text: &str, json: bool) -> Result<Vec<Value>, Broken> {
    let documents = if json { from_json(text)? } else { from_yaml(text)? };
    let mut objects = Vec::new();
    for document in documents {
        unfold(document, &mut objects);
    }
    Ok(objects)
}

fn from_json(text: &str) -> Result<Vec<Value>, Broken> {
    serde_json::Deserializer::from_str(text)
        .into_iter()
        .collect::<Result<_, serde_json::Error>>()
        .map_err(|error| Broken { line: u64::try_from(error.line()).ok(), why: error.to_string() })
}

/// The reader's own limits fit a configuration file; a dump of a cluster is larger, and how large
/// it may be is decided by [`MOST_BYTES`]. What bounds the expansion of aliases stays.
fn from_yaml(text: &str) -> Result<Vec<Value>, Broken> {
    let most = usize::try_from(MOST_BYTES).unwrap_or(usize::MAX);
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: most,
            max_nodes: most,
            max_documents: most,
            max_total_scalar_bytes: most,
            max_total_comment_bytes: most,
        },
        // As kubectl reads it.
        legacy_octal_numbers: true,
    };
    serde_saphyr::from_multiple_with_options(text, options).map_err(|error| Broken {
        line: error.location().map(|location| location.line()),
        why: error.without_snippet().to_string(),
    })
}

fn unfold(document: Value, objects: &mut Vec<Value>) {
    let is_list =
        document.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
    match document {
        Value::Null => {}
        Value::Object(mut list) if is_list && list.get("items").is_some_and(Value::is_array) => {
            if let Some(Value::Array(items)) = list.remove("items") {
                for item in items {
                    unfold(item, objects);
                }
            }
        }
        object => objects.push(object),
    }
}

#[cfg(test)]
mod tests {
    use super::read;

    fn names(text: &str, json: bool) -> Vec<String> {
        read(text, json)
            .unwrap()
            .iter()
            .map(|object| object["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn documents_and_lists_are_taken_apart() {
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
    fn a_broken_file_tells_the_line() {
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
