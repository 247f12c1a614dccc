//! Runs source, server and certificate as one process, which ends as a whole.

mod certificate;
mod changes;
mod leader;
mod objects;
mod parts;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum_server::{Control, Handle};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::api::{self, Api, ConnectError};
use crate::cli::{NodeLabels, Serve, Source, Unschedulable, VmAffinity};
use crate::controller::Issuer;
use crate::decide::review::Policy;
use crate::decide::upkeep::Scope;
use crate::metrics::Metrics;
use crate::pki::{self, Files};
use crate::present::Present;
use crate::publish::{self, Publisher, Watches};
use crate::server::admin::{self, Admin};
use crate::server::ui::{self, Ui};
use crate::server::{App, Bodies, Calls, Settings, listen};
use crate::source::Live;

use certificate::{Follower, Origin};
use leader::Duties;
use parts::{Parts, Stage, Task};

/// How long we still accept requests after we are not ready, since clients notice that a moment
/// later.
const NOT_READY_FOR: Duration = Duration::from_secs(3);
/// How long requests in flight may take to finish.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);

/// Why the service can't run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A certificate can't be made or used.
    #[error(transparent)]
    Pki(#[from] pki::Error),
    /// A socket can't be opened, or a signal handler can't be installed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// No cluster is named, or its configuration can't be used.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A metric can't be set up.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
    /// A part of the service ended, although it should run until the process ends.
    #[error("{0} ended unexpectedly")]
    Ended(String),
    /// A second signal came during the shutdown.
    #[error("stopped by a second signal")]
    Aborted,
}

/// Runs the service until a signal ends it.
///
/// # Errors
/// If the service can't start, or a part of it ends unexpectedly.
pub async fn serve(arguments: Serve) -> Result<(), Error> {
    let mut signals = Signals::listen()?;
    let Started { mut parts, app, admin, control, admin_handle, leader } = start(arguments).await?;
    let wait = tokio::select! {
        wait = signals.next() => wait,
        ended = parts.ended() => return Err(Error::Ended(ended)),
    };
    tracing::info!("shutting down");
    admin.stop();
    app.drain();
    tokio::select! {
        () = drain(wait, &control) => {}
        _ = signals.next() => return Err(Error::Aborted),
    }
    if let Some(leader) = leader {
        tokio::select! {
            () = leader.stop() => {}
            _ = signals.next() => return Err(Error::Aborted),
        }
    }
    admin_handle.shutdown();
    parts.stop();
    Ok(())
}

/// The running service, and the handles that end it.
struct Started {
    parts: Parts,
    app: Arc<App>,
    admin: Arc<Admin>,
    control: Control,
    admin_handle: Handle<SocketAddr>,
    /// Ends the controller, over an API server.
    leader: Option<leader::Stop>,
}

/// Starts every part of the service.
async fn start(arguments: Serve) -> Result<Started, Error> {
    let namespace = leader::namespace(arguments.namespace.clone());
    let Serve { source, rejections, max_filter_body, max_body_memory, .. } = arguments;
    let metrics = Arc::new(Metrics::new()?);

    let (publisher, snapshots) = publish::channel();
    let watches = Watches::default();
    let (task, api) = follow_source(&source, publisher, watches.clone(), metrics.clone()).await?;
    let files = arguments.tls_cert.zip(arguments.tls_key);
    let clients_only = arguments.client_ca.is_some();
    let origin = origin_of_certificate(files, arguments.client_ca, api.as_ref(), &namespace)?;
    let issuer = matches!(origin, Origin::Secret { .. })
        .then(|| Issuer { namespace: namespace.clone(), extra: arguments.tls_sans });
    let certificate = Follower::new(origin)?;
    let present = api.clone().map(|api| Present::new(api, source.decoder()));
    let policy = Policy {
        trusted_users: arguments.trusted_users,
        deny_unschedulable: arguments.unschedulable_vm == Unschedulable::Deny,
        vm_affinity_off: arguments.vm_affinity == VmAffinity::Off,
        names_all: false,
    };
    let settings = Settings {
        decoder: source.decoder(),
        rejections: rejections.into(),
        max_filter_body,
        policy: policy.clone(),
        clients_only,
    };
    if max_body_memory < max_filter_body {
        tracing::warn!(
            max_body_memory,
            max_filter_body,
            "requests larger than --max-body-memory are refused, though --max-filter-body admits them"
        );
    }
    let bodies = Bodies::with_room(max_body_memory);
    let app = Arc::new(App::new(settings, snapshots.clone(), present, metrics.clone(), bodies));
    let admin =
        Arc::new(Admin::new(snapshots.clone(), watches, metrics.clone(), certificate.state()));

    let main_socket = listen::bind(arguments.listen)?;
    let admin_socket = listen::bind(arguments.admin_listen)?;
    tracing::info!(
        address = %main_socket.local_addr()?,
        certificate = %certificate.origin,
        "serving the extender and the webhooks"
    );
    tracing::info!(address = %admin_socket.local_addr()?, "serving probes and metrics");
    let ui_socket = listen::bind(arguments.ui_listen)?;
    let ui_address = ui_socket.local_addr()?;
    tracing::info!(address = %ui_address, "serving the web page");
    let objects = objects::of(&source, api.as_ref(), snapshots.clone());
    let page = Ui::new(snapshots.clone(), objects, source.decoder(), policy, ui_address);

    let control = Control::new();
    let handle = Handle::<SocketAddr>::with_control(control.clone());
    let admin_handle = Handle::new();
    let calls = Calls::new(app.clone());
    let admin_router = admin::router(admin.clone());
    let mut parts = Parts::default();
    let server = listen::https(main_socket, certificate.tls.clone(), calls, handle);
    parts.start(Stage::Serving, "the server", Box::pin(server));
    // Event streams never end by themselves, so the page ends with its part and is not drained.
    let page = listen::http(ui_socket, ui::router(Arc::new(page)), Handle::new());
    parts.start(Stage::Serving, "the web page", Box::pin(page));
    let follow = certificate.follow(admin.clone());
    parts.start(Stage::Upkeep, "certificate rotation", Box::pin(follow));
    let leader = api.map(|api| {
        let scope = match arguments.node_labels {
            NodeLabels::Manage => Scope::All,
            NodeLabels::External => Scope::EventsOnly,
        };
        let duties = Duties { scope, issuer };
        leader::start(&mut parts, api, &namespace, duties, snapshots.clone(), metrics.clone())
    });
    parts.start(Stage::Upkeep, "the log of changes", Box::pin(changes::log(snapshots)));
    parts.start(Stage::Source, "the source", task);
    let probes = listen::http(admin_socket, admin_router, admin_handle.clone());
    parts.start(Stage::Admin, "the server of probes and metrics", Box::pin(probes));
    Ok(Started { parts, app, admin, control, admin_handle, leader })
}

/// Where the serving certificate comes from: the given files, or else the Secret, or with manifests
/// a certificate for development.
fn origin_of_certificate(
    files: Option<(PathBuf, PathBuf)>,
    client_ca: Option<PathBuf>,
    api: Option<&Api>,
    namespace: &str,
) -> Result<Origin, Error> {
    let files = match (files, api) {
        (Some((cert, key)), _) => Files::of(cert, key),
        (None, Some(api)) => {
            let (api, namespace) = (api.clone(), namespace.to_owned());
            return Ok(Origin::Secret { api, namespace, client_ca });
        }
        (None, None) => pki::for_development(Path::new("certs/dev"))?,
    };
    Ok(Origin::Files(Files { client_ca, ..files }))
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

    /// Waits for the next signal. Returns how long to accept requests after it.
    async fn next(&mut self) -> Duration {
        tokio::select! {
            _ = self.interrupt.recv() => Duration::ZERO,
            _ = self.terminate.recv() => NOT_READY_FOR,
        }
    }
}

/// Starts the source. Also returns the API server, if that is the source.
async fn follow_source(
    source: &Source,
    publisher: Publisher,
    watches: Watches,
    metrics: Arc<Metrics>,
) -> Result<(Task, Option<Api>), Error> {
    if let Some(manifests) = source.manifests() {
        let follow = async {
            manifests.follow(publisher).await;
            Ok(())
        };
        return Ok((Box::pin(follow), None));
    }
    let client = api::connect(source.kubeconfig.as_deref()).await?;
    let (api, options) = (Api::new(client), source.options());
    let live = Live::new(api.clone(), source.decoder(), watches, metrics);
    let follow = async move {
        live.follow(options, publisher).await;
        Ok(())
    };
    Ok((Box::pin(follow), Some(api)))
}

/// Accepts requests for another `wait`, then closes the port and waits for requests in flight.
async fn drain(wait: Duration, control: &Control) {
    tokio::time::sleep(wait).await;
    control.graceful_shutdown(Some(DRAIN_TIMEOUT));
    let mut every = tokio::time::interval(Duration::from_millis(20));
    while control.connection_count() > 0 {
        every.tick().await;
    }
}
