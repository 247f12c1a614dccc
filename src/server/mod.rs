//! The HTTP server. Handlers extract, decide and encode; every decision is made in `decide`.

pub mod admin;
mod admission;
mod app;
mod body;
mod buffers;
mod calls;
mod extender;
pub mod listen;
mod reply;
pub mod ui;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::post;

pub use app::{App, Settings};
pub use body::Bodies;

/// The routes of the extender and the webhooks.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/scheduler/filter", post(extender::filter))
        .route("/scheduler/prioritize", post(extender::prioritize))
        .route("/scheduler/preempt", post(extender::preempt))
        .route("/validate", post(admission::validate))
        .route("/mutate", post(admission::mutate))
        .layer(from_fn_with_state(app.clone(), calls::admit))
        .with_state(app)
}
