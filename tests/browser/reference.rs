//! The reference cluster: where each network is up, and why not elsewhere.

use serde_json::json;
use thirtyfour::Key;

use crate::browser::Browser;
use crate::server::Server;

/// How often Tab is pressed before a place counts as out of reach.
const MOST_TABS: usize = 40;
/// Why host1 lacks cluster-b.
const MESSAGE: &str = "network config network-config-c, the only one of cluster network cluster-b, \
    does not cover host1; change its nodeSelector or the host's labels";
/// The cell of the matrix that has the focus.
const FOCUSED: &str = "(({ dataset }) => [dataset.host, dataset.network])(document.activeElement)";

pub async fn a_cell_of_the_matrix_tells_its_cause_to_the_keyboard() {
    let server = Server::of_the_examples().await;
    let browser = Browser::start().await;
    browser.open(&server.url()).await;
    let cells = "((cells) => cells.length > 0 && cells.map(({ dataset }) =>
        `${dataset.host} ${dataset.network} ${dataset.state}`))
        ([...document.querySelectorAll('#matrix [role=gridcell][data-host]')])";
    let cells = browser.until("the matrix", cells).await;
    let mut expected = Vec::new();
    for host in ["host0", "host1", "host2", "host3", "host4", "host5"] {
        for (network, active) in [
            ("mgmt", ["host0", "host1", "host2", "host3", "host4", "host5"].as_slice()),
            ("cluster-a", &["host0", "host1", "host2"]),
            ("cluster-b", &["host2", "host4", "host5"]),
        ] {
            let state = if active.contains(&host) { "active" } else { "host-not-covered" };
            expected.push(format!("{host} {network} {state}"));
        }
    }
    assert_eq!(cells, json!(expected));
    assert_eq!(browser.text("#live[data-live=connected]").await, "Live, as of version 1");

    // Tab comes to one cell, and the arrow keys move from there.
    let mut tabs = 0;
    let inside = "document.getElementById('matrix').contains(document.activeElement)";
    while browser.ask(inside).await != json!(true) {
        assert!(tabs < MOST_TABS, "the matrix can't be reached by Tab");
        browser.press(Key::Tab).await;
        tabs += 1;
    }
    browser.press(Key::Down + Key::Down + Key::Right + Key::Right).await;
    assert_eq!(browser.ask(FOCUSED).await, json!(["host1", "cluster-a"]));
    browser.press(Key::Right).await;
    assert_eq!(browser.ask(FOCUSED).await, json!(["host1", "cluster-b"]));
    browser.press(Key::Down).await;
    assert_eq!(browser.ask(FOCUSED).await, json!(["host2", "cluster-b"]));
    browser.press(Key::Left).await;
    assert_eq!(browser.ask(FOCUSED).await, json!(["host2", "cluster-a"]));
    browser.press(Key::Up + Key::Right).await;
    assert_eq!(browser.ask(FOCUSED).await, json!(["host1", "cluster-b"]));

    browser.press(Key::Enter).await;
    let cause =
        "#cause[data-host=host1][data-network=cluster-b] .cause[data-code=host-not-covered]";
    let message = browser.text(&format!("{cause} .message")).await;
    assert_eq!(message, MESSAGE);
    assert_eq!(browser.text(&format!("{cause} code")).await, "host-not-covered");
    browser.until("the focus on the cause", "document.activeElement?.id === 'cause-title'").await;

    // The address leads there again.
    let address = browser.ask("location.href").await;
    browser.open(address.as_str().unwrap()).await;
    assert_eq!(browser.text(&format!("{cause} .message")).await, MESSAGE);
    browser.click("#cause-close").await;
    browser.until("the panel to go", "document.getElementById('cause') === null").await;

    // And so does the mouse; Escape goes back to the cell.
    browser.click("#matrix [data-host=host1][data-network=cluster-b]").await;
    assert_eq!(browser.text(&format!("{cause} .message")).await, MESSAGE);
    browser.until("the focus on the cause", "document.activeElement?.id === 'cause-title'").await;
    browser.press(Key::Escape).await;
    browser.until("the panel to go", "document.getElementById('cause') === null").await;
    assert_eq!(browser.ask(FOCUSED).await, json!(["host1", "cluster-b"]));
    browser.end().await;
}

pub async fn a_vm_lists_the_hosts_where_it_can_run_and_why_not_elsewhere() {
    let server = Server::of_the_examples().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}#/vms/default/vm1", server.url())).await;
    assert_eq!(browser.text("#verdict").await, "The VM can run on 1 of 6 hosts.");
    let can = browser.texts(".group[data-group=can] [data-link=hosts]").await;
    assert_eq!(can, ["host2"]);
    let cannot = "[...document.querySelectorAll('.group[data-group=cannot]')].map((group) => [
        [...group.querySelectorAll('.items [data-link=hosts]')].map((link) => link.innerText),
        [...group.querySelectorAll('.cause')].map((cause) => [cause.dataset.code,
            cause.querySelector('[data-link=vm-networks]').innerText,
            cause.querySelector('[data-link=cluster-networks]').innerText]),
    ])";
    let missing = |network: &str, cluster: &str| {
        json!(["host-not-covered", format!("default/vm-network-{network}"), cluster])
    };
    assert_eq!(
        browser.ask(cannot).await,
        json!([
            [["host0", "host1"], [missing("c", "cluster-b")]],
            [["host4", "host5"], [missing("b", "cluster-a")]],
            [["host3"], [missing("b", "cluster-a"), missing("c", "cluster-b")]],
        ])
    );
    let messages = browser.texts(".group[data-group=cannot] .cause .message").await;
    assert_eq!(messages[0], MESSAGE.replace("host1", "host0"));
    browser.end().await;
}

/// A VMI that was made before its VM was changed.
const OLDER: &str = "
{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {name: vm2, namespace: default},
 spec: {networks: [{name: net, multus: {networkName: gone}}]}, status: {phase: Scheduling}}
";

pub async fn a_vm_whose_vmi_is_older_than_its_change_says_so() {
    let server = Server::of_the_examples().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}#/vms/default/vm2", server.url())).await;
    assert_eq!(browser.text("#verdict").await, "The VM can run on 3 of 6 hosts.");
    assert_eq!(browser.count("#vmi-differs").await, 0);
    std::fs::write(server.cluster().join("z-older.yaml"), OLDER).unwrap();
    let notice = browser.text("#vmi-differs").await;
    assert!(notice.contains("no hosts can run the VMI as it is. Restart the VM"), "{notice}");
    browser.end().await;
}
