//! `lanekeeper certs`: shows the certificate authority of an installation, and takes the steps of a
//! change of CA (docs/reference.md, "Certificates").

mod status;

use std::path::PathBuf;

use time::OffsetDateTime;

use crate::api::{self, Api, ConnectError, Connection};
use crate::installed::{Configuration, SECRET, Secret, SecretError, WebhookError, Webhooks};
use crate::pki::Certificate;
use crate::pki::authority::{Authority, Refused};

use crate::view::{Form, WriteError};

pub(super) use status::{flag, what_to_do};

/// How often a step is tried if the leader writes the Secret at the same time.
const ATTEMPTS: u32 = 5;

/// Which installation a command is about.
#[derive(Clone, Debug)]
pub struct Certs {
    /// The administrator's kubeconfig, or else that of the environment.
    pub kubeconfig: Option<PathBuf>,
    /// The namespace of Lanekeeper.
    pub namespace: String,
}

/// What to do with the CA.
#[derive(Clone, Copy, Debug)]
pub enum Action {
    /// Print the CA certificates to trust.
    Show,
    /// Print what there is, and what is due.
    Status(Form),
    /// Publish a new CA.
    Next,
    /// Issue serving certificates under the new CA.
    Promote,
    /// Stop trusting the CA before.
    Retire,
}

/// The output, and what the exit status depends on.
pub struct Answer {
    /// For standard output.
    pub text: String,
    /// Whether something is due.
    pub due: bool,
}

/// Why there is no answer, or a step was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API server can't be connected to.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The Secret can't be used.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The Secret is empty.
    #[error(
        "there is no CA yet: Secret {0}/{SECRET} is empty. The leader makes a CA within seconds, \
         unless the serving certificate is given with --tls-cert: see its log with \
         `kubectl -n {0} logs deployment/lanekeeper`"
    )]
    Empty(String),
    /// A webhook configuration can't be read.
    #[error(transparent)]
    Webhooks(#[from] WebhookError),
    /// The step makes no sense now.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The API server would not trust the new serving certificate.
    #[error(
        "the API server does not trust the next CA yet, by caBundle of {}. The leader sets it within \
         seconds: see its log with `kubectl -n {namespace} logs deployment/lanekeeper`, and try \
         again",
        webhooks.join(", ")
    )]
    NotTrusted {
        /// The namespace of Lanekeeper.
        namespace: String,
        /// The webhooks.
        webhooks: Vec<String>,
    },
    /// The answer can't be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Does what is asked for.
///
/// # Errors
/// If something can't be read or written, or a step is refused.
pub fn certs(settings: &Certs, action: Action) -> Result<Answer, Error> {
    let Connection { runtime, api, .. } = api::with_runtime(settings.kubeconfig.as_deref())?;
    runtime.block_on(certs_of(&api, &settings.namespace, action, OffsetDateTime::now_utc()))
}

/// Does what is asked for in the cluster of this API server, at `now`, as [`certs`] does.
///
/// # Errors
/// As for [`certs`].
pub async fn certs_of(
    api: &Api,
    namespace: &str,
    action: Action,
    now: OffsetDateTime,
) -> Result<Answer, Error> {
    match action {
        Action::Show => {
            let (_, authority) = read(api, namespace).await?;
            let text = String::from_utf8_lossy(&authority.bundle()).into_owned();
            Ok(Answer { text, due: false })
        }
        Action::Status(form) => {
            let (_, authority) = read(api, namespace).await?;
            let status = status::Status::of(&authority, namespace, now);
            Ok(Answer { due: status.is_due(), text: form.write(&status, status::table)? })
        }
        Action::Next => {
            let authority = step(api, namespace, |authority| authority.add_next(now)).await?;
            Ok(done(published(&authority, namespace)))
        }
        Action::Promote => {
            let (_, authority) = read(api, namespace).await?;
            if let Some(next) = authority.next() {
                trusted(api, namespace, next).await?;
            }
            let authority = step(api, namespace, |authority| authority.promote(now)).await?;
            Ok(done(promoted(&authority, namespace)))
        }
        Action::Retire => {
            let authority = step(api, namespace, |authority| authority.retire(now)).await?;
            Ok(done(retired(&authority)))
        }
    }
}

fn done(text: String) -> Answer {
    Answer { text, due: false }
}

/// Reads the Secret, which must have a CA.
async fn read(api: &Api, namespace: &str) -> Result<(Secret, Authority), Error> {
    let secret = Secret::read(api, namespace).await?;
    let authority = secret.authority()?.ok_or_else(|| Error::Empty(namespace.to_owned()))?;
    Ok((secret, authority))
}

/// Takes a step and writes what it made. Begins again if the leader wrote meanwhile.
async fn step(
    api: &Api,
    namespace: &str,
    take: impl Fn(&mut Authority) -> Result<(), Refused>,
) -> Result<Authority, Error> {
    let mut attempt = 1;
    loop {
        let (secret, mut authority) = read(api, namespace).await?;
        take(&mut authority)?;
        match secret.write(api, &authority).await {
            Ok(_) => return Ok(authority),
            Err(error) if error.is_conflict() && attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

/// Checks that every registered webhook trusts the next CA.
async fn trusted(api: &Api, namespace: &str, next: &Certificate) -> Result<(), Error> {
    let mut without = Vec::new();
    for webhooks in Webhooks::ALL {
        if let Some(configuration) = Configuration::read(api, webhooks).await? {
            without.extend(configuration.without(next));
        }
    }
    if without.is_empty() {
        return Ok(());
    }
    Err(Error::NotTrusted { namespace: namespace.to_owned(), webhooks: without })
}

fn published(authority: &Authority, namespace: &str) -> String {
    let next = authority.next().map(|next| next.subject.as_str()).unwrap_or_default();
    let (current, flag) = (&authority.current().subject, flag(namespace));
    format!(
        "The next CA is published: {next}\n\
         The current CA still issues the serving certificate: {current}\n\
         \n\
         What to do now:\n\
         1. Give the output of `lanekeeper certs ca show{flag}`, which holds both CAs, to every \
         kube-scheduler, as when it was wired: `lanekeeper manifests --scheduler ... --ca-file ...` \
         prints its configuration.\n\
         2. Restart every kube-scheduler: it reads the CAs only when it starts.\n\
         3. Run `lanekeeper certs ca promote{flag}`.\n"
    )
}

fn promoted(authority: &Authority, namespace: &str) -> String {
    let (current, flag) = (&authority.current().subject, flag(namespace));
    format!(
        "This CA issues the serving certificate now: {current}\n\
         Every replica uses the new certificate within seconds.\n\
         \n\
         This assumes that every kube-scheduler was restarted with the output of `lanekeeper certs ca \
         show{flag}` since the next CA was published. One that was not refuses the new certificate, \
         and its VM pods stay pending: restart it with that output.\n\
         \n\
         Then run `lanekeeper certs ca retire{flag}`, after one minute at the earliest.\n"
    )
}

fn retired(authority: &Authority) -> String {
    format!(
        "The old CA is no longer trusted. This is the only CA now: {}\n\
         Nothing needs a restart.\n",
        authority.current().subject
    )
}
