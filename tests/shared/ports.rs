//! Ports for processes whose port must be known before they listen.

use std::net::TcpListener;

/// A port that nothing listens on. It lies below the ports that Linux gives to outgoing connections,
/// so that none of these takes it before the process listens that it is for.
pub fn free_port() -> u16 {
    loop {
        let port = fastrand::u16(20_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
