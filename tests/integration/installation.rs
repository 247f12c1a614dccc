//! `lanekeeper manifests`: what an installation applies (docs/reference.md, "Installation").

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Output};

use clap::Parser as _;
use lanekeeper::cli::{Cli, Command, NodeLabels};
use lanekeeper::cluster::Kind;
use lanekeeper::pki;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::documents;
use crate::serve::program;

/// Runs `lanekeeper manifests`.
/// What every container runs: over IPv4 and IPv6, whichever pods have.
const SERVE: [&str; 3] = ["serve", "--listen=[::]:8443", "--admin-listen=[::]:8080"];

pub fn run(arguments: &[&str]) -> Output {
    process::Command::new(program()).arg("manifests").args(arguments).output().unwrap()
}

/// What it prints.
pub fn text(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What it prints, as documents.
pub fn printed(arguments: &[&str]) -> Vec<Value> {
    documents(&text(arguments))
}

/// Why it prints nothing.
pub fn refused(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// A file with the certificate of a CA.
pub fn ca() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    pki::for_development(folder.path()).unwrap();
    let ca = folder.path().join("ca.crt");
    (folder, ca)
}

fn of_kind<'d>(documents: &'d [Value], kind: &str) -> Vec<&'d Value> {
    documents.iter().filter(|it| it["kind"] == kind).collect()
}

pub fn only<'d>(documents: &'d [Value], kind: &str) -> &'d Value {
    let [only] = of_kind(documents, kind)[..] else { panic!("not one {kind}") };
    only
}

fn pod(documents: &[Value]) -> &Value {
    &only(documents, "Deployment")["spec"]["template"]["spec"]
}

fn arguments(documents: &[Value]) -> Vec<&str> {
    let arguments = pod(documents)["containers"][0]["args"].as_array().unwrap();
    arguments.iter().map(|it| it.as_str().unwrap()).collect()
}

fn webhooks(documents: &[Value]) -> Vec<&Value> {
    ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"]
        .iter()
        .flat_map(|kind| only(documents, kind)["webhooks"].as_array().unwrap())
        .collect()
}

/// The rules of a role, as `verb resource` and `verb resource name`.
fn rights(documents: &[Value], kind: &str) -> BTreeSet<String> {
    let list = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in only(documents, kind)["rules"].as_array().unwrap() {
        let name = rule["resourceNames"].as_array().map(|it| it[0].as_str().unwrap());
        for resource in list(&rule["resources"]) {
            for verb in list(&rule["verbs"]) {
                let right = [Some(&*verb), Some(&*resource), name];
                assert!(rights.insert(right.into_iter().flatten().collect::<Vec<_>>().join(" ")));
            }
        }
    }
    rights
}

/// The condition of the validating webhook for a kind.
fn condition(documents: &[Value], kind: Kind) -> String {
    let webhooks = &only(documents, "ValidatingWebhookConfiguration")["webhooks"];
    let is_of = |it: &&Value| it["rules"][0]["resources"] == json!([kind.plural()]);
    let webhook = webhooks.as_array().unwrap().iter().find(is_of).unwrap();
    webhook["matchConditions"][0]["expression"].as_str().unwrap().to_owned()
}

#[test]
fn our_webhooks_come_after_harvesters_and_again_if_another_changes_the_object() {
    let documents = printed(&[]);
    for kind in ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"] {
        let name = only(&documents, kind)["metadata"]["name"].as_str().unwrap();
        assert!(name > "harvester-~", "{kind} {name}");
    }
    let mutating = only(&documents, "MutatingWebhookConfiguration")["webhooks"].as_array().unwrap();
    assert!(mutating.iter().all(|it| it["reinvocationPolicy"] == "IfNeeded"), "{mutating:?}");
    let validating = &only(&documents, "ValidatingWebhookConfiguration")["webhooks"];
    assert!(!validating.to_string().contains("reinvocationPolicy"), "it has no such field");
}

#[test]
fn harvester_and_its_network_controller_are_trusted_unless_others_are_named() {
    let agents = "['system:serviceaccount:harvester-system:harvester-network-controller', \
                  'system:serviceaccount:harvester-system:harvester']";
    let by_default = printed(&[]);
    let expression = condition(&by_default, Kind::NetworkConfig);
    assert!(expression.contains(agents), "{expression}");
    assert_eq!(arguments(&by_default), SERVE);
    let named = printed(&["--trusted-user", "a", "--trusted-user", "b"]);
    let expression = condition(&named, Kind::NetworkConfig);
    assert!(expression.contains("in ['a', 'b'])"), "{expression}");
    let users = ["--trusted-user=a", "--trusted-user=b"];
    assert_eq!(arguments(&named), [&SERVE[..], &users].concat());
}

#[test]
fn a_start_of_a_vm_is_sent_in_either_form() {
    let condition = condition(&printed(&[]), Kind::Vm);
    for field in ["?networks", "?interfaces", "?runStrategy", "?running"] {
        assert!(condition.contains(&format!("{field} != oldObject.")), "{field}: {condition}");
    }
}

#[test]
fn documents_come_in_an_order_that_can_be_applied() {
    let kinds: Vec<String> =
        printed(&[]).iter().map(|it| it["kind"].as_str().unwrap().to_owned()).collect();
    let mut expected = vec!["CustomResourceDefinition"; 5];
    expected.extend([
        "Namespace",
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
        "Role",
        "RoleBinding",
        "Lease",
        "Secret",
        "Service",
        "PodDisruptionBudget",
        "NetworkPolicy",
        "Deployment",
        "ValidatingWebhookConfiguration",
        "MutatingWebhookConfiguration",
    ]);
    assert_eq!(kinds, expected);
}

#[test]
fn harvester_keeps_its_definitions_labels_and_statuses() {
    let (kubevirt, harvester) = (printed(&[]), printed(&["--overlay", "harvester"]));
    assert!(of_kind(&harvester, "CustomResourceDefinition").is_empty());
    let flags = ["--node-labels=external", "--activation=reported", "--strict-vm-networks"];
    assert_eq!(arguments(&harvester), [&SERVE[..], &flags].concat());
    let less = rights(&kubevirt, "ClusterRole");
    let less: Vec<_> =
        less.difference(&rights(&harvester, "ClusterRole")).cloned().collect::<Vec<_>>();
    assert_eq!(
        less,
        ["create clusternetworks", "patch clusternetworks", "patch network-attachment-definitions",]
    );
    assert!(rights(&harvester, "ClusterRole").is_subset(&rights(&kubevirt, "ClusterRole")));
    let names = |documents: &[Value]| -> Vec<Value> {
        let ours = documents.iter().filter(|it| it["kind"] != "CustomResourceDefinition");
        ours.map(|it| json!([it["kind"], it["metadata"]])).collect()
    };
    assert_eq!(names(&harvester), names(&kubevirt));
}

#[test]
fn the_account_may_read_every_kind_and_write_only_what_it_keeps() {
    let documents = printed(&[]);
    let mut expected = BTreeSet::new();
    for kind in Kind::ALL {
        expected.extend(["list", "watch"].map(|verb| format!("{verb} {}", kind.plural())));
    }
    let further = "
        get clusternetworks
        get network-attachment-definitions
        get virtualmachineinstances
        get pods
        get nodes
        patch nodes
        patch pods/status
        create events
        create clusternetworks
        patch clusternetworks
        patch network-attachment-definitions
        get validatingwebhookconfigurations lanekeeper
        patch validatingwebhookconfigurations lanekeeper
        get mutatingwebhookconfigurations lanekeeper
        patch mutatingwebhookconfigurations lanekeeper";
    expected.extend(further.trim().lines().map(|line| line.trim().to_owned()));
    assert_eq!(rights(&documents, "ClusterRole"), expected);
    let own = "
        get leases lanekeeper
        update leases lanekeeper
        get secrets lanekeeper-tls
        update secrets lanekeeper-tls
        get services lanekeeper";
    let own: BTreeSet<String> = own.trim().lines().map(|line| line.trim().to_owned()).collect();
    assert_eq!(rights(&documents, "Role"), own);
    // What it may update and not create is there.
    assert_eq!(only(&documents, "Lease")["metadata"]["name"], "lanekeeper");
    let secret = only(&documents, "Secret");
    assert_eq!(secret["metadata"]["name"], "lanekeeper-tls");
    assert!(secret.get("data").is_none(), "an apply leaves the keys alone");
}

#[test]
fn everything_is_in_the_namespace() {
    let documents = printed(&["--namespace", "networks"]);
    assert_eq!(only(&documents, "Namespace")["metadata"]["name"], "networks");
    let text = text(&["--namespace", "networks"]);
    assert!(!text.contains("lanekeeper-system"), "{text}");
    for kind in ["ServiceAccount", "Role", "RoleBinding", "Lease", "Secret", "Service"] {
        assert_eq!(only(&documents, kind)["metadata"]["namespace"], "networks", "{kind}");
    }
    for binding in ["ClusterRoleBinding", "RoleBinding"] {
        assert_eq!(only(&documents, binding)["subjects"][0]["namespace"], "networks");
    }
    let namespace = |it: &&Value| it["clientConfig"]["service"]["namespace"] == "networks";
    assert!(webhooks(&documents).iter().all(namespace));
}

#[test]
fn webhooks_call_the_service_and_the_leader_adds_the_ca() {
    let documents = printed(&[]);
    let service = only(&documents, "Service");
    assert_eq!(
        service["spec"]["ports"],
        json!([{"name": "https", "port": 443, "targetPort": "https"}])
    );
    for webhook in webhooks(&documents) {
        let config = &webhook["clientConfig"];
        let path = if webhook["name"].as_str().unwrap().contains(".mutate.") {
            "/mutate"
        } else {
            "/validate"
        };
        let expected = json!({"service": {
            "namespace": "lanekeeper-system", "name": "lanekeeper", "path": path, "port": 443,
        }});
        assert_eq!(*config, expected);
    }
}

#[test]
fn a_ca_file_gives_the_ca() {
    let (folder, ca) = ca();
    let bundle = |documents: &[Value]| -> BTreeSet<String> {
        let bundles =
            webhooks(documents).into_iter().map(|it| it["clientConfig"]["caBundle"].clone());
        bundles.map(|it| it.as_str().unwrap().to_owned()).collect()
    };
    let given = bundle(&printed(&["--ca-file", ca.to_str().unwrap()]));
    let content = fs::read(&ca).unwrap();
    let expected = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, content);
    assert_eq!(given, BTreeSet::from([expected]));
    let wrong = |content: &[u8]| {
        let file = folder.path().join("wrong.crt");
        fs::write(&file, content).unwrap();
        let error = refused(&["--ca-file", file.to_str().unwrap()]);
        assert!(error.contains("--ca-file: ") && error.contains("wrong.crt: "), "{error}");
        error
    };
    for content in [&b""[..], b"a CA", b"\n# nothing\n"] {
        assert!(wrong(content).contains("it contains no certificate"));
    }
    let key = fs::read(folder.path().join("tls.key")).unwrap();
    let other = "it holds something other than certificates";
    assert!(wrong(&key).contains(other));
    let both = [fs::read(&ca).unwrap(), key].concat();
    assert!(wrong(&both).contains(other), "a key is never published");
    let broken = String::from_utf8(fs::read(&ca).unwrap()).unwrap();
    assert!(wrong(broken.replace("-----END", "-END").as_bytes()).contains("not PEM"));
    let no_x509 = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(wrong(no_x509.as_bytes()).contains("not an X.509 certificate"));
    let error = refused(&["--ca-file", "absent.crt"]);
    assert!(error.contains("--ca-file: absent.crt: "), "{error}");
}

#[test]
fn one_replica_has_no_disruption_budget() {
    let two = printed(&[]);
    let budget = only(&two, "PodDisruptionBudget");
    assert_eq!(only(&two, "Deployment")["spec"]["replicas"], 2);
    assert_eq!(
        budget["spec"]["selector"]["matchLabels"],
        only(&two, "Deployment")["spec"]["selector"]["matchLabels"]
    );
    let one = printed(&["--replicas", "1"]);
    assert!(of_kind(&one, "PodDisruptionBudget").is_empty());
    assert_eq!(only(&one, "Deployment")["spec"]["replicas"], 1);
    assert_eq!(only(&printed(&["--replicas", "3"]), "PodDisruptionBudget"), budget);
    for wrong in ["0", "-1", "x", "65536"] {
        let error = refused(&[&format!("--replicas={wrong}")]);
        assert!(error.contains("invalid value"), "{error}");
    }
}

#[test]
fn a_server_outside_has_no_workload() {
    let documents = printed(&["--url", "https://lanekeeper.example.com:8443/"]);
    for kind in ["Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"] {
        assert!(of_kind(&documents, kind).is_empty(), "{kind}");
    }
    for kind in ["ServiceAccount", "ClusterRole", "Role", "Lease", "Secret"] {
        only(&documents, kind);
    }
    for webhook in webhooks(&documents) {
        let url = webhook["clientConfig"]["url"].as_str().unwrap();
        let path = url.strip_prefix("https://lanekeeper.example.com:8443/").unwrap();
        assert!(["validate", "mutate"].contains(&path), "{url}");
        assert!(webhook["clientConfig"].get("service").is_none());
    }
    for other in [["--image", "a"], ["--replicas", "1"]] {
        let mut arguments = vec!["--url", "https://host"];
        arguments.extend(other);
        assert!(refused(&arguments).contains("cannot be used with"), "{other:?}");
    }
    for wrong in ["http://host", "https://host/path", "https://host:0", "https://"] {
        assert!(refused(&["--url", wrong]).contains("--url"), "{wrong}");
    }
}

#[test]
fn a_wrong_namespace_or_image_is_refused() {
    assert!(refused(&["--namespace", "A.b"]).contains("lower-case letters"));
    assert!(refused(&["--image", ""]).contains("an image is not empty"));
}

#[test]
fn the_image_is_of_this_version() {
    let image = |arguments: &[&str]| pod(&printed(arguments))["containers"][0]["image"].clone();
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(image(&[]), format!("ghcr.io/lanekeeper/lanekeeper:v{version}"));
    assert_eq!(
        image(&["--image", "example.com/lanekeeper@sha256:00"]),
        "example.com/lanekeeper@sha256:00"
    );
}

#[test]
fn the_pod_may_do_nothing_on_its_host() {
    for arguments in [&[][..], &["--overlay=harvester"], &["--certificate=cert-manager"]] {
        let documents = printed(arguments);
        let labels = &only(&documents, "Namespace")["metadata"]["labels"];
        assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
        let pod = pod(&documents);
        let security = &pod["securityContext"];
        assert_eq!(security["runAsNonRoot"], true);
        assert_eq!(security["runAsUser"], 65532);
        assert_eq!(security["seccompProfile"]["type"], "RuntimeDefault");
        let container = &pod["containers"][0]["securityContext"];
        assert_eq!(container["readOnlyRootFilesystem"], true);
        assert_eq!(container["allowPrivilegeEscalation"], false);
        assert_eq!(container["capabilities"], json!({"drop": ["ALL"]}));
        for sharing in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(pod.get(sharing).is_none(), "{sharing}");
        }
    }
}

#[test]
fn probes_and_rules_meet_the_ports_of_the_container() {
    let documents = printed(&[]);
    let container = &pod(&documents)["containers"][0];
    let ports = &container["ports"];
    assert_eq!(
        *ports,
        json!([{"name": "https", "containerPort": 8443}, {"name": "http", "containerPort": 8080}])
    );
    for (probe, path) in
        [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")]
    {
        assert_eq!(container[probe]["httpGet"], json!({"path": path, "port": "http"}), "{probe}");
    }
    let policy = &only(&documents, "NetworkPolicy")["spec"];
    assert_eq!(policy["policyTypes"], json!(["Ingress"]));
    let open: Vec<_> = policy["ingress"][0]["ports"].as_array().unwrap().iter().collect();
    let numbers: Vec<_> = open.iter().map(|port| port["port"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [8443, 8080]);
    // As `serve` listens by default.
    let help = help();
    assert!(help.contains("[default: 0.0.0.0:8443]") && help.contains("[default: 0.0.0.0:8080]"));
}

fn help() -> String {
    let help = process::Command::new(program()).args(["serve", "--help"]).output().unwrap();
    String::from_utf8(help.stdout).unwrap()
}

#[test]
fn replicas_are_spread_and_a_control_plane_host_is_never_required() {
    let documents = printed(&[]);
    let pod = pod(&documents);
    let [spread] = pod["topologySpreadConstraints"].as_array().unwrap().as_slice() else {
        panic!("one constraint");
    };
    let labels = &only(&documents, "Deployment")["spec"]["template"]["metadata"]["labels"];
    assert_eq!(spread["labelSelector"]["matchLabels"], *labels);
    let affinity = &pod["affinity"]["nodeAffinity"];
    let required = &affinity["requiredDuringSchedulingIgnoredDuringExecution"];
    assert!(!required.to_string().contains("control-plane"), "{required}");
    let preferred = &affinity["preferredDuringSchedulingIgnoredDuringExecution"];
    assert!(preferred.to_string().contains("node-role.kubernetes.io/control-plane"));
    let tolerated = pod["tolerations"].to_string();
    assert!(tolerated.contains("node-role.kubernetes.io/control-plane"), "{tolerated}");
    assert_eq!(pod["priorityClassName"], "system-cluster-critical");
    let strategy = &only(&documents, "Deployment")["spec"]["strategy"]["rollingUpdate"];
    assert_eq!(*strategy, json!({"maxSurge": 1, "maxUnavailable": 0}));
}

#[test]
fn the_container_has_what_serve_wants_of_its_environment() {
    let documents = printed(&[]);
    let environment = pod(&documents)["containers"][0]["env"].as_array().unwrap();
    let of = |name: &str| environment.iter().find(|it| it["name"] == name).unwrap();
    assert_eq!(of("POD_NAME")["valueFrom"]["fieldRef"]["fieldPath"], "metadata.name");
    assert_eq!(of("POD_NAMESPACE")["valueFrom"]["fieldRef"]["fieldPath"], "metadata.namespace");
}

#[test]
fn serve_takes_every_argument_of_the_container() {
    for overlay in ["kubevirt", "harvester"] {
        for certificate in ["secret", "cert-manager"] {
            let documents = printed(&[
                "--overlay",
                overlay,
                "--certificate",
                certificate,
                "--trusted-user",
                "somebody else",
            ]);
            let given = ["lanekeeper"].into_iter().chain(arguments(&documents));
            let Cli { command: Command::Serve(serve) } = Cli::try_parse_from(given).unwrap() else {
                panic!("not serve");
            };
            assert_eq!(serve.trusted_users, ["somebody else"]);
            assert_eq!(serve.node_labels == NodeLabels::External, overlay == "harvester");
            assert_eq!(serve.source.strict_vm_networks, overlay == "harvester");
            assert_eq!(serve.tls_cert.is_some(), certificate == "cert-manager");
        }
    }
}

#[test]
fn cert_manager_issues_what_the_leader_would() {
    let (by_leader, documents) = (printed(&[]), printed(&["--certificate", "cert-manager"]));
    assert!(of_kind(&documents, "Secret").is_empty());
    let account: BTreeSet<_> =
        rights(&documents, "ClusterRole").union(&rights(&documents, "Role")).cloned().collect();
    for right in &account {
        assert!(!right.contains("webhook") && !right.contains("secrets"), "{right}");
    }
    assert!(rights(&documents, "ClusterRole").is_subset(&rights(&by_leader, "ClusterRole")));
    let certificates = of_kind(&documents, "Certificate");
    let [authority, leaf] = certificates[..] else { panic!("two certificates") };
    let issuers: Vec<_> =
        of_kind(&documents, "Issuer").iter().map(|it| it["metadata"]["name"].clone()).collect();
    assert_eq!(authority["spec"]["isCA"], true);
    assert_eq!(authority["spec"]["issuerRef"]["name"], issuers[0]);
    assert_eq!(leaf["spec"]["issuerRef"]["name"], issuers[1]);
    let issuer = of_kind(&documents, "Issuer")[1];
    assert_eq!(issuer["spec"]["ca"]["secretName"], authority["spec"]["secretName"]);
    let names = leaf["spec"]["dnsNames"].as_array().unwrap();
    assert_eq!(names[0], "lanekeeper.lanekeeper-system.svc", "as the API server calls it");
    for kind in ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"] {
        let annotations = &only(&documents, kind)["metadata"]["annotations"];
        let injected = annotations["cert-manager.io/inject-ca-from"].as_str().unwrap();
        let expected = format!("lanekeeper-system/{}", leaf["metadata"]["name"].as_str().unwrap());
        assert_eq!(injected, expected);
    }
    let pod = pod(&documents);
    let [volume] = pod["volumes"].as_array().unwrap().as_slice() else { panic!("one volume") };
    assert_eq!(volume["secret"]["secretName"], leaf["spec"]["secretName"]);
    let mount = &pod["containers"][0]["volumeMounts"][0];
    assert_eq!((&mount["name"], &mount["readOnly"]), (&volume["name"], &json!(true)));
    let folder = Path::new(mount["mountPath"].as_str().unwrap());
    for (flag, file) in [("--tls-cert", "tls.crt"), ("--tls-key", "tls.key")] {
        let argument = format!("{flag}={}", folder.join(file).display());
        assert!(arguments(&documents).contains(&&*argument), "{argument}");
    }
    assert_eq!(arguments(&by_leader), SERVE, "the leader issues it");

    let cert_manager = "--certificate=cert-manager";
    let (_folder, ca) = ca();
    let both = refused(&[cert_manager, "--ca-file", ca.to_str().unwrap()]);
    assert!(both.contains("leave --ca-file out"), "{both}");
    let outside = refused(&[cert_manager, "--url", "https://host"]);
    assert!(outside.contains("a server in the cluster"), "{outside}");
}
