//! Reads JSON objects as Go reads them into a struct: names match without regard to case, by Go's
//! folding, and if a name occurs twice, the last value counts, even after an exact match.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::decode::Malformed;

/// A struct that is read member by member.
pub(crate) trait Fold<'de>: Default {
    /// Reads a member's value from `map`, or leaves it there to be skipped.
    fn member<A: MapAccess<'de>>(
        &mut self,
        name: &Name<'de>,
        map: &mut A,
    ) -> Result<Consumed, A::Error>;
}

/// Whether a member's value was read from the map.
pub(crate) enum Consumed {
    Yes,
    No,
}

/// A member's name, borrowed unless it has escapes.
#[derive(Deserialize)]
pub(crate) struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl Name<'_> {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether Go takes this name for `name`, which must be ASCII.
    pub fn is(&self, name: &str) -> bool {
        self.0.eq_ignore_ascii_case(name)
            || (!self.0.is_ascii()
                && self.0.chars().map(folded_char).eq(name.chars().map(folded_char)))
    }
}

/// A character as Go's `encoding/json` folds it. Beyond ASCII, only the signs for kelvin and the long
/// s fold to ASCII letters.
fn folded_char(character: char) -> char {
    match character {
        '\u{212a}' => 'k',
        '\u{17f}' => 's',
        other => other.to_ascii_lowercase(),
    }
}

/// Reads an object.
pub(crate) fn object<'de, D: Deserializer<'de>, T: Fold<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    struct InOrder<T>(PhantomData<T>);

    impl<'de, T: Fold<'de>> Visitor<'de> for InOrder<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        /// Unlike serde's own message, this one does not quote the string, which may be huge.
        fn visit_str<E: Error>(self, _: &str) -> Result<T, E> {
            Err(E::custom("Invalid value: a string: must be an object"))
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
            let mut value = T::default();
            while let Some(name) = map.next_key::<Name<'de>>()? {
                if let Consumed::No = value.member(&name, &mut map)? {
                    map.next_value::<serde::de::IgnoredAny>()?;
                }
            }
            Ok(value)
        }
    }

    deserializer.deserialize_any(InOrder(PhantomData))
}

/// A member's value that is itself a `Fold`.
#[derive(Default)]
pub(crate) struct Folded<T>(pub T);

impl<'de, T: Fold<'de>> Deserialize<'de> for Folded<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object(deserializer).map(Self)
    }
}

/// Reads members into fields: `folded!(Type<'a> { "Name" => field, ... })`. Each field is an `Option`, so
/// that `null` counts as absent.
macro_rules! folded {
    ($type:ident $(<$lifetime:lifetime>)? { $($name:literal => $field:ident),+ $(,)? }) => {
        impl<'de> $crate::k8s::fold::Fold<'de> for folded!(@of $type $($lifetime)?) {
            fn member<A: serde::de::MapAccess<'de>>(
                &mut self,
                name: &$crate::k8s::fold::Name<'de>,
                map: &mut A,
            ) -> Result<$crate::k8s::fold::Consumed, A::Error> {
                $(if name.is($name) {
                    self.$field = $crate::k8s::fold::value(map, $name)?;
                    return Ok($crate::k8s::fold::Consumed::Yes);
                })+
                Ok($crate::k8s::fold::Consumed::No)
            }
        }
    };
    (@of $type:ident) => { $type };
    (@of $type:ident $lifetime:lifetime) => { $type<'de> };
}
pub(crate) use folded;

/// Reads a member's value. An error begins with `.member: `, so that nested calls build up the path
/// of the field.
pub(crate) fn value<'de, A: MapAccess<'de>, T: Deserialize<'de>>(
    map: &mut A,
    at: &str,
) -> Result<T, A::Error> {
    map.next_value().map_err(|error| {
        let why = Malformed::plain(error).within(format_args!(".{at}"));
        A::Error::custom(why)
    })
}

/// The members of a JSON object, in order, with their values unparsed.
#[derive(Default)]
pub(crate) struct Members<'a>(Vec<(Name<'a>, &'a RawValue)>);

impl<'de> Fold<'de> for Members<'de> {
    fn member<A: MapAccess<'de>>(
        &mut self,
        name: &Name<'de>,
        map: &mut A,
    ) -> Result<Consumed, A::Error> {
        self.0.push((Name(name.0.clone()), map.next_value()?));
        Ok(Consumed::Yes)
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object(deserializer)
    }
}

impl<'a> Members<'a> {
    /// All values of this name, in order.
    pub fn all(&self, name: &str) -> impl DoubleEndedIterator<Item = &'a RawValue> {
        self.0.iter().filter(move |(key, _)| key.is(name)).map(|(_, value)| *value)
    }

    /// All members, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Name<'a>, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (name, *value))
    }

    /// The value of this name where Go has a pointer, list or map: a `null` at the end clears it.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.all(name).next_back().filter(|value| value.get() != "null")
    }

    /// The value of this name where Go has a string or number: a `null` leaves the earlier value.
    pub fn scalar(&self, name: &str) -> Option<&'a RawValue> {
        self.all(name).rfind(|value| value.get() != "null")
    }

    /// The value of this name where Go has a string. Like Go, this refuses any value that is neither a
    /// string nor `null`, even where a later one counts.
    pub fn text(&self, name: &str) -> Result<Option<String>, Malformed> {
        let texts = self.all(name).map(|value| serde_json::from_str(value.get()));
        let last = texts.reduce(|one: serde_json::Result<Option<String>>, next| {
            let one = one?;
            Ok(next?.or(one))
        });
        let text = last.transpose().map_err(|error| Malformed::from(error).within(name))?;
        Ok(text.flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::{Members, Name};

    #[test]
    fn names_fold_as_in_go() {
        let is = |key: &str, name: &str| Name(key.into()).is(name);
        assert!(is("VLAN", "vlan") && is("NodeNames", "nodenames"));
        assert!(is("vlanTrun\u{212a}", "vlanTrunk") && is("plugin\u{17f}", "plugins"));
        assert!(!is("vlan ", "vlan") && !is("\u{131}d", "id") && !is("vlän", "vlan"));
    }

    #[test]
    fn the_last_value_counts_even_after_an_exact_match() {
        let members: Members<'_> =
            serde_json::from_str(r#"{"name":"a","Name":"b","NAME":null}"#).unwrap();
        assert_eq!(members.text("name").unwrap().as_deref(), Some("b"));
        assert!(members.get("name").is_none());
        assert_eq!(members.all("name").count(), 3);
        let members: Members<'_> = serde_json::from_str(r#"{"name":7,"name":"b"}"#).unwrap();
        assert!(members.text("name").is_err());
    }
}
