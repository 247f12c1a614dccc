//! Logs, on standard error: JSON for machines, plain for a terminal. `RUST_LOG` chooses how much.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Sets logging up, once, at the start.
pub fn start() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        logs.init();
    } else {
        logs.json().flatten_event(true).with_span_list(false).init();
    }
}
