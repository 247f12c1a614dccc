//! The floor: our own sockets, TLS and HTTP, and nothing more. Reads a request, and answers with a
//! reply that was given before.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::routing::{post, put};
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use http::{Request, header};
use http_body_util::BodyExt as _;
use lanekeeper::pki::Files;
use lanekeeper::server::listen;
use tokio::runtime::Runtime;

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
        let router = Router::new()
            .route("/scheduler/filter", post(answer))
            .route("/reply", put(set))
            .with_state(Reply::default());
        listen::https(listen::bind(address).unwrap(), tls, router, Handle::new()).await.unwrap();
    });
}

/// Reads the whole body, piece by piece, without keeping it.
async fn answer(
    State(reply): State<Reply>,
    request: Request<Body>,
) -> ([(header::HeaderName, &'static str); 1], Bytes) {
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        frame.unwrap();
    }
    ([(header::CONTENT_TYPE, "application/json")], reply.lock().unwrap().clone())
}

async fn set(State(reply): State<Reply>, request: Request<Body>) {
    *reply.lock().unwrap() = request.into_body().collect().await.unwrap().to_bytes();
}
