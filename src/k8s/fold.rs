//! Objects read as Go reads them into a struct: an object and nothing else, names without regard
//! to case, the last one of a name counts.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::decode::Malformed;

/// What is read member by member.
pub(crate) trait Fold<'de>: Default {
    /// Takes a member's value from `map`, or leaves it, which skips it.
    fn member<A: MapAccess<'de>>(
        &mut self,
        name: &Name<'de>,
        map: &mut A,
    ) -> Result<Taken, A::Error>;
}

/// What became of a member.
pub(crate) enum Taken {
    /// Its value was taken.
    Yes,
    /// Nobody wants it.
    No,
}

/// A name, borrowed where it has no escapes. (Serde borrows a `Cow` in an `Option` never.)
#[derive(Deserialize)]
pub(crate) struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl Name<'_> {
    pub fn is(&self, name: &str) -> bool {
        self.0.eq_ignore_ascii_case(name)
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

        /// Says less than serde would: a message that quotes the whole string could be larger than
        /// the body.
        fn visit_str<E: Error>(self, _: &str) -> Result<T, E> {
            Err(E::custom("a string where an object is expected"))
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
            let mut value = T::default();
            while let Some(name) = map.next_key::<Name<'de>>()? {
                if let Taken::No = value.member(&name, &mut map)? {
                    map.next_value::<serde::de::IgnoredAny>()?;
                }
            }
            Ok(value)
        }
    }

    deserializer.deserialize_any(InOrder(PhantomData))
}

/// A member's value that is itself read as Go reads it.
#[derive(Default)]
pub(crate) struct Folded<T>(pub T);

impl<'de, T: Fold<'de>> Deserialize<'de> for Folded<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object(deserializer).map(Self)
    }
}

/// Takes a member's value, and says at which member an error is: as `.member: …`, so that the path
/// grows from the inside outwards.
pub(crate) fn value<'de, A: MapAccess<'de>, T: Deserialize<'de>>(
    map: &mut A,
    at: &str,
) -> Result<T, A::Error> {
    map.next_value().map_err(|error| {
        let why = Malformed::new(error.to_string()).within(format_args!(".{at}"));
        A::Error::custom(why)
    })
}

/// The members of a JSON object, in order, unread.
#[derive(Default)]
pub(crate) struct Members<'a>(Vec<(Name<'a>, &'a RawValue)>);

impl<'de> Fold<'de> for Members<'de> {
    fn member<A: MapAccess<'de>>(
        &mut self,
        name: &Name<'de>,
        map: &mut A,
    ) -> Result<Taken, A::Error> {
        self.0.push((Name(name.0.clone()), map.next_value()?));
        Ok(Taken::Yes)
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object(deserializer)
    }
}

impl<'a> Members<'a> {
    fn named(&self, name: &str) -> impl Iterator<Item = &'a RawValue> {
        self.0.iter().rev().filter(move |(key, _)| key.is(name)).map(|(_, value)| *value)
    }

    /// All members, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (&*name.0, *value))
    }

    /// The member of this name, where Go has a pointer, list or map: a last `null` clears it.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.named(name).next().filter(|value| value.get() != "null")
    }

    /// The string of this name; a `null` leaves it as it was.
    pub fn text(&self, name: &str) -> Result<Option<String>, Malformed> {
        let value = self.named(name).find(|value| value.get() != "null");
        value
            .map(|value| serde_json::from_str(value.get()))
            .transpose()
            .map_err(|error| Malformed::from(error).within(name))
    }
}
