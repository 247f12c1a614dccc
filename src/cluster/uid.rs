//! UIDs of objects.

use std::fmt;

use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::names::Name;

/// An object's UID. Those of Kubernetes are UUIDs, and take no text of their own.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Uid(Form);

#[derive(Clone, Default, PartialEq, Eq, Hash)]
enum Form {
    #[default]
    Unknown,
    Uuid(Uuid),
    Other(Name),
}

impl Uid {
    /// Returns whether there is none, as in a manifest that was never in a cluster.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        matches!(self.0, Form::Unknown)
    }
}

impl From<&str> for Uid {
    /// An empty text is no UID.
    fn from(text: &str) -> Self {
        if text.is_empty() {
            return Self::default();
        }
        // A UUID may be written in other forms too, which are other UIDs.
        let is_same = |uuid: &Uuid| {
            let mut buffer = [0; Hyphenated::LENGTH];
            *uuid.as_hyphenated().encode_lower(&mut buffer) == *text
        };
        let uuid = Uuid::try_parse(text).ok().filter(is_same);
        Self(uuid.map_or_else(|| Form::Other(text.into()), Form::Uuid))
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Unknown => Ok(()),
            Form::Uuid(uuid) => fmt::Display::fmt(uuid, f),
            Form::Other(text) => fmt::Display::fmt(text, f),
        }
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_is_what_was_written() {
        let uuid = "7a8c6e3e-0b1c-4d2e-8f90-a1b2c3d4e5f6";
        let texts = [
            "",
            "u1",
            uuid,
            &uuid.to_uppercase(),
            &uuid.replace('-', ""),
            &format!("{{{uuid}}}"),
            &format!("urn:uuid:{uuid}"),
            &uuid.replace('6', "g"),
            &format!("{uuid}0"),
        ];
        for one in texts {
            assert_eq!(Uid::from(one).to_string(), one);
            assert_eq!(Uid::from(one).is_unknown(), one.is_empty());
            for other in texts {
                assert_eq!(Uid::from(one) == Uid::from(other), one == other, "{one} {other}");
            }
        }
        assert!(matches!(Uid::from(uuid).0, Form::Uuid(_)));
    }
}
