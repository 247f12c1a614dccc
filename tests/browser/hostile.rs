//! Text that others wrote into the cluster, to trick the page or the person who reads it.

use std::collections::{BTreeSet, VecDeque};

use serde_json::{Map, Value, json};

use crate::browser::{Browser, list};
use crate::manifests::{
    cluster_network, host, host_network, links, network_config, uplink_fault, vm, vm_network,
};
use crate::server::Server;

/// Runs if it becomes part of the document, and turns round what stands behind it.
const TRICK: &str = "</bdi></script><script>watched.push('a script')</script>\
    <img src=x onerror=\"watched.push('an image')\">'\"&lt;\u{202e}desrever\u{2066}";
/// The same as the name of an object, which has no slash.
const NAME: &str =
    "<img src=x onerror=\"watched.push('an image')\">'\"&lt;\u{202e}desrever\u{2066}";
/// What a person sees of the trick.
const TRICK_SHOWN: &str = "</bdi></script><script>watched.push('a script')</script>";
/// What a person sees of the name, of which a long one shows the beginning and the end.
const NAME_SHOWN: [&str; 2] = ["<img src=x onerror=\"watched.push(", "⟨U+202E⟩desrever⟨U+2066⟩"];
/// More than anyone reads.
const LONG: usize = 10_000;
/// How many pages are visited.
const MOST_PAGES: usize = 150;
/// What no page may have: an element or an attribute that only a trick makes, or a mark that turns
/// text round, where a person would read it.
const TRICKED: &str = "[
    ...[...document.querySelectorAll('body script, img, iframe, object, embed, svg, form[action], base, [onerror], [onload], [onclick], [srcdoc], [style*=url]')]
        .map((element) => element.outerHTML.slice(0, 200)),
    ...[...document.querySelectorAll('a[href]')].filter((link) => !link.href.startsWith(location.origin + '/')).map((link) => link.outerHTML.slice(0, 200)),
    ...[document.title, document.body.textContent,
        ...[...document.querySelectorAll('[title], [aria-label], [placeholder]')].flatMap((element) => [element.title, element.ariaLabel, element.placeholder])]
        .flatMap((text) => text?.match(/.{0,80}[\\u061c\\u200b-\\u200f\\u202a-\\u202e\\u2060-\\u2069]/gu) ?? [])
    ]";
/// Whether something is wider than the window.
const TOO_WIDE: &str =
    "document.documentElement.scrollWidth > document.documentElement.clientWidth";

pub fn cluster() -> Vec<Value> {
    let long = "x".repeat(LONG);
    let long_trick = format!("{TRICK}{long}");
    let label = "example.com/label";
    let labels = |value: &str| {
        Map::from_iter([(label.to_owned(), json!(value)), (TRICK.to_owned(), json!(TRICK))])
    };
    let in_namespace = format!("default/{NAME}");
    vec![
        host(NAME, &labels(TRICK)),
        host(&long, &labels(&long)),
        host("plain", &labels("plain")),
        cluster_network("mgmt"),
        cluster_network(NAME),
        cluster_network(&long),
        network_config(NAME, NAME, (label, TRICK), &[NAME, "enp7s1"], &long_trick),
        network_config(&long, &long, (label, &long), &[&long], TRICK),
        network_config("plain", NAME, (label, "plain"), &["enp7s1"], "\u{202e}txt"),
        uplink_fault("a", NAME, NAME, NAME, &long_trick),
        uplink_fault("b", "plain", NAME, "plain", TRICK),
        links(NAME, &[NAME, "enp7s1", &long]),
        host_network(NAME, NAME),
        host_network(&long, &long),
        vm_network("default", NAME, NAME),
        vm_network("default", "long", &long),
        vm_network(NAME, NAME, "missing"),
        vm("default", NAME, &[&in_namespace, "default/long"]),
        vm("default", &long, &[&in_namespace]),
        vm(NAME, "plain", &["default/missing", NAME]),
    ]
}

pub async fn what_others_wrote_is_shown_as_text() {
    let server = Server::of(&cluster()).await;
    let browser = Browser::start().await;
    // From the first page over every link that there is.
    let mut ahead = VecDeque::from(["#/".to_owned()]);
    let mut known: BTreeSet<String> = ahead.iter().cloned().collect();
    let mut kinds = BTreeSet::new();
    let mut visited = 0;
    while let Some(hash) = ahead.pop_front() {
        if visited == MOST_PAGES {
            break;
        }
        visited += 1;
        let short: String = hash.chars().take(120).collect();
        browser.open(&format!("{}{hash}", server.url())).await;
        browser.complete().await;
        let heading = browser.text("#view h1").await;
        let lost =
            ["Not found", "There is no such page", "This page can't be shown", "Not ready yet"];
        // That of a network that others name, but that is not there.
        let gone = hash.ends_with("/missing") && heading == "Not found";
        assert!(gone || !lost.contains(&&*heading), "{short}: {heading}");
        let tricked = list(&browser.ask(TRICKED).await);
        assert!(tricked.is_empty(), "{short} was tricked: {tricked:#?}");
        for width in [1280, 390] {
            browser.resize(width, 900).await;
            assert_eq!(browser.ask(TOO_WIDE).await, false, "{short} is wider than {width} pixels");
        }
        let mut complaints = browser.complaints().await;
        complaints.retain(|it| !(gone && it.contains("a status of 404 (Not Found)")));
        assert!(complaints.is_empty(), "{short}: {complaints:#?}");

        let shown = browser.text("#view").await;
        if ["#/", "#/network-configs", "#/vm-networks", "#/vms", "#/host-networks", "#/problems"]
            .contains(&&*hash)
        {
            for part in NAME_SHOWN {
                assert!(shown.contains(part), "{short} does not show {part}: {shown}");
            }
        }
        let links = "[...document.querySelectorAll('a[href^=\"#/\"]')].map((link) => link.getAttribute('href'))";
        for link in list(&browser.ask(links).await) {
            kinds.insert(link.split(['/', '?']).nth(1).unwrap_or_default().to_owned());
            if known.insert(link.clone()) {
                ahead.push_back(link);
            }
        }
    }
    eprintln!("{visited} pages were visited, {} more are known", ahead.len());
    assert!(kinds.len() >= 9, "every kind of page: {kinds:?}");

    // In front of the reader: what a host reported, which only the panel of the cell shows.
    browser.open(&server.url()).await;
    browser.click("#matrix [data-host=plain][data-state=uplink-not-ready]").await;
    let message = browser.text("#cause .message").await;
    assert!(message.contains(TRICK_SHOWN) && message.contains(NAME_SHOWN[1]), "{message}");
    browser.end().await;
}
