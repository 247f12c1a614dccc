//! Bodies of requests: what they cost, and what a client hears whose body is not read.

use std::sync::Arc;
use std::time::Duration;
use std::{fs, io};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::serve::{PATIENCE, Process, args, copy_of_project, tls, until};

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_memory_of_a_burst_goes_back_to_the_system() {
    const BURST: usize = 6;
    let process = Process::start(copy_of_project(), &[]).ready();
    let client = process.client();
    let resident = || -> usize {
        let (_, metrics) = process.admin("/metrics");
        let mut lines = metrics.lines();
        let value = lines.find_map(|it| it.strip_prefix("process_resident_memory_bytes "));
        value.unwrap().parse().unwrap()
    };
    let before = resident();
    let mut body = args("vm-network-a", &["host0"]);
    body.push_str(&" ".repeat(20 * MIB));
    let mut requests = tokio::task::JoinSet::new();
    let url = format!("https://localhost:{}/scheduler/filter", process.https.port());
    for _ in 0..BURST {
        requests.spawn(client.post(&url).body(body.clone()).send());
    }
    while let Some(answer) = requests.join_next().await {
        assert_eq!(answer.unwrap().unwrap().status(), 200);
    }
    let most = process.memory("VmHWM");
    assert!(most > before + 20 * MIB, "{before}, then {most}: that is no burst");
    until("memory as before", || (resident() < before + 10 * MIB).then_some(()));
}

type Tls = tokio_rustls::client::TlsStream<tokio::net::TcpStream>;

/// A connection that sends the head of a request of `length` bytes, and the first `sent` of them.
pub async fn half_a_request(process: &Process, length: usize, sent: usize) -> Tls {
    begun("/scheduler/filter", process, length, sent).await.unwrap()
}

/// The same for any path. Fails if the server closes the connection before.
async fn begun(path: &str, process: &Process, length: usize, sent: usize) -> io::Result<Tls> {
    let ca = fs::read(process.folder.path().join("certs/dev/ca.crt")).unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(tls(&ca)));
    let stream = tokio::net::TcpStream::connect(process.https).await.unwrap();
    let name = "localhost".try_into().unwrap();
    let mut stream = connector.connect(name, stream).await.unwrap();
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&vec![b' '; sent]).await?;
    stream.flush().await?;
    Ok(stream)
}

#[tokio::test]
async fn a_client_that_sends_its_whole_body_first_reads_why_it_was_refused() {
    let limits = ["--max-body-memory", "1MiB", "--max-filter-body", "30MiB"];
    let process = Process::start(copy_of_project(), &limits).ready();
    assert!(process.said("larger than --max-body-memory"), "limits that don't go together");
    for (path, length, status) in [
        ("/scheduler/filter", 20 * MIB, "503 Service Unavailable"),
        ("/scheduler/filter", 31 * MIB, "413 Payload Too Large"),
        ("/validate", 31 * MIB, "413 Payload Too Large"),
        ("/nowhere", 31 * MIB, "404 Not Found"),
    ] {
        let mut stream = begun(path, &process, length, length).await.expect(status);
        let mut answer = String::new();
        BufReader::new(&mut stream).read_line(&mut answer).await.unwrap();
        assert_eq!(answer, format!("HTTP/1.1 {status}\r\n"), "{path}");
    }
}

#[tokio::test]
async fn what_a_body_promises_and_does_not_send_keeps_nobody_out() {
    let process = Process::start(copy_of_project(), &[]).ready();
    let client = process.client();
    // Together, they promise four times what all requests may take.
    let before = process.memory("VmSize");
    let mut stalled = Vec::new();
    for _ in 0..8 {
        stalled.push(half_a_request(&process, 128 * MIB, 70 << 10).await);
    }
    // What was sent has arrived once a request on each thread was answered behind it.
    for _ in 0..8 {
        let answer = process.post(&client, "/scheduler/filter", args("vm-network-a", &["host0"]));
        assert_eq!(answer.await.status(), 200);
    }
    assert!(process.memory("VmHWM") < 128 * MIB, "{}", process.memory("VmHWM"));
    let more = process.memory("VmSize") - before;
    assert!(more < 512 * MIB, "{more}: room is made for what is believed");
    drop(stalled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_in_flight_beyond_their_bound_are_503_at_once() {
    let limits = ["--max-body-memory", "64KiB", "--max-filter-body", "60KiB"];
    let process = Process::start(copy_of_project(), &limits).ready();
    assert!(!process.said("larger than --max-body-memory"));
    let client = process.client();
    let padded = |size: usize| {
        let mut body = args("vm-network-a", &["host0"]);
        body.push_str(&" ".repeat(size - body.len()));
        body
    };
    // Promised bytes take no room, so that nobody can take it by promises.
    let promise = half_a_request(&process, 60 << 10, 0).await;
    assert_eq!(process.post(&client, "/scheduler/filter", padded(50 << 10)).await.status(), 200);
    // When the held bytes have arrived can't be seen from outside, and of two that come in together
    // either may be the one too many: so both are sent until it is the one that we wait for.
    let mut every = tokio::time::interval(Duration::from_millis(10));
    let full = tokio::time::timeout(PATIENCE, async {
        loop {
            let held = half_a_request(&process, 60 << 10, 50 << 10).await;
            let answer = process.post(&client, "/scheduler/filter", padded(50 << 10)).await;
            if answer.status() == 503 {
                return held;
            }
            every.tick().await;
        }
    });
    let held = full.await.unwrap();
    assert_eq!(process.post(&client, "/scheduler/filter", padded(1 << 10)).await.status(), 200);
    drop((held, promise));
    let free = tokio::time::timeout(PATIENCE, async {
        while process.post(&client, "/scheduler/filter", padded(50 << 10)).await.status() != 200 {
            every.tick().await;
        }
    });
    free.await.unwrap();
    assert_eq!(process.post(&client, "/scheduler/filter", padded(61 << 10)).await.status(), 413);
}
