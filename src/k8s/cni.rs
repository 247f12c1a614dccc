//! The CNI configuration inside a VM network: how it is read, and how its MTU is changed without
//! touching any other byte.
//!
//! Only the plug-in that counts is read: the whole configuration, or in a plug-in list
//! (`{"plugins": [...]}`) the first bridge. `tests/wire/cni` compares what is read here with what Go
//! reads.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::cluster::{
    Cni, CniConfig, Name, RepeatedKey, TrunkEntry, UnreadableCni, is_bridge_kind,
};

use super::decode::{List, Malformed, each};
use super::fold::Members;
use super::plain::{MAX_ECHO, cut};

/// The deepest nesting of JSON values.
const MAX_DEPTH: usize = 64;
/// The largest configuration, in bytes.
const MAX_BYTES: usize = 64 << 10;
/// The most entries of a trunk: one for each VLAN.
const MAX_TRUNK: usize = 4094;
/// The most plug-ins of a list.
const MAX_PLUGINS: usize = 1024;
/// The members of a bridge that are read.
const BRIDGE_KEYS: [&str; 5] = ["type", "bridge", "vlan", "vlanTrunk", "mtu"];
/// The members of a trunk's entry that are read.
const TRUNK_KEYS: [&str; 3] = ["id", "minID", "maxID"];

/// Reads `spec.config`. Keys are matched as Go matches them, without regard to case.
pub(crate) fn read(config: &str) -> CniConfig {
    if config.is_empty() {
        return CniConfig::None;
    }
    let unreadable = |why: Malformed, plugin| {
        let (why, text) = (why.into(), config.into());
        CniConfig::Unreadable(Box::new(UnreadableCni { why, text, plugin }))
    };
    let parts = match Parts::of(config) {
        Ok(parts) => parts,
        Err(why) => return unreadable(why, None),
    };
    let plugin = match parts.plugin() {
        Ok(plugin) => plugin,
        Err(why) => return unreadable(why, None),
    };
    match parts.settings(plugin.clone()) {
        Ok(cni) => CniConfig::Is(Box::new(cni)),
        Err(why) => unreadable(why, Some(plugin)),
    }
}

/// A configuration taken apart.
struct Parts<'a> {
    /// The members of the configuration.
    outer: Members<'a>,
    /// The plug-ins, if the configuration is a list.
    plugins: Option<Vec<Plugin<'a>>>,
    /// The position of the plug-in that counts, if the configuration is a list with a bridge.
    bridge: Option<usize>,
}

/// A plug-in of a list.
struct Plugin<'a> {
    text: &'a str,
    members: Members<'a>,
    kind: String,
}

impl<'a> Parts<'a> {
    fn of(config: &'a str) -> Result<Self, Malformed> {
        if config.len() > MAX_BYTES {
            let why = format!("it has {} bytes, but at most {MAX_BYTES} are allowed", config.len());
            return Err(Malformed::new(why));
        }
        let outer: Members<'_> = serde_json::from_str(config)
            .map_err(|error| Malformed::from(error).about("not a JSON object"))?;
        // Of a key that occurs twice, the plug-in may read either value, so a list counts even if a
        // `null` follows.
        let Some(list) = outer.scalar("plugins") else {
            return Ok(Self { outer, plugins: None, bridge: None });
        };
        let List(texts): List<&RawValue, MAX_PLUGINS> = serde_json::from_str(list.get())
            .map_err(|_| invalid("plugins", list, "a list of objects"))?;
        let plugin = |(position, value): (usize, &'a RawValue)| {
            let text = value.get();
            let members: Members<'_> = serde_json::from_str(text)
                .map_err(|_| invalid(&format!("plugins[{position}]"), value, "an object"))?;
            let kind = kind_of(&members, &format!("plugins[{position}]."))?;
            Ok::<_, Malformed>(Plugin { text, members, kind })
        };
        let plugins: Vec<_> =
            texts.into_iter().enumerate().map(plugin).collect::<Result<_, _>>()?;
        let bridge = plugins.iter().position(|plugin| is_bridge_kind(&plugin.kind));
        Ok(Self { outer, plugins: Some(plugins), bridge })
    }

    /// The plug-in of a list that counts.
    fn of_list(&self) -> Option<&Plugin<'a>> {
        self.plugins.as_ref()?.get(self.bridge?)
    }

    /// The type and the bridge.
    fn plugin(&self) -> Result<Cni, Malformed> {
        let (members, kind) = match (&self.plugins, self.of_list()) {
            (None, _) => (&self.outer, kind_of(&self.outer, "")?),
            (Some(_), Some(plugin)) => (&plugin.members, plugin.kind.clone()),
            (Some(plugins), None) => {
                let kind = plugins.first().map(|plugin| &*plugin.kind).unwrap_or_default();
                return Ok(Cni { kind: kind.into(), ..Cni::default() });
            }
        };
        let mut cni = Cni { kind: kind.into(), ..Cni::default() };
        if cni.kind.is_empty() || is_bridge_kind(&cni.kind) {
            let last = text_of(members, "bridge", "")?;
            // Of a key that occurs twice, the plug-in may read either value. A bridge that may
            // belong to a cluster network counts, so that the rules apply to it.
            let texts = members.all("bridge").rev();
            let of_network = texts
                .filter_map(|value| serde_json::from_str::<String>(value.get()).ok())
                .find(|bridge| bridge.ends_with("-br"));
            let bridge = of_network.or(last);
            cni.bridge = bridge.filter(|bridge| !bridge.trim().is_empty()).map(Name::from);
        }
        Ok(cni)
    }

    /// Reads the rest into a plug-in whose type and bridge are known.
    fn settings(&self, mut cni: Cni) -> Result<Cni, Malformed> {
        let members = self.of_list().map_or(&self.outer, |plugin| &plugin.members);
        let read: &[&str] = match &*cni.kind {
            _ if cni.is_bridge() => &BRIDGE_KEYS,
            "" => &["type", "bridge"],
            _ => &["type"],
        };
        let mut repeated = repeated(&self.outer, &["plugins"], "");
        if self.plugins.is_none() || self.bridge.is_some() {
            repeated.extend(self::repeated(members, read, ""));
        }
        if cni.is_bridge() {
            cni.vlan = number(members, "vlan", "")?.unwrap_or_default();
            cni.mtu = number(members, "mtu", "")?.unwrap_or_default();
            cni.trunk = trunk(members, &mut repeated)?;
        }
        cni.repeated = repeated.into();
        cni.rest = self.rest(read)?.into();
        Ok(cni)
    }

    /// Everything but the members of the plug-in that are read, as text that is equal for equal JSON
    /// values.
    fn rest(&self, read: &[&str]) -> Result<String, Malformed> {
        let Some(plugins) = &self.plugins else {
            return canonical_object(&self.outer, read, MAX_DEPTH);
        };
        let mut texts = vec![canonical_object(&self.outer, &["plugins"], MAX_DEPTH)?];
        for (position, plugin) in plugins.iter().enumerate() {
            let read = if self.bridge == Some(position) { read } else { &[] };
            texts.push(canonical_object(&plugin.members, read, MAX_DEPTH)?);
        }
        Ok(format!("[{}]", texts.join(",")))
    }
}

/// The keys among `names` that occur more than once in an object.
fn repeated(members: &Members<'_>, names: &[&str], path: &str) -> Vec<RepeatedKey> {
    let repeated = names.iter().filter(|name| members.all(name).nth(1).is_some());
    repeated
        .map(|name| {
            let of_name = members.iter().filter(|(key, _)| key.is(name));
            let of_name = of_name.map(|(key, value)| format!("{:?}:{value}", key.as_str()).into());
            RepeatedKey { path: format!("{path}{name}").into(), members: of_name.collect() }
        })
        .collect()
}

fn trunk(
    members: &Members<'_>,
    all_repeated: &mut Vec<RepeatedKey>,
) -> Result<Box<[TrunkEntry]>, Malformed> {
    let Some(list) = members.get("vlanTrunk") else { return Ok(Box::default()) };
    let List(entries): List<Members<'_>, MAX_TRUNK> =
        serde_json::from_str(list.get()).map_err(|_| {
            invalid("vlanTrunk", list, &format!("a list of at most {MAX_TRUNK} objects"))
        })?;
    let entry = |(position, entry): (usize, &Members<'_>)| {
        let path = format!("vlanTrunk[{position}].");
        all_repeated.extend(repeated(entry, &TRUNK_KEYS, &path));
        let number = |name| number(entry, name, &path);
        Ok(TrunkEntry { id: number("id")?, min: number("minID")?, max: number("maxID")? })
    };
    entries.iter().enumerate().map(entry).collect()
}

/// The type of a plug-in, empty if there is none. If the key occurs twice, a bridge counts, so that
/// the rules apply to it.
fn kind_of(members: &Members<'_>, path: &str) -> Result<String, Malformed> {
    let last = text_of(members, "type", path)?;
    let mut kinds = members
        .all("type")
        .rev()
        .filter_map(|value| serde_json::from_str::<String>(value.get()).ok());
    Ok(kinds.find(|kind| is_bridge_kind(kind)).or(last).unwrap_or_default())
}

fn text_of(members: &Members<'_>, name: &str, path: &str) -> Result<Option<String>, Malformed> {
    members.text(name).map_err(|why| {
        let is_text = |value: &&RawValue| value.get().starts_with('"') || value.get() == "null";
        let wrong = members.all(name).find(|value| !is_text(value));
        wrong.map_or(why, |wrong| invalid(&format!("{path}{name}"), wrong, "a string"))
    })
}

/// Reads a whole number. libcni writes a configuration anew before it gives it to the plug-in, so
/// that `5.0` and `5e0` reach it as 5.
fn number(members: &Members<'_>, name: &str, path: &str) -> Result<Option<i64>, Malformed> {
    let Some(value) = members.scalar(name) else { return Ok(None) };
    whole(value.get())
        .map(Some)
        .ok_or_else(|| invalid(&format!("{path}{name}"), value, "a whole number"))
}

/// A whole number, however it is written: `5`, `5.0` or `5e0`.
fn whole(text: &str) -> Option<i64> {
    // Below 2^53, every whole number is exact.
    let exact = |number: &f64| number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0;
    let number: f64 = text.parse().ok().filter(exact)?;
    format!("{number:.0}").parse().ok()
}

/// The error about a member's value: its path, what stands there, what must.
fn invalid(path: &str, value: &RawValue, must_be: &str) -> Malformed {
    let value = cut(value.get(), MAX_ECHO);
    Malformed::new(format!("{path}: Invalid value: {value}: must be {must_be}"))
}

/// A JSON value as text that is equal for equal values: members sorted, no spaces. Numbers stay as
/// they were written, because some exceed what Rust's number types can hold.
fn canonical(value: &RawValue, depth: usize) -> Result<String, Malformed> {
    let depth = depth.checked_sub(1).ok_or("nested too deeply")?;
    let text = value.get();
    Ok(match text.as_bytes().first() {
        Some(b'{') => {
            let members: Members<'_> = serde_json::from_str(text)?;
            canonical_object(&members, &[], depth)?
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
        _ => match whole(text) {
            Some(number) => number.to_string(),
            None => text.to_owned(),
        },
    })
}

/// An object as text, without the members of these names.
fn canonical_object(
    members: &Members<'_>,
    without: &[&str],
    depth: usize,
) -> Result<String, Malformed> {
    let mut sorted = BTreeMap::new();
    let kept = members.iter().filter(|(key, _)| !without.iter().any(|name| key.is(name)));
    for (key, value) in kept {
        let key = serde_json::Value::from(key.as_str()).to_string();
        sorted.insert(key, canonical(value, depth)?);
    }
    let members: Vec<_> =
        sorted.into_iter().map(|(name, value)| format!("{name}:{value}")).collect();
    Ok(format!("{{{}}}", members.join(",")))
}

/// Sets the MTU of the plug-in that counts, and keeps every other byte. Returns `None` if the
/// configuration can't be read, or is a list without a bridge.
pub(crate) fn with_mtu(config: &str, mtu: i64) -> Option<String> {
    let parts = Parts::of(config).ok()?;
    let (text, members) = match (&parts.plugins, parts.of_list()) {
        (None, _) => (config, &parts.outer),
        (Some(_), plugin) => plugin.map(|plugin| (plugin.text, &plugin.members))?,
    };
    // Every part is a slice of the text, so the difference of the addresses is its offset.
    let offset = |part: &str| part.as_ptr() as usize - config.as_ptr() as usize;
    let mtu = mtu.to_string();
    // Like Go, take the last one.
    if let Some(old) = members.all("mtu").next_back().map(RawValue::get) {
        let (before, rest) = config.split_at_checked(offset(old))?;
        return Some([before, &mtu, rest.get(old.len()..)?].concat());
    }
    let (before, rest) = config.split_at_checked(offset(text) + text.find('{')? + 1)?;
    let comma = if members.iter().next().is_some() { "," } else { "" };
    Some([before, "\"mtu\":", &mtu, comma, rest].concat())
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

    fn why(config: &str) -> String {
        match read(config) {
            CniConfig::Unreadable(config) => config.why.to_string(),
            other => panic!("{config}: {other:?}"),
        }
    }

    #[test]
    fn the_bridge_names_the_cluster_network() {
        for (config, expected) in [
            (r#"{"type":"bridge","bridge":"vlan-b-br"}"#, Some("vlan-b")),
            (r#"{"type":"cnv-bridge","bridge":"vlan-b-br"}"#, Some("vlan-b")),
            (r#"{"bridge":"vlan-b-br"}"#, Some("vlan-b")),
            (r#"{"TYPE":"bridge","Bridge":"b-br"}"#, Some("b")),
            (r#"{"bridge":"a-br","BRIDGE":"b-br"}"#, Some("b")),
            (r#"{"bridge":"a-br","BRIDGE":"br0"}"#, Some("a")),
            (r#"{"bridge":"a-br","Bridge":null}"#, Some("a")),
            (r#"{"type":"bridge","bridge":"br0"}"#, None),
            (r#"{"type":"bridge","bridge":"-br"}"#, None),
            (r#"{"type":"bridge","bridge":" "}"#, None),
            (r#"{"type":"ovs","bridge":"vlan-b-br"}"#, None),
            (r#"{"type":"bridge","bridge":null}"#, None),
        ] {
            assert_eq!(network(config).as_deref(), expected, "{config}");
        }
    }

    #[test]
    fn a_list_is_read_by_its_first_bridge() {
        let list = |plugins: &str| {
            is(&format!(r#"{{"bridge":"x-br","vlan":"9","plugins":[{plugins}],"mtu":9}}"#))
        };
        let cni = list(
            r#"{"type":"tuning","vlan":{}},{"bridge":"y-br"},{"type":"cnv-bridge","bridge":"a-br","vlan":7},{"type":"bridge","bridge":"b-br"}"#,
        );
        assert_eq!((cni.bridge_network(), cni.vlan, cni.mtu), (Some("a"), 7, 0));
        let cni = list(r#"{"type":"macvlan","bridge":"a-br"},{}"#);
        assert_eq!((&*cni.kind, cni.is_bridge()), ("macvlan", false));
        assert!(!list("").is_bridge());
        let single = is("{\"type\":\"bridge\",\"bridge\":\"a-br\",\"plugin\u{17f}\":null}");
        assert_eq!(single.bridge_network(), Some("a"));
    }

    #[test]
    fn what_cant_be_read_says_what_it_must_be() {
        let trunk = format!(r#"{{"bridge":"a-br","vlanTrunk":[{}{{}}]}}"#, "{},".repeat(MAX_TRUNK));
        for (config, expected) in [
            (" ", "not a JSON object: unexpected end of JSON input"),
            ("[]", "not a JSON object: Invalid value: a list: must be an object"),
            (r#"{"bridge":7}"#, "bridge: Invalid value: 7: must be a string"),
            (r#"{"type":7}"#, "type: Invalid value: 7: must be a string"),
            (r#"{"plugins":{}}"#, "plugins: Invalid value: {}: must be a list of objects"),
            (r#"{"plugins":[{},null]}"#, "plugins[1]: Invalid value: null: must be an object"),
            (r#"{"plugins":[{"type":7}]}"#, "plugins[0].type: Invalid value: 7: must be a string"),
            (
                r#"{"bridge":"a-br","vlan":"7"}"#,
                "vlan: Invalid value: \"7\": must be a whole number",
            ),
            (r#"{"bridge":"a-br","mtu":1.5}"#, "mtu: Invalid value: 1.5: must be a whole number"),
            (
                r#"{"bridge":"a-br","vlanTrunk":[{"id":1},{"minID":1e99}]}"#,
                "vlanTrunk[1].minID: Invalid value: 1e99: must be a whole number",
            ),
            (
                r#"{"bridge":"a-br","vlanTrunk":[null]}"#,
                "vlanTrunk: Invalid value: [null]: must be a list of at most 4094 objects",
            ),
        ] {
            assert_eq!(why(config), expected, "{config}");
        }
        assert!(why(&trunk).ends_with("…: must be a list of at most 4094 objects"));
        let deep = format!(r#"{{"type":"x","a":{}{}}}"#, "[".repeat(90), "]".repeat(90));
        assert!(why(&deep).starts_with("nested too deeply"));
        assert_eq!(read(""), CniConfig::None);
        assert_eq!(&*is(r#"{"type":"sriov","vlan":"7","mtu":{}}"#).kind, "sriov");
    }

    #[test]
    fn of_a_bridge_that_cant_be_read_the_bridge_is_known() {
        let CniConfig::Unreadable(config) = read(r#"{"bridge":"a-br","vlan":"7"}"#) else {
            panic!("it is readable");
        };
        assert_eq!(config.plugin.as_ref().and_then(Cni::bridge_network), Some("a"));
    }

    #[test]
    fn whole_numbers_may_be_written_as_floats() {
        let numbers = r#"{"bridge":"a-br","vlan":1e2,"mtu":1500.0,"vlanTrunk":[{"id":-0}]}"#;
        let cni = is(numbers);
        assert_eq!((cni.vlan, cni.mtu, cni.trunk[0].id), (100, 1500, Some(0)));
    }

    #[test]
    fn only_keys_that_are_read_are_reported_as_repeated() {
        let repeated = |config: &str| -> Vec<String> {
            is(config).repeated.iter().map(|key| key.path.to_string()).collect()
        };
        let none: [&str; 0] = [];
        assert_eq!(repeated(r#"{"bridge":"a-br","name":"x","Name":"y"}"#), none);
        assert_eq!(repeated(r#"{"type":"x","vlan":1,"VLAN":1}"#), none);
        assert_eq!(repeated(r#"{"type":"x","Type":"x"}"#), ["type"]);
        assert_eq!(repeated(r#"{"bridge":"a-br","vlan":1,"vlan":1}"#), ["vlan"]);
        let trunk = "{\"bridge\":\"a-br\",\"vlanTrunk\":[{\"id\":1},{\"minid\":1,\"minID\":1,\"maxID\":2}],\"vlanTrun\u{212a}\":null}";
        assert_eq!(repeated(trunk), ["vlanTrunk"]);
        let trunk = r#"{"bridge":"a-br","vlanTrunk":[{"id":1},{"minid":1,"minID":1,"maxID":2}]}"#;
        assert_eq!(repeated(trunk), ["vlanTrunk[1].minID"]);
        let list = r#"{"vlan":1,"vlan":1,"plugins":[],"Plugins":[{"type":"x","mtu":1,"mtu":1},{"type":"bridge","mtu":1,"MTU":1}]}"#;
        assert_eq!(repeated(list), ["plugins", "mtu"]);
    }

    #[test]
    fn configurations_are_compared_by_effect() {
        let base = r#"{"type":"bridge","bridge":"a-br","n":123456789012345678901234567890}"#;
        for same in [
            "{ \"n\": 123456789012345678901234567890,\n\"bridge\":\"a-br\",\"type\":\"bri\\u0064ge\" }",
            r#"{"type":"bridge","bridge":"a-br","MTU":1500,"n":123456789012345678901234567890}"#,
            r#"{"mtu":0,"type":"bridge","bridge":"a-br","vlan":0,"n":123456789012345678901234567890}"#,
            r#"{"vlanTrunk":[],"type":"bridge","bridge":"a-br","n":123456789012345678901234567890}"#,
        ] {
            assert!(read(same).same_effect(&read(base)), "{same}");
        }
        for other in [
            &*base.replace("890}", "891}"),
            &*base.replace('{', r#"{"mtu":9000,"#),
            &*base.replace('{', r#"{"vlan":1,"#),
            &*base.replace('{', r#"{"vlanTrunk":[{"id":1}],"#),
            &*base.replace('{', r#"{"vlan":0,"vlan":0,"#),
            &*base.replace("bridge\",", "cnv-bridge\","),
            &*base.replace("a-br", "b-br"),
            "",
            " ",
        ] {
            assert!(!read(other).same_effect(&read(base)), "{other}");
        }
        let list = |text: &str| read(&text.replace('X', r#"{"type":"bridge","bridge":"a-br""#));
        let one = list(r#"{"plugins":[X},{"type":"tuning","mtu":1500}]}"#);
        assert!(
            one.same_effect(&list(r#"{"plugins":[X,"mtu":1500},{"type":"tuning","mtu":1500}]}"#))
        );
        assert!(!one.same_effect(&list(r#"{"plugins":[X},{"type":"tuning"}]}"#)));
        assert!(
            !one.same_effect(&list(r#"{"mtu":0,"plugins":[X},{"type":"tuning","mtu":1500}]}"#))
        );
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
            (
                r#"{"mtu":1,"plugins": [ {"type":"x","mtu":1}, {"type":"bridge"} ] }"#,
                r#"{"mtu":1,"plugins": [ {"type":"x","mtu":1}, {"mtu":9000,"type":"bridge"} ] }"#,
            ),
            (
                r#"{"plugins":[{"type":"bridge","mtu": 1}],"mtu":1}"#,
                r#"{"plugins":[{"type":"bridge","mtu": 9000}],"mtu":1}"#,
            ),
        ] {
            assert_eq!(with_mtu(before, 9000).as_deref(), Some(after));
        }
        assert_eq!(with_mtu("[]", 9000), None);
        assert_eq!(with_mtu(r#"{"plugins":[{"type":"x"}]}"#, 9000), None);
    }
}
