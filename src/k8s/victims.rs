//! The victims of a preemption: the pods to evict from each candidate host.

use serde::de::{Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::decode::{MAX_CANDIDATES, Malformed, check_name, each};
use super::fold::{Folded, folded};

/// The most victims on one host.
const MAX_VICTIMS: usize = 10_000;
/// Written in place of `null`, which the scheduler could not read: no pod is evicted.
const NO_VICTIMS: &str = r#"{"Pods":[],"NumPDBViolations":0}"#;

/// The form of victims in a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// By UID (MetaVictims).
    Meta,
    /// As whole pods (Victims).
    Full,
}

/// Reads a map of victims, and hands each host's name and victims to `take`, unparsed but checked.
pub(super) fn each_host<'a>(
    map: &'a str,
    form: Form,
    take: impl FnMut(&'a str, &'a str) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    struct Hosts<F>(Form, F);

    impl<'de, F: FnMut(&'de str, &'de str) -> Result<(), Malformed>> Visitor<'de> for Hosts<F> {
        type Value = ();

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a map from hosts to victims")
        }

        /// Unlike serde's own message, this one does not quote the string, which may be huge.
        fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
            Err(E::custom("Invalid value: a string: must be a map from hosts to victims"))
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            let mut count = 0;
            let mut scratch = Vec::new();
            while let Some((host, victims)) = map.next_entry::<&RawValue, &RawValue>()? {
                check_name(host.get()).map_err(A::Error::custom)?;
                count += 1;
                if count > MAX_CANDIDATES {
                    let why = format_args!("more than {MAX_CANDIDATES} hosts");
                    return Err(A::Error::custom(why));
                }
                scratch.clear();
                write(victims.get(), self.0, &mut scratch).map_err(A::Error::custom)?;
                self.1(host.get(), victims.get()).map_err(A::Error::custom)?;
            }
            Ok(())
        }
    }

    let mut map = serde_json::Deserializer::from_str(map);
    serde::Deserializer::deserialize_any(&mut map, Hosts(form, take)).map_err(Malformed::from)
}

/// Writes a host's victims as MetaVictims. Victims of that form are copied byte for byte.
pub(super) fn write(victims: &str, form: Form, out: &mut Vec<u8>) -> Result<(), Malformed> {
    if victims == "null" {
        out.extend_from_slice(NO_VICTIMS.as_bytes());
        return Ok(());
    }
    let Folded(found) = serde_json::from_str::<Folded<Victims<'_>>>(victims)?;
    if found.pods.is_some_and(|pods| !pods.get().starts_with('[')) {
        return Err("Pods: not a list".into());
    }
    let violations = found.violations.map_or("0", RawValue::get);
    if serde_json::from_str::<i64>(violations).is_err() {
        return Err("NumPDBViolations: not a number".into());
    }
    if form == Form::Meta {
        out.extend_from_slice(victims.as_bytes());
        return Ok(());
    }
    out.extend_from_slice(br#"{"Pods":["#);
    if let Some(pods) = found.pods {
        let (mut first, mut count) = (true, 0);
        let write_pod = |pod: Option<Folded<Pod<'_>>>| {
            count += 1;
            if count > MAX_VICTIMS {
                let why = format_args!("more than {MAX_VICTIMS} victims on one host");
                return Err(serde_json::Error::custom(why));
            }
            if !std::mem::take(&mut first) {
                out.push(b',');
            }
            out.extend_from_slice(br#"{"UID":"#);
            let metadata = pod.and_then(|pod| pod.0.metadata);
            let uid = metadata.and_then(|metadata| metadata.0.uid).map_or("\"\"", RawValue::get);
            if !uid.starts_with('"') {
                return Err(serde_json::Error::custom("uid: not a string"));
            }
            out.extend_from_slice(uid.as_bytes());
            out.push(b'}');
            Ok(())
        };
        each(&mut serde_json::Deserializer::from_str(pods.get()), write_pod)
            .map_err(|error| Malformed::from(error).within("Pods"))?;
    }
    out.extend_from_slice(br#"],"NumPDBViolations":"#);
    out.extend_from_slice(violations.as_bytes());
    out.push(b'}');
    Ok(())
}

/// Victims, with their pods unparsed.
#[derive(Default)]
struct Victims<'a> {
    pods: Option<&'a RawValue>,
    violations: Option<&'a RawValue>,
}

/// A pod's metadata.
#[derive(Default)]
struct Pod<'a> {
    metadata: Option<Folded<PodMeta<'a>>>,
}

/// A pod's UID, unparsed.
#[derive(Default)]
struct PodMeta<'a> {
    uid: Option<&'a RawValue>,
}

folded!(Victims<'a> { "Pods" => pods, "NumPDBViolations" => violations });
folded!(Pod<'a> { "metadata" => metadata });
folded!(PodMeta<'a> { "uid" => uid });
