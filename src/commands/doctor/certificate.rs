//! Whether the serving certificate and its CA are valid, and what is due.

use k8s_openapi::jiff::Timestamp;
use time::{Duration, OffsetDateTime};

use crate::commands::NAME;
use crate::commands::certs::{flag, what_to_do};
use crate::installed::{SECRET, SecretError, repair};
use crate::pki::authority::{Authority, LeafDue, Step};

use super::check::Check;

pub(super) const CERTIFICATE: &str = "certificate";
pub(super) const AUTHORITY: &str = "ca";

/// The CA that the Secret holds, and what it issued. There is none in an empty Secret: the serving
/// certificate comes from elsewhere, or is yet to be issued.
pub(super) type Held = Result<Option<Authority>, SecretError>;

/// How late the leader may rotate the serving certificate.
const SLACK: Duration = Duration::minutes(10);

/// A time in Unix seconds, for people.
fn shown(seconds: i64) -> String {
    Timestamp::from_second(seconds).map(|time| time.to_string()).unwrap_or_default()
}

/// The authority of the Secret, or else the answer of a check.
fn authority_of<'s>(
    name: &'static str,
    secret: &'s Held,
    namespace: &str,
) -> Result<&'s Authority, Check> {
    match secret {
        Ok(Some(authority)) => Ok(authority),
        Err(SecretError::Request { why, .. }) => {
            Err(Check::unread(name, &format!("get Secret {namespace}/{SECRET}"), why))
        }
        Ok(None) => {
            let says = format!(
                "Secret {namespace}/{SECRET} is empty: the serving certificate is given with \
                 --tls-cert, or the leader has yet to issue one"
            );
            Err(Check::skipped(name, says))
        }
        Err(SecretError::Missing { .. }) => {
            let says = format!(
                "there is no Secret {namespace}/{SECRET}: that is right if the serving certificate is \
                 given with --tls-cert. Otherwise name the namespace of Lanekeeper with --namespace, \
                 or apply what `lanekeeper manifests` prints: the leader can't make the Secret"
            );
            Err(Check::skipped(name, says))
        }
        Err(SecretError::Damaged { why, .. }) => {
            let says = format!("Secret {namespace}/{SECRET} is damaged: {why}");
            Err(Check::failed(name, says, repair(namespace)))
        }
    }
}

/// Checks the serving certificate, which the leader rotates after two thirds of its life.
pub(super) fn serving(secret: &Held, now: OffsetDateTime, namespace: &str) -> Check {
    let authority = match authority_of(CERTIFICATE, secret, namespace) {
        Ok(authority) => authority,
        Err(check) => return check,
    };
    let remedy = format!(
        "the leader issues another one within seconds: see the check `leader`, and its log with \
         `kubectl -n {namespace} logs deployment/{NAME}`"
    );
    let leaf = match authority.leaf() {
        Ok(leaf) => leaf,
        Err(due) => return Check::failed(CERTIFICATE, due.to_string(), remedy),
    };
    let until = shown(leaf.validity.until);
    // Which names it must have, the leader knows: the call of a webhook tells whether they suffice.
    let due = authority.leaf_due(&leaf.names, now);
    let late = authority.leaf_due(&leaf.names, now - SLACK);
    match due.filter(|due| *due != LeafDue::Aged || late == Some(LeafDue::Aged)) {
        Some(due) => Check::failed(CERTIFICATE, format!("{due}; it ends at {until}"), remedy),
        None => Check::ok(CERTIFICATE, format!("the serving certificate is valid until {until}")),
    }
}

/// Checks the CA, and says which step of a change of CA is due.
pub(super) fn authority(secret: &Held, now: OffsetDateTime, namespace: &str) -> Check {
    let authority = match authority_of(AUTHORITY, secret, namespace) {
        Ok(authority) => authority,
        Err(check) => return check,
    };
    let validity = authority.current().validity;
    let until = shown(validity.until);
    if now.unix_timestamp() < validity.from {
        let says = format!("the CA is not valid before {}", shown(validity.from));
        return Check::failed(
            AUTHORITY,
            says,
            "correct the clocks of the cluster and of this machine",
        );
    }
    let Some(step) = authority.step_due(now) else {
        return Check::ok(AUTHORITY, format!("the CA is valid until {until}"));
    };
    let says = match step {
        Step::Next => format!("a new CA is due: the CA ends at {until}"),
        Step::Promote => {
            "a change of CA is not complete: the next CA issues no certificate yet".to_owned()
        }
        Step::Retire => "a change of CA is not complete: the old CA is still trusted".to_owned(),
    };
    Check::failed(AUTHORITY, says, what_to_do(step, &flag(namespace)))
}

#[cfg(test)]
mod tests {
    use super::super::check::Status;
    use super::*;
    use crate::pki::{AltNames, names};

    const DAY: Duration = Duration::DAY;

    fn alt_names() -> AltNames {
        names("lanekeeper", "lanekeeper-system", &[], &[])
    }

    /// The serving certificate's check and the CA's, so long after the CA was made.
    fn after(time: Duration, change: impl FnOnce(&mut Authority, OffsetDateTime)) -> [Check; 2] {
        let made = OffsetDateTime::now_utc();
        let mut authority = Authority::make(&alt_names(), made).unwrap();
        change(&mut authority, made + time);
        let secret = Ok(Some(authority));
        [serving(&secret, made + time, "ns"), super::authority(&secret, made + time, "ns")]
    }

    #[test]
    fn a_certificate_fails_if_its_leader_should_have_rotated_it() {
        let status = |time| after(time, |_, _| {})[0].status;
        assert_eq!(status(Duration::ZERO), Status::Ok);
        // A certificate of 90 days, which began an hour before.
        let due = DAY * 60 - Duration::HOUR;
        assert_eq!(status(due - Duration::MINUTE), Status::Ok);
        assert_eq!(status(due + SLACK / 2), Status::Ok);
        assert_eq!(status(due + SLACK * 2), Status::Failed);
        let [expired, _] = after(DAY * 100, |_, _| {});
        assert!(expired.says.contains("has expired"), "{expired:?}");
        assert!(expired.remedy.unwrap().contains("`leader`"));
        assert_eq!(status(-DAY), Status::Failed);
    }

    #[test]
    fn each_step_of_a_change_of_ca_is_told() {
        let rotated = |authority: &mut Authority, now| authority.issue(&alt_names(), now).unwrap();
        let [_, ca] = after(DAY * 365 * 8, rotated);
        assert_eq!(ca.status, Status::Ok);
        let [_, ca] = after(DAY * (365 * 9 + 30), rotated);
        assert!(ca.remedy.unwrap().starts_with("run `lanekeeper certs ca next --namespace ns`"));
        let [leaf, ca] = after(DAY, |authority, now| authority.add_next(now).unwrap());
        assert_eq!((leaf.status, ca.status), (Status::Ok, Status::Failed));
        assert!(
            ca.remedy
                .unwrap()
                .contains("restart it, and run `lanekeeper certs ca promote --namespace ns`")
        );
        let [leaf, ca] = after(DAY, |authority, now| {
            authority.add_next(now).unwrap();
            authority.promote(now).unwrap();
        });
        assert_eq!((leaf.status, ca.status), (Status::Ok, Status::Failed));
        assert_eq!(ca.remedy.unwrap(), "run `lanekeeper certs ca retire --namespace ns`");
        let [_, early] = after(-DAY, |_, _| {});
        assert!(early.says.contains("not valid before"), "{early:?}");
    }

    #[test]
    fn a_secret_without_a_ca_is_no_fault_and_a_damaged_one_is() {
        let now = OffsetDateTime::now_utc();
        let both =
            |secret: &Held| [serving(secret, now, "ns"), super::authority(secret, now, "ns")];
        let statuses = |secret: &Held| both(secret).map(|check| check.status);
        assert_eq!(statuses(&Ok(None)), [Status::Skipped; 2]);
        let namespace = "ns".to_owned();
        let missing = SecretError::Missing { namespace: namespace.clone() };
        assert_eq!(statuses(&Err(missing)), [Status::Skipped; 2]);
        let why = crate::api::Error::Forbidden("no".into());
        let unread = SecretError::Request { verb: "read", namespace: namespace.clone(), why };
        assert_eq!(statuses(&Err(unread)), [Status::Unknown; 2]);
        let mut content = Authority::make(&alt_names(), now).unwrap().content();
        content.remove("ca.key");
        let damaged = Authority::read(&content);
        let [_, ca] = both(&damaged.map_err(|why| SecretError::Damaged { namespace, why }));
        assert_eq!(ca.status, Status::Failed);
        assert!(ca.says.contains("ca.key") && ca.remedy.unwrap().contains("backup"));
    }
}
