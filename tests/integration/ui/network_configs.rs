//! The planner's form of a network config.

use serde_json::{Value, json};

use super::{Page, reference};

/// The answer's NIC of this name.
fn nic<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let nics = answer["nics"].as_array().unwrap();
    nics.iter().find(|nic| nic["name"] == name).unwrap_or(&Value::Null)
}

fn problems(answer: &Value) -> Vec<&str> {
    answer["problems"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect()
}

fn rack(rack: &str) -> Value {
    json!({ "by": "label", "labels": { "example.com/rack": rack } })
}

#[tokio::test]
async fn an_empty_form_says_what_is_missing() {
    let page = Page::of(&reference());
    let answer = page.form("network-config", json!({})).await;
    assert_eq!(
        problems(&answer),
        ["choose a cluster network", "give the network config a name", "select at least one NIC"]
    );
    assert_eq!((&answer["matches"], &answer["of"]), (&json!(6), &json!(6)));
    assert_eq!((&answer["yaml"], &answer["plan"]), (&json!(""), &Value::Null));
    assert_eq!(answer["form"]["mode"], "active-backup");
}

#[tokio::test]
async fn a_nic_that_is_down_on_one_of_three_hosts_cant_be_chosen() {
    let page = Page::of(&reference());
    let form = |nics: &[&str]| json!({ "name": "rack-2", "clusterNetwork": "cluster-a", "hosts": rack("r2"), "nics": nics });
    let answer = page.form("network-config", form(&["enp9s2"])).await;
    assert_eq!((&answer["matches"], problems(&answer).len()), (&json!(3), 0));
    let down = nic(&answer, "enp9s1");
    assert_eq!(
        (&down["label"], &down["selectable"], &down["why"], &down["downOn"]),
        (&json!("enp9s1 (1/3 Down)"), &json!(false), &json!("down on host4"), &json!(["host4"]))
    );
    assert_eq!(nic(&answer, "enp9s2")["selectable"], true);
    let used = nic(&answer, "enp8s1");
    assert_eq!(used["selectable"], false);
    assert_eq!(
        used["why"],
        "used by network config network-config-c, cluster-b-bo on host4, host5"
    );
    assert_eq!(nic(&answer, "cluster-b-bo"), &Value::Null, "a bond is no NIC");
    assert!(answer["yaml"].as_str().unwrap().contains("example.com/rack: r2"));
    assert_eq!(answer["plan"]["clusterNetworks"][0]["gained"], json!(["host3", "host4", "host5"]));
    for (nic, problem) in [
        ("enp9s1", "NIC enp9s1 is down on host4"),
        ("enp8s1", "NIC enp8s1 is used by"),
        ("enp0s0", "not every selected host has a NIC enp0s0"),
    ] {
        let answer = page.form("network-config", form(&[nic])).await;
        assert!(problems(&answer)[0].starts_with(problem), "{answer}");
        assert_eq!(answer["plan"], Value::Null);
    }
}

#[tokio::test]
async fn hosts_by_name_get_a_network_config_each() {
    let page = Page::of(&reference());
    let form = |names: &[&str]| {
        let hosts = json!({ "by": "name", "names": names });
        json!({ "name": "net", "clusterNetwork": "cluster-b", "hosts": hosts, "nics": ["enp9s2"] })
    };
    let one = page.form("network-config", form(&["host3"])).await;
    let yaml = one["yaml"].as_str().unwrap();
    assert!(
        yaml.contains("name: net\n") && yaml.contains("kubernetes.io/hostname: host3"),
        "{yaml}"
    );
    let two = page.form("network-config", form(&["host3", "host0", "host3"])).await;
    let yaml = two["yaml"].as_str().unwrap();
    assert!(yaml.contains("name: net-host0\n") && yaml.contains("name: net-host3\n"), "{yaml}");
    assert_eq!((&two["matches"], two["plan"]["objects"].as_array().unwrap().len()), (&json!(2), 2));
    let none = page.form("network-config", form(&[])).await;
    assert_eq!(problems(&none), ["select at least one host"]);
    let unknown = page.form("network-config", form(&["nope"])).await;
    assert_eq!(problems(&unknown)[0], "there is no host nope");
}

const PLAIN: &str = "
{apiVersion: v1, kind: Node, metadata: {name: h0, labels: {a: 'on', kubernetes.io/hostname: h0}}, spec: {unschedulable: true}}
---
{apiVersion: v1, kind: Node, metadata: {name: h1, labels: {a: 'on'}}}
---
{apiVersion: v1, kind: Node, metadata: {name: w, labels: {a: 'on', node-role.harvesterhci.io/witness: 'true'}}}
";

#[tokio::test]
async fn without_reported_links_any_nic_will_do_and_special_hosts_are_named() {
    let page = Page::of(PLAIN);
    let form = json!({
        "name": "n", "clusterNetwork": "new", "nics": ["e1"],
        "hosts": { "by": "label", "labels": { "a": "on" } },
    });
    let answer = page.form("network-config", form).await;
    assert_eq!(problems(&answer), Vec::<&str>::new());
    assert_eq!((&answer["hosts"], &answer["of"]), (&json!(["h0", "h1"]), &json!(3)));
    assert_eq!(
        (&answer["witnesses"], &answer["cordoned"], &answer["withoutLinks"], &answer["nics"]),
        (&json!(["w"]), &json!(["h0"]), &json!(["h0", "h1"]), &json!([]))
    );
    let yaml = answer["yaml"].as_str().unwrap();
    assert!(yaml.contains("kind: ClusterNetwork"), "it is made too: {yaml}");
    assert!(!yaml.contains("a: on\n"), "kubectl would read `on` as a boolean: {yaml}");
}

#[tokio::test]
async fn what_cant_be_selected_or_named_is_said() {
    let page = Page::of(PLAIN);
    let with = |more: Value| {
        let mut form = json!({ "name": "n", "clusterNetwork": "c", "nics": ["e1"] });
        form.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        form
    };
    let labels = |labels: Value| with(json!({ "hosts": { "by": "label", "labels": labels } }));
    for (form, problem) in [
        (
            with(json!({ "hosts": { "by": "name", "names": ["h1"] } })),
            "has no label kubernetes.io/hostname",
        ),
        (labels(json!({})), "give at least one label"),
        (labels(json!({ "a": "off" })), "no host matches"),
        (with(json!({ "name": "N" })), "can't be the name of a network config"),
        (with(json!({ "name": "" })), "give the network config a name"),
        (with(json!({ "clusterNetwork": "mgmt" })), "mgmt needs no network config"),
        (with(json!({ "clusterNetwork": "C!" })), "can't be the name of a cluster network"),
        (with(json!({ "nics": [""] })), "select at least one NIC"),
        (json!({ "change": "none" }), "there is no network config none"),
    ] {
        let answer = page.form("network-config", form).await;
        assert!(problems(&answer).iter().any(|it| it.contains(problem)), "{problem}: {answer}");
        assert_eq!(answer["yaml"], "");
    }
    let page = Page::of(&reference());
    let taken =
        json!({ "name": "network-config-a", "clusterNetwork": "cluster-a", "nics": ["enp9s2"] });
    let answer = page.form("network-config", taken).await;
    assert!(problems(&answer)[0].contains("exists already"), "{answer}");
}

#[tokio::test]
async fn a_change_begins_with_what_there_is_and_keeps_what_the_form_lacks() {
    let mut objects = reference();
    objects.push_str(
        "---\n{apiVersion: network.harvesterhci.io/v1beta1, kind: VlanConfig, metadata: {name: v, uid: u, resourceVersion: '7', \
         labels: {network.harvesterhci.io/clusternetwork: cluster-a, mine: x}, annotations: {kubectl.kubernetes.io/last-applied-configuration: '{}'}}, \
         spec: {clusterNetwork: cluster-a, nodeSelector: {kubernetes.io/hostname: host3}, uplink: {nics: [enp9s1], bondOptions: {mode: 802.3ad, lacpRate: fast}, linkAttributes: {mtu: 9000, txQLen: 500}}}, status: {}}\n",
    );
    let page = Page::of(&objects);
    let filled = page.form("network-config", json!({ "change": "v" })).await;
    let form = &filled["form"];
    assert_eq!(
        (&form["hosts"], &form["mode"], &form["mtu"], &form["miimon"]),
        (
            &json!({ "by": "name", "names": ["host3"] }),
            &json!("802.3ad"),
            &json!(9000),
            &Value::Null
        )
    );
    assert_eq!(filled["plan"]["objects"][0]["operation"], "update");
    assert_eq!(
        (&filled["plan"]["clusterNetworks"], &filled["plan"]["vms"]),
        (&json!([]), &json!([]))
    );
    let mut moved = form.clone();
    moved["clusterNetwork"] = json!("cluster-b");
    let answer = page.form("network-config", moved).await;
    let yaml = answer["yaml"].as_str().unwrap();
    for kept in ["mine: x", "lacpRate: fast", "txQLen: 500", "clusternetwork: cluster-b"] {
        assert!(yaml.contains(kept), "{kept}: {yaml}");
    }
    for dropped in ["uid", "resourceVersion", "last-applied", "annotations", "status"] {
        assert!(!yaml.contains(dropped), "{dropped}: {yaml}");
    }
    let networks: Vec<&Value> = answer["plan"]["clusterNetworks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["name"])
        .collect();
    assert_eq!(networks, ["cluster-a", "cluster-b"], "one loses the host, the other gains it");
    // What only the mode before has is dropped: the form has no field to take it out by.
    let mut mode = form.clone();
    mode["mode"] = json!("active-backup");
    let answer = page.form("network-config", mode).await;
    assert!(!answer["yaml"].as_str().unwrap().contains("lacpRate"), "{answer}");
    assert_eq!(answer["plan"]["objects"][0]["violations"], json!([]));
    let mut two = form.clone();
    two["hosts"] = json!({ "by": "name", "names": ["host3", "host0"] });
    let answer = page.form("network-config", two).await;
    assert!(problems(&answer)[0].contains("one host by name"), "{answer}");
}

#[tokio::test]
async fn a_nic_that_the_network_config_has_stays_selectable() {
    let page = Page::of(&reference());
    let answer = page.form("network-config", json!({ "change": "network-config-c" })).await;
    let own = nic(&answer, "enp8s1");
    assert_eq!((&own["selectable"], &own["usedBy"]), (&json!(true), &json!([])));
    assert_eq!(problems(&answer), Vec::<&str>::new());
}

#[tokio::test]
async fn a_refused_change_has_its_yaml_and_the_rule() {
    let page = Page::of(&reference());
    let form = json!({
        "change": "network-config-b", "clusterNetwork": "cluster-a", "hosts": rack("r2"),
        "nics": ["enp7s1", "enp7s2"], "miimon": 100,
    });
    let answer = page.form("network-config", form).await;
    let object = &answer["plan"]["objects"][0];
    assert_eq!(object["violations"][0]["code"], "vc-running-vms");
    assert!(answer["yaml"].as_str().unwrap().contains("name: network-config-b"));
}

#[tokio::test]
async fn yaml_with_turned_text_is_escaped_and_means_the_same() {
    let page = Page::of(&reference());
    let form = |description: &str| {
        json!({
            "name": "net", "clusterNetwork": "cluster-a", "hosts": rack("r2"), "nics": ["enp9s2"],
            "description": description,
        })
    };
    let turned = page.form("network-config", form("a \u{202e}b\u{2066}")).await;
    let yaml = turned["yaml"].as_str().unwrap();
    assert!(yaml.contains("\\u202eb\\u2066") && !yaml.contains('\u{202e}'), "{yaml}");
    let objects = lanekeeper::k8s::documents::read(yaml, false).unwrap();
    assert_eq!(objects[0]["spec"]["description"], "a \u{202e}b\u{2066}");
    let plain = page.form("network-config", form("a: b → ü")).await;
    assert!(plain["yaml"].as_str().unwrap().starts_with("apiVersion: "), "{plain}");
}
