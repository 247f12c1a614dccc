//! The floor: our own sockets, TLS and HTTP, and nothing more. Reads a request, and answers with a
//! reply that was given before.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::response::{IntoResponse as _, Response};
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use http::{Method, Request, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use lanekeeper::pki::Files;
use lanekeeper::server::listen;
use tokio::runtime::Runtime;
use tower::service_fn;

type Reply = Arc<Mutex<Bytes>>;

/// The runtime, as `serve` makes it.
pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

pub fn serve(cert: &str, key: &str, address: &str) {
    runtime().block_on(async {
        let pair = Files::of(cert.into(), key.into()).load().unwrap();
        let tls = RustlsConfig::from_config(pair.config);
        let address: SocketAddr = address.parse().unwrap();
        let reply = Reply::default();
        let service = service_fn(move |request| answer(reply.clone(), request));
        listen::https(listen::bind(address).unwrap(), tls, service, Handle::new()).await.unwrap();
    });
}

/// Reads the whole body, piece by piece, without keeping it. A PUT sets the reply.
async fn answer(reply: Reply, request: Request<Incoming>) -> Result<Response, Infallible> {
    if request.method() == Method::PUT {
        *reply.lock().unwrap() = request.into_body().collect().await.unwrap().to_bytes();
        return Ok(().into_response());
    }
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        frame.unwrap();
    }
    let bytes = reply.lock().unwrap().clone();
    Ok(([(header::CONTENT_TYPE, "application/json")], bytes).into_response())
}
