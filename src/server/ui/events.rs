//! Server-sent events: a new version of the snapshot, so that a viewer asks again.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream::unfold;
use serde_json::json;

use crate::publish::{Published, Snapshots};

use super::state::Ui;

/// The time between two events.
const PAUSE: Duration = Duration::from_millis(250);
/// How often it is looked at why there is no snapshot yet.
const WAITING_PAUSE: Duration = Duration::from_secs(1);
/// The time between two heartbeats, by which a broken connection is noticed.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What was told last.
#[derive(PartialEq, Eq)]
enum Told {
    Nothing,
    Waiting(Vec<String>),
    Version(u64),
}

pub(super) async fn events(State(ui): State<Arc<Ui>>) -> impl IntoResponse {
    let stream =
        unfold((ui.snapshots.clone(), Told::Nothing), |(mut snapshots, told)| async move {
            let now = next(&mut snapshots, &told).await?;
            let event = match &now {
                Told::Version(version) => Event::default()
                    .event("version")
                    .data(json!({ "version": version }).to_string()),
                Told::Waiting(what) => {
                    Event::default().event("waiting").data(json!({ "waiting": what }).to_string())
                }
                Told::Nothing => Event::default(),
            };
            Some((Ok::<_, Infallible>(event), (snapshots, now)))
        });
    Sse::new(stream).keep_alive(KeepAlive::new().interval(HEARTBEAT))
}

/// Waits for what is to be told next. Returns `None` once the publisher is gone.
async fn next(snapshots: &mut Snapshots, told: &Told) -> Option<Told> {
    loop {
        let now = match &*snapshots.current() {
            Published::Waiting(what) => Told::Waiting(what.clone()),
            Published::Synced { version, .. } => Told::Version(*version),
        };
        if now != *told {
            return Some(now);
        }
        match now {
            Told::Version(_) => {
                tokio::time::sleep(PAUSE).await;
                snapshots.next().await?;
            }
            _ => tokio::time::sleep(WAITING_PAUSE).await,
        }
    }
}
