//! The CNI configuration inside a VM network: how it is read, and how its MTU is changed without
//! touching any other byte.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::cluster::{Cni, CniConfig, DEFAULT_MTU, Name};

use super::decode::{List, Malformed, each};
use super::fold::Members;

/// The deepest nesting of JSON values.
const MAX_DEPTH: usize = 64;
/// The largest configuration, in bytes.
const MAX_BYTES: usize = 64 << 10;
/// The most entries of a trunk: one for each VLAN.
const MAX_TRUNK: usize = 4094;

/// Reads `spec.config`. Keys are matched as Go matches them, without regard to case.
pub(crate) fn read(config: &str) -> CniConfig {
    if config.trim().is_empty() {
        return CniConfig::None;
    }
    match cni(config) {
        Ok(cni) => CniConfig::Is(Box::new(cni)),
        Err(why) => CniConfig::Unreadable(why.into()),
    }
}

fn cni(config: &str) -> Result<Cni, Malformed> {
    if config.len() > MAX_BYTES {
        let why = format!("it has {} bytes, but at most {MAX_BYTES} are allowed", config.len());
        return Err(Malformed::new(why));
    }
    let members: Members<'_> = serde_json::from_str(config)
        .map_err(|error| Malformed::from(error).about("not a JSON object"))?;
    let mut cni = Cni {
        kind: members.text("type")?.unwrap_or_default().into(),
        bridge: members.text("bridge")?.filter(|bridge| !bridge.is_empty()).map(Name::from),
        ..Cni::default()
    };
    if cni.is_bridge() {
        cni.vlan = members.number("vlan")?.unwrap_or_default();
        cni.mtu = members.number("mtu")?.unwrap_or_default();
        (cni.trunk, cni.trunk_faults) = trunk(&members)?;
    }
    // The default MTU equals an absent one, so it is left out of the canonical text.
    let drop_mtu = cni.is_bridge() && cni.effective_mtu() == DEFAULT_MTU;
    let kept = members.iter().filter(|(name, _)| !(drop_mtu && name.eq_ignore_ascii_case("mtu")));
    cni.canonical = canonical_object(kept, MAX_DEPTH)?.into();
    Ok(cni)
}

type Trunk = (Box<[(i64, i64)]>, Box<[Name]>);

/// The trunk's ranges of VLANs, and the faults of its entries.
fn trunk(members: &Members<'_>) -> Result<Trunk, Malformed> {
    let Some(list) = members.get("vlanTrunk") else { return Ok(Trunk::default()) };
    let List(entries): List<Members<'_>, MAX_TRUNK> = serde_json::from_str(list.get())
        .map_err(|error| Malformed::from(error).within("vlanTrunk"))?;
    let (mut ranges, mut faults) = (Vec::new(), Vec::new());
    for (position, entry) in entries.iter().enumerate() {
        let number = |name: &str| entry.number(name).map_err(|why| why.within("vlanTrunk"));
        let (id, min, max) = (number("id")?, number("minID")?, number("maxID")?);
        let found = match (id, min, max) {
            (Some(id), None, None) => vec![(id, id)],
            (None, Some(min), Some(max)) => vec![(min, max)],
            (Some(id), Some(min), Some(max)) => vec![(id, id), (min, max)],
            _ => {
                faults
                    .push(format!("vlanTrunk[{position}] has neither id nor both minID and maxID"));
                continue;
            }
        };
        for (min, max) in found {
            if !(1..=4094).contains(&min) || !(1..=4094).contains(&max) {
                faults.push(format!("vlanTrunk[{position}] is not within 1 to 4094"));
            } else if min > max {
                faults.push(format!("vlanTrunk[{position}] has a minID above its maxID"));
            } else {
                ranges.push((min, max));
            }
        }
    }
    Ok((ranges.into(), faults.into_iter().map(Name::from).collect()))
}

/// A JSON value as text that is equal for equal values: members sorted, no spaces. Numbers stay as
/// they were written, because some exceed what Rust's number types can hold.
fn canonical(value: &RawValue, depth: usize) -> Result<String, Malformed> {
    let depth = depth.checked_sub(1).ok_or("nested too deeply")?;
    let text = value.get();
    Ok(match text.as_bytes().first() {
        Some(b'{') => {
            let members: Members<'_> = serde_json::from_str(text)?;
            canonical_object(members.iter(), depth)?
        }
        Some(b'[') => {
            let mut elements = Vec::new();
            each(&mut serde_json::Deserializer::from_str(text), |element: &RawValue| {
                elements.push(canonical(element, depth).map_err(serde::de::Error::custom)?);
                Ok(())
            })?;
            format!("[{}]", elements.join(","))
        }
        Some(b'"') => {
            let string: String = serde_json::from_str(text)?;
            serde_json::Value::from(string).to_string()
        }
        _ => text.to_owned(),
    })
}

fn canonical_object<'a>(
    members: impl Iterator<Item = (&'a str, &'a RawValue)>,
    depth: usize,
) -> Result<String, Malformed> {
    let mut sorted = BTreeMap::new();
    for (name, value) in members {
        sorted.insert(serde_json::Value::from(name).to_string(), canonical(value, depth)?);
    }
    let members: Vec<_> =
        sorted.into_iter().map(|(name, value)| format!("{name}:{value}")).collect();
    Ok(format!("{{{}}}", members.join(",")))
}

/// Sets the MTU and keeps every other byte. Returns `None` if the configuration is not a JSON
/// object.
pub(crate) fn with_mtu(config: &str, mtu: i64) -> Option<String> {
    let members: Members<'_> = serde_json::from_str(config).ok()?;
    let value = mtu.to_string();
    // Like Go, take the last one.
    if let Some((_, old)) =
        members.iter().filter(|(name, _)| name.eq_ignore_ascii_case("mtu")).last()
    {
        // The old value is a slice of the text, so the difference of the addresses is its offset.
        let start = old.get().as_ptr() as usize - config.as_ptr() as usize;
        let (before, rest) = config.split_at_checked(start)?;
        return Some([before, &value, rest.get(old.get().len()..)?].concat());
    }
    let (before, rest) = config.split_at_checked(config.find('{')? + 1)?;
    let comma = if members.iter().next().is_some() { "," } else { "" };
    Some([before, "\"mtu\":", &value, comma, rest].concat())
}

impl Members<'_> {
    fn number(&self, name: &str) -> Result<Option<i64>, Malformed> {
        #[derive(Deserialize)]
        struct Number(Option<i64>);
        let number = self.get(name).map(|value| serde_json::from_str::<Number>(value.get()));
        let number = number.transpose().map_err(|error| Malformed::from(error).within(name))?;
        Ok(number.and_then(|number| number.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(config: &str) -> Cni {
        match read(config) {
            CniConfig::Is(cni) => *cni,
            other => panic!("{config}: {other:?}"),
        }
    }

    fn network(config: &str) -> Option<String> {
        is(config).bridge_network().map(str::to_owned)
    }

    #[test]
    fn the_bridge_names_the_cluster_network() {
        assert_eq!(network(r#"{"type":"bridge","bridge":"vlan-b-br"}"#).as_deref(), Some("vlan-b"));
        assert_eq!(network(r#"{"bridge":"vlan-b-br"}"#).as_deref(), Some("vlan-b"));
        assert_eq!(network(r#"{"TYPE":"bridge","Bridge":"b-br"}"#).as_deref(), Some("b"));
        assert_eq!(network(r#"{"bridge":"a-br","BRIDGE":"b-br"}"#).as_deref(), Some("b"));
        assert_eq!(network(r#"{"bridge":"a-br","Bridge":null}"#).as_deref(), Some("a"));
    }

    #[test]
    fn other_bridges_and_other_types_name_no_cluster_network() {
        assert_eq!(network(r#"{"type":"bridge","bridge":"br0"}"#), None);
        assert_eq!(network(r#"{"type":"bridge","bridge":"-br"}"#), None);
        assert_eq!(network(r#"{"type":"ovs","bridge":"vlan-b-br"}"#), None);
        assert_eq!(network(r#"{"plugins":[{"type":"bridge","bridge":"vlan-b-br"}]}"#), None);
        assert_eq!(network(r#"{"type":"bridge","bridge":null}"#), None);
    }

    #[test]
    fn unreadable_configs_say_why_and_only_the_type_is_read_without_a_bridge() {
        for config in ["[]", "{", r#"{"bridge":7}"#, r#"{"bridge":"a-br","vlan":"7"}"#] {
            assert!(matches!(read(config), CniConfig::Unreadable(_)), "{config}");
        }
        let deep = format!(r#"{{"type":"x","a":{}{}}}"#, "[".repeat(90), "]".repeat(90));
        assert!(matches!(read(&deep), CniConfig::Unreadable(_)));
        assert_eq!(read(" "), CniConfig::None);
        assert_eq!(&*is(r#"{"type":"sriov","vlan":"7","mtu":{}}"#).kind, "sriov");
    }

    #[test]
    fn equal_json_values_have_one_text_and_an_mtu_of_1500_is_none() {
        let texts = [
            r#"{"type":"bridge","bridge":"a-br","vlan":1,"n":123456789012345678901234567890}"#,
            "{ \"vlan\": 1, \"n\": 123456789012345678901234567890,\n\"bridge\":\"a-br\",\"type\":\"bri\\u0064ge\" }",
            r#"{"type":"bridge","bridge":"a-br","vlan":1,"MTU":1500,"n":123456789012345678901234567890}"#,
            r#"{"mtu":0,"type":"bridge","bridge":"a-br","vlan":1,"n":123456789012345678901234567890}"#,
        ];
        for text in texts {
            assert_eq!(is(text).canonical, is(texts[0]).canonical, "{text}");
        }
        let other = texts[0].replace("890}", "891}");
        assert_ne!(is(&other).canonical, is(texts[0]).canonical);
        let large = r#"{"type":"bridge","bridge":"a-br","mtu":9000}"#;
        assert!(is(large).canonical.contains("9000"));
    }

    #[test]
    fn only_the_bytes_of_the_mtu_change() {
        for (before, after) in [
            ("{}", r#"{"mtu":9000}"#),
            (
                " { \"a\" : [1.0e400 , {\"mtu\":1}] } ",
                " {\"mtu\":9000, \"a\" : [1.0e400 , {\"mtu\":1}] } ",
            ),
            (r#"{"mtu" : 1500 ,"x":"\u00e9"}"#, r#"{"mtu" : 9000 ,"x":"\u00e9"}"#),
            (r#"{"mtu":1,"MTU":null}"#, r#"{"mtu":1,"MTU":9000}"#),
        ] {
            assert_eq!(with_mtu(before, 9000).as_deref(), Some(after));
        }
        assert_eq!(with_mtu("[]", 9000), None);
    }
}
