//! A pod that no host may take: the scheduler says so with our reason, if it asks us.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::api::{Api, Error};
use crate::commands::manifests::{container_security, pod_security};

use super::answer::{NO_SUCH_NETWORK, Question, SCHEDULER, verdict};
use super::check::Check;

/// The label of canaries, by which those are found that an earlier doctor left. It must not be that
/// of our own pods, which the Service selects.
const LABEL: &str = "lanekeeper-doctor";
/// The image of the canary where there is no Deployment.
const PAUSE: &str = "registry.k8s.io/pause:3.10";
/// How often the canary and its events are read.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Makes a canary, waits for the scheduler's answer, and deletes the canary.
pub(super) async fn check(
    api: &Api,
    question: &Question<'_>,
    deployment: Option<&Value>,
    timeout: Duration,
) -> Check {
    let pods = format!("/api/v1/namespaces/{}/pods", question.namespace);
    let cannot = |what: &str, why: &Error| Check::unread(SCHEDULER, what, why);
    if let Err(why) = delete_all(api, &pods).await {
        return cannot("delete the canary pods of an earlier doctor", &why);
    }
    let pod = match api.create(&pods, &canary(question.scheduler, deployment)).await {
        Ok(pod) => pod,
        Err(why) => {
            // If no answer came, the pod may have been made.
            let _ = delete_all(api, &pods).await;
            return match why {
                Error::NotFound => {
                    let says = format!("there is no namespace {}", question.namespace);
                    Check::unknown(SCHEDULER, says, "give the right --namespace")
                }
                why => cannot("create a canary pod", &why),
            };
        }
    };
    let text = |path: &str| pod.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let path = format!("{pods}/{}", text("/metadata/name"));
    let mut check = tokio::select! {
        check = answer(api, question, &path, text("/metadata/uid"), timeout) => check,
        _ = tokio::signal::ctrl_c() => {
            Check::unknown(SCHEDULER, "doctor was interrupted", "run doctor again")
        }
    };
    match api.delete(&path).await {
        Ok(()) | Err(Error::NotFound) => {}
        Err(why) => {
            let remedy = check.remedy.get_or_insert_default();
            let separator = if remedy.is_empty() { "" } else { "; " };
            let name = text("/metadata/name");
            *remedy = format!(
                "{remedy}{separator}delete the canary pod: kubectl -n {} delete pod {name} ({why})",
                question.namespace
            );
        }
    }
    check
}

/// Waits until the scheduler has said something about the canary.
async fn answer(
    api: &Api,
    question: &Question<'_>,
    path: &str,
    uid: &str,
    timeout: Duration,
) -> Check {
    let events = format!("/api/v1/namespaces/{}/events", question.namespace);
    let of_pod = format!("fieldSelector=involvedObject.uid%3D{uid}");
    let started = Instant::now();
    loop {
        let last = match (api.get_value(path).await, api.list_values(&events, &of_pod).await) {
            (Ok(Some(pod)), Ok(events)) => {
                let host = pod.pointer("/spec/nodeName").and_then(Value::as_str);
                if let Some(check) = verdict(question, &events, host) {
                    return check;
                }
                None
            }
            (Ok(None), _) => {
                let says = "the canary pod was deleted by somebody else";
                return Check::unknown(SCHEDULER, says, "run doctor again");
            }
            (Err(why), _) | (_, Err(why)) => Some(why),
        };
        if started.elapsed() >= timeout {
            return match last {
                Some(why) => Check::unread(SCHEDULER, "read the canary pod and its events", &why),
                None => silent(question.scheduler, timeout),
            };
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn silent(scheduler: &str, timeout: Duration) -> Check {
    let says = format!("{scheduler} said nothing about the canary pod in {} s", timeout.as_secs());
    let remedy = format!(
        "check that a scheduler of the name {scheduler} runs; give another name with --scheduler, or \
         more time with --timeout"
    );
    Check::unknown(SCHEDULER, says, remedy)
}

async fn delete_all(api: &Api, pods: &str) -> Result<(), Error> {
    let selector = format!("labelSelector=app.kubernetes.io%2Fname%3D{LABEL}");
    for pod in api.list_values(pods, &selector).await? {
        let name = pod.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        match api.delete(&format!("{pods}/{name}")).await {
            Ok(()) | Err(Error::NotFound) => {}
            Err(why) => return Err(why),
        }
    }
    Ok(())
}

/// The canary. If it is bound all the same, it ends at once and harms nothing.
fn canary(scheduler: &str, deployment: Option<&Value>) -> Value {
    let image = deployment
        .and_then(|it| it.pointer("/spec/template/spec/containers/0/image"))
        .and_then(Value::as_str);
    let mut container = json!({
        "name": "canary",
        "image": image.unwrap_or(PAUSE),
        "resources": {
            // What a VM with an interface asks for, and what the extender's entry names.
            "requests": { "devices.kubevirt.io/tun": "1" },
            "limits": { "devices.kubevirt.io/tun": "1" },
        },
        "securityContext": container_security(),
    });
    if let Some(container) = container.as_object_mut().filter(|_| image.is_some()) {
        container.insert("args".to_owned(), json!(["--version"]));
    }
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "lanekeeper-doctor-",
            "labels": { "app.kubernetes.io/name": LABEL },
            "annotations": { "k8s.v1.cni.cncf.io/networks": NO_SUCH_NETWORK },
        },
        "spec": {
            "schedulerName": scheduler,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "activeDeadlineSeconds": 60,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "tolerations": [{ "operator": "Exists" }],
            "securityContext": pod_security(),
            "containers": [container],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canary_has_our_image_and_not_the_label_of_our_pods() {
        let containers = json!([{ "name": "lanekeeper", "image": "ours:v1" }]);
        let deployment =
            json!({ "spec": { "template": { "spec": { "containers": containers } } } });
        let ours = canary("default-scheduler", Some(&deployment));
        assert_eq!(ours["spec"]["containers"][0]["image"], "ours:v1");
        assert_eq!(ours["spec"]["containers"][0]["args"], json!(["--version"]));
        assert_ne!(ours["metadata"]["labels"]["app.kubernetes.io/name"], "lanekeeper");
        let pause = canary("vms", None);
        assert_eq!(pause["spec"]["schedulerName"], "vms");
        assert_eq!(pause["spec"]["containers"][0]["args"], Value::Null);
    }
}
