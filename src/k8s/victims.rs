//! The victims of a preemption: the pods to evict from each candidate host.

use serde::Deserialize;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::decode::{MAX_CANDIDATES, Malformed, check_name, each};
use super::fold::{Folded, folded};
use super::plain::{MAX_ECHO, cut};

/// The most victims on one host.
const MAX_VICTIMS: usize = 10_000;
/// The most bytes of a UID as a JSON string. Kubernetes' UIDs have 36 characters.
const MAX_UID: usize = 512;
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
            while let Some((host, victims)) = map.next_entry::<&RawValue, &RawValue>()? {
                check_name(host.get()).map_err(A::Error::custom)?;
                count += 1;
                if count > MAX_CANDIDATES {
                    let why = format_args!("more than {MAX_CANDIDATES} hosts");
                    return Err(A::Error::custom(why));
                }
                // Checked only: nothing is kept that would cost memory beside the body.
                write(victims.get(), self.0, &mut |_| {}).map_err(A::Error::custom)?;
                self.1(host.get(), victims.get()).map_err(A::Error::custom)?;
            }
            Ok(())
        }
    }

    let mut map = serde_json::Deserializer::from_str(map);
    serde::Deserializer::deserialize_any(&mut map, Hosts(form, take)).map_err(Malformed::from)
}

/// Writes a host's victims as MetaVictims, in Go's case whatever the case they came in. What
/// kube-scheduler itself writes is in that case, and copied byte for byte.
pub(super) fn write(
    victims: &str,
    form: Form,
    out: &mut impl FnMut(&str),
) -> Result<(), Malformed> {
    if victims == "null" {
        out(NO_VICTIMS);
        return Ok(());
    }
    let Folded(found) = serde_json::from_str::<Folded<Victims<'_>>>(victims)?;
    let violations = found.violations.map_or("0", RawValue::get);
    let invalid = |field: &str, value: &str, must: &str| {
        let value = cut(value, MAX_ECHO);
        Malformed::new(format!("{field}: Invalid value: {value}: must be {must}"))
    };
    if serde_json::from_str::<i64>(violations).is_err() {
        return Err(invalid("NumPDBViolations", violations, "an integer"));
    }
    let pods = found.pods.map_or("[]", RawValue::get);
    if !pods.starts_with('[') {
        return Err(invalid("Pods", pods, "a list"));
    }
    if form == Form::Meta && is_in_gos_case(victims, pods) {
        each_uid(pods, form, |_| ())?;
        out(victims);
        return Ok(());
    }
    out(r#"{"Pods":["#);
    let mut separator = "";
    each_uid(pods, form, |uid| {
        for part in [separator, r#"{"UID":"#, uid, "}"] {
            out(part);
        }
        separator = ",";
    })?;
    for part in [r#"],"NumPDBViolations":"#, violations, "}"] {
        out(part);
    }
    Ok(())
}

/// Reads a list of victims, and hands the UID of each to `take`, as a JSON string.
fn each_uid(pods: &str, form: Form, mut take: impl FnMut(&str)) -> Result<(), Malformed> {
    let mut count = 0;
    let mut victim = |uid: Option<&RawValue>| {
        count += 1;
        if count > MAX_VICTIMS {
            let why = format_args!("more than {MAX_VICTIMS} victims on one host");
            return Err(serde_json::Error::custom(why));
        }
        let uid = uid.map_or("\"\"", RawValue::get);
        if !uid.starts_with('"') {
            return Err(serde_json::Error::custom("uid: not a string"));
        }
        if uid.len() > MAX_UID {
            let why = format_args!("a uid of more than {MAX_UID} bytes");
            return Err(serde_json::Error::custom(why));
        }
        take(uid);
        Ok(())
    };
    let mut pods = serde_json::Deserializer::from_str(pods);
    let read = match form {
        Form::Meta => {
            each(&mut pods, |pod: Option<Folded<MetaPod<'_>>>| victim(pod.and_then(|it| it.0.uid)))
        }
        Form::Full => each(&mut pods, |pod: Option<Folded<Pod<'_>>>| {
            let metadata = pod.and_then(|pod| pod.0.metadata);
            victim(metadata.and_then(|metadata| metadata.0.uid))
        }),
    };
    read.map_err(|error| Malformed::from(error).within("Pods"))
}

/// Returns whether MetaVictims have the fields of the Go type, in Go's case, each at most once, and
/// no others.
fn is_in_gos_case(victims: &str, pods: &str) -> bool {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Victims {
        #[serde(rename = "Pods")]
        _pods: Option<IgnoredAny>,
        #[serde(rename = "NumPDBViolations")]
        _violations: Option<IgnoredAny>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Pod {
        #[serde(rename = "UID")]
        _uid: Option<IgnoredAny>,
    }
    let mut pods = serde_json::Deserializer::from_str(pods);
    serde_json::from_str::<Victims>(victims).is_ok()
        && each(&mut pods, |_: Option<Pod>| Ok(())).is_ok()
}

/// Victims, with their pods unparsed.
#[derive(Default)]
struct Victims<'a> {
    pods: Option<&'a RawValue>,
    violations: Option<&'a RawValue>,
}

/// A victim's UID, unparsed.
#[derive(Default)]
struct MetaPod<'a> {
    uid: Option<&'a RawValue>,
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
folded!(MetaPod<'a> { "UID" => uid });
folded!(Pod<'a> { "metadata" => metadata });
folded!(PodMeta<'a> { "uid" => uid });

#[cfg(test)]
mod tests {
    use super::{Form, MAX_UID, MAX_VICTIMS, write};

    fn written(victims: &str, form: Form) -> Result<String, String> {
        let mut text = String::new();
        let result = write(victims, form, &mut |part| text.push_str(part));
        result.map(|()| text).map_err(|why| why.to_string())
    }

    #[test]
    fn meta_victims_come_out_in_gos_case() {
        let rewritten = r#"{"Pods":[{"UID":"x"},{"UID":"y"}],"NumPDBViolations":3}"#;
        for victims in [
            rewritten,
            r#"{"pods":[{"uid":"x"},{"Uid":"y"}],"numPDBViolations":3}"#,
            r#"{"NUMPDBVIOLATIONS":3,"PODS":[{"UID":"x"},{"uID":"y"}]}"#,
            r#"{"Pods":[{"UID":"z"}],"pods":[{"UID":"x"},{"uid":"z","UID":"y"}],"NumPDBViolations":1,"NumPDBViolations":3}"#,
            r#"{"Pods":[{"UID":"x","more":[{}]},{"UID":"y"}],"NumPDBViolations":3,"more":null}"#,
        ] {
            assert_eq!(written(victims, Form::Meta).as_deref(), Ok(rewritten), "{victims}");
        }
        for (victims, expected) in [
            (r#"{"pods":null}"#, r#"{"Pods":[],"NumPDBViolations":0}"#),
            (
                r#"{"pods":[null,{},{"uid":null}],"numpdbviolations":null}"#,
                r#"{"Pods":[{"UID":""},{"UID":""},{"UID":""}],"NumPDBViolations":0}"#,
            ),
            (r#"{"uid":"x"}"#, r#"{"Pods":[],"NumPDBViolations":0}"#),
        ] {
            assert_eq!(written(victims, Form::Meta).as_deref(), Ok(expected), "{victims}");
        }
    }

    #[test]
    fn what_the_scheduler_writes_is_copied_to_the_byte() {
        for victims in [
            r#"{"Pods":null,"NumPDBViolations":0}"#,
            r#"{"Pods":[],"NumPDBViolations":0}"#,
            r#"{"Pods":[{"UID":"\u0078"} ],"NumPDBViolations":-1}"#,
        ] {
            assert_eq!(written(victims, Form::Meta).as_deref(), Ok(victims));
        }
    }

    #[test]
    fn victims_in_either_form_have_limits() {
        for (form, before, after) in [
            (Form::Meta, r#"{"UID":""#, r#""}"#),
            (Form::Full, r#"{"metadata":{"uid":""#, r#""}}"#),
        ] {
            let victims = |pods: &[String]| format!(r#"{{"Pods":[{}]}}"#, pods.join(","));
            let pod = |length: usize| format!("{before}{}{after}", "x".repeat(length));
            assert!(written(&victims(&vec![pod(1); MAX_VICTIMS]), form).is_ok());
            let why = written(&victims(&vec![pod(1); MAX_VICTIMS + 1]), form).unwrap_err();
            assert!(why.contains("Pods: more than 10000 victims"), "{why}");
            assert!(written(&victims(&[pod(MAX_UID - 2)]), form).is_ok());
            let why = written(&victims(&[pod(MAX_UID - 1)]), form).unwrap_err();
            assert!(why.contains("Pods: a uid of more than"), "{why}");
            let why = written(&victims(&["7".to_owned()]), form).unwrap_err();
            assert!(why.contains("Pods: "), "{why}");
        }
    }
}
