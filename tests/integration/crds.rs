//! The custom resource definitions: what they say, and what their rules refuse.

use std::fmt::Write as _;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::cel::{Validator, cel};
use lanekeeper::k8s::crds;
use serde_json::{Value, json};

use crate::harness::{documents, project};

#[test]
fn the_files_are_what_the_types_say() {
    let folder = project().join("manifests/crds");
    let mut files: Vec<String> = Vec::new();
    for definition in crds::definitions() {
        let file = format!("{}.yaml", definition.spec.names.plural);
        let path = folder.join(&file);
        let text = serde_saphyr::to_string(&definition).unwrap();
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "{file}");
        files.push(file);
    }
    let mut there: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "kustomization.yaml")
        .collect();
    files.sort();
    there.sort();
    assert_eq!(there, files);
}

/// Harvester's kinds as its documentation has them; `?` marks what may be left out.
const HARVESTER: &str = "
ClusterNetwork clusternetworks cn,cns Cluster
  status? object
    conditions? list of object
      lastTransitionTime? string
      lastUpdateTime? string
      message? string
      reason? string
      status string
      type string
VlanConfig vlanconfigs vc,vcs Cluster
  CLUSTERNETWORK .spec.clusterNetwork
  DESCRIPTION .spec.description
  AGE .metadata.creationTimestamp
  spec object
    clusterNetwork string
    description? string
    nodeSelector? map of string
    uplink object
      bondOptions? object
        adSelect? string of stable bandwidth count
        arpAllTargets? string of any all
        arpInterval? integer >= -1
        arpIpTargets? at most 16: list of string ipv4
        arpValidate? string of none active backup all filter filter_active filter_backup
        lacpRate? string of slow fast
        miimon? integer >= -1 default -1
        mode? string default \"active-backup\" of balance-rr active-backup balance-xor broadcast \
802.3ad balance-tlb balance-alb
        xmitHashPolicy? string of layer2 layer2+3 layer3+4 encap2+3 encap3+4
      linkAttributes? object
        hardwareAddr? string byte
        mtu? integer >= 0
        txQLen? integer >= -1 default -1
      nics? at most 64: list of string length <= 127
VlanStatus vlanstatuses vs,vss Cluster
  CLUSTERNETWORK .status.clusterNetwork
  VLANCONFIG .status.vlanConfig
  NODE .status.node
  AGE .metadata.creationTimestamp
  status object
    clusterNetwork string
    conditions? list of object
      lastTransitionTime? string
      lastUpdateTime? string
      message? string
      reason? string
      status string
      type string
    linkMonitor string
    localAreas? list of object
      cidr? string
      vlanID integer
    node string
    vlanConfig string
LinkMonitor linkmonitors lm,lms Cluster
  spec object
    nodeSelector? map of string
    targetLinkRule? object
      nameRule? string
      typeRule? string
  status? object
    conditions? list of object
      lastTransitionTime? string
      lastUpdateTime? string
      message? string
      reason? string
      status string
      type string
    linkStatus? map of list of object
      index? integer
      mac? string
      masterIndex? integer
      name string
      promiscuous? boolean
      state? string of up down unknown
      type? string
HostNetworkConfig hostnetworkconfigs hnc,hncs Cluster /status
  spec object
    clusterNetwork string length >= 1
    description? string
    ips? at most 500: map of string length <= 50
    mode string of static dhcp
    nodeSelector? object
      matchExpressions? list of object
        key string
        operator string
        values? list of string
      matchLabels? map of string
    underlay? boolean
    vlanID integer >= 1 <= 4094
  status? object
    conditions? list of object
      lastTransitionTime? string
      lastUpdateTime? string
      message? string
      reason? string
      status string
      type string
    nodeStatus? map of object
      clusterNetwork string
      conditions? list of object
        lastTransitionTime? string
        lastUpdateTime? string
        message? string
        reason? string
        status string
        type string
      mode string
      vlanID integer
";

#[test]
fn the_kinds_are_harvesters_field_by_field() {
    let mut outline = String::from("\n");
    for definition in crds::definitions() {
        let definition = serde_json::to_value(definition).unwrap();
        let (spec, version) = (&definition["spec"], &definition["spec"]["versions"][0]);
        assert_eq!(spec["versions"].as_array().unwrap().len(), 1);
        assert_eq!((&version["name"], &version["served"]), (&json!("v1beta1"), &json!(true)));
        assert_eq!(version["storage"], true);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let short: Vec<String> =
            spec["names"]["shortNames"].as_array().unwrap().iter().map(text).collect();
        let names = (text(&spec["names"]["kind"]), text(&spec["names"]["plural"]));
        let scope = text(&spec["scope"]);
        let subresources = version["subresources"].as_object().into_iter().flatten();
        let subresources: Vec<_> = subresources.map(|(name, _)| format!(" /{name}")).collect();
        let subresources = subresources.concat();
        let (kind, plural) = names;
        writeln!(outline, "{kind} {plural} {} {scope}{subresources}", short.join(",")).unwrap();
        for column in version["additionalPrinterColumns"].as_array().into_iter().flatten() {
            writeln!(outline, "  {} {}", text(&column["name"]), text(&column["jsonPath"])).unwrap();
        }
        properties(&mut outline, 1, &version["schema"]["openAPIV3Schema"]);
    }
    assert_eq!(outline, HARVESTER);
}

fn properties(outline: &mut String, depth: usize, schema: &Value) {
    let required =
        |name: &str| schema["required"].as_array().is_some_and(|it| it.iter().any(|it| it == name));
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let mark = if required(name) { "" } else { "?" };
        write!(outline, "{}{name}{mark} ", "  ".repeat(depth)).unwrap();
        let mut inner = property;
        loop {
            assert_eq!(inner["nullable"], Value::Null, "{name}");
            if inner["items"].is_object() {
                if let Some(most) = inner["maxItems"].as_f64() {
                    write!(outline, "at most {most}: ").unwrap();
                }
                outline.push_str("list of ");
                inner = &inner["items"];
            } else if inner["additionalProperties"].is_object() {
                if let Some(most) = inner["maxProperties"].as_f64() {
                    write!(outline, "at most {most}: ").unwrap();
                }
                outline.push_str("map of ");
                inner = &inner["additionalProperties"];
            } else {
                break;
            }
        }
        outline.push_str(inner["type"].as_str().unwrap());
        for format in ["byte", "ipv4"].iter().filter(|format| inner["format"] == **format) {
            write!(outline, " {format}").unwrap();
        }
        for (bound, sign) in [
            ("minimum", ">="),
            ("maximum", "<="),
            ("minLength", "length >="),
            ("maxLength", "length <="),
        ] {
            if let Some(number) = inner[bound].as_f64() {
                write!(outline, " {sign} {number}").unwrap();
            }
        }
        if !inner["default"].is_null() {
            write!(outline, " default {}", inner["default"]).unwrap();
        }
        let values = inner["enum"].as_array().into_iter().flatten();
        for (number, value) in values.enumerate() {
            outline.push_str(if number == 0 { " of " } else { " " });
            outline.push_str(value.as_str().unwrap());
        }
        outline.push('\n');
        properties(outline, depth + 1, inner);
    }
}

fn same<K: serde::de::DeserializeOwned + serde::Serialize>(yaml: &str) {
    let object = documents(yaml).remove(0);
    let read: K = serde_json::from_value(object.clone()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), object);
}

#[test]
fn an_object_of_harvesters_is_read_and_written_as_it_is() {
    same::<crds::ClusterNetwork>(
        "
apiVersion: network.harvesterhci.io/v1beta1
kind: ClusterNetwork
metadata: {name: mgmt}
status: {conditions: [{type: ready, status: 'True', lastUpdateTime: '2026-08-01T00:00:00Z'}]}
",
    );
    same::<crds::VlanConfig>(
        "
apiVersion: network.harvesterhci.io/v1beta1
kind: VlanConfig
metadata: {name: rack-1}
spec:
  clusterNetwork: vlan
  description: rack 1
  nodeSelector: {kubernetes.io/hostname: host1}
  uplink:
    nics: [enp7s3, enp8s3]
    bondOptions: {mode: 802.3ad, miimon: 100}
    linkAttributes: {mtu: 9000, txQLen: -1, hardwareAddr: UlQAEjRW}
",
    );
    same::<crds::VlanConfig>(
        "
apiVersion: network.harvesterhci.io/v1beta1
kind: VlanConfig
metadata: {name: all-bond-options}
spec:
  clusterNetwork: vlan
  uplink:
    bondOptions:
      mode: balance-xor
      miimon: -1
      xmitHashPolicy: layer3+4
      lacpRate: fast
      adSelect: bandwidth
      arpInterval: 100
      arpIpTargets: [10.0.0.1, 10.0.0.2]
      arpValidate: filter_active
      arpAllTargets: all
",
    );
    same::<crds::VlanStatus>(
        "
apiVersion: network.harvesterhci.io/v1beta1
kind: VlanStatus
metadata: {name: vlan-host1-0a1b}
status:
  clusterNetwork: vlan
  vlanConfig: rack-1
  linkMonitor: vlan
  node: host1
  localAreas: [{vlanID: 7, cidr: 10.0.0.0/8}]
  conditions: [{type: ready, status: 'False', reason: Error, message: no such NIC}]
",
    );
    same::<crds::LinkMonitor>(
        "
apiVersion: network.harvesterhci.io/v1beta1
kind: LinkMonitor
metadata: {name: nic}
spec: {targetLinkRule: {typeRule: device}}
status:
  linkStatus:
    host1: [{name: enp7s3, index: 2, type: device, mac: '52:54:00:12:34:56', state: down, masterIndex: 5}]
",
    );
}

#[test]
fn a_host_network_config_is_read_and_written_as_it_is() {
    same::<crds::HostNetworkConfig>(
        "
apiVersion: network.harvesterhci.io/v1beta1
kind: HostNetworkConfig
metadata: {name: vtep}
spec:
  clusterNetwork: vlan
  description: tunnels
  nodeSelector:
    matchLabels: {rack: r1}
    matchExpressions: [{key: zone, operator: In, values: [a, b]}, {key: gone, operator: DoesNotExist}]
  underlay: true
  vlanID: 7
  mode: static
  ips: {host1: 10.0.0.1/24, host2: 10.0.0.2/24}
status:
  conditions: [{type: ready, status: 'True'}]
  nodeStatus:
    host1: {clusterNetwork: vlan, vlanID: 7, mode: static, conditions: [{type: ready, status: 'True'}]}
",
    );
    same::<crds::HostNetworkConfig>(
        "
apiVersion: network.harvesterhci.io/v1beta1
kind: HostNetworkConfig
metadata: {name: dhcp}
spec: {clusterNetwork: vlan, vlanID: 7, mode: dhcp}
",
    );
}

fn schema(kind: &str) -> Value {
    let is_kind = |it: &CustomResourceDefinition| it.spec.names.kind == kind;
    let definition = crds::definitions().into_iter().find(is_kind).unwrap();
    serde_json::to_value(&definition.spec.versions[0].schema).unwrap()["openAPIV3Schema"].take()
}

/// What the rules say of a network config with this uplink.
fn uplink_violations(uplink: Value) -> Vec<String> {
    violations("VlanConfig", json!({"clusterNetwork": "vlan", "uplink": uplink}))
}

/// What the rules say of an object with this spec.
fn violations(kind: &str, spec: Value) -> Vec<String> {
    let object = json!({
        "apiVersion": "network.harvesterhci.io/v1beta1",
        "kind": kind,
        "metadata": {"name": "object"},
        "spec": spec,
    });
    match Validator::new().validate(&schema(kind), &object, None) {
        Ok(()) => Vec::new(),
        Err(errors) => errors
            .into_vec()
            .into_iter()
            .map(|error| format!("{}: {}", error.field_path, error.message))
            .collect(),
    }
}

#[test]
fn an_mtu_has_a_range() {
    for mtu in [0, 576, 1500, 9000] {
        assert!(uplink_violations(json!({"linkAttributes": {"mtu": mtu}})).is_empty(), "{mtu}");
    }
    assert!(uplink_violations(json!({"linkAttributes": {}})).is_empty());
    for mtu in [1, 575, 9001, 65535] {
        assert_eq!(
            uplink_violations(json!({"linkAttributes": {"mtu": mtu}})),
            ["spec.uplink.linkAttributes.mtu: the MTU must be 0 or from 576 to 9000"],
        );
    }
}

#[test]
fn a_nic_is_listed_once() {
    for nics in [json!([]), json!(["enp7s3"]), json!(["enp7s3", "enp8s3", "enp7s30"])] {
        assert!(uplink_violations(json!({"nics": nics})).is_empty(), "{nics}");
    }
    for nics in [json!(["a", "a"]), json!(["enp7s3", "enp8s3", "enp7s3"])] {
        assert_eq!(
            uplink_violations(json!({"nics": nics})),
            ["spec.uplink.nics: a NIC is listed twice"],
        );
    }
}

#[test]
fn a_static_host_network_has_addresses() {
    let said = |mode: &str, ips: Option<Value>| {
        let mut spec = json!({"clusterNetwork": "vlan", "vlanID": 7, "mode": mode});
        if let Some(ips) = ips {
            spec["ips"] = ips;
        }
        violations("HostNetworkConfig", spec)
    };
    for passes in [
        said("static", Some(json!({"host1": "10.0.0.1/24"}))),
        said("dhcp", None),
        said("dhcp", Some(json!({}))),
    ] {
        assert_eq!(passes, [""; 0]);
    }
    for refused in [said("static", None), said("static", Some(json!({})))] {
        let why = "spec: ips must have an address for each host if the mode is static";
        assert_eq!(refused, [why]);
    }
}

/// Whether the rule on a cluster network's name lets it pass. The API server hands such a rule
/// `oldSelf` as an optional, which the validator of kube does not.
fn name_passes(name: &str, old: &str) -> bool {
    let schema = schema("ClusterNetwork");
    let [rule] = schema["x-kubernetes-validations"].as_array().unwrap().as_slice() else {
        panic!("one rule at the root");
    };
    assert_eq!(rule["optionalOldSelf"], true);
    let mut context = cel::Context::default();
    context.add_variable("object", json!({"metadata": {"name": name}})).unwrap();
    let value =
        |expression: &str| cel::Program::compile(expression).unwrap().execute(&context).unwrap();
    let (object, old) = (value("object"), value(old));
    let mut context = cel::Context::default();
    context.add_variable_from_value("self", object);
    context.add_variable_from_value("oldSelf", old);
    let program = cel::Program::compile(rule["rule"].as_str().unwrap()).unwrap();
    program.execute(&context).unwrap() == cel::Value::Bool(true)
}

#[test]
fn a_cluster_networks_name_fits_its_bridge() {
    for name in ["a", "mgmt", "twelve-chars", "0-9"] {
        assert!(name_passes(name, "optional.none()"), "{name}");
    }
    for name in ["thirteen-char", "-a", "a-", "a.b", "A", "a_b"] {
        assert!(!name_passes(name, "optional.none()"), "{name}");
    }
}

#[test]
fn an_old_cluster_network_with_a_long_name_can_be_edited() {
    assert!(name_passes("a-name-of-an-older-day", "optional.of(object)"));
}

#[test]
fn the_definitions_leave_mgmt_to_the_webhooks() {
    // CEL sees neither who asks nor that something is deleted.
    let text = serde_json::to_string(&crds::definitions()).unwrap();
    assert!(!text.contains("mgmt"));
}
