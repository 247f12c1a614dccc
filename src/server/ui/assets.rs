//! The files of the page, which are part of the program.

use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri, header};

use crate::server::reply::text;

/// Each file's name, type and content.
macro_rules! files {
    ($($kind:literal: $($name:literal),+;)+) => {
        &[$($(($name, $kind, include_str!(concat!("../page/", $name))),)+)+]
    };
}

const FILES: &[(&str, &str, &str)] = files! {
    "text/html; charset=utf-8": "index.html";
    "text/css; charset=utf-8": "style.css", "parts.css", "plan.css";
    "text/javascript; charset=utf-8":
        "api.js",
        "causes.js",
        "cluster-networks.js",
        "dom.js",
        "grid.js",
        "host-networks.js",
        "hosts.js",
        "live.js",
        "main.js",
        "matrix.js",
        "network-configs.js",
        "parts.js",
        "plan-cluster-network.js",
        "plan-fields.js",
        "plan-network-config.js",
        "plan-placement.js",
        "plan-result.js",
        "plan-vm-network.js",
        "plan-walk.js",
        "planner.js",
        "problems.js",
        "routes.js",
        "rows.js",
        "vm-networks.js",
        "vms.js",
        "words.js";
};

/// A file of the page. `/` is `index.html`.
pub(super) async fn asset(uri: Uri) -> Response {
    let name = uri.path().trim_start_matches('/');
    let name = if name.is_empty() { "index.html" } else { name };
    match FILES.iter().find(|(file, ..)| *file == name) {
        Some((_, kind, content)) => ([(header::CONTENT_TYPE, *kind)], *content).into_response(),
        None => text(StatusCode::NOT_FOUND, "there is no such page; go to /"),
    }
}
