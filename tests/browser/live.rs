//! The page follows the cluster, and the server if that goes away.

use std::fs;
use std::time::Instant;

use serde_json::json;

use crate::browser::Browser;
use crate::server::Server;

/// What selects the hosts of network-config-c, as it is and as it becomes.
const BEFORE: &str = r#"example.com/second-uplink: "true""#;
const AFTER: &str = "example.com/rack: r2";

pub async fn a_change_is_shown_without_a_reload_and_a_restart_survived() {
    let mut server = Server::of_the_examples().await;
    let browser = Browser::start().await;
    browser.open(&server.url()).await;
    browser.text(&cell("host3", "host-not-covered")).await;
    browser.text("#live[data-live=connected]").await;
    // A reload would lose it.
    browser.ask("window.loaded = 'once'").await;

    let configs = server.cluster().join("network-configs.yaml");
    let before = fs::read_to_string(&configs).unwrap();
    assert!(before.contains(BEFORE), "{before}");
    let after = before.replace(BEFORE, AFTER);
    // Several times: the first change may come while the page is still reading.
    for (text, state) in [(&after, "active"), (&before, "host-not-covered"), (&after, "active")] {
        let started = Instant::now();
        fs::write(&configs, text).unwrap();
        browser.text(&cell("host3", state)).await;
        eprintln!("a change on disk was shown after {:?}", started.elapsed());
    }
    browser.text(&cell("host2", "host-not-covered")).await;
    browser.text(&cell("host4", "active")).await;

    server.stop().await;
    browser.text("#live[data-live=reconnecting]").await;
    let notice = browser.text("#notice .notice").await;
    assert!(notice.contains("The connection to Lanekeeper is lost."), "{notice}");
    browser.text(&cell("host3", "active")).await;
    fs::write(&configs, before).unwrap();
    let started = Instant::now();
    server.start_again().await;
    browser.text("#live[data-live=connected]").await;
    eprintln!("a server that came back was found after {:?}", started.elapsed());
    browser.text(&cell("host3", "host-not-covered")).await;
    browser.text(&cell("host2", "active")).await;
    browser.until("the notice to go", "document.querySelector('#notice .notice') === null").await;

    assert_eq!(browser.ask("window.loaded").await, json!("once"));
    // That the server did not answer is what the browser may say.
    for complaint in browser.complaints().await {
        let away = complaint.starts_with("network: ") && complaint.contains("net::ERR_");
        assert!(away, "the browser complains: {complaint}");
    }
    browser.end().await;
}

/// A cell of cluster-b in a state.
fn cell(host: &str, state: &str) -> String {
    format!("#matrix [data-host={host}][data-network=cluster-b][data-state={state}]")
}
