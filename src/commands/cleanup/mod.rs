//! `lanekeeper cleanup`: takes out of the cluster's objects what Lanekeeper put into them, before an
//! uninstall (docs/reference.md, "lanekeeper cleanup").
//!
//! The order matters. Our mutating webhook would put the affinity back, and a leader the labels, so
//! both end first. VMs lose the affinity before the hosts lose the labels that it asks for.

mod error;
mod leader;
mod objects;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use crate::api::{self, Api, Connection, Error as ApiError};
use crate::cluster::Kind;
use crate::installed::Webhooks;

use super::NAME;
use crate::progress::Progress;
use crate::view::Form;

use objects::Cleaner;
use report::Report;

pub use error::Error;

/// What to clean, and how.
#[derive(Clone, Debug)]
pub struct Cleanup {
    /// The administrator's kubeconfig, or else that of the environment.
    pub kubeconfig: Option<PathBuf>,
    /// The namespace of Lanekeeper.
    pub namespace: String,
    /// Whether to change nothing, and only list what would be done.
    pub dry_run: bool,
    /// How long to wait until no leader holds the Lease.
    pub timeout: Duration,
}

/// The output, and what the exit status depends on.
pub struct Cleaned {
    /// For standard output.
    pub text: String,
    /// Whether nothing is left to clean.
    pub clean: bool,
}

/// Cleans. `notice` is told what is waited for.
///
/// # Errors
/// If a step fails that the next one depends on. What fails for a single object is in the answer.
pub fn cleanup(
    settings: &Cleanup,
    form: Form,
    notice: &mut dyn FnMut(&str),
) -> Result<Cleaned, Error> {
    let Connection { runtime, api, .. } = api::with_runtime(settings.kubeconfig.as_deref())?;
    runtime.block_on(cleanup_of(&api, settings, form, notice))
}

/// Cleans the cluster of this API server, as [`cleanup`] does.
///
/// # Errors
/// As for [`cleanup`].
pub async fn cleanup_of(
    api: &Api,
    settings: &Cleanup,
    form: Form,
    notice: &mut dyn FnMut(&str),
) -> Result<Cleaned, Error> {
    let report = run(api, settings, notice).await?;
    Ok(Cleaned { clean: report.is_clean(), text: form.write(&report, report::table)? })
}

async fn run(api: &Api, settings: &Cleanup, notice: &mut dyn FnMut(&str)) -> Result<Report, Error> {
    let Cleanup { namespace, dry_run, timeout, .. } = settings;
    let mut report = Report { dry_run: *dry_run, ..Report::default() };
    leader::is_here(api, namespace).await?;
    report.webhook_configurations = delete_webhooks(api, *dry_run).await?;
    if *dry_run {
        report.leader = leader::leader(api, namespace).await?;
    } else {
        leader::wait(api, namespace, *timeout, notice).await?;
    }
    let _progress = Progress::begin("looking at every VM, host and VM network");
    let cleaner = Cleaner { api, dry_run: *dry_run };
    report.vms = cleaner.clean(Kind::Vm, &mut report.errors).await;
    // A VM that still has the affinity needs the labels of hosts.
    report.labels_stay = !report.errors.is_empty();
    if !report.labels_stay {
        report.hosts = cleaner.clean(Kind::Host, &mut report.errors).await;
    }
    report.vm_networks = cleaner.clean(Kind::VmNetwork, &mut report.errors).await;
    report.vmis = objects::vmis_with_affinity(api, &mut report.errors).await;
    Ok(report)
}

/// Deletes our webhook configurations. Returns those that there were.
async fn delete_webhooks(api: &Api, dry_run: bool) -> Result<Vec<&'static str>, Error> {
    let mut found = Vec::new();
    for webhooks in Webhooks::ALL {
        let (kind, path) = (webhooks.kind(), webhooks.path());
        let failed =
            |verb: &str, why| Error::Request { what: format!("{verb} {kind} {NAME}"), why };
        if api.get_value(&path).await.map_err(|why| failed("get", why))?.is_none() {
            continue;
        }
        found.push(kind);
        if !dry_run {
            match api.delete(&path).await {
                Ok(()) | Err(ApiError::NotFound) => {}
                Err(why) => return Err(failed("delete", why)),
            }
        }
    }
    Ok(found)
}
