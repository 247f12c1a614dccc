//! The planner's forms of cluster networks, VM networks and of VMs that are not made yet.

use serde_json::{Value, json};

use super::{Page, reference};

/// The CNI configuration in the first object of an answer's YAML.
fn config(answer: &Value) -> Value {
    let objects =
        lanekeeper::k8s::documents::read(answer["yaml"].as_str().unwrap(), false).unwrap();
    serde_json::from_str(objects[0]["spec"]["config"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn a_new_cluster_network_needs_a_name_that_is_free() {
    let page = Page::of(&reference());
    let made = page.form("cluster-network", json!({ "name": "cluster-c", "mtu": 9000 })).await;
    assert!(made["yaml"].as_str().unwrap().contains("uplink-mtu: \"9000\""), "{made}");
    assert_eq!(made["plan"]["objects"][0]["violations"], json!([]));
    for name in ["", "mgmt", "cluster-a", "A"] {
        let answer = page.form("cluster-network", json!({ "name": name })).await;
        assert_eq!(
            (answer["problems"].as_array().unwrap().len(), &answer["plan"]),
            (1, &Value::Null)
        );
    }
}

#[tokio::test]
async fn a_new_vm_network_is_a_vlan_untagged_or_a_trunk() {
    let page = Page::of(&reference());
    let form = |more: Value| {
        let mut form =
            json!({ "name": "n", "namespace": "default", "clusterNetwork": "cluster-a" });
        form.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        form
    };
    let vlan =
        page.form("vm-network", form(json!({ "type": "vlan", "vlan": 7, "trunk": "9" }))).await;
    let cni = config(&vlan);
    assert_eq!(
        (&cni["bridge"], &cni["vlan"], &cni["type"]),
        (&json!("cluster-a-br"), &json!(7), &json!("bridge"))
    );
    assert_eq!(cni["vlanTrunk"], Value::Null, "the form's trunk is of another type");
    assert_eq!(vlan["plan"]["objects"][0]["violations"], json!([]));
    let trunk = page.form("vm-network", form(json!({ "type": "trunk", "trunk": "1-9, 20" }))).await;
    assert_eq!(config(&trunk)["vlanTrunk"], json!([{ "minID": 1, "maxID": 9 }, { "id": 20 }]));
    assert_eq!(trunk["plan"]["objects"][0]["violations"], json!([]));
    let untagged = page.form("vm-network", form(json!({ "type": "untagged", "mtu": 1400 }))).await;
    let cni = config(&untagged);
    assert_eq!((&cni["vlan"], &cni["mtu"]), (&Value::Null, &json!(1400)));
    for (form, problem) in [
        (form(json!({})), "give a VLAN"),
        (form(json!({ "type": "trunk" })), "give the VLANs of the trunk"),
        (form(json!({ "type": "trunk", "trunk": "1-x" })), "neither a VLAN nor a range"),
        (form(json!({ "vlan": 1, "clusterNetwork": "none" })), "there is no cluster network none"),
        (form(json!({ "vlan": 1, "clusterNetwork": "" })), "choose a cluster network"),
        (form(json!({ "vlan": 1, "name": "vm-network-a" })), "exists already"),
        (json!({ "change": "default/none" }), "there is no VM network default/none"),
    ] {
        let answer = page.form("vm-network", form).await;
        let problems = answer["problems"].to_string();
        assert!(problems.contains(problem), "{problem}: {problems}");
        assert_eq!(answer["plan"], Value::Null);
    }
}

#[tokio::test]
async fn a_changed_vm_network_keeps_the_rest_of_its_configuration() {
    let list = json!({ "cniVersion": "1.0.0", "plugins": [
        { "type": "tuning" },
        { "bridge": "without-a-type-br" },
        { "type": "bridge", "bridge": "cluster-a-br", "VLAN": 5, "macspoofchk": true },
    ] });
    let nad = |name: &str, config: &str| {
        json!({
            "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": { "name": name, "namespace": "default" }, "spec": { "config": config },
        })
    };
    let yaml = format!(
        "{}---\n{}\n---\n{}\n---\n{}\n",
        reference(),
        nad("list", &list.to_string()),
        nad("other", "{\"type\":\"kube-ovn\"}"),
        nad("broken", "{"),
    );
    let page = Page::of(&yaml);
    let filled = page.form("vm-network", json!({ "change": "default/list" })).await;
    assert_eq!((&filled["form"]["vlan"], &filled["form"]["type"]), (&json!(5), &json!("vlan")));
    let mut form = filled["form"].clone();
    form["vlan"] = json!(6);
    let cni = config(&page.form("vm-network", form).await);
    assert_eq!(cni["plugins"][2]["vlan"], 6);
    assert_eq!(cni["plugins"][2]["VLAN"], Value::Null, "Go would read both as one key");
    assert_eq!(cni["plugins"][2]["macspoofchk"], true);
    for name in ["other", "broken"] {
        let change = json!({ "change": format!("default/{name}"), "clusterNetwork": "cluster-a", "vlan": 1 });
        let answer = page.form("vm-network", change).await;
        assert_eq!(answer["problems"].as_array().unwrap().len(), 1, "{answer}");
    }
}

#[tokio::test]
async fn a_vm_that_is_not_made_yet_is_placed() {
    let page = Page::of(&reference());
    let placed = async |networks: &[&str], selector: Value| {
        let form = json!({ "vmNetworks": networks, "nodeSelector": selector });
        page.post("planner/placement", form.to_string()).await
    };
    let feasible = |answer: &Value| -> Vec<String> {
        let hosts =
            answer["hosts"].as_array().unwrap().iter().filter(|host| host["feasible"] == true);
        hosts.map(|host| host["name"].as_str().unwrap().to_owned()).collect()
    };
    let both = ["default/vm-network-b", "default/vm-network-c"];
    assert_eq!(feasible(&placed(&both, json!({})).await.1), ["host2"]);
    let (_, elsewhere) = placed(&both, json!({ "example.com/rack": "r2" })).await;
    assert_eq!(feasible(&elsewhere), Vec::<String>::new());
    assert_eq!(elsewhere["hosts"][2]["causes"][0]["code"], "excluded-by-vm");
    assert_eq!(feasible(&placed(&[], json!({})).await.1).len(), 6);
    let (_, missing) = placed(&["default/none"], json!({})).await;
    assert_eq!(missing["hosts"][0]["causes"][0]["code"], "vm-network-not-found");
    for name in ["none", "/a", "a/", "a/b/c"] {
        assert_eq!(placed(&[name], json!({})).await.0, 400, "{name}");
    }
}
