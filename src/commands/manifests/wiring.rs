//! The wiring of kube-scheduler, which must be told to ask Lanekeeper: what changes on the hosts of
//! the control plane, or a second scheduler beside it (docs/reference.md, "Wiring kube-scheduler").

use serde_json::{Value, json};

use crate::view::{WriteError, to_yaml};

use super::configuration::{Trust, configuration, prioritize};
use super::installation::{Issuer, cluster_object, service_name, with};
use super::second;

/// What is to be wired.
#[derive(Clone, Debug)]
pub struct Wiring {
    /// The namespace of Lanekeeper.
    pub namespace: String,
    /// The scheduler that is to ask Lanekeeper.
    pub scheduler: Scheduler,
}

/// A scheduler that is to ask Lanekeeper.
#[derive(Clone, Debug)]
pub enum Scheduler {
    /// The cluster's own, which runs on the network of its host and so can't resolve the name of a
    /// Service.
    OnHosts {
        /// How the hosts were set up.
        hosts: Hosts,
        /// Where the server is.
        server: Address,
        /// The CA certificates that verify the server's certificate, in PEM.
        ca: Vec<u8>,
    },
    /// A second one, which runs in the cluster.
    Second {
        /// Its container image.
        image: String,
        /// The base URL of a server outside the cluster, and the CA certificates that verify its
        /// certificate, in PEM. Without it, the scheduler calls the Service.
        outside: Option<(String, Vec<u8>)>,
        /// Who issues the certificate of a server in the cluster.
        certificate: Issuer,
    },
}

/// How the hosts of a control plane were set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// By kubeadm: the scheduler is a static pod.
    Kubeadm,
    /// By RKE2, which writes the static pod itself.
    Rke2,
    /// By Harvester: RKE2 on hosts whose root file system is immutable.
    Harvester,
}

/// Where a scheduler finds the server.
#[derive(Clone, Debug)]
pub enum Address {
    /// At the Service's IP address and port. The serving certificate has the Service's name.
    Service(String),
    /// At this base URL.
    Url(String),
}

/// Where the configuration lies on hosts of kubeadm, and its folder.
const KUBEADM_FOLDER: &str = "/etc/kubernetes/lanekeeper";
const KUBEADM_FILE: &str = "/etc/kubernetes/lanekeeper/scheduler.yaml";
/// Where the configuration lies on hosts of RKE2, its folder, and what tells RKE2 of it.
const RKE2_FOLDER: &str = "/etc/rancher/rke2/lanekeeper";
const RKE2_FILE: &str = "/etc/rancher/rke2/lanekeeper/scheduler.yaml";
const RKE2_CONFIG: &str = "/etc/rancher/rke2/config.yaml.d/90-lanekeeper.yaml";

/// Writes what is applied, or put on hosts, with the steps to take in comments.
///
/// # Errors
/// If it can't be written.
pub fn wiring(wiring: &Wiring) -> Result<String, WriteError> {
    let Wiring { namespace, scheduler } = wiring;
    match scheduler {
        Scheduler::OnHosts { hosts, server, ca } => {
            let (url, server_name) = match server {
                Address::Service(address) => {
                    (format!("https://{address}"), Some(service_name(namespace)))
                }
                Address::Url(url) => (url.clone(), None),
            };
            let trust = Trust::Certificates { ca, server_name };
            let mut configuration = configuration(&url, &trust, Some(kubeconfig(*hosts)))?;
            if let Hosts::Harvester = hosts {
                prioritize(&mut configuration);
            }
            match hosts {
                Hosts::Kubeadm => kubeadm(&configuration),
                Hosts::Rke2 => rke2(&configuration),
                Hosts::Harvester => harvester(&configuration),
            }
        }
        Scheduler::Second { image, outside, certificate } => {
            let outside = outside.as_ref().map(|(url, ca)| (&**url, &**ca));
            let documents = second::documents(namespace, image, outside, *certificate)?;
            let mut text = comment(&second::steps());
            for document in documents {
                text.push_str("---\n");
                text.push_str(&to_yaml(&document)?);
            }
            Ok(text)
        }
    }
}

/// The kubeconfig of the cluster's own scheduler.
fn kubeconfig(hosts: Hosts) -> &'static str {
    match hosts {
        Hosts::Kubeadm => "/etc/kubernetes/scheduler.conf",
        Hosts::Rke2 | Hosts::Harvester => "/var/lib/rancher/rke2/server/cred/scheduler.kubeconfig",
    }
}

fn kubeadm(configuration: &Value) -> Result<String, WriteError> {
    let steps = format!(
        "\
kube-scheduler's configuration, for a control plane that kubeadm has set up.

1. Put this file on each control plane host, as {KUBEADM_FILE}.
   If the scheduler has a --config already, add the entry of `extenders` to that file instead, and
   restart the scheduler.

2. On each of these hosts, one after the other, change /etc/kubernetes/manifests/kube-scheduler.yaml.
   Add to the container:

       command:
       - --config={KUBEADM_FILE}
       volumeMounts:
       - name: lanekeeper
         mountPath: {KUBEADM_FOLDER}
         readOnly: true

   and to the pod:

       volumes:
       - name: lanekeeper
         hostPath:
           path: {KUBEADM_FOLDER}
           type: Directory

   The kubelet then restarts the scheduler. With --config, it takes its kubeconfig from this file, and
   ignores --kubeconfig.

3. So that `kubeadm upgrade` keeps the change, add it to the ClusterConfiguration in the ConfigMap
   kubeadm-config in the namespace kube-system:

       scheduler:
         extraArgs:
         - name: config
           value: {KUBEADM_FILE}
         extraVolumes:
         - name: lanekeeper
           hostPath: {KUBEADM_FOLDER}
           mountPath: {KUBEADM_FOLDER}
           readOnly: true
           pathType: Directory

`lanekeeper doctor` says whether the scheduler asks Lanekeeper. The scheduler reads this file, with the
CA in it, only when it starts. To restart it, move its manifest out of the folder for half a minute."
    );
    Ok(comment(&steps) + &to_yaml(configuration)?)
}

/// RKE2's own configuration. The `+` adds to the arguments that other files give. RKE2 mounts the file
/// that an argument names into the pod.
fn rke2_config() -> Value {
    json!({ "kube-scheduler-arg+": [format!("config={RKE2_FILE}")] })
}

fn rke2(configuration: &Value) -> Result<String, WriteError> {
    let steps = format!(
        "\
kube-scheduler's configuration, for the servers of RKE2.

1. Put the first document on each server, as {RKE2_FILE}.
   If the scheduler has a --config already, add the entry of `extenders` to that file instead, and
   continue with step 3.
2. Put the second document on each server, as {RKE2_CONFIG}.
3. Run `systemctl restart rke2-server` on one server after the other.

`lanekeeper doctor` says whether the scheduler asks Lanekeeper. The scheduler reads its file, with the
CA in it, only when it starts. RKE2 restarts it if the file has changed when rke2-server restarts."
    );
    let mut text = comment(&steps);
    for (file, document) in [(RKE2_FILE, configuration), (RKE2_CONFIG, &rke2_config())] {
        text.push_str("---\n");
        text.push_str(&comment(file));
        text.push_str(&to_yaml(document)?);
    }
    Ok(text)
}

fn harvester(configuration: &Value) -> Result<String, WriteError> {
    let steps = format!(
        "\
What makes the kube-scheduler of Harvester ask Lanekeeper. Harvester writes these files onto each host
of the control plane when the host starts.

1. Apply this object with `kubectl apply -f -`.
2. Restart one control plane host after the other, in maintenance mode.

`lanekeeper doctor` says whether the scheduler asks Lanekeeper. After a change of the CA, do the same
again. Before Lanekeeper is uninstalled, delete this object, remove {RKE2_CONFIG}
on each control plane host, and run `systemctl restart rke2-server` there."
    );
    let file = |path: &str, content: String| json!({ "path": path, "permissions": 0o644, "owner": 0, "group": 0, "content": content });
    let contents = json!({
        "name": "kube-scheduler asks Lanekeeper",
        "stages": { "initramfs": [{
            "directories": [
                { "path": RKE2_FOLDER, "permissions": 0o755, "owner": 0, "group": 0 },
            ],
            "files": [
                file(RKE2_FILE, to_yaml(configuration)?),
                file(RKE2_CONFIG, to_yaml(&rke2_config())?),
            ],
        }] },
    });
    let cloud_init =
        cluster_object("node.harvesterhci.io/v1beta1", "CloudInit", "lanekeeper-scheduler");
    let cloud_init = with(
        cloud_init,
        json!({ "spec": {
            "matchSelector": { "node-role.kubernetes.io/control-plane": "true" },
            "filename": "99_lanekeeper.yaml",
            "contents": to_yaml(&contents)?,
            "paused": false,
        } }),
    );
    Ok(comment(&steps) + &to_yaml(&cloud_init)?)
}

/// Makes each line a comment.
fn comment(text: &str) -> String {
    text.lines().map(|line| format!("# {line}").trim_end().to_owned() + "\n").collect()
}
