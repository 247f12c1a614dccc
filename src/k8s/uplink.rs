//! The uplink of a network config. Members that we don't know are kept as text, since a change of
//! one changes the uplink on its hosts.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::cluster::{self, Name, UplinkOptions};

use super::decode::List;
use super::plain::echo;

/// The most NICs that a network config may list.
const MAX_NICS: usize = 1024;
/// The most targets of a bond's ARP monitor. The kernel takes 16.
const MAX_TARGETS: usize = 1024;
/// The most members of an uplink that we don't know, and the most bytes of each.
const MAX_OTHERS: usize = 64;
const MAX_OTHER: usize = 16 << 10;

/// The uplink of a network config.
#[derive(Default)]
pub(crate) struct Uplink {
    nics: List<Name, MAX_NICS>,
    bond_options: Part<BondOptions>,
    link_attributes: Part<LinkAttributes>,
}

#[derive(Default)]
struct BondOptions {
    mode: Option<Name>,
    miimon: Option<i64>,
    xmit_hash_policy: Option<Name>,
    lacp_rate: Option<Name>,
    ad_select: Option<Name>,
    arp_interval: Option<i64>,
    arp_ip_targets: Option<List<Name, MAX_TARGETS>>,
    arp_validate: Option<Name>,
    arp_all_targets: Option<Name>,
}

#[derive(Default)]
struct LinkAttributes {
    mtu: Option<i64>,
    tx_queue_length: Option<i64>,
    hardware_address: Option<Name>,
}

impl Part<Uplink> {
    /// The NICs, and all options with their defaults filled in.
    pub(crate) fn facts(self) -> (Box<[Name]>, UplinkOptions) {
        let Self { known: Uplink { nics, bond_options, link_attributes }, others } = self;
        let set = |text: Option<Name>| text.filter(|text| !text.is_empty());
        let defaults = UplinkOptions::default();
        let others = [("", others), ("bondOptions", bond_options.others)]
            .into_iter()
            .chain([("linkAttributes", link_attributes.others)])
            .filter(|(_, others)| !others.is_empty())
            .map(|(of, others)| {
                let mut others = Value::Object(others);
                // serde_json keeps the order of members if any crate of the build asks for that.
                others.sort_all_objects();
                format!("{of}{others}")
            });
        let (bond, link) = (bond_options.known, link_attributes.known);
        let options = UplinkOptions {
            bond: cluster::BondOptions {
                mode: set(bond.mode).unwrap_or(defaults.bond.mode),
                miimon: bond.miimon.unwrap_or(defaults.bond.miimon),
                xmit_hash_policy: set(bond.xmit_hash_policy),
                lacp_rate: set(bond.lacp_rate),
                ad_select: set(bond.ad_select),
                arp_interval: bond.arp_interval.unwrap_or(defaults.bond.arp_interval),
                arp_ip_targets: bond.arp_ip_targets.unwrap_or_default().0.into_iter().collect(),
                arp_validate: set(bond.arp_validate).unwrap_or(defaults.bond.arp_validate),
                arp_all_targets: set(bond.arp_all_targets).unwrap_or(defaults.bond.arp_all_targets),
            },
            tx_queue_length: link.tx_queue_length.unwrap_or(defaults.tx_queue_length),
            hardware_address: link.hardware_address.unwrap_or_default(),
            mtu: link.mtu.unwrap_or_default(),
            others: others.collect::<String>().into(),
        };
        (nics.0.into(), options)
    }
}

/// Reads a network config whose uplink is malformed: the uplink counts as empty.
#[derive(Default)]
pub(crate) struct IgnoredUplink;

impl<'de> Deserialize<'de> for IgnoredUplink {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

impl From<IgnoredUplink> for Part<Uplink> {
    fn from(_: IgnoredUplink) -> Self {
        Self::default()
    }
}

/// A part of an uplink: the members that we know, and the others.
#[derive(Default)]
pub(crate) struct Part<T> {
    known: T,
    others: serde_json::Map<String, Value>,
}

/// The members of a part that we know.
trait Known: Default {
    /// Reads a member's value, if the member is known. Returns whether it is.
    fn member<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A)
    -> Result<bool, A::Error>;
}

/// Implements `Known` for a struct of optional members.
macro_rules! known {
    ($type:ident { $($name:literal => $field:ident),+ $(,)? }) => {
        impl Known for $type {
            fn member<'de, A: MapAccess<'de>>(
                &mut self,
                name: &str,
                map: &mut A,
            ) -> Result<bool, A::Error> {
                match name {
                    $($name => self.$field = map.next_value::<Option<_>>()?.unwrap_or_default(),)+
                    _ => return Ok(false),
                }
                Ok(true)
            }
        }
    };
}

known!(Uplink {
    "nics" => nics,
    "bondOptions" => bond_options,
    "linkAttributes" => link_attributes,
});
known!(BondOptions {
    "mode" => mode,
    "miimon" => miimon,
    "xmitHashPolicy" => xmit_hash_policy,
    "lacpRate" => lacp_rate,
    "adSelect" => ad_select,
    "arpInterval" => arp_interval,
    "arpIpTargets" => arp_ip_targets,
    "arpValidate" => arp_validate,
    "arpAllTargets" => arp_all_targets,
});
known!(LinkAttributes {
    "mtu" => mtu,
    "txQLen" => tx_queue_length,
    "hardwareAddr" => hardware_address,
});

impl<'de, T: Known> Deserialize<'de> for Part<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Known> Visitor<'de> for Members<T> {
            type Value = Part<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Part<T>, A::Error> {
                let mut part = Part::<T>::default();
                while let Some(name) = map.next_key::<String>()? {
                    if part.known.member(&name, &mut map)? {
                        continue;
                    }
                    let value: Box<RawValue> = map.next_value()?;
                    if value.get().len() > MAX_OTHER || part.others.len() == MAX_OTHERS {
                        return Err(A::Error::custom(format_args!(
                            "unknown member {}: there are more than {MAX_OTHERS} of them, or it \
                             has more than {MAX_OTHER} bytes; remove it",
                            echo(&name)
                        )));
                    }
                    let value = serde_json::from_str(value.get()).map_err(A::Error::custom)?;
                    // To Kubernetes, a member that is null is absent.
                    if value != Value::Null {
                        part.others.insert(name, value);
                    }
                }
                Ok(part)
            }
        }

        deserializer.deserialize_map(Members(PhantomData))
    }
}
