//! Sockets: limits on what a connection may take, TLS, and a drain at the end.

use std::future::{Ready, ready};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::time::Duration;

use axum::Router;
use axum_server::accept::Accept;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use axum_server::{Handle, Server};
use hyper_util::rt::TokioTimer;
use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutStream;

/// How long a client may take over its first request, from its handshake on.
const FIRST_REQUEST: Duration = Duration::from_secs(30);
/// How long a client may take over a request's head, an idle connection included. Longer than a
/// Go client keeps one idle, so that it is never closed under a request.
const HEAD: Duration = Duration::from_mins(2);
/// How long a client may take nothing of an answer.
const STALLED: Duration = Duration::from_secs(30);
const HANDSHAKE: Duration = Duration::from_secs(10);

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
    let acceptor = RustlsAcceptor::new(tls).handshake_timeout(HANDSHAKE).acceptor(Impatient);
    let server = axum_server::from_tcp(listener)?.acceptor(acceptor);
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
    bounded(axum_server::from_tcp(listener)?.acceptor(Impatient))
        .handle(handle)
        .serve(router.into_make_service())
        .await
}

/// Gives up a connection whose client takes nothing of an answer for a while: the answer takes room
/// until it is written.
#[derive(Clone)]
struct Impatient;

impl<S> Accept<TcpStream, S> for Impatient {
    type Stream = Pin<Box<TimeoutStream<TcpStream>>>;
    type Service = S;
    type Future = Ready<io::Result<(Self::Stream, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let prepared = stream.set_nodelay(true).map(|()| {
            let mut stream = TimeoutStream::new(stream);
            stream.set_write_timeout(Some(STALLED));
            (Box::pin(stream), service)
        });
        ready(prepared)
    }
}

fn bounded<A: axum_server::Address, Acceptor>(server: Server<A, Acceptor>) -> Server<A, Acceptor> {
    let mut server = server.http1_only().first_request_timeout(FIRST_REQUEST);
    server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    server
}
