//! What became of the canary pod: the verdict on the scheduler.

use serde_json::Value;

use super::check::Check;

pub(super) const SCHEDULER: &str = "scheduler";
/// The VM network that the canary asks for. It does not exist.
pub(super) const NO_SUCH_NETWORK: &str = "lanekeeper-doctor-no-such-network";

/// The section of the documentation that says how the scheduler is told to ask us.
const WIRING: &str = "\"Wiring kube-scheduler\" in docs/reference.md";

/// What is asked about.
pub(super) struct Question<'a> {
    pub namespace: &'a str,
    /// The scheduler's name, as in `schedulerName`.
    pub scheduler: &'a str,
}

/// What the messages of the pod's `FailedScheduling` events, and the host to which the pod is bound, say
/// of the scheduler. `None` while they say nothing yet.
pub(super) fn verdict(
    question: &Question<'_>,
    events: &[Value],
    bound_to: Option<&str>,
) -> Option<Check> {
    let Question { namespace, scheduler } = question;
    let failed = |event: &&Value| event.get("reason") == Some(&Value::from("FailedScheduling"));
    let message = |event: &'_ Value| {
        event.get("message").and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let messages: Vec<String> = events.iter().filter(failed).map(message).collect();
    let ours = format!("VM network {namespace}/{NO_SUCH_NETWORK} does not exist");
    if messages.iter().any(|message| message.contains(&ours)) {
        return Some(Check::ok(SCHEDULER, format!("{scheduler} asks Lanekeeper")));
    }
    if let Some(host) = bound_to {
        let says = format!(
            "{scheduler} placed the canary pod on {host} without asking Lanekeeper, or although \
             Lanekeeper did not answer (ignorable: true)"
        );
        let remedy =
            format!("give the scheduler the extender's entry, and restart it: see {WIRING}");
        return Some(Check::failed(SCHEDULER, says, remedy));
    }
    messages.first().map(|message| of_message(scheduler, message))
}

/// The verdict by a message that does not have our reason.
fn of_message(scheduler: &str, message: &str) -> Check {
    let says = |text: &str| message.contains(text);
    let quoted = format!("{scheduler} answers: {message}");
    if says("nodes are available") {
        if lacks_device_everywhere(message) {
            let remedy = "no host offers VM interfaces: check that KubeVirt is installed and its \
                          virt-handler runs on the hosts, and run doctor again";
            return Check::unknown(SCHEDULER, quoted, remedy);
        }
        let remedy = "make room for one more pod on a host with VM interfaces, and run doctor again: \
                      the scheduler asks Lanekeeper only about hosts that pass its own filters";
        return Check::unknown(SCHEDULER, quoted, remedy);
    }
    let remedies: [(&[&str], String); 5] = [
        (&["not synced"], "see the check `webhook-call`".to_owned()),
        (
            &["certificate is valid for", "cannot validate certificate", "not valid for any names"],
            "the serving certificate lacks the name or address in urlPrefix: add it with --tls-san, \
             or with --tls-cert issue a certificate that has it"
                .to_owned(),
        ),
        (
            &["x509", "tls: "],
            format!(
                "caFile of the scheduler's configuration is not the CA in use. It is read once, at \
                 start: write what `lanekeeper certs ca show` prints into it, and restart \
                 {scheduler}"
            ),
        ),
        (
            &["code 401"],
            "`serve` has --client-ca, and the scheduler shows no certificate: see \"Client \
             certificates\" in docs/reference.md"
                .to_owned(),
        ),
        (
            &["connection refused", "no route to host", "timeout", "Timeout", "deadline exceeded",
              "no such host", "connection reset", "EOF", "server misbehaving", "code 404", "code 5"],
            format!(
                "the scheduler does not reach Lanekeeper at urlPrefix: try that address from the \
                 scheduler's host, where the DNS name of a Service does not resolve, and see {WIRING}"
            ),
        ),
    ];
    let known = remedies.into_iter().find(|(texts, _)| texts.iter().any(|text| says(text)));
    match known {
        Some((_, remedy)) => Check::failed(SCHEDULER, quoted, remedy),
        None => Check::unknown(SCHEDULER, quoted, "see the log of the scheduler"),
    }
}

/// Returns whether no host has the device that a VM interface needs, by a message such as
/// `0/6 nodes are available: 6 Insufficient devices.kubevirt.io/tun. ...`, or whether there is no
/// host at all.
fn lacks_device_everywhere(message: &str) -> bool {
    let before = |text: &str| {
        let number = message.split(text).next().filter(|before| before.len() < message.len())?;
        number.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse::<u64>().ok()
    };
    let all = before(" nodes are available");
    all.is_some() && (all == before(" Insufficient devices.kubevirt.io/tun") || all == Some(0))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::check::Status;
    use super::*;

    fn of(messages: &[&str], bound_to: Option<&str>) -> Option<Check> {
        let question = Question { namespace: "ns", scheduler: "default-scheduler" };
        let mut events: Vec<Value> = messages
            .iter()
            .map(|message| json!({ "reason": "FailedScheduling", "message": message }))
            .collect();
        events.push(json!({ "reason": "Other", "message": "x509" }));
        verdict(&question, &events, bound_to)
    }

    #[test]
    fn the_verdict_follows_from_the_events_and_the_host() {
        let url = "Post \"https://10.0.0.7:443/scheduler/filter\": ";
        let ours = "VM network ns/lanekeeper-doctor-no-such-network does not exist";
        let device = "Insufficient devices.kubevirt.io/tun";
        for (messages, bound_to, status, part) in [
            (
                vec![format!("0/6 nodes are available: 6 {ours}. preemption: 0/6 nodes")],
                None,
                Status::Ok,
                "",
            ),
            (vec![format!("0/6 nodes are available: 2 {ours}, 4 {device}.")], None, Status::Ok, ""),
            (vec![format!("{url}EOF"), ours.to_owned()], None, Status::Ok, ""),
            (vec![], Some("host1"), Status::Failed, "Wiring kube-scheduler"),
            (vec![format!("{url}EOF")], Some("host1"), Status::Failed, "extender's entry"),
            (
                vec![format!("0/6 nodes are available: 6 {device}. preemption: 0/6 nodes are")],
                None,
                Status::Unknown,
                "virt-handler",
            ),
            (
                vec![format!("0/16 nodes are available: 6 {device}, 10 Too many pods.")],
                None,
                Status::Unknown,
                "make room",
            ),
            (
                vec!["0/0 nodes are available: .".to_owned()],
                None,
                Status::Unknown,
                "no host offers",
            ),
            (
                vec![format!(
                    "{url}tls: failed to verify certificate: x509: certificate signed by unknown \
                     authority"
                )],
                None,
                Status::Failed,
                "caFile",
            ),
            (
                vec![format!("{url}tls: x509: certificate is valid for localhost, not 10.0.0.7")],
                None,
                Status::Failed,
                "--tls-san",
            ),
            (
                vec![format!("{url}dial tcp 10.0.0.7:443: connect: connection refused")],
                None,
                Status::Failed,
                "urlPrefix",
            ),
            (
                vec![format!("{url}context deadline exceeded (Client.Timeout exceeded)")],
                None,
                Status::Failed,
                "urlPrefix",
            ),
            (
                vec![
                    "failed filter with extender at URL https://h/scheduler/filter, code 401"
                        .into(),
                ],
                None,
                Status::Failed,
                "--client-ca",
            ),
            (
                vec!["failed filter with extender at URL https://h/x/filter, code 404".into()],
                None,
                Status::Failed,
                "urlPrefix",
            ),
            (
                vec!["not synced yet: the cluster's objects are still being read".into()],
                None,
                Status::Failed,
                "`webhook-call`",
            ),
            (vec!["something new".to_owned()], None, Status::Unknown, "log of the scheduler"),
        ] {
            let texts: Vec<&str> = messages.iter().map(String::as_str).collect();
            let check = of(&texts, bound_to).unwrap();
            assert_eq!(check.status, status, "{messages:?}");
            let remedy = check.remedy.unwrap_or_default();
            assert!(remedy.contains(part), "{messages:?}: {remedy}");
        }
        assert_eq!(of(&[], None), None);
    }
}
