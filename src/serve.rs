//! Wires source, server and certificate into one process, and ends it as a whole.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum_server::tls_rustls::RustlsConfig;
use axum_server::{Control, Handle};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::api::{self, Api};
use crate::cli::{Serve, Source, Unschedulable};
use crate::metrics::Metrics;
use crate::pki::{self, Files};
use crate::present::Present;
use crate::publish::{self, Publisher, Watches};
use crate::server::admin::{self, Admin};
use crate::server::{self, App, Bodies, Options, listen};
use crate::source::Live;

/// How often the certificate's files are looked at. They are compared by content, since a mounted
/// Secret changes by a symlink swap.
const CERTIFICATE_EVERY: Duration = Duration::from_secs(10);
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
    #[error("{0}")]
    Cluster(String),
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
    let Serve {
        source,
        listen: listen_on,
        admin_listen,
        tls_cert,
        tls_key,
        rejections,
        max_filter_body,
        max_body_memory,
        trusted_users,
        unschedulable_vm,
    } = arguments;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;

    let files = match (tls_cert, tls_key) {
        (Some(cert), Some(key)) => Files { cert, key },
        // A cluster would trust no CA that is made here.
        _ if source.cluster.is_none() => return Err(Error::NoCertificate),
        _ => pki::for_development(Path::new("certs/dev"))?,
    };
    let metrics = Arc::new(Metrics::new()?);
    let pair = files.load()?;
    let tls = RustlsConfig::from_config(pair.config);

    let (publisher, reader) = publish::channel();
    let objects = source.reader();
    let watches = Watches::default();
    let (task, present) =
        follow_source(&source, publisher, watches.clone(), metrics.clone()).await?;
    let app = Arc::new(App::new(
        Options {
            objects,
            rejections: rejections.into(),
            max_filter_body,
            trusted_users,
            deny_unschedulable: unschedulable_vm == Unschedulable::Deny,
        },
        reader.clone(),
        present,
        metrics.clone(),
        Bodies::with_room(max_body_memory),
    ));
    let admin = Arc::new(Admin::new(reader, watches, metrics, pair.validity));

    let main_socket = listen::bind(listen_on)?;
    let admin_socket = listen::bind(admin_listen)?;
    tracing::info!(
        address = %main_socket.local_addr()?,
        certificate = %files.cert.display(),
        "serving the extender and the webhooks"
    );
    tracing::info!(address = %admin_socket.local_addr()?, "serving probes and metrics");

    let control = Control::new();
    let handle = || Handle::<SocketAddr>::with_control(control.clone());
    let admin_handle = Handle::new();
    let mut tasks = JoinSet::new();
    let mut spawn = |name: &'static str, task: BoxedTask| {
        tasks.spawn(async move { (name, task.await) });
    };
    let main_router = server::router(app);
    let admin_router = admin::router(admin.clone());
    spawn("the server", Box::pin(listen::https(main_socket, tls.clone(), main_router, handle())));
    spawn(
        "the server of probes and metrics",
        Box::pin(listen::http(admin_socket, admin_router, admin_handle.clone())),
    );
    spawn("the source", task);
    spawn(
        "the watch over the certificate",
        Box::pin(follow(files, pair.content, tls, admin.clone())),
    );

    let wait = tokio::select! {
        _ = interrupt.recv() => Duration::ZERO,
        _ = terminate.recv() => NOT_READY_FOR,
        ended = tasks.join_next() => return Err(unexpected(ended)),
    };
    tracing::info!("shutting down");
    admin.stop();
    tokio::select! {
        () = drain(wait, &control) => {}
        _ = interrupt.recv() => return Err(Error::Aborted),
        _ = terminate.recv() => return Err(Error::Aborted),
    }
    admin_handle.shutdown();
    Ok(())
}

type BoxedTask = std::pin::Pin<Box<dyn Future<Output = std::io::Result<()>> + Send>>;

fn unexpected(
    ended: Option<Result<(&'static str, std::io::Result<()>), tokio::task::JoinError>>,
) -> Error {
    Error::Ended(match ended {
        Some(Ok((name, Err(error)))) => format!("{name} ({error})"),
        Some(Ok((name, Ok(())))) => name.to_owned(),
        Some(Err(error)) => format!("a task ({error})"),
        None => "everything".to_owned(),
    })
}

/// What keeps the index, and with an API server, what reads its present state.
async fn follow_source(
    source: &Source,
    publisher: Publisher,
    watches: Watches,
    metrics: Arc<Metrics>,
) -> Result<(BoxedTask, Option<Present>), Error> {
    if let Some(manifests) = source.manifests() {
        let follow = async {
            manifests.follow(publisher).await;
            Ok(())
        };
        return Ok((Box::pin(follow), None));
    }
    let client = api::connect(source.kubeconfig.as_deref()).await.map_err(Error::Cluster)?;
    let (api, options) = (Api::new(client), source.options());
    let present = Present::new(api.clone(), source.reader());
    let live = Live::new(api, source.reader(), watches, metrics);
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

/// Swaps the certificate when its files change, without dropping a connection. A pair that is not
/// good is reported, and the last good one kept.
async fn follow(
    files: Files,
    mut content: (Vec<u8>, Vec<u8>),
    tls: RustlsConfig,
    admin: Arc<Admin>,
) -> std::io::Result<()> {
    let mut reported = String::new();
    loop {
        tokio::time::sleep(CERTIFICATE_EVERY).await;
        match files.load() {
            Ok(pair) if pair.content == content => reported.clear(),
            Ok(pair) => {
                admin.certificate(pair.validity);
                content = pair.content;
                tls.reload_from_config(pair.config);
                tracing::info!(certificate = %files.cert.display(), "certificate changed");
            }
            Err(error) => {
                let error = error.to_string();
                if error != reported {
                    tracing::error!("the certificate is not changed: {error}");
                }
                reported = error;
            }
        }
    }
}
