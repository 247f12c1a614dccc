//! How what is on the wire is read: with which defaults, within which limits, and what is said of
//! what can't be read.

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::cluster::Name;

/// The most bytes that one string of an object under review may have. Kubernetes allows no
/// annotation larger than this, and nothing else that we read comes near it.
const MAX_STRING: usize = 256 << 10;

/// How many candidate hosts a request may have.
pub(super) const MAX_CANDIDATES: usize = 100_000;
/// The most bytes of one host's name, as it is written: a DNS subdomain has 253 characters.
const MAX_NAME: usize = 2048;

/// Why something can't be read: what is wrong, behind the path of the field where there is one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

impl Malformed {
    /// Says what is wrong.
    #[must_use]
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }

    /// The same, in a field or a part of the message. What begins with a path goes on from there.
    #[must_use]
    pub fn within(self, path: impl fmt::Display) -> Self {
        let separator = if self.0.starts_with('.') { "" } else { ": " };
        Self(format!("{path}{separator}{}", self.0))
    }

    /// The same, about the whole of something: not a path into it.
    #[must_use]
    pub fn about(self, what: impl fmt::Display) -> Self {
        Self(format!("{what}: {}", self.0.trim_start_matches('.')))
    }
}

impl From<serde_json::Error> for Malformed {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
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
    /// The namespace in which Multus looks for a default network that names none.
    pub multus_namespace: Name,
    /// The namespace of an object that names none.
    pub default_namespace: Name,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { multus_namespace: "kube-system".into(), default_namespace: "default".into() }
    }
}

/// Reads a value, and says of one that can't be read which field is at fault.
pub(super) fn read<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    object: D,
) -> Result<T, Malformed> {
    serde_path_to_error::deserialize(object).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        if path == "." {
            Malformed(inner.to_string())
        } else {
            Malformed(format!("{path}: {inner}"))
        }
    })
}

/// Reads an object from its JSON.
pub(super) fn read_text<'de, T: Deserialize<'de>>(object: &'de str) -> Result<T, Malformed> {
    read(&mut serde_json::Deserializer::from_str(object))
}

/// Checks the strings of an object, so that reading it costs little beyond its own size.
///
/// # Errors
/// If one is longer than any that we read may be.
pub(super) fn check_strings(object: &str) -> Result<(), Malformed> {
    let mut at = 0;
    while let Some(string) = next_string(object, at) {
        if string.len() > MAX_STRING {
            return Err(Malformed(format!(
                "a string of {} bytes, and no more than {MAX_STRING} are read",
                string.len()
            )));
        }
        at = string.end;
    }
    Ok(())
}

/// Where the next JSON string of a text is, quotes included. The text was read as JSON before.
pub(super) fn next_string(text: &str, from: usize) -> Option<std::ops::Range<usize>> {
    let bytes = text.as_bytes();
    let start = from + memchr::memchr(b'"', bytes.get(from..)?)?;
    let mut at = start + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes.get(at) == Some(&b'"') {
            return Some(start..at + 1);
        }
        // A backslash, and what it escapes.
        at += 2;
    }
}

/// Checks the length of a host's name, as it is written.
pub(super) fn check_name(quoted: &str) -> Result<(), Malformed> {
    if quoted.len() > MAX_NAME {
        return Err(Malformed::new(format!(
            "a host's name of {} bytes, and no more than {MAX_NAME} are read",
            quoted.len()
        )));
    }
    Ok(())
}

/// A list that may have so many elements.
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
                return Err(D::Error::custom(format_args!("more than {MAX} elements")));
            }
            elements.push(element);
            Ok(())
        })?;
        Ok(Self(elements))
    }
}

/// Reads a list element by element, keeping none.
pub(crate) fn each<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
    take: impl FnMut(T) -> Result<(), D::Error>,
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

    deserializer.deserialize_seq(Each(take, std::marker::PhantomData))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_found_whatever_they_escape() {
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
        let object = |length: usize| format!(r#"{{"a":"{}"}}"#, "x".repeat(length));
        assert!(check_strings(&object(MAX_STRING - 2)).is_ok());
        let why = check_strings(&object(MAX_STRING - 1)).unwrap_err().to_string();
        assert_eq!(why, "a string of 262145 bytes, and no more than 262144 are read");
    }

    #[test]
    fn a_list_has_a_limit() {
        let read = |text: &str| read_text::<List<u8, 2>>(text).map(|list| list.0);
        assert_eq!(read("[1,2]").unwrap(), [1, 2]);
        let why = read("[1,2,3]").unwrap_err().to_string();
        assert!(why.starts_with("more than 2 elements"), "{why}");
        assert!(read("{}").unwrap_err().to_string().contains("expected a list"));
    }
}
