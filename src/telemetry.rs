//! Logs to standard error: as plain text on a terminal, otherwise as JSON. `RUST_LOG` sets the
//! level.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// What is logged without `RUST_LOG`. kube logs each failed answer, without the request; we tell what
/// it means, once.
const USUAL: &str = "info,kube_client=off";

/// Sets up logging. Must be called only once.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(USUAL));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A line that can't be written, as when the disk is full, is lost. It would be complained about on
        // standard error too, and that would panic.
        .log_internal_errors(false);
    if std::io::stderr().is_terminal() {
        logs.init();
    } else {
        logs.json().flatten_event(true).with_span_list(false).init();
    }
}
