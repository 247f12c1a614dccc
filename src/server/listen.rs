//! Sockets: limits on what a connection may take, TLS, and a drain at the end.

use std::future::{Ready, ready};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::middleware::AddExtension;
use axum::{Extension, Router};
use axum_server::accept::Accept;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use axum_server::{Handle, Server};
use hyper_util::rt::TokioTimer;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::server::TlsStream;
use tower_layer::Layer as _;

/// How long a client may take over its first request, from its handshake on.
const FIRST_REQUEST: Duration = Duration::from_secs(30);
/// How long a client may take over a request's head, an idle connection included. Longer than a
/// Go client keeps one idle, so that it is never closed under a request.
const HEAD: Duration = Duration::from_mins(2);
/// How long a client may take nothing of an answer.
const STALLED: Duration = Duration::from_secs(30);
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How many connections of the scheduler and the API server may be open at a time: they keep a few.
const MAX_CONNECTIONS: usize = 512;
/// How many connections of probes and scrapes.
const MAX_ADMIN_CONNECTIONS: usize = 64;

/// A socket that listens already, so that its address is known.
///
/// # Errors
/// If the address can't be listened on; the error names it.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address).map_err(|error| {
        io::Error::new(error.kind(), format!("can't listen on {address}: {error}"))
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves HTTPS until `handle` ends it. The certificate is `tls`'s at the time of each handshake.
///
/// # Errors
/// If the socket can't be used.
pub async fn https(
    listener: TcpListener,
    tls: RustlsConfig,
    router: Router,
    handle: Handle<SocketAddr>,
) -> io::Result<()> {
    let limited = Limited(Arc::new(Semaphore::new(MAX_CONNECTIONS)));
    let acceptor = RustlsAcceptor::new(tls).handshake_timeout(HANDSHAKE).acceptor(limited);
    let server = axum_server::from_tcp(listener)?.acceptor(Identified(acceptor));
    bounded(server).handle(handle).serve(router.into_make_service()).await
}

/// Serves plain HTTP until `handle` ends it.
///
/// # Errors
/// If the socket can't be used.
pub async fn http(
    listener: TcpListener,
    router: Router,
    handle: Handle<SocketAddr>,
) -> io::Result<()> {
    let limited = Limited(Arc::new(Semaphore::new(MAX_ADMIN_CONNECTIONS)));
    bounded(axum_server::from_tcp(listener)?.acceptor(limited))
        .handle(handle)
        .serve(router.into_make_service())
        .await
}

/// The accepting of connections, within limits: so many at a time, and one whose client takes
/// nothing of an answer for a while is given up, since the answer takes room until it is written.
#[derive(Clone)]
struct Limited(Arc<Semaphore>);

/// A place among the connections that may be open at a time.
#[derive(Clone)]
struct Place {
    _permit: Arc<OwnedSemaphorePermit>,
}

impl<S> Accept<TcpStream, S> for Limited {
    type Stream = Pin<Box<TimeoutStream<TcpStream>>>;
    type Service = AddExtension<S, Place>;
    type Future = Ready<io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let prepared = || {
            let Ok(permit) = self.0.clone().try_acquire_owned() else {
                tracing::warn!("a connection is closed: too many are open");
                return Err(io::Error::other("too many connections"));
            };
            stream.set_nodelay(true)?;
            let mut stream = TimeoutStream::new(stream);
            stream.set_write_timeout(Some(STALLED));
            // It is given back with the connection's service, so with the connection.
            let place = Place { _permit: Arc::new(permit) };
            Ok((Box::pin(stream), Extension(place).layer(service)))
        };
        ready(prepared())
    }
}

/// What is known of the client at the other end of a connection.
#[derive(Clone)]
pub(super) struct Client {
    has_certificate: bool,
}

impl Client {
    /// Returns whether the client proved who it is by a certificate of the CA that we trust for
    /// that.
    pub fn is_known(&self) -> bool {
        self.has_certificate
    }
}

/// TLS, and then a look at the client's certificate: rustls has checked it if there is one.
#[derive(Clone)]
struct Identified<A>(A);

impl<I, S, A, T> Accept<I, S> for Identified<A>
where
    A: Accept<I, S, Stream = TlsStream<T>>,
    A::Future: Send + 'static,
    A::Stream: Send,
    A::Service: Send,
{
    type Stream = A::Stream;
    type Service = AddExtension<A::Service, Client>;
    type Future = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Self::Service)>> + Send>>;

    fn accept(&self, stream: I, service: S) -> Self::Future {
        let accepted = self.0.accept(stream, service);
        Box::pin(async move {
            let (stream, service) = accepted.await?;
            let (_, session) = stream.get_ref();
            let client = Client { has_certificate: session.peer_certificates().is_some() };
            Ok((stream, Extension(client).layer(service)))
        })
    }
}

fn bounded<A: axum_server::Address, Acceptor>(server: Server<A, Acceptor>) -> Server<A, Acceptor> {
    let mut server = server.http1_only().first_request_timeout(FIRST_REQUEST);
    server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    server
}
