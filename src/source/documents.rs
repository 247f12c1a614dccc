//! Reads the objects of a YAML or JSON file, which may hold several documents and lists.

use std::fmt;

use serde_json::Value;

use crate::k8s::Malformed;

/// The most events, nodes, documents and bytes of a YAML file. The YAML reader's own limits suit a
/// configuration file, but a dump of a cluster is larger. `files` limits the size of the file.
const MAX_YAML: usize = 1 << 30;

/// Why a file can't be read, and in which line.
#[derive(Debug)]
pub(super) struct Broken {
    pub line: Option<u64>,
    pub why: String,
}

impl Broken {
    /// An error about the whole file.
    pub(super) fn whole(why: String) -> Self {
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

/// Reads all objects of a file. Lists are unfolded, and empty documents are skipped.
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
        .map_err(|error| Broken {
            line: u64::try_from(error.line()).ok(),
            why: Malformed::from(error).to_string(),
        })
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
