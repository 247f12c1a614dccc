//! Reads JSON objects as Go reads them into a struct: names match without regard to case, and if a
//! name occurs twice, the last value counts.

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
    fn named(&self, name: &str) -> impl Iterator<Item = &'a RawValue> {
        self.0.iter().rev().filter(move |(key, _)| key.is(name)).map(|(_, value)| *value)
    }

    /// All members, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (&*name.0, *value))
    }

    /// The value of this name where Go has a pointer, list or map: a `null` at the end clears it.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.named(name).next().filter(|value| value.get() != "null")
    }

    /// The value of this name where Go has a string: a `null` leaves the earlier value.
    pub fn text(&self, name: &str) -> Result<Option<String>, Malformed> {
        let value = self.named(name).find(|value| value.get() != "null");
        value
            .map(|value| serde_json::from_str(value.get()))
            .transpose()
            .map_err(|error| Malformed::from(error).within(name))
    }
}
