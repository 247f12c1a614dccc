//! The README's part "On a cluster": its commands, run as they stand there and in their order,
//! install Lanekeeper, let the scheduler ask it, protect a first VM, and leave nothing behind.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cleanup::all_of_ours;
use crate::fixture::{self, ControlPlane, Forwarder, Installed, Process, project, until};
use crate::installation::{make_host, start_scheduler};
use crate::objects::{documents, launcher_pod, like, vmi};

/// The commands in the `sh` blocks of a section, each on its line.
fn commands<'a>(readme: &'a str, heading: &str) -> Vec<&'a str> {
    let section = readme.lines().skip_while(|line| *line != heading).skip(1);
    let mut found = Vec::new();
    let mut in_block = false;
    for line in section.take_while(|line| !line.starts_with("## ")) {
        in_block = if in_block { line != "```" } else { line == "```sh" };
        if in_block && line != "```sh" {
            found.push(line);
        }
    }
    found
}

/// What a command did.
struct Ran {
    succeeded: bool,
    printed: String,
    /// On both outputs.
    said: String,
}

/// An administrator's terminal.
struct Terminal {
    /// Where the commands run, with the files of the project that they name.
    folder: TempDir,
    path: String,
    kubeconfig: String,
}

impl Terminal {
    /// The commands speak to this cluster. In what is applied, the webhooks call a port of this
    /// machine, since the API server has no way to a Service's address here.
    fn new(plane: &ControlPlane, port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        symlink(project().join("docs"), folder.path().join("docs")).unwrap();
        let programs = folder.path().join("bin");
        fs::create_dir(&programs).unwrap();
        let kubectl = format!("exec '{}' kubectl \"$@\"\n", fixture::program().display());
        let lanekeeper = env!("CARGO_BIN_EXE_lanekeeper");
        let lanekeeper = format!(
            "\
case \" $* \" in
*' --scheduler '*) ;;
' manifests '*)
    '{lanekeeper}' \"$@\" | sed -E '/^    service:$/,/^      port: 443$/{{
        s|^      path: (.*)$|    url: https://127.0.0.1:{port}\\1|
        t
        d
    }}'
    exit ;;
esac
exec '{lanekeeper}' \"$@\"
"
        );
        for (name, text) in [("kubectl", kubectl), ("lanekeeper", lanekeeper)] {
            let file = programs.join(name);
            fs::write(&file, format!("#!/usr/bin/env bash\nset -o pipefail\n{text}")).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
        let kubeconfig = plane.folder.path().join("admin.kubeconfig").display().to_string();
        Self { folder, path, kubeconfig }
    }

    async fn try_run(&self, command: &str) -> Ran {
        let mut bash = Command::new("bash");
        bash.args(["-o", "pipefail", "-c", command]);
        // kubectl keeps what it discovers at home.
        bash.current_dir(self.folder.path()).env("HOME", self.folder.path());
        bash.env("PATH", &self.path).env("KUBECONFIG", &self.kubeconfig);
        let output = tokio::task::spawn_blocking(move || bash.output()).await.unwrap().unwrap();
        let [printed, complained] =
            [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap());
        let said = format!("{printed}{complained}");
        Ran { succeeded: output.status.success(), printed, said }
    }

    /// Runs a command that must succeed, and returns what it printed.
    async fn run(&self, command: &str) -> String {
        let Ran { succeeded, printed, said } = self.try_run(command).await;
        assert!(succeeded, "{command}: {said}");
        printed
    }
}

/// Writes what the Deployment's controller would: all of its replicas are there.
async fn rolled_out(plane: &ControlPlane) {
    let deployment = plane.get(&like("Deployment", "lanekeeper")).await.unwrap();
    let replicas = &deployment["spec"]["replicas"];
    let status = json!({
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": replicas, "updatedReplicas": replicas,
        "readyReplicas": replicas, "availableReplicas": replicas,
    });
    plane.merge_status(&deployment, &json!({"status": status})).await;
}

/// The configuration of kube-scheduler that was printed. It names the Service's address, the
/// Service's name and the CA; here, it calls the port that stands in for the Service.
async fn configuration(plane: &ControlPlane, printed: &str, ca: &str, port: u16) -> Value {
    let service = plane.get(&like("Service", "lanekeeper")).await.unwrap();
    let address = service["spec"]["clusterIP"].as_str().unwrap();
    let documents = documents(printed);
    let [configuration] = &documents[..] else { panic!("one document: {printed}") };
    let mut configuration = configuration.clone();
    let extender = &mut configuration["extenders"][0];
    let url = format!("https://{address}:443/scheduler");
    assert_eq!(extender["urlPrefix"], json!(url), "{printed}");
    let tls = &extender["tlsConfig"];
    assert_eq!(tls["serverName"], "lanekeeper.lanekeeper-system.svc", "{printed}");
    let trusted = tls["caData"].as_str().unwrap();
    assert_eq!(STANDARD.decode(trusted).unwrap(), ca.as_bytes());
    extender["urlPrefix"] = json!(format!("https://127.0.0.1:{port}/scheduler"));
    configuration
}

/// Makes the launcher pod of a VM, as KubeVirt would, and returns the host where it is bound.
async fn started(plane: &ControlPlane, name: &str) -> String {
    let vm = plane.get(&like("VirtualMachine", name)).await.unwrap();
    let spec = &vm["spec"]["template"]["spec"];
    let vm_network = spec["networks"][0]["multus"]["networkName"].as_str().unwrap();
    let instance = plane.create(&vmi(name, &[vm_network])).await;
    let mut pod = launcher_pod(&instance);
    pod["spec"]["affinity"] = spec["affinity"].clone();
    let pod = plane.create(&pod).await;
    until("the VM's pod to be bound", async || plane.host_of(&pod).await).await
}

/// The controller that takes what is in a deleted namespace, and then the namespace.
fn start_namespace_controller(kubeconfig: &str) -> Process {
    Process::start(Command::new(fixture::program()).arg("controller-manager").args([
        "--controllers=namespace-controller",
        "--leader-elect=false",
        "--secure-port=0",
        &format!("--kubeconfig={kubeconfig}"),
    ]))
}

pub async fn the_commands_for_a_cluster_work_as_they_stand() {
    let readme = fs::read_to_string(project().join("README.md")).unwrap();
    let commands = commands(&readme, "## On a cluster");
    assert!(commands.len() >= 12, "the README's blocks are found: {commands:#?}");
    let inline = "kubectl delete vlanconfig rack-1";
    let prose = readme.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(prose.contains(&format!("`{inline}` is refused")), "the README tells of the refusal");

    // What a cluster has before: hosts, KubeVirt and Multus.
    let plane = ControlPlane::start().await;
    plane.install_foreign_kinds().await;
    for host in ["host1", "host2"] {
        make_host(&plane, host, &[], &[]).await;
    }
    let service = Forwarder::start().await;
    let port = service.port;
    let terminal = Terminal::new(&plane, port);

    let mut service = Some(service);
    let mut installed = None;
    let mut replicas = Vec::new();
    let mut scheduler = None;
    let mut namespace_controller = None;
    let mut steps = Vec::new();
    for command in commands {
        if command.ends_with("| kubectl delete --ignore-not-found -f -") {
            // A cluster has it all the time.
            namespace_controller = Some(start_namespace_controller(&terminal.kubeconfig));
            steps.push("delete");
        }
        let printed = terminal.run(command).await;
        if command.contains("| kubectl apply") {
            // As the Deployment's controller and the kubelet do.
            let applied = plane.get(&like("Deployment", "lanekeeper")).await.unwrap();
            let service = service.take().expect("one installation");
            let installed = installed.insert(Installed::of(&plane, service, vec![applied]).await);
            for name in ["lanekeeper-0", "lanekeeper-1"] {
                replicas.push(installed.ready_replica(name).await);
            }
            rolled_out(&plane).await;
            steps.push("apply");
        } else if command.contains("--scheduler kubeadm") {
            // As the administrator does, by what is printed.
            let ca = fs::read_to_string(terminal.folder.path().join("ca.crt")).unwrap();
            let configuration = configuration(&plane, &printed, &ca, port).await;
            let kubeconfig = Path::new(&terminal.kubeconfig);
            let folder = plane.folder.path();
            scheduler = Some(start_scheduler(folder, configuration, kubeconfig));
            steps.push("scheduler");
        } else if command == "lanekeeper explain vm default/first" {
            assert_eq!(started(&plane, "first").await, "host1");
            let Ran { succeeded, said, .. } = terminal.try_run(inline).await;
            assert!(!succeeded && said.contains("vc-running-vms"), "{said}");
            assert!(said.contains("default/first (host1)"), "{said}");
            assert!(plane.get(&like("VlanConfig", "rack-1")).await.is_some());
            steps.push("first VM");
        } else if command.contains(" scale ") {
            // As the Deployment's controller and the kubelets do.
            for mut replica in replicas.drain(..) {
                replica.terminate();
                until("a replica to end", async || replica.has_ended().then_some(())).await;
            }
            rolled_out(&plane).await;
            steps.push("scale");
        }
    }
    assert_eq!(steps, ["apply", "scheduler", "first VM", "scale", "delete"]);
    drop((scheduler, namespace_controller));

    // A running VM keeps the affinity that it was started with until it stops.
    plane.delete(&like("Pod", "virt-launcher-first")).await;
    plane.delete(&like("VirtualMachineInstance", "first")).await;
    let left = all_of_ours(&plane).await;
    assert!(left.is_empty(), "{left:#?}");
    assert!(plane.get(&like("VirtualMachine", "first")).await.is_some(), "the VM stays");
}
