//! The load: connections over TLS, each with one request after the other, as kube-scheduler's Go
//! client sends them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::servers::Server;

/// The sizes of the writes of Go's client: those of its own buffer and of `io.Copy`.
const FIRST_WRITE: usize = 4 << 10;
const WRITE: usize = 32 << 10;
/// The least requests of a round, all connections together. A request may take half a second.
const MIN_REQUESTS: usize = 3;

/// A client that trusts a CA and, like Go's, prefers AES-128.
pub fn client(ca: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let provider = CryptoProvider {
        cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
        ..aws_lc_rs::default_provider()
    };
    let config = ClientConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap();
    config.with_root_certificates(roots).with_no_client_auth().into()
}

/// A request with its head.
pub fn request(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: Go-http-client/1.1\r\n\
         Content-Length: {}\r\nContent-Type: application/json\r\nAccept-Encoding: gzip\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A connection, kept open for all requests: each is one handshake.
pub struct Connection {
    stream: StreamOwned<ClientConnection, TcpStream>,
    received: Vec<u8>,
    piece: Box<[u8]>,
}

/// Where a reply's body is.
enum Framing {
    Length(usize),
    Chunks,
}

impl Connection {
    pub fn open(client: &Arc<ClientConfig>, port: u16) -> Self {
        let name = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(client.clone(), name).unwrap();
        let socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
        socket.set_nodelay(true).unwrap();
        let piece = vec![0; 64 << 10].into();
        Self { stream: StreamOwned::new(tls, socket), received: Vec::new(), piece }
    }

    /// Sends a request and reads its reply. Panics if the status is not 200, or if the server
    /// closes the connection.
    fn exchange(&mut self, request: &[u8]) -> (usize, Framing) {
        let (first, rest) = request.split_at(FIRST_WRITE.min(request.len()));
        self.stream.write_all(first).unwrap();
        for piece in rest.chunks(WRITE) {
            self.stream.write_all(piece).unwrap();
        }
        self.received.clear();
        let body = loop {
            self.receive();
            if let Some(end) = memchr::memmem::find(&self.received, b"\r\n\r\n") {
                break end + 4;
            }
        };
        let head = String::from_utf8_lossy(&self.received[..body]).to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200 "), "{}", String::from_utf8_lossy(&self.received));
        assert!(!head.contains("\nconnection: close"), "{head}");
        let length = head.split("\ncontent-length: ").nth(1);
        if let Some(length) = length.and_then(|rest| rest.lines().next()) {
            let length = length.parse().unwrap();
            while self.received.len() < body + length {
                self.receive();
            }
            return (body, Framing::Length(length));
        }
        assert!(head.contains("\ntransfer-encoding: chunked"), "{head}");
        let mut at = body;
        loop {
            let Some((start, size)) = self.chunk(at) else {
                self.receive();
                continue;
            };
            at = start + size + 2;
            while self.received.len() < at {
                self.receive();
            }
            if size == 0 {
                return (body, Framing::Chunks);
            }
        }
    }

    /// The start and the size of the chunk whose size is told at a position.
    fn chunk(&self, at: usize) -> Option<(usize, usize)> {
        let line = memchr::memmem::find(&self.received[at..], b"\r\n")?;
        let size = str::from_utf8(&self.received[at..at + line]).unwrap();
        Some((at + line + 2, usize::from_str_radix(size, 16).unwrap()))
    }

    fn receive(&mut self) {
        let count = self.stream.read(&mut self.piece).unwrap();
        assert!(count > 0, "the server closed the connection");
        self.received.extend_from_slice(&self.piece[..count]);
    }

    /// Sends a request. Returns the body of its reply.
    pub fn call(&mut self, request: &[u8]) -> Vec<u8> {
        let (mut at, framing) = self.exchange(request);
        if let Framing::Length(length) = framing {
            return self.received[at..at + length].to_vec();
        }
        let mut body = Vec::new();
        while let Some((start, size)) = self.chunk(at).filter(|(_, size)| *size > 0) {
            body.extend_from_slice(&self.received[start..start + size]);
            at = start + size + 2;
        }
        body
    }
}

/// What one round with one server found.
pub struct Round {
    /// How long each request took, sorted.
    pub latencies: Vec<Duration>,
    /// The server's CPU time for all of them.
    pub cpu: Duration,
}

impl Round {
    /// The latency that this share of the requests did not exceed.
    pub fn percentile(&self, share: f64) -> Duration {
        let last = self.latencies.len() - 1;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of a length"
        )]
        self.latencies[(last as f64 * share).round() as usize]
    }

    pub fn cpu_per_request(&self) -> Duration {
        self.cpu / u32::try_from(self.latencies.len()).unwrap()
    }
}

/// Loads a server from a number of connections: first unmeasured for a fifth of the time.
pub fn round(
    client: &Arc<ClientConfig>,
    server: &Server,
    requests: &[Vec<u8>],
    connections: usize,
    time: Duration,
) -> Round {
    let (warm, measured) = (Barrier::new(connections + 1), Barrier::new(connections + 1));
    let least = MIN_REQUESTS.div_ceil(connections);
    let port = server.port;
    thread::scope(|scope| {
        let threads: Vec<_> = (0..connections)
            .map(|number| {
                let (warm, measured) = (&warm, &measured);
                scope.spawn(move || {
                    let mut connection = Connection::open(client, port);
                    let mut requests = requests.iter().cycle().skip(number);
                    let mut send = |time: Duration, least: usize| {
                        let (begun, mut latencies) = (Instant::now(), Vec::new());
                        while latencies.len() < least || begun.elapsed() < time {
                            let request = requests.next().unwrap();
                            let sent = Instant::now();
                            connection.exchange(request);
                            latencies.push(sent.elapsed());
                        }
                        latencies
                    };
                    send(time / 5, 1);
                    warm.wait();
                    measured.wait();
                    send(time, least)
                })
            })
            .collect();
        warm.wait();
        let before = server.cpu();
        measured.wait();
        let mut latencies: Vec<_> =
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        let cpu = server.cpu_since(&before);
        latencies.sort_unstable();
        Round { latencies, cpu }
    })
}
