//! Sockets: TLS, and how long a connection may take for what.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::num::NonZero;
use std::pin::Pin;
use std::thread::available_parallelism;
use std::time::Duration;

use axum::middleware::AddExtension;
use axum::response::Response;
use axum::{Extension, Router, ServiceExt as _};
use axum_server::accept::Accept;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use axum_server::{Handle, Server};
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::TokioTimer;
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;
use tower_layer::Layer as _;
use tower_service::Service;

use super::limit::Limited;

/// How long a client may take to send its first request after the handshake.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may be idle, or a request's head may take. This is longer than Go clients
/// keep an idle connection, so that we never close one just as a request arrives.
const HEAD_TIMEOUT: Duration = Duration::from_mins(2);
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes of a request's head, which `--max-body-memory` does not count. hyper reads bodies in
/// parts of at most this size too.
const MAX_HEAD: usize = 64 << 10;
/// The most open connections on the HTTPS port. The scheduler keeps only a few, and an API server one for
/// each request that it has in flight.
const MAX_CONNECTIONS: usize = 512;
/// The most threads that serve HTTPS.
const MAX_THREADS: usize = 4;
/// The most open connections on the plain port.
const MAX_ADMIN_CONNECTIONS: usize = 64;

/// Opens a listening socket, so that its address is known before it is served. `[::]` means every
/// address, of IPv4 too, also where there is no IPv6.
///
/// # Errors
/// If the address can't be listened on. The error names it.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let mut bound = TcpListener::bind(address);
    if address.ip() == Ipv6Addr::UNSPECIFIED
        && bound.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::AddrInUse)
    {
        bound = TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).or(bound);
    }
    let listener = bound.map_err(|error| {
        io::Error::new(error.kind(), format!("can't listen on {address}: {error}"))
    })?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Serves HTTPS until `handle` ends it. Each handshake uses the certificate that `tls` has then.
///
/// A connection stays on one thread, so that no other thread is woken for a request: kube-scheduler
/// waits for each answer, so what counts is how long one takes.
///
/// # Errors
/// If the socket can't be used, or a thread can't be started.
pub async fn https<S>(
    listener: TcpListener,
    tls: RustlsConfig,
    service: S,
    handle: Handle<SocketAddr>,
) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send>,
    S: Clone + Send + Sync + 'static,
{
    let limited = Limited::to(MAX_CONNECTIONS);
    let mut threads = JoinSet::new();
    for _ in 0..available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS) {
        let acceptor = RustlsAcceptor::new(tls.clone()).handshake_timeout(HANDSHAKE_TIMEOUT);
        let acceptor = Identified(acceptor.acceptor(limited.clone()));
        let (listener, service, handle) = (listener.try_clone()?, service.clone(), handle.clone());
        threads.spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let server = axum_server::from_tcp(listener)?.acceptor(acceptor);
                bounded(server).handle(handle).serve(service.into_make_service()).await
            })
        });
    }
    while let Some(ended) = threads.join_next().await {
        ended.map_err(io::Error::other)??;
    }
    Ok(())
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
    let limited = Limited::to(MAX_ADMIN_CONNECTIONS);
    bounded(axum_server::from_tcp(listener)?.acceptor(limited))
        .handle(handle)
        .serve(router.into_make_service())
        .await
}

/// The client at the other end of a connection.
#[derive(Clone)]
pub(super) struct Client {
    has_certificate: bool,
}

impl Client {
    /// Returns whether the client showed a certificate of the CA in `--client-ca`.
    pub fn is_known(&self) -> bool {
        self.has_certificate
    }
}

/// Accepts TLS connections and records whether the client showed a certificate. If so, rustls has
/// verified it.
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
    let mut server = server.http1_only().first_request_timeout(FIRST_REQUEST_TIMEOUT);
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD);
    server
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn every_address_is_that_of_both_families_where_there_are_both() {
        let listener = bind("[::]:0".parse().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, port)).unwrap();
        }
        let taken = bind(listener.local_addr().unwrap()).unwrap_err().to_string();
        assert!(taken.contains(&format!("can't listen on [::]:{port}")), "{taken}");
    }
}
