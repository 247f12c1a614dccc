//! How objects and requests are read: defaults, limits, and the error for what can't be read.

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::cluster::Name;

use super::plain::{cut, plain};

/// The longest string in an object under review, in bytes. Kubernetes allows no larger annotation,
/// and every other string that we read is far shorter.
const MAX_STRING: usize = 256 << 10;

/// The most candidate hosts that a request may have.
pub(super) const MAX_CANDIDATES: usize = 100_000;
/// The most bytes of a host's name as a JSON string. A DNS subdomain has at most 253 characters,
/// each of which may be escaped.
const MAX_NAME: usize = 2048;
/// The most characters of a path that a message repeats.
const MAX_PATH: usize = 256;

/// Why something can't be read. The text begins with the path of the field, if a field is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

impl Malformed {
    /// An error with this text.
    #[must_use]
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }

    /// Any error of serde, in the words of Kubernetes, and without a position.
    pub(super) fn plain(error: impl fmt::Display) -> Self {
        Self(plain(&error.to_string()))
    }

    /// Puts the path of the enclosing field, or the name of the enclosing part, before the text.
    #[must_use]
    pub fn within(self, path: impl fmt::Display) -> Self {
        let separator = if self.0.starts_with('.') { "" } else { ": " };
        Self(format!("{path}{separator}{}", self.0))
    }

    /// Puts a text that is not part of a path before the error.
    #[must_use]
    pub fn about(self, what: impl fmt::Display) -> Self {
        Self(format!("{what}: {}", self.0.trim_start_matches('.')))
    }
}

/// In the words of Kubernetes, and without a position.
impl From<serde_json::Error> for Malformed {
    fn from(error: serde_json::Error) -> Self {
        Self::plain(error)
    }
}

impl From<&str> for Malformed {
    fn from(why: &str) -> Self {
        Self(why.to_owned())
    }
}

impl From<Malformed> for Name {
    fn from(malformed: Malformed) -> Self {
        malformed.0.into()
    }
}

/// Reads objects into facts, with the defaults of the cluster that they come from.
#[derive(Clone, Debug)]
pub struct Decoder {
    /// The namespace in which Multus looks for a default network that names no namespace.
    pub multus_namespace: Name,
    /// The namespace of a namespaced object that names none.
    pub default_namespace: Name,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { multus_namespace: "kube-system".into(), default_namespace: "default".into() }
    }
}

/// Reads a value. The error names the field at fault.
pub(super) fn read<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    object: D,
) -> Result<T, Malformed> {
    serde_path_to_error::deserialize(object).map_err(|error| {
        let path = error.path().to_string();
        let why = Malformed::plain(error.into_inner());
        match &*path {
            "." => Malformed(why.0.trim_start_matches('.').to_owned()),
            path => why.within(cut(path, MAX_PATH)),
        }
    })
}

/// Reads a value from its JSON. The error names the field at fault.
///
/// # Errors
/// If the text is not JSON, or a field is not what it should be.
pub fn read_text<'de, T: Deserialize<'de>>(object: &'de str) -> Result<T, Malformed> {
    serde_json::from_str(object).or_else(|error| {
        // Following the path costs time, so only what can't be read is read so.
        read::<T, _>(&mut serde_json::Deserializer::from_str(object))?;
        Err(error.into())
    })
}

/// Refuses an object with an overlong string, so that reading it takes little memory beyond its own
/// size.
///
/// # Errors
/// If a string is longer than `MAX_STRING`, without its escapes.
pub(super) fn check_strings(object: &str) -> Result<(), Malformed> {
    let mut at = 0;
    while let Some(string) = next_string(object, at) {
        at = string.end;
        // Escapes only make a string longer.
        if string.len() <= MAX_STRING {
            continue;
        }
        let text = serde_json::from_str::<String>(object.get(string).unwrap_or_default())?;
        if text.len() > MAX_STRING {
            return Err(Malformed(format!(
                "Too long: a string has {} bytes and may not have more than {MAX_STRING}",
                text.len()
            )));
        }
    }
    Ok(())
}

/// The range of the next JSON string, quotes included. The text must be valid JSON.
fn next_string(text: &str, from: usize) -> Option<std::ops::Range<usize>> {
    let bytes = text.as_bytes();
    let start = from + memchr::memchr(b'"', bytes.get(from..)?)?;
    let mut at = start + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes.get(at) == Some(&b'"') {
            return Some(start..at + 1);
        }
        // Skip the backslash and the character that it escapes.
        at += 2;
    }
}

/// Checks the length of a host's name, given as a JSON string.
pub(super) fn check_name(quoted: &str) -> Result<(), Malformed> {
    if quoted.len() > MAX_NAME {
        return Err(Malformed::new(format!(
            "a host's name of {} bytes, but at most {MAX_NAME} are allowed",
            quoted.len()
        )));
    }
    Ok(())
}

/// A list of at most `MAX` elements.
#[derive(Debug)]
pub(crate) struct List<T, const MAX: usize>(pub Vec<T>);

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut elements = Vec::new();
        each(deserializer, |element| {
            if elements.len() == MAX {
                return Err(D::Error::custom(format_args!(
                    "Too many: must have at most {MAX} items"
                )));
            }
            elements.push(element);
            Ok(())
        })?;
        Ok(Self(elements))
    }
}

/// Reads a list element by element, without building it in memory.
pub(crate) fn each<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
    on_element: impl FnMut(T) -> Result<(), D::Error>,
) -> Result<(), D::Error> {
    struct Each<T, F>(F, std::marker::PhantomData<T>);

    impl<'de, T, F, E> Visitor<'de> for Each<T, F>
    where
        T: Deserialize<'de>,
        F: FnMut(T) -> Result<(), E>,
        E: serde::de::Error,
    {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
            while let Some(element) = list.next_element()? {
                self.0(element).map_err(A::Error::custom)?;
            }
            Ok(())
        }
    }

    deserializer.deserialize_seq(Each(on_element, std::marker::PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_with_escapes_are_found() {
        let text = r#"{"a" : "b\"c\\", "": [1, "\\\""]}"#;
        let mut at = 0;
        let mut found = Vec::new();
        while let Some(string) = next_string(text, at) {
            found.push(&text[string.clone()]);
            at = string.end;
        }
        assert_eq!(found, [r#""a""#, r#""b\"c\\""#, r#""""#, r#""\\\"""#]);
        assert_eq!(next_string(r#""unfinished\"#, 0), None);
    }

    #[test]
    fn a_string_may_be_as_long_as_an_annotation_and_no_longer() {
        // What an escape stands for counts, as for the API server.
        for one in ["x", "\\\"", "\\u0041"] {
            let object = |length: usize| format!(r#"{{"a":"{}"}}"#, one.repeat(length));
            assert!(check_strings(&object(MAX_STRING)).is_ok(), "{one}");
            let why = check_strings(&object(MAX_STRING + 1)).unwrap_err().to_string();
            assert_eq!(
                why,
                "Too long: a string has 262145 bytes and may not have more than 262144"
            );
        }
    }

    #[test]
    fn a_list_has_a_limit() {
        let read = |text: &str| read_text::<List<u8, 2>>(text).map(|list| list.0);
        assert_eq!(read("[1,2]").unwrap(), [1, 2]);
        let why = read("[1,2,3]").unwrap_err().to_string();
        assert_eq!(why, "Too many: must have at most 2 items");
        let why = read("{}").unwrap_err().to_string();
        assert_eq!(why, "Invalid value: an object: must be a list");
    }
}
