//! `lanekeeper manifests --scheduler`: what makes kube-scheduler ask Lanekeeper (docs/reference.md,
//! "Wiring kube-scheduler").

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::harness::{documents, project};
use crate::installation::{ca, only, printed, refused, text};

const ADDRESS: &str = "--scheduler-address=10.43.0.7:443";

/// The configuration that is shipped, with what differs between clusters taken out.
fn shipped() -> Value {
    let file = project().join("manifests/kube-scheduler/config.yaml");
    common(documents(&fs::read_to_string(file).unwrap()).remove(0))
}

fn common(mut configuration: Value) -> Value {
    let members = configuration.as_object_mut().unwrap();
    for own in ["clientConnection", "leaderElection", "profiles"] {
        members.remove(own);
    }
    let extender = configuration["extenders"][0].as_object_mut().unwrap();
    assert!(extender.remove("urlPrefix").is_some() && extender.remove("tlsConfig").is_some());
    configuration
}

/// What is rendered for hosts of a kind: all documents.
fn on_hosts(kind: &str, more: &[&str]) -> (Vec<Value>, String) {
    let (_folder, ca) = ca();
    let mut arguments = vec!["--scheduler", kind, "--ca-file", ca.to_str().unwrap()];
    arguments.extend(more);
    let content = STANDARD.encode(fs::read(&ca).unwrap());
    (printed(&arguments), content)
}

/// The configuration, and what tells RKE2 of it, among what is rendered.
fn configuration(kind: &str, documents: &[Value]) -> (Value, Option<Value>) {
    match kind {
        "kubeadm" => {
            let [configuration] = documents else { panic!("one document") };
            (configuration.clone(), None)
        }
        "rke2" => {
            let [configuration, rke2] = documents else { panic!("two documents") };
            (configuration.clone(), Some(rke2.clone()))
        }
        _ => {
            let [cloud_init] = documents else { panic!("one object") };
            let files = files(cloud_init);
            let read = |number: usize| {
                let content = files[number]["content"].as_str().unwrap();
                crate::harness::documents(content).remove(0)
            };
            (read(0), Some(read(1)))
        }
    }
}

/// The files that a `CloudInit` writes.
fn files(cloud_init: &Value) -> Vec<Value> {
    let contents = cloud_init["spec"]["contents"].as_str().unwrap();
    let contents = documents(contents).remove(0);
    let stage = &contents["stages"]["initramfs"][0];
    stage["files"].as_array().unwrap().clone()
}

const HOSTS: [(&str, &str); 3] = [
    ("kubeadm", "/etc/kubernetes/scheduler.conf"),
    ("rke2", "/var/lib/rancher/rke2/server/cred/scheduler.kubeconfig"),
    ("harvester", "/var/lib/rancher/rke2/server/cred/scheduler.kubeconfig"),
];

#[test]
fn a_scheduler_on_its_host_calls_the_address_and_knows_ca_and_name() {
    for (kind, kubeconfig) in HOSTS {
        let (documents, ca) = on_hosts(kind, &[ADDRESS, "--namespace", "networks"]);
        let (configuration, _) = configuration(kind, &documents);
        assert_eq!(configuration["clientConnection"], json!({"kubeconfig": kubeconfig}), "{kind}");
        let extender = &configuration["extenders"][0];
        assert_eq!(extender["urlPrefix"], "https://10.43.0.7:443/scheduler");
        let tls = json!({"caData": ca, "serverName": "lanekeeper.networks.svc"});
        assert_eq!(extender["tlsConfig"], tls);
        let mut expected = shipped();
        if kind == "harvester" {
            // It has LinkMonitors.
            expected["extenders"][0]["prioritizeVerb"] = json!("prioritize");
            expected["extenders"][0]["weight"] = json!(1);
        }
        assert_eq!(common(configuration), expected, "{kind}");
    }
}

#[test]
fn a_scheduler_on_its_host_calls_a_server_outside_by_its_own_name() {
    for (kind, _) in HOSTS {
        let (documents, ca) = on_hosts(kind, &["--url", "https://lanekeeper.example.com:8443"]);
        let (configuration, _) = configuration(kind, &documents);
        let extender = &configuration["extenders"][0];
        assert_eq!(extender["urlPrefix"], "https://lanekeeper.example.com:8443/scheduler");
        assert_eq!(extender["tlsConfig"], json!({"caData": ca}));
    }
}

#[test]
fn rke2_is_told_of_the_file() {
    for kind in ["rke2", "harvester"] {
        let (documents, _) = on_hosts(kind, &[ADDRESS]);
        let (_, rke2) = configuration(kind, &documents);
        // The `+` adds to what other files give.
        let expected = json!({
            "kube-scheduler-arg+": ["config=/etc/rancher/rke2/lanekeeper/scheduler.yaml"],
        });
        assert_eq!(rke2.unwrap(), expected, "{kind}");
    }
    let (_folder, ca) = ca();
    let text = text(&["--scheduler", "rke2", ADDRESS, "--ca-file", ca.to_str().unwrap()]);
    for file in [
        "\n---\n# /etc/rancher/rke2/lanekeeper/scheduler.yaml\napiVersion:",
        "\n---\n# /etc/rancher/rke2/config.yaml.d/90-lanekeeper.yaml\nkube-scheduler-arg+:",
    ] {
        assert!(text.contains(file), "{file}");
    }
}

#[test]
fn harvester_writes_both_files_on_control_plane_hosts() {
    let (documents, _) = on_hosts("harvester", &[ADDRESS]);
    let cloud_init = only(&documents, "CloudInit");
    assert_eq!(cloud_init["apiVersion"], "node.harvesterhci.io/v1beta1");
    assert!(cloud_init["metadata"].get("namespace").is_none());
    let spec = &cloud_init["spec"];
    let fields: Vec<&str> = spec.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["contents", "filename", "matchSelector", "paused"]);
    assert_eq!(spec["matchSelector"], json!({"node-role.kubernetes.io/control-plane": "true"}));
    // Harvester's webhook wants this ending, and names of its own files are refused.
    assert_eq!(spec["filename"], "99_lanekeeper.yaml");
    assert_eq!(spec["paused"], false);
    let files = files(cloud_init);
    let written: Vec<_> =
        files.iter().map(|it| (it["path"].as_str().unwrap(), it["permissions"].as_u64())).collect();
    assert_eq!(
        written,
        [
            ("/etc/rancher/rke2/lanekeeper/scheduler.yaml", Some(0o644)),
            ("/etc/rancher/rke2/config.yaml.d/90-lanekeeper.yaml", Some(0o644)),
        ]
    );
}

#[test]
fn the_steps_for_kubeadm_name_the_mounted_file() {
    let (_folder, ca) = ca();
    let text = text(&["--scheduler", "kubeadm", ADDRESS, "--ca-file", ca.to_str().unwrap()]);
    for step in [
        "#        - --config=/etc/kubernetes/lanekeeper/scheduler.yaml\n",
        "#          mountPath: /etc/kubernetes/lanekeeper\n",
        "#            path: /etc/kubernetes/lanekeeper\n",
        "#            value: /etc/kubernetes/lanekeeper/scheduler.yaml\n",
    ] {
        assert!(text.contains(step), "{step}");
    }
}

/// The configuration of a second scheduler.
fn second(documents: &[Value]) -> Value {
    let text = only(documents, "ConfigMap")["data"]["scheduler.yaml"].as_str().unwrap();
    crate::harness::documents(text).remove(0)
}

#[test]
fn a_second_scheduler_has_a_name_a_lease_and_rights_of_its_own() {
    let documents = printed(&["--scheduler", "second", "--namespace", "networks"]);
    let configuration = second(&documents);
    let extender = &configuration["extenders"][0];
    assert_eq!(extender["urlPrefix"], "https://lanekeeper.networks.svc:443/scheduler");
    let election = json!({
        "leaderElect": true,
        "resourceName": "lanekeeper-scheduler",
        "resourceNamespace": "networks",
    });
    assert_eq!(configuration["leaderElection"], election);
    assert_eq!(configuration["profiles"], json!([{"schedulerName": "lanekeeper-scheduler"}]));
    assert_eq!(configuration["clientConnection"], json!({}), "as the account of its pod");

    let deployment = &only(&documents, "Deployment")["spec"];
    assert_eq!(deployment["replicas"], 2);
    let pod = &deployment["template"]["spec"];
    let [container] = pod["containers"].as_array().unwrap().as_slice() else { panic!("one") };
    assert_eq!(container["image"], "registry.k8s.io/kube-scheduler:v1.33.0");
    let mounted = |name: &str| {
        let mounts = container["volumeMounts"].as_array().unwrap();
        let mount = mounts.iter().find(|it| it["name"] == name).unwrap();
        assert_eq!(mount["readOnly"], true);
        mount["mountPath"].as_str().unwrap().to_owned()
    };
    let command = container["command"].to_string();
    assert!(command.contains(&format!("--config={}/scheduler.yaml", mounted("scheduler"))));
    assert_eq!(extender["tlsConfig"]["caFile"], format!("{}/ca.crt", mounted("ca")));
    // Nothing of the Secret but the CA certificates: neither its key nor the server's.
    let secret = &pod["volumes"][1]["secret"];
    let ca =
        json!({"secretName": "lanekeeper-tls", "items": [{"key": "bundle.crt", "path": "ca.crt"}]});
    assert_eq!(*secret, ca);
    assert_eq!(common(configuration), shipped());

    // Its pods are not behind our Service.
    let labels = &deployment["template"]["metadata"]["labels"];
    assert_eq!(*labels, json!({"app.kubernetes.io/name": "lanekeeper-scheduler"}));
    let text = text(&["--scheduler", "second"]);
    assert!(text.contains("#           schedulerName: lanekeeper-scheduler\n"), "{text}");
}

#[test]
fn a_second_scheduler_reads_the_ca_from_where_it_is() {
    let documents = printed(&["--scheduler", "second", "--certificate", "cert-manager"]);
    let secret =
        &only(&documents, "Deployment")["spec"]["template"]["spec"]["volumes"][1]["secret"];
    let ca =
        json!({"secretName": "lanekeeper-cert", "items": [{"key": "ca.crt", "path": "ca.crt"}]});
    assert_eq!(*secret, ca);

    let image = "--scheduler-image=example.com/kube-scheduler:v1.37.2";
    let (documents, ca) = on_hosts("second", &["--url", "https://host:8443", image]);
    let pod = &only(&documents, "Deployment")["spec"]["template"]["spec"];
    assert_eq!(pod["volumes"].as_array().unwrap().len(), 1, "no Secret");
    assert_eq!(pod["containers"][0]["image"], "example.com/kube-scheduler:v1.37.2");
    let extender = &second(&documents)["extenders"][0];
    assert_eq!(extender["urlPrefix"], "https://host:8443/scheduler");
    assert_eq!(extender["tlsConfig"], json!({"caData": ca}));
}

#[test]
fn what_a_scheduler_needs_or_has_no_use_for_is_said() {
    let (_folder, ca) = ca();
    let ca = format!("--ca-file={}", ca.display());
    for (kind, _) in HOSTS {
        let scheduler = &*format!("--scheduler={kind}");
        let said = refused(&[scheduler, &ca, "--namespace=networks"]);
        let how = "`kubectl -n networks get service lanekeeper -o jsonpath=\
                   '{.spec.clusterIP}:{.spec.ports[0].port}'` prints it";
        assert!(said.contains("needs --scheduler-address") && said.contains(how), "{said}");
        let said = refused(&[scheduler, ADDRESS]);
        assert!(
            said.contains("--ca-file") && said.contains("`lanekeeper certs ca show`"),
            "{said}"
        );
        let said = refused(&[scheduler, ADDRESS, "--certificate=cert-manager"]);
        assert!(said.contains("get secret lanekeeper-cert"), "{said}");
        let said = refused(&[scheduler, ADDRESS, &ca, "--scheduler-image=a"]);
        assert!(said.contains("--scheduler-image is for --scheduler=second"), "{said}");
    }
    let second = "--scheduler=second";
    for (arguments, why) in [
        (&[second, ADDRESS][..], "leave --scheduler-address out"),
        (&[second, &ca], "leave --ca-file out"),
        (&[second, "--url=https://host"], "needs --ca-file"),
        (&[second, "--url=https://host", ADDRESS, &ca], "cannot be used with"),
        (&[second, "--url=https://host", "--certificate=cert-manager", &ca], "in the cluster"),
        (&[second, "--overlay=harvester"], "cannot be used with"),
        (&[second, "--image=a"], "cannot be used with"),
        (&[second, "--replicas=3"], "cannot be used with"),
        (&[second, "--trusted-user=a"], "cannot be used with"),
        (&[second, "--scheduler-image= "], "an image is not empty"),
        (&[ADDRESS], "--scheduler"),
        (&["--scheduler-image=a"], "--scheduler"),
        (&["--scheduler=rke2", "--scheduler-address=10.43.0.7"], "the port is missing"),
    ] {
        let said = refused(arguments);
        assert!(said.contains(why), "{arguments:?}: {said}");
    }
}
