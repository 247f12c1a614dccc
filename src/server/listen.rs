//! Sockets: limits on what a connection may take, TLS, and a drain at the end.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use axum::Router;
use axum_server::tls_rustls::RustlsConfig;
use axum_server::{Handle, Server};
use hyper_util::rt::TokioTimer;

/// How long a client may take over its first request, from its handshake on.
const FIRST_REQUEST: Duration = Duration::from_secs(30);
/// How long a client may take over a request's head, an idle connection included. Longer than a
/// Go client keeps one idle, so that it is never closed under a request.
const HEAD: Duration = Duration::from_mins(2);
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
    let server = axum_server::from_tcp_rustls(listener, tls)?
        .map(|acceptor| acceptor.handshake_timeout(HANDSHAKE));
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
    bounded(axum_server::from_tcp(listener)?).handle(handle).serve(router.into_make_service()).await
}

fn bounded<A: axum_server::Address, Acceptor>(server: Server<A, Acceptor>) -> Server<A, Acceptor> {
    let mut server = server.http1_only().first_request_timeout(FIRST_REQUEST);
    server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    server
}
