//! The page over a real API server: under our own account, with the objects that it reads beyond the
//! snapshot.

use serde_json::{Value, json};

use crate::fixture::{ControlPlane, Lanekeeper, logged_address, project, until};
use crate::objects::like;

struct Page {
    client: reqwest::Client,
    api: String,
}

impl Page {
    async fn of(lanekeeper: &Lanekeeper) -> Self {
        let address = until("the page's address", async || {
            logged_address(&lanekeeper.process, "serving the web page")
        });
        let api = format!("http://{}/api/v1", address.await);
        Self { client: reqwest::Client::builder().no_proxy().build().unwrap(), api }
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.client.get(format!("{}/{path}", self.api)).send().await.unwrap();
        answer.json().await.unwrap()
    }

    async fn post(&self, path: &str, body: String) -> Value {
        let answer = self.client.post(format!("{}/{path}", self.api)).body(body).send();
        answer.await.unwrap().json().await.unwrap()
    }
}

pub async fn what_it_plans_is_what_the_api_server_takes() {
    let plane = ControlPlane::start().await;
    plane.install().await;
    plane.install_foreign_kinds().await;
    plane.apply_examples().await;
    let lanekeeper = plane.lanekeeper().await.ready().await;
    let page = Page::of(&lanekeeper).await;

    // Which hosts are cordoned is read afresh: no watch tells.
    assert_eq!(page.get("hosts/host3").await["cordoned"], false);
    plane.merge(&like("Node", "host3"), json!({"spec": {"unschedulable": true}})).await;
    assert_eq!(page.get("hosts/host3").await["cordoned"], true);

    // A change begins with the whole object, which our account may list, but not get.
    let filled =
        page.post("planner/network-config", json!({"change": "network-config-c"}).to_string());
    let mut form = filled.await["form"].clone();
    assert_eq!(form["description"], "cluster-b wherever there is a second uplink", "{form}");
    form["hosts"] = json!({"by": "all"});
    form["nics"] = json!(["enp9s2"]);
    let planned = page.post("planner/network-config", form.to_string()).await;
    assert_eq!(planned["problems"], json!([]), "{planned}");
    assert_eq!(planned["cordoned"], json!(["host3"]));
    assert_eq!(planned["plan"]["objects"][0]["operation"], "update");

    // What was planned for it comes true.
    let change = std::fs::read_to_string(project().join("docs/changes/cluster-b-on-host3.yaml"));
    let change = change.unwrap();
    let plan = page.post("plan", change.clone()).await;
    assert_eq!(plan["clusterNetworks"][0]["gained"], json!(["host3"]), "{plan}");
    let object: Value = serde_saphyr::from_str(&change).unwrap();
    plane.create(&object).await;
    until("host3 to be covered", async || {
        let overview = page.get("overview").await;
        (overview["hosts"][3]["states"][2] == 0).then_some(())
    })
    .await;
    let again = page.post("plan", change).await;
    assert_eq!(again["objects"][0]["operation"], "update", "it exists now: {again}");
    assert_eq!(again["clusterNetworks"], json!([]));
}
