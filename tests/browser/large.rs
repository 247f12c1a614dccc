//! As many hosts and cluster networks as a large cluster has.

use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::browser::{Browser, list};
use crate::manifests::{cluster_network, host, network_config};
use crate::server::Server;

const HOSTS: usize = 1000;
const NETWORKS: usize = 30;
/// How many rows the document may hold.
const MOST_ROWS: usize = 200;
/// A frame that takes longer is a stall that people see.
const STALL: f64 = 50.0;

pub fn cluster() -> Vec<Value> {
    let networks = (0..NETWORKS).map(|at| format!("net-{at:02}"));
    let hosts = (0..HOSTS).map(|at| {
        let labels =
            networks.clone().enumerate().filter(|(network, _)| (at * 7 + network * 5) % 11 > 2);
        let labels: Map<_, _> =
            labels.map(|(_, network)| (format!("example.com/{network}"), json!("yes"))).collect();
        host(&format!("host{at:04}"), &labels)
    });
    let configs = networks.clone().map(|network| {
        let label = format!("example.com/{network}");
        network_config(&format!("{network}-hosts"), &network, (&label, "yes"), &["enp7s1"], "")
    });
    let mgmt = std::iter::once(cluster_network("mgmt"));
    mgmt.chain(networks.clone().map(|it| cluster_network(&it)))
        .chain(configs)
        .chain(hosts)
        .collect()
}

/// The names of the hosts whose rows are in view.
const IN_VIEW: &str = "(() => {
    const frame = document.getElementById('matrix').getBoundingClientRect();
    return [...document.querySelectorAll('#matrix .grid-row:not([hidden])')].filter((row) => {
        const { top, bottom } = row.getBoundingClientRect();
        return top >= frame.top && bottom <= frame.bottom;
    }).map((row) => row.dataset.host);
})()";
/// Scrolls to the end within two hundred frames; how long each took.
const SCROLL: &str = "new Promise((done) => {
    const grid = document.getElementById('matrix');
    const step = (grid.scrollHeight - grid.clientHeight) / 200;
    const frames = [];
    let last = null;
    const frame = (now) => {
        if (last !== null) frames.push(now - last);
        last = now;
        if (frames.length === 202) done(frames);
        else {
            grid.scrollTop += step;
            requestAnimationFrame(frame);
        }
    };
    requestAnimationFrame(frame);
})";

pub async fn a_thousand_hosts_scroll_and_are_filtered() {
    let server = Server::of(&cluster()).await;
    let browser = Browser::start().await;
    let started = Instant::now();
    browser.open(&server.url()).await;
    // Alike hosts are one row, until one asks for all.
    assert_eq!(
        browser.text("#matrix .grid-row:not([hidden]) [aria-expanded] strong").await,
        "91 hosts"
    );
    eprintln!("{HOSTS} hosts were shown in groups after {:?}", started.elapsed());
    assert_eq!(browser.text("#hosts-shown").await, "1,000 hosts in 11 rows");
    browser.click("#group-alike").await;
    browser.text("#matrix [data-host=host0000]").await;
    assert_eq!(browser.text("#hosts-shown").await, "1,000 hosts");
    assert_eq!(browser.count("#matrix [role=columnheader]").await, NETWORKS + 2);
    let rows = browser.count("#matrix [role=row]").await;
    assert!(rows < MOST_ROWS, "{rows} rows are in the document");

    let frames = browser.ask(SCROLL).await;
    let mut frames: Vec<f64> =
        frames.as_array().unwrap().iter().map(|it| it.as_f64().unwrap()).collect();
    frames.sort_by(f64::total_cmp);
    let stalls = frames.iter().filter(|time| **time > STALL).count();
    eprintln!(
        "scrolling past {HOSTS} hosts × {} cluster networks: {stalls} of {} frames took more than {STALL} ms, \
         half of them at most {:.0} ms, the longest {:.0} ms",
        NETWORKS + 1,
        frames.len(),
        frames[frames.len() / 2],
        frames[frames.len() - 1]
    );
    // In the order of the document, which is not that of the rows.
    let shown = list(&browser.ask(IN_VIEW).await);
    assert!(shown.iter().any(|host| host == "host0999"), "{shown:?}");
    let rows = browser.count("#matrix [role=row]").await;
    assert!(rows < MOST_ROWS, "{rows} rows are in the document");
    let state =
        "document.querySelector('#matrix [data-host=host0999][data-network=net-00]').dataset.state";
    // 999 * 7 % 11 is 8.
    assert_eq!(browser.ask(state).await, "active");
    let state =
        "document.querySelector('#matrix [data-host=host0999][data-network=net-03]').dataset.state";
    // (999 * 7 + 3 * 5) % 11 is 1.
    assert_eq!(browser.ask(state).await, "host-not-covered");

    browser.fill("#host-filter", "t0777").await;
    browser.until("the filter", &format!("(() => {{ const shown = {IN_VIEW}; return shown.length === 1 && shown[0] === 'host0777'; }})()")).await;
    assert_eq!(browser.text("#hosts-shown").await, "1 of 1,000 hosts");
    browser.end().await;
}
