//! Wires source, server and certificate into one process, and ends it as a whole.

mod certificate;
mod changes;
mod parts;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;
use axum_server::{Control, Handle};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::api::{self, Api, ConnectError};
use crate::cli::{Serve, Source, Unschedulable};
use crate::decide::review::Policy;
use crate::metrics::Metrics;
use crate::pki::{self, Files};
use crate::present::Present;
use crate::publish::{self, Publisher, Watches};
use crate::server::admin::{self, Admin};
use crate::server::{self, App, Bodies, Settings, listen};
use crate::source::Live;

use parts::{Parts, Stage, Task};

/// How long calls still come in after we are not ready: the API server and the scheduler learn of
/// it a moment later.
const NOT_READY_FOR: Duration = Duration::from_secs(3);
/// How long calls in flight have to end.
const DRAIN: Duration = Duration::from_secs(20);

/// What keeps the service from running.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A certificate can't be made or used.
    #[error(transparent)]
    Pki(#[from] pki::Error),
    /// A socket can't be opened, or a signal not be waited for.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The cluster can't be reached, or none is named.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A server for a cluster has no certificate.
    #[error("--tls-cert and --tls-key are needed: only with --cluster are certificates made")]
    NoCertificate,
    /// A metric can't be set up.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
    /// A part of the service ended, which none should.
    #[error("{0} ended unexpectedly")]
    Ended(String),
    /// A second signal came before the first one's work was done.
    #[error("stopped by a second signal")]
    Aborted,
}

/// Runs the service until a signal ends it.
///
/// # Errors
/// Whatever keeps it from starting, or ends it unasked.
pub async fn serve(arguments: Serve) -> Result<(), Error> {
    let mut signals = Signals::listen()?;
    let Started { mut parts, admin, control, admin_handle } = start(arguments).await?;
    let wait = tokio::select! {
        wait = signals.next() => wait,
        ended = parts.ended() => return Err(Error::Ended(ended)),
    };
    tracing::info!("shutting down");
    admin.stop();
    tokio::select! {
        () = drain(wait, &control) => {}
        _ = signals.next() => return Err(Error::Aborted),
    }
    admin_handle.shutdown();
    parts.stop();
    Ok(())
}

/// What runs, and what ends it.
struct Started {
    parts: Parts,
    admin: Arc<Admin>,
    control: Control,
    admin_handle: Handle<SocketAddr>,
}

/// Starts every part.
async fn start(arguments: Serve) -> Result<Started, Error> {
    let files = certificate_files(&arguments)?;
    let Serve { source, rejections, max_filter_body, max_body_memory, .. } = arguments;
    let metrics = Arc::new(Metrics::new()?);
    let pair = files.load()?;
    let tls = RustlsConfig::from_config(pair.config.clone());

    let (publisher, snapshots) = publish::channel();
    let watches = Watches::default();
    let (task, present) =
        follow_source(&source, publisher, watches.clone(), metrics.clone()).await?;
    let settings = Settings {
        decoder: source.decoder(),
        rejections: rejections.into(),
        max_filter_body,
        policy: Policy {
            trusted_users: arguments.trusted_users,
            deny_unschedulable: arguments.unschedulable_vm == Unschedulable::Deny,
        },
        clients_only: arguments.client_ca.is_some(),
    };
    let bodies = Bodies::with_room(max_body_memory);
    let app = Arc::new(App::new(settings, snapshots.clone(), present, metrics.clone(), bodies));
    let admin = Arc::new(Admin::new(snapshots.clone(), watches, metrics, pair.validity));

    let main_socket = listen::bind(arguments.listen)?;
    let admin_socket = listen::bind(arguments.admin_listen)?;
    tracing::info!(
        address = %main_socket.local_addr()?,
        certificate = %files.cert.display(),
        "serving the extender and the webhooks"
    );
    tracing::info!(address = %admin_socket.local_addr()?, "serving probes and metrics");

    let control = Control::new();
    let handle = Handle::<SocketAddr>::with_control(control.clone());
    let admin_handle = Handle::new();
    let router = server::router(app);
    let admin_router = admin::router(admin.clone());
    let mut parts = Parts::default();
    let server = listen::https(main_socket, tls.clone(), router, handle);
    parts.start(Stage::Serving, "the server", Box::pin(server));
    let follow = certificate::follow(files, pair, tls, admin.clone());
    parts.start(Stage::Keeping, "the watch over the certificate", Box::pin(follow));
    parts.start(Stage::Keeping, "the log of changes", Box::pin(changes::log(snapshots)));
    parts.start(Stage::Source, "the source", task);
    let probes = listen::http(admin_socket, admin_router, admin_handle.clone());
    parts.start(Stage::Admin, "the server of probes and metrics", Box::pin(probes));
    Ok(Started { parts, admin, control, admin_handle })
}

/// Where the certificate is; made first, if none is given and none is needed that others trust.
fn certificate_files(arguments: &Serve) -> Result<Files, Error> {
    let files = match (&arguments.tls_cert, &arguments.tls_key) {
        (Some(cert), Some(key)) => Files::of(cert.clone(), key.clone()),
        // A cluster would trust no CA that is made here.
        _ if arguments.source.cluster.is_none() => return Err(Error::NoCertificate),
        _ => pki::for_development(Path::new("certs/dev"))?,
    };
    Ok(Files { client_ca: arguments.client_ca.clone(), ..files })
}

/// The signals that end the process.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one. Returns how long calls may still come in after it.
    async fn next(&mut self) -> Duration {
        tokio::select! {
            _ = self.interrupt.recv() => Duration::ZERO,
            _ = self.terminate.recv() => NOT_READY_FOR,
        }
    }
}

/// What keeps the index, and with an API server, what reads its present state.
async fn follow_source(
    source: &Source,
    publisher: Publisher,
    watches: Watches,
    metrics: Arc<Metrics>,
) -> Result<(Task, Option<Present>), Error> {
    if let Some(manifests) = source.manifests() {
        let follow = async {
            manifests.follow(publisher).await;
            Ok(())
        };
        return Ok((Box::pin(follow), None));
    }
    let client = api::connect(source.kubeconfig.as_deref()).await?;
    let (api, options) = (Api::new(client), source.options());
    let present = Present::new(api.clone(), source.decoder());
    let live = Live::new(api, source.decoder(), watches, metrics);
    let follow = async move {
        live.follow(options, publisher).await;
        Ok(())
    };
    Ok((Box::pin(follow), Some(present)))
}

/// Lets calls come in for a moment, then no more, and waits for those in flight.
async fn drain(wait: Duration, control: &Control) {
    tokio::time::sleep(wait).await;
    control.graceful_shutdown(Some(DRAIN));
    let mut every = tokio::time::interval(Duration::from_millis(20));
    while control.connection_count() > 0 {
        every.tick().await;
    }
}
