//! The planner, from the first question to the YAML, which the command `plan` then judges too.

use std::fs;

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::server::{Server, lanekeeper};

/// What the page says that the change would do.
const SHOWN: &str = "(() => {
    const names = (element, selector) => [...element.querySelectorAll(selector)].map((link) => link.innerText);
    const change = (element, page) => ({ gained: names(element, `.gained [data-link=${page}]`), lost: names(element, `.lost [data-link=${page}]`) });
    return {
        verdict: document.getElementById('plan-verdict').dataset.verdict,
        violations: [...document.querySelectorAll('#plan-result .violation[data-code]')].map((violation) =>
            [violation.dataset.code, violation.querySelector('.message').innerText]),
        clusterNetworks: [...document.querySelectorAll('#plan-networks [data-network]')].map((network) =>
            ({ name: network.dataset.network, ...change(network, 'hosts') })),
        vms: [...document.querySelectorAll('#plan-vms .vm-change')].map((vm) =>
            ({ name: vm.querySelector('[data-link=vms]').innerText, ...change(vm, 'hosts') }))
            .sort((a, b) => (a.name < b.name ? -1 : 1)),
    };
})()";

/// The result is that of the form as it stands.
async fn settled(browser: &Browser) {
    browser.text("#plan-result[data-busy=no] #plan-verdict").await;
}

/// Gives the page's YAML to the command, which must say what the page shows. Returns that.
async fn same_answer_from_the_command(browser: &Browser, server: &Server) -> Value {
    settled(browser).await;
    let shown = browser.ask(SHOWN).await;
    let yaml = browser.text("#plan-yaml").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("change.yaml");
    fs::write(&file, &yaml).unwrap();
    let plan = lanekeeper()
        .args(["plan", "-o", "json", "--cluster"])
        .arg(server.cluster())
        .arg("-f")
        .arg(file)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&plan.stderr);
    let said: Value = serde_json::from_slice(&plan.stdout)
        .unwrap_or_else(|_| panic!("{}: {error}\n{yaml}", plan.status));
    let objects = said["objects"].as_array().unwrap();
    let violations: Vec<_> = objects
        .iter()
        .flat_map(|object| object["violations"].as_array().unwrap())
        .map(|violation| json!([violation["code"], violation["message"]]))
        .collect();
    let change = |item: &Value| json!({ "name": item["name"], "gained": item["gained"], "lost": item["lost"] });
    let changes = |list: &Value| list.as_array().unwrap().iter().map(change).collect::<Vec<_>>();
    let warned = objects.iter().any(|object| object["warnings"] != json!([]));
    let (verdict, code) = match (violations.is_empty(), warned) {
        (false, _) => ("refused", 1),
        (true, true) => ("warned", 0),
        (true, false) => ("fine", 0),
    };
    assert_eq!(plan.status.code(), Some(code), "{error}");
    let said = json!({
        "verdict": verdict,
        "violations": violations,
        "clusterNetworks": changes(&said["clusterNetworks"]),
        "vms": changes(&said["vms"]),
    });
    assert_eq!(shown, said, "of\n{yaml}");
    shown
}

pub async fn a_new_network_config_from_the_cluster_network_to_the_yaml() {
    let server = Server::of_the_examples().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}#/planner", server.url())).await;
    browser.click("[data-walk=network-config]").await;
    browser.choose("#plan-network", "cluster-a").await;
    browser.click("#hosts-label").await;
    browser.choose("#plan-labels-add", "example.com/rack").await;
    browser.choose("#plan-labels-value-0", "r2").await;
    let matches = browser.text("#plan-matches[data-matches='3'][data-of='6']").await;
    assert!(matches.starts_with("matches 3 of 6 hosts"), "{matches}");
    let hosts = browser.texts("#plan-matches [data-note=hosts] [data-link=hosts]").await;
    assert_eq!(hosts, ["host3", "host4", "host5"]);
    browser.text("#plan-result[data-busy=no] #plan-problems").await;

    let nic = "li:has(> label > [data-nic=enp9s1])";
    assert_eq!(browser.text(&format!("{nic} > label")).await, "enp9s1 (1/3 Down)");
    assert_eq!(browser.text(&format!("{nic} .why")).await, "down on host4");
    browser
        .until("the NIC to be off", "document.querySelector('[data-nic=enp9s1]').disabled")
        .await;
    browser.click("[data-nic=enp9s2]").await;
    browser.fill("#plan-name", "rack-r2").await;
    browser.text("#plan-result[data-busy=no] #plan-verdict[data-verdict=fine]").await;
    let shown = same_answer_from_the_command(&browser, &server).await;
    let gained =
        json!([{ "name": "cluster-a", "gained": ["host3", "host4", "host5"], "lost": [] }]);
    assert_eq!(shown["clusterNetworks"], gained);
    let yaml = browser.text("#plan-yaml").await;
    for line in ["  name: rack-r2", "  clusterNetwork: cluster-a", "    - enp9s2"] {
        assert!(yaml.lines().any(|it| it == line), "{line}:\n{yaml}");
    }
    let how = browser.text(".manifest > p").await;
    assert!(how.contains("and write it with kubectl create -f FILE."), "{how}");

    // The address holds the form.
    let address = browser.ask("location.href").await;
    browser.open(address.as_str().unwrap()).await;
    settled(&browser).await;
    assert_eq!(browser.text("#plan-yaml").await, yaml);

    // Two of the hosts have cluster-b by another network config.
    browser.choose("#plan-network", "cluster-b").await;
    browser.text("#plan-result[data-busy=no] #plan-verdict[data-verdict=refused]").await;
    let shown = same_answer_from_the_command(&browser, &server).await;
    assert_eq!(shown["violations"][0][0], "vc-overlap", "{shown:#}");
    browser.end().await;
}

pub async fn a_change_that_would_cut_running_vms_off_is_refused() {
    let server = Server::of_the_examples().await;
    let browser = Browser::start().await;
    browser.open(&format!("{}#/planner/change-network-config", server.url())).await;
    browser.choose("#plan-change-of", "network-config-b").await;
    browser.choose("#plan-labels-value-0", "r2").await;
    browser.text("#plan-result[data-busy=no] .violation[data-code=vc-running-vms]").await;
    let verdict = browser.text("#plan-verdict[data-verdict=refused]").await;
    assert!(verdict.starts_with("The API server would refuse it"), "{verdict}");
    let shown = same_answer_from_the_command(&browser, &server).await;
    let changed = json!([{
        "name": "cluster-a", "gained": ["host3", "host4", "host5"], "lost": ["host1", "host2"],
    }]);
    assert_eq!(shown["clusterNetworks"], changed);
    let how = browser.text(".manifest > p").await;
    assert!(how.contains("and write it with kubectl replace -f FILE."), "{how}");
    browser.end().await;
}
