//! The objects that tests make, and how they reach the API server.

use std::time::{Duration, Instant};

use kube::Api;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use crate::fixture::{ControlPlane, NAMESPACE, PATIENCE, until};

impl ControlPlane {
    async fn api_of(&self, object: &Value) -> Api<DynamicObject> {
        let text = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
        let (group, version) = match text("apiVersion").split_once('/') {
            Some((group, version)) => (group.to_owned(), version.to_owned()),
            None => (String::new(), text("apiVersion")),
        };
        let kind = GroupVersionKind::gvk(&group, &version, &text("kind"));
        let resource = until(&format!("{kind:?} to be served"), async || {
            kube::discovery::pinned_kind(&self.client, &kind).await.ok()
        })
        .await;
        self.api_in(&resource.0, object["metadata"]["namespace"].as_str())
    }

    fn api_in(&self, resource: &ApiResource, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, resource),
            None => Api::all_with(self.client.clone(), resource),
        }
    }

    /// Server-side apply, fields checked strictly.
    pub async fn try_apply(&self, object: &Value) -> Result<Value, kube::Error> {
        self.apply_with(object, PatchParams::apply("test").force()).await
    }

    /// The same as a dry run, which webhooks see too.
    pub async fn would_apply(&self, object: &Value) -> Result<Value, kube::Error> {
        self.apply_with(object, PatchParams::apply("test").force().dry_run()).await
    }

    async fn apply_with(
        &self,
        object: &Value,
        parameters: PatchParams,
    ) -> Result<Value, kube::Error> {
        let name = object["metadata"]["name"].as_str().unwrap();
        let strictly = Some(kube::api::ValidationDirective::Strict);
        let parameters = PatchParams { field_validation: strictly, ..parameters };
        let api = self.api_of(object).await;
        let started = Instant::now();
        loop {
            let applied = api.patch(name, &parameters, &Patch::Apply(object)).await;
            match applied {
                // Just after a kind was made.
                Err(kube::Error::Api(status))
                    if status.code == 429 && started.elapsed() < PATIENCE =>
                {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                applied => return Ok(serde_json::to_value(applied?).unwrap()),
            }
        }
    }

    pub async fn apply(&self, object: &Value) -> Value {
        self.try_apply(object).await.unwrap_or_else(|error| panic!("{error}\n{object}"))
    }

    pub async fn create(&self, object: &Value) -> Value {
        let api = self.api_of(object).await;
        let typed: DynamicObject = serde_json::from_value(object.clone()).unwrap();
        let made = api.create(&PostParams::default(), &typed).await;
        serde_json::to_value(made.unwrap_or_else(|error| panic!("{error}\n{object}"))).unwrap()
    }

    /// Makes a network config as another user.
    pub async fn try_create_as(&self, user: &str, config: &Value) -> Result<Value, kube::Error> {
        let path = "/apis/network.harvesterhci.io/v1beta1/vlanconfigs";
        let mut request = http::Request::post(path)
            .header("content-type", "application/json")
            .header("impersonate-user", user);
        if user == "admin" {
            request = request.header("impersonate-group", "system:masters");
        }
        self.client.request(request.body(config.to_string().into_bytes()).unwrap()).await
    }

    pub async fn get(&self, like: &Value) -> Option<Value> {
        let api = self.api_of(like).await;
        let found = api.get_opt(like["metadata"]["name"].as_str().unwrap()).await.unwrap();
        found.map(|found| serde_json::to_value(found).unwrap())
    }

    /// A merge patch.
    pub async fn try_merge(&self, like: &Value, patch: Value) -> Result<(), kube::Error> {
        let api = self.api_of(like).await;
        let name = like["metadata"]["name"].as_str().unwrap();
        api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
    }

    pub async fn merge(&self, like: &Value, patch: Value) {
        self.try_merge(like, patch).await.unwrap_or_else(|error| panic!("{error}\n{like}"));
    }

    /// A merge patch of the status, where it is a subresource.
    pub async fn merge_status(&self, like: &Value, patch: &Value) {
        let api = self.api_of(like).await;
        let name = like["metadata"]["name"].as_str().unwrap();
        let merged = api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        merged.unwrap_or_else(|error| panic!("{error}\n{like}"));
    }

    pub async fn try_delete(&self, like: &Value) -> Result<(), kube::Error> {
        let api = self.api_of(like).await;
        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        api.delete(like["metadata"]["name"].as_str().unwrap(), &now).await.map(drop)
    }

    /// A delete as a dry run, which webhooks judge too, and which does nothing if they are not in force
    /// yet.
    pub async fn would_delete(&self, like: &Value) -> Result<(), kube::Error> {
        let api = self.api_of(like).await;
        let asked = DeleteParams { dry_run: true, ..DeleteParams::default() };
        api.delete(like["metadata"]["name"].as_str().unwrap(), &asked).await.map(drop)
    }

    pub async fn delete(&self, like: &Value) {
        self.try_delete(like).await.unwrap_or_else(|error| panic!("{error}\n{like}"));
    }

    /// The host that a pod is bound to.
    pub async fn host_of(&self, pod: &Value) -> Option<String> {
        let pod = self.get(pod).await?;
        pod["spec"]["nodeName"].as_str().map(str::to_owned)
    }

    /// Whether the scheduler gives this host to a plain pod that asks for it. If not, it says that no host
    /// fits.
    async fn gives(&self, host: &str, tolerations: &Value) -> bool {
        let mut probe = plain_pod(&format!("probe-{:x}", fastrand::u64(..)));
        probe["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": host});
        probe["spec"]["tolerations"] = tolerations.clone();
        let probe = self.create(&probe).await;
        let given = until("the scheduler to look at a pod", async || {
            let pod = self.get(&probe).await?;
            let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
            let is_bound = pod["spec"]["nodeName"].is_string();
            (is_bound || conditions.any(|it| it["reason"] == "Unschedulable")).then_some(is_bound)
        })
        .await;
        self.delete(&probe).await;
        given
    }

    /// Waits until the scheduler knows a host. It learns of hosts and of pods by different watches.
    pub async fn known_to_scheduler(&self, host: &str) {
        let any = json!([{"operator": "Exists"}]);
        until("the host to be known", async || self.gives(host, &any).await.then_some(())).await;
    }

    /// Cordons a host, and waits until the scheduler knows.
    pub async fn cordon(&self, host: &str) {
        self.merge(&like("Node", host), json!({"spec": {"unschedulable": true}})).await;
        until("the cordon to be known", async || {
            (!self.gives(host, &json!([])).await).then_some(())
        })
        .await;
    }

    /// What events say of an object.
    pub async fn events_of(&self, name: &str) -> Vec<String> {
        let like =
            json!({"apiVersion": "v1", "kind": "Event", "metadata": {"namespace": "default"}});
        let api = self.api_of(&like).await;
        let of = ListParams::default().fields(&format!("involvedObject.name={name}"));
        let events = api.list(&of).await.unwrap();
        events.iter().filter_map(|it| Some(it.data["message"].as_str()?.to_owned())).collect()
    }
}

/// The documents of a YAML text, lists taken apart.
pub fn documents(yaml: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).unwrap();
    let parts = documents.into_iter().flat_map(|document| match document["items"].as_array() {
        Some(items) => items.clone(),
        None => vec![document],
    });
    parts.filter(|document| !document.is_null()).collect()
}

/// Room for ten pods that want an interface.
pub fn node_status() -> Value {
    let room = json!({
        "cpu": "4", "memory": "8Gi", "pods": "20", "ephemeral-storage": "100Gi",
        "devices.kubevirt.io/tun": "10",
    });
    json!({
        "capacity": room, "allocatable": room,
        "conditions": [{"type": "Ready", "status": "True"}],
    })
}

/// A VMI, and the pod that it lives in, as KubeVirt makes them; before the pod is bound.
pub fn vmi(name: &str, vm_networks: &[&str]) -> Value {
    let networks: Vec<Value> = vm_networks
        .iter()
        .map(|network| json!({"name": network, "multus": {"networkName": format!("default/{network}")}}))
        .collect();
    json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"domain": {}, "networks": networks},
    })
}

/// The launcher pod of a VMI that was made.
pub fn launcher_pod(vmi: &Value) -> Value {
    let name = vmi["metadata"]["name"].as_str().unwrap();
    let networks = vmi["spec"]["networks"].as_array().unwrap().iter().map(|network| {
        let name = network["multus"]["networkName"].as_str().unwrap();
        let (namespace, name) = name.split_once('/').unwrap();
        json!({"namespace": namespace, "name": name, "interface": "pod1"})
    });
    let networks = Value::Array(networks.collect()).to_string();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("virt-launcher-{name}"), "namespace": "default",
            "labels": {
                "kubevirt.io": "virt-launcher",
                "kubevirt.io/created-by": vmi["metadata"]["uid"],
                "vm.kubevirt.io/name": name,
            },
            "annotations": {"k8s.v1.cni.cncf.io/networks": networks},
            "ownerReferences": [{
                "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "name": name,
                "uid": vmi["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [{
                "name": "compute", "image": "launcher",
                "resources": {
                    "requests": {"cpu": "100m", "memory": "64Mi"},
                    "limits": {"devices.kubevirt.io/tun": "1"},
                },
            }],
        },
    })
}

/// A pod that is no VM's.
pub fn plain_pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "automountServiceAccountToken": false,
            "containers": [{"name": "main", "image": "plain"}],
        },
    })
}

/// An object's kind, name and, where it has one, namespace.
pub fn like(kind: &str, name: &str) -> Value {
    let (version, namespace) = match kind {
        "Node" => ("v1", None),
        "VirtualMachine" | "VirtualMachineInstance" | "VirtualMachineInstanceMigration" => {
            ("kubevirt.io/v1", Some("default"))
        }
        "NetworkAttachmentDefinition" => ("k8s.cni.cncf.io/v1", Some("default")),
        "Pod" => ("v1", Some("default")),
        // Ours.
        "Lease" => ("coordination.k8s.io/v1", Some(NAMESPACE)),
        "Deployment" => ("apps/v1", Some(NAMESPACE)),
        "Secret" | "Service" => ("v1", Some(NAMESPACE)),
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => {
            ("admissionregistration.k8s.io/v1", None)
        }
        _ => ("network.harvesterhci.io/v1beta1", None),
    };
    json!({
        "apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace},
    })
}
