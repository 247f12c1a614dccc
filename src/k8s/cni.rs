//! The CNI configuration inside a VM network, as far as it tells the cluster network.

use super::fold::Members;

/// What we read of a CNI configuration.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Cni {
    kind: Option<String>,
    bridge: Option<String>,
}

impl Cni {
    /// Reads `spec.config`. Keys are matched as Go matches them, without regard to case.
    pub fn read(config: &str) -> Result<Self, String> {
        let members: Members<'_> =
            serde_json::from_str(config).map_err(|error| format!("not a JSON object: {error}"))?;
        Ok(Self { kind: members.text("type")?, bridge: members.text("bridge")? })
    }

    /// The cluster network that the bridge's name speaks of, where the bridge is a plain one: its
    /// type `bridge`, or none given (spec, section 1).
    pub fn bridge_network(&self) -> Option<&str> {
        let kind = self.kind.as_deref().unwrap_or_default();
        let name = self.bridge.as_deref()?.strip_suffix("-br")?;
        (matches!(kind, "" | "bridge") && !name.is_empty()).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::Cni;

    fn network(config: &str) -> Option<String> {
        Cni::read(config).ok()?.bridge_network().map(str::to_owned)
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
    fn other_bridges_and_other_types_name_none() {
        assert_eq!(network(r#"{"type":"bridge","bridge":"br0"}"#), None);
        assert_eq!(network(r#"{"type":"bridge","bridge":"-br"}"#), None);
        assert_eq!(network(r#"{"type":"ovs","bridge":"vlan-b-br"}"#), None);
        assert_eq!(network(r#"{"plugins":[{"type":"bridge","bridge":"vlan-b-br"}]}"#), None);
        assert_eq!(network(r#"{"type":"bridge","bridge":null}"#), None);
    }

    #[test]
    fn what_is_not_an_object_is_an_error() {
        for config in ["", "[]", "{", r#"{"bridge":7}"#] {
            assert!(Cni::read(config).is_err(), "{config}");
        }
    }
}
