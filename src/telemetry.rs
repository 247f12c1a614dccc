//! Logs to standard error: as plain text on a terminal, otherwise as JSON. `RUST_LOG` sets the
//! level.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Sets up logging. Must be called only once.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
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
