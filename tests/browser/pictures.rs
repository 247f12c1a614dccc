//! Screenshots of every page, to look at: light and dark, wide and narrow.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use crate::browser::Browser;
use crate::server::Server;
use crate::{hostile, large};

/// Each picture's name and the address of what it shows.
const PAGES: [(&str, &str); 22] = [
    ("networks", "#/"),
    ("cause", "#/?host=host1&network=cluster-b"),
    ("host", "#/hosts/host1"),
    ("cluster-network", "#/cluster-networks/cluster-b"),
    ("network-configs", "#/network-configs"),
    ("network-config", "#/network-configs/network-config-b"),
    ("vm-networks", "#/vm-networks"),
    ("vm-network", "#/vm-networks/default/vm-network-a"),
    ("vms", "#/vms"),
    ("vm", "#/vms/default/vm1"),
    ("host-networks", "#/host-networks"),
    ("problems", "#/problems"),
    ("not-found", "#/hosts/nowhere"),
    ("planner", "#/planner"),
    ("plan-empty", "#/planner/network-config"),
    (
        "plan-fine",
        "#/planner/network-config?form={\"name\":\"rack-r2\",\"clusterNetwork\":\"cluster-a\",\"hosts\":{\"by\":\"label\",\"labels\":{\"example.com/rack\":\"r2\"}},\"nics\":[\"enp9s2\"]}",
    ),
    (
        "plan-refused",
        "#/planner/change-network-config?form={\"change\":\"network-config-b\",\"name\":\"network-config-b\",\"clusterNetwork\":\"cluster-a\",\"hosts\":{\"by\":\"label\",\"labels\":{\"example.com/rack\":\"r2\"}},\"nics\":[\"enp7s1\",\"enp7s2\"],\"mode\":\"active-backup\"}",
    ),
    ("plan-change", "#/planner/change-network-config"),
    ("plan-cluster-network", "#/planner/cluster-network"),
    ("plan-vm-network", "#/planner/vm-network"),
    ("plan-placement", "#/planner/placement"),
    (
        "plan-by-name",
        "#/planner/network-config?form={\"hosts\":{\"by\":\"name\",\"names\":[\"host3\"]}}",
    ),
];

/// Where the pictures go, if anyone asks for them.
pub fn folder() -> Option<PathBuf> {
    std::env::var_os("LANEKEEPER_SCREENSHOTS").map(PathBuf::from)
}

pub async fn every_page_is_photographed() {
    let folder = folder().unwrap();
    fs::create_dir_all(&folder).unwrap();
    let browser = Browser::start().await;
    let server = Server::of_the_examples().await;
    for (name, hash) in PAGES {
        photograph(&browser, &folder, name, &format!("{}{hash}", server.url())).await;
    }
    // The README's.
    browser.scheme("light").await;
    browser.resize(1280, 700).await;
    browser.open(&format!("{}{}", server.url(), PAGES[1].1)).await;
    browser.complete().await;
    browser.text("#cause .cause").await;
    save(&browser, &folder.join("page.png"), false).await;

    for (name, cluster) in [("large", large::cluster()), ("hostile", hostile::cluster())] {
        let server = Server::of(&cluster).await;
        for (page, hash) in
            [("networks", "#/"), ("configs", "#/network-configs"), ("problems", "#/problems")]
        {
            let name = format!("{name}-{page}");
            photograph(&browser, &folder, &name, &format!("{}{hash}", server.url())).await;
        }
    }
}

/// Four pictures of a page.
async fn photograph(browser: &Browser, folder: &Path, name: &str, url: &str) {
    for width in [1280, 390] {
        for scheme in ["light", "dark"] {
            browser.scheme(scheme).await;
            browser.resize(width, 844).await;
            browser.open(url).await;
            browser.complete().await;
            save(browser, &folder.join(format!("{name}-{width}-{scheme}.png")), true).await;
        }
    }
}

async fn save(browser: &Browser, file: &Path, whole: bool) {
    let parameters = json!({ "format": "png", "captureBeyondViewport": whole });
    let answer = browser.devtools("Page.captureScreenshot", parameters).await;
    let picture = BASE64_STANDARD.decode(answer["data"].as_str().unwrap()).unwrap();
    fs::write(file, picture).unwrap();
}
