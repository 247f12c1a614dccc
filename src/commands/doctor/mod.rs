//! `lanekeeper doctor`: is the installation right? (docs/reference.md, "lanekeeper doctor")
//!
//! Each check is a value with a remedy. All checks are made, whatever the others say, except for
//! those that need another one.

mod answer;
mod call;
mod canary;
mod certificate;
mod check;
mod cluster;
mod webhooks;
mod workload;

use std::path::PathBuf;
use std::time::Duration;

use time::OffsetDateTime;

use crate::api::{self, Api, ConnectError, Connection};
use crate::installed::Secret;

use super::manifests::webhook_configurations;
use crate::progress::Progress;
use crate::view::{Form, WriteError};

use answer::{Question, SCHEDULER};
use check::{Check, Report, Status};

/// Which installation to check, and how.
#[derive(Clone, Debug)]
pub struct Doctor {
    /// The administrator's kubeconfig, or else that of the environment.
    pub kubeconfig: Option<PathBuf>,
    /// The namespace of Lanekeeper.
    pub namespace: String,
    /// The name of the scheduler that VMs use.
    pub scheduler: String,
    /// How long to wait for the scheduler's answer.
    pub timeout: Duration,
}

/// The output, and what the exit status depends on.
pub struct Diagnosis {
    /// For standard output.
    pub text: String,
    /// Whether something is wrong.
    pub failed: bool,
    /// Whether something could not be checked.
    pub unknown: bool,
}

/// Why there is no diagnosis.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server can't be connected to.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The answer can't be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Makes all checks.
///
/// # Errors
/// If no API server is named, or the answer can't be written. What else fails is in the answer.
pub fn doctor(settings: &Doctor, form: Form) -> Result<Diagnosis, Error> {
    let Connection { runtime, api, .. } = api::with_runtime(settings.kubeconfig.as_deref())?;
    runtime.block_on(diagnosis_of(&api, settings, form))
}

/// Makes all checks of the cluster of this API server, as [`doctor`] does.
///
/// # Errors
/// If the answer can't be written.
pub async fn diagnosis_of(api: &Api, settings: &Doctor, form: Form) -> Result<Diagnosis, Error> {
    let report = Report { checks: checks(api, settings).await? };
    Ok(Diagnosis {
        failed: report.has(Status::Failed),
        unknown: report.has(Status::Unknown),
        text: form.write(&report, check::table)?,
    })
}

async fn checks(api: &Api, settings: &Doctor) -> Result<Vec<Check>, WriteError> {
    let Doctor { namespace, scheduler, timeout, .. } = settings;
    let mut checks = vec![cluster::api_server(api).await];
    if checks.iter().any(|check| check.status != Status::Ok) {
        let others = [
            cluster::DEFINITIONS,
            webhooks::WEBHOOKS,
            webhooks::CA,
            call::CALL,
            certificate::CERTIFICATE,
            certificate::AUTHORITY,
            workload::REPLICAS,
            workload::LEADER,
            SCHEDULER,
        ];
        checks.extend(others.map(|name| needs(name, cluster::API_SERVER)));
        return Ok(checks);
    }
    let definitions = cluster::definitions(api).await;
    let are_served = definitions.status == Status::Ok;
    checks.push(definitions);

    let secret = Secret::read(api, namespace).await.and_then(|secret| secret.authority());
    let expected = webhook_configurations(namespace);
    let mut is_registered = false;
    match webhooks::read(api).await {
        Ok(found) => {
            is_registered = found.first().is_some_and(|validating| !validating.is_null());
            checks.push(webhooks::registered(&expected, &found));
            checks.push(webhooks::ca(&found, &secret, namespace));
        }
        Err(why) => {
            checks.push(Check::unread(webhooks::WEBHOOKS, "get the webhook configurations", &why));
            checks.push(needs(webhooks::CA, webhooks::WEBHOOKS));
        }
    }
    checks.push(match (are_served, is_registered) {
        (false, _) => needs(call::CALL, cluster::DEFINITIONS),
        (_, false) => needs(call::CALL, webhooks::WEBHOOKS),
        _ => call::call(api, namespace).await,
    });

    let now = OffsetDateTime::now_utc();
    checks.push(certificate::serving(&secret, now, namespace));
    checks.push(certificate::authority(&secret, now, namespace));
    let deployment = workload::deployment(api, namespace).await;
    checks.push(workload::replicas(&deployment, namespace));
    checks.push(workload::leader(api, namespace).await);
    let question = Question { namespace, scheduler };
    let deployment = deployment.ok().flatten();
    let _progress = Progress::begin("waiting for the scheduler's answer to a canary pod");
    checks.push(canary::check(api, &question, deployment.as_ref(), *timeout).await);
    Ok(checks)
}

/// A check that can't be made before another one passes.
fn needs(name: &'static str, other: &str) -> Check {
    Check::skipped(name, format!("needs the check `{other}` to pass"))
}
