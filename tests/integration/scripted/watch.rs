//! The watch loop against a scripted API server.

use std::sync::Arc;
use std::time::Duration;

use lanekeeper::api::Api;
use lanekeeper::cluster::{Kind, Options, Snapshot};
use lanekeeper::k8s::Decoder;
use lanekeeper::metrics::{Certificates, Metrics};
use lanekeeper::publish::{self, Snapshots, Watches};
use lanekeeper::source::Live;
use serde_json::json;

use super::{ALL, Answer, ApiServer, Call, Step, end_of_list, list, object, quiet, resources};

/// A source that follows a scripted API server; it ends with the test's runtime.
struct Followed {
    server: ApiServer,
    snapshots: Snapshots,
    watches: Watches,
    metrics: Arc<Metrics>,
}

impl Followed {
    fn start(server: ApiServer) -> Self {
        let (publisher, snapshots) = publish::channel();
        let watches = Watches::default();
        let metrics = Arc::new(Metrics::new().unwrap());
        let api = Api::new(server.client());
        let live = Live::new(api, Decoder::default(), watches.clone(), metrics.clone());
        tokio::spawn(live.follow(Options::default(), publisher));
        Self { server, snapshots, watches, metrics }
    }

    /// Waits until what is known is so, for at most ten minutes of the paused clock.
    async fn until(&mut self, what: &str, is_so: impl Fn(&Snapshot) -> bool) {
        let waited = tokio::time::timeout(Duration::from_mins(10), async {
            loop {
                if self.snapshots.current().snapshot().is_some_and(&is_so) {
                    return;
                }
                let _ = self.snapshots.next().await.unwrap();
            }
        });
        assert!(waited.await.is_ok(), "{what} did not come about");
    }

    async fn until_hosts(&mut self, names: &[&str]) {
        self.until(&format!("{names:?}"), |snapshot| hosts(snapshot) == names).await;
    }

    fn errors_of(&self, kind: &str) -> bool {
        let metrics = self.metrics.scrape(&self.snapshots, &Certificates::default()).unwrap();
        let none = format!("lanekeeper_watch_errors_total{{kind=\"{kind}\"}} 0\n");
        assert!(metrics.contains(none.trim_end_matches("0\n")), "{metrics}");
        !metrics.contains(&none)
    }

    fn faults_of(&self, kind: &str) -> Vec<String> {
        let watch = format!("the watch of {kind} ");
        self.watches.faults().into_iter().filter(|fault| fault.starts_with(&watch)).collect()
    }
}

fn hosts(snapshot: &Snapshot) -> Vec<String> {
    snapshot.hosts().into_iter().map(|host| host.name().to_string()).collect()
}

fn of_nodes(call: &Call) -> bool {
    call.last() == "nodes"
}

/// How many seconds of the paused clock lie between calls.
fn seconds_between(calls: &[Call]) -> Vec<u64> {
    let waits = calls.windows(2).map(|pair| pair[1].at.saturating_sub(pair[0].at).as_secs());
    waits.collect()
}

/// Lets seconds of the paused clock pass.
async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn history_that_is_gone_in_mid_stream_is_listed_anew() {
    let mut lists = 0;
    let server = ApiServer::new(move |call| {
        if call.is_list("nodes") {
            lists += 1;
            return Some(match lists {
                1 => list(5, &[object("a", 1)]),
                2 => list(9, &[object("b", 2), object("c", 3)]),
                _ => list(12, &[object("b", 2), object("c", 3)]),
            });
        }
        let gone = || Step::Event("ERROR", json!({ "code": 410, "message": "too old" }));
        match &**call.query.get("resourceVersion")? {
            "5" if of_nodes(call) => {
                Some(Answer::Events(vec![Step::Event("ADDED", object("b", 6)), gone()]))
            }
            "9" if of_nodes(call) => {
                Some(Answer::Events(vec![Step::Wait(Duration::from_secs(5)), gone()]))
            }
            _ => None,
        }
    });
    let mut followed = Followed::start(server);
    followed.until_hosts(&["b", "c"]).await;
    let watches = followed.server.calls(|call| of_nodes(call) && call.is_watch());
    assert_eq!(watches[0].query["resourceVersion"], "5");
    pass(1).await;
    let watches = followed.server.calls(|call| of_nodes(call) && call.is_watch());
    assert_eq!(
        watches.last().unwrap().query["resourceVersion"],
        "9",
        "it goes on from the new list"
    );
    pass(9).await;
    let watches = followed.server.calls(|call| of_nodes(call) && call.is_watch());
    assert_eq!(watches.last().unwrap().query["resourceVersion"], "12", "and so the next time");
    assert!(!followed.errors_of("Node"), "history is dropped every few minutes: no fault");
    let metadata = followed.server.calls(|call| {
        (of_nodes(call) || call.last() == "namespaces")
            && !call.accept.contains("PartialObjectMetadata")
    });
    assert!(metadata.is_empty(), "of nodes and namespaces only metadata is asked for");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_before_its_bookmark_is_no_list() {
    let mut streams = 0;
    let server = ApiServer::streaming(move |call| {
        (of_nodes(call) && call.is_stream()).then(|| {
            streams += 1;
            Answer::Events(match streams {
                1 => vec![Step::Event("ADDED", object("a", 1))],
                2 => vec![Step::Event("ADDED", object("a", 1)), Step::Break],
                _ => vec![Step::Event("ADDED", object("b", 1)), end_of_list(7)],
            })
        })
    });
    let mut followed = Followed::start(server);
    followed.until_hosts(&["b"]).await;
    assert_eq!(followed.server.calls(|call| of_nodes(call) && call.is_stream()).len(), 3);
    assert!(followed.errors_of("Node"), "it is counted");
}

#[tokio::test(start_paused = true)]
async fn a_streamed_list_takes_as_long_as_it_takes() {
    let server = ApiServer::streaming(|call| {
        (of_nodes(call) && call.is_stream()).then(|| {
            let mut steps = Vec::new();
            for number in 0..5 {
                steps.push(Step::Wait(Duration::from_mins(1)));
                steps.push(Step::Event("ADDED", object(&format!("h{number}"), number)));
            }
            steps.push(end_of_list(9));
            Answer::Events(steps)
        })
    });
    let mut followed = Followed::start(server);
    followed.until_hosts(&["h0", "h1", "h2", "h3", "h4"]).await;
    let streams = followed.server.calls(|call| of_nodes(call) && call.is_stream());
    assert_eq!(streams.len(), 1, "it did not begin again");
    assert!(!streams[0].has("timeoutSeconds"), "the API server is not told to cut it short");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_found_is_not_asked_for_four_times_a_second() {
    let server = ApiServer::new(|call| {
        (of_nodes(call)).then_some(Answer::Status(404, None, "the server could not find it"))
    });
    let followed = Followed::start(server);
    pass(60).await;
    let calls = followed.server.calls(of_nodes).len();
    assert!((8..=20).contains(&calls), "{calls} in a minute");
    assert_eq!(followed.faults_of("Node").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_busy_api_server_is_asked_again_when_it_says() {
    let mut answers = 0;
    let server = ApiServer::streaming(move |call| {
        let is_stream = of_nodes(call) && call.is_stream();
        is_stream.then(|| {
            answers += 1;
            match answers {
                1 => Answer::Status(429, Some(7), "storage is (re)initializing"),
                2 => Answer::Status(503, Some(11), "shutting down"),
                3 => Answer::Status(429, Some(100_000), "go away"),
                _ => Answer::Events(vec![Step::Event("ADDED", object("a", 1)), end_of_list(2)]),
            }
        })
    });
    let mut followed = Followed::start(server);
    followed.until_hosts(&["a"]).await;
    let calls = followed.server.calls(|call| of_nodes(call) && call.is_stream());
    let waits = seconds_between(&calls);
    assert_eq!(waits, [7, 11, 60], "a minute at most");
    assert_eq!(calls.len(), 4, "streams are not given up for it");
}

#[tokio::test(start_paused = true)]
async fn what_is_forbidden_is_said_and_listed_again_once_it_may_be() {
    let mut asked = 0;
    let server = ApiServer::new(move |call| {
        call.is_list("nodes").then(|| {
            asked += 1;
            match asked {
                1..=12 => Answer::Status(403, None, "nodes is forbidden: cannot list"),
                _ => list(3, &[object("a", 1)]),
            }
        })
    });
    let mut followed = Followed::start(server);
    pass(45).await;
    let faults = followed.faults_of("Node");
    assert!(faults[0].contains("forbidden: nodes is forbidden: cannot list"), "{faults:?}");
    followed.until_hosts(&["a"]).await;
    pass(2).await;
    assert!(followed.faults_of("Node").is_empty(), "well again");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_the_api_server_refuses_is_listed_anew_and_one_that_breaks_is_gone_on_with() {
    let (mut lists, mut watches) = (0, 0);
    let server = ApiServer::new(move |call| {
        if call.is_list("nodes") {
            lists += 1;
            return Some(list(lists * 10, &[object("a", 1)]));
        }
        (of_nodes(call) && call.is_watch()).then(|| {
            watches += 1;
            match watches {
                1 => Answer::Broken,
                2 => Answer::Events(vec![Step::Event("ADDED", object("b", 12)), Step::Break]),
                3 => Answer::Status(500, None, "etcd is in a bad mood"),
                4 => Answer::Events(vec![Step::Event("ERROR", json!({ "code": 500 }))]),
                _ => quiet(),
            }
        })
    });
    let followed = Followed::start(server);
    pass(30).await;
    let calls = followed.server.calls(of_nodes);
    let told: Vec<String> = calls
        .iter()
        .take(8)
        .map(|call| match call.query.get("resourceVersion") {
            Some(version) => format!("watch {version}"),
            None => "list".to_owned(),
        })
        .collect();
    assert_eq!(
        told,
        ["list", "watch 10", "watch 10", "watch 12", "list", "watch 20", "list", "watch 30"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_kind_comes_goes_and_comes() {
    let started = tokio::time::Instant::now();
    let gone = |at: Duration| {
        let at = at.as_secs();
        at < 30 || (100..500).contains(&at)
    };
    let without: Vec<&str> =
        ALL.iter().copied().filter(|name| !name.starts_with("virtualmachine")).collect();
    let server = ApiServer::new(move |call| {
        let now = started.elapsed();
        let is_vms = call.last() == "virtualmachines";
        if call.path == "/apis/kubevirt.io/v1" && gone(now) {
            return Some(Answer::Json(resources(&without)));
        }
        if is_vms && gone(now) {
            return Some(Answer::Status(404, None, "not found"));
        }
        if call.is_list("virtualmachines") {
            let mut vm = object("vm", 1);
            vm["metadata"]["namespace"] = json!("default");
            return Some(list(3, &[vm]));
        }
        None
    });
    let mut followed = Followed::start(server);
    let vms = |snapshot: &Snapshot| snapshot.count(Kind::Vm);
    followed.until("no VMs", |snapshot| vms(snapshot) == 0).await;
    assert!(followed.watches.missing().contains(&Kind::Vm));
    followed.until("the VM", |snapshot| vms(snapshot) == 1).await;
    pass(2).await;
    assert!(!followed.watches.missing().contains(&Kind::Vm));

    // Gone from 100 s on: the next watch meets it, and what was known counts for five minutes.
    tokio::time::sleep_until(started + Duration::from_secs(200)).await;
    assert_eq!(followed.watches.kept(), [Kind::Vm]);
    assert_eq!(vms(followed.snapshots.current().snapshot().unwrap()), 1);
    followed.until("its end", |snapshot| vms(snapshot) == 0).await;
    let at = started.elapsed().as_secs();
    assert!((400..480).contains(&at), "five minutes after it went: {at}");
    assert!(followed.watches.missing().contains(&Kind::Vm));

    followed.until("the VM again", |snapshot| vms(snapshot) == 1).await;
    let at = started.elapsed().as_secs();
    assert!((500..=511).contains(&at), "it is looked for every ten seconds: {at}");
}

#[tokio::test(start_paused = true)]
async fn a_list_whose_second_page_fails_takes_nothing_away() {
    let mut firsts = 0;
    let server = ApiServer::new(move |call| {
        if of_nodes(call) && call.is_watch() && firsts == 1 {
            let gone = json!({ "code": 410 });
            return Some(Answer::Events(vec![Step::Event("ERROR", gone)]));
        }
        if !call.is_list("nodes") {
            return None;
        }
        if call.has("continue") {
            return Some(match firsts {
                1 | 3 => list(4, &[object("b", 1)]),
                _ => Answer::Status(500, None, "no"),
            });
        }
        firsts += 1;
        Some(first_page(if firsts == 3 { "c" } else { "a" }))
    });
    let mut followed = Followed::start(server);
    followed.until_hosts(&["a", "b"]).await;
    followed.until_hosts(&["b", "c"]).await;
    assert!(followed.errors_of("Node"));
}

/// A page of a list of hosts that goes on.
fn first_page(host: &str) -> Answer {
    let metadata = json!({ "resourceVersion": "4", "continue": "next" });
    Answer::Json(json!({ "metadata": metadata, "items": [object(host, 1)] }))
}

#[tokio::test(start_paused = true)]
async fn history_that_is_gone_again_and_again_is_a_fault() {
    // Either the second page or the watch never comes, until the API server is well again.
    for of_page in [true, false] {
        let started = tokio::time::Instant::now();
        let server = ApiServer::new(move |call| {
            let is_ill = (10..200).contains(&started.elapsed().as_secs());
            let gone = || Answer::Status(410, None, "too old");
            match () {
                () if !of_nodes(call) => None,
                () if call.has("continue") && is_ill && of_page => Some(gone()),
                () if call.has("continue") => Some(list(4, &[object("b", 1)])),
                () if call.is_list("nodes") => Some(first_page("a")),
                () if is_ill => Some(gone()),
                () => None,
            }
        });
        let mut followed = Followed::start(server);
        followed.until_hosts(&["a", "b"]).await;
        pass(62).await;
        assert!(followed.faults_of("Node").is_empty(), "the first time is none");
        pass(60).await;
        let faults = followed.faults_of("Node");
        assert!(faults[0].contains("too old"), "{of_page}: {faults:?}");
        assert!(followed.errors_of("Node"));
        pass(100).await;
        assert!(followed.faults_of("Node").is_empty(), "well again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_that_is_put_off_is_asked_for_again_and_the_list_goes_on() {
    for refusals in [5, 6] {
        let mut pages = 0;
        let server = ApiServer::new(move |call| match () {
            () if !call.is_list("nodes") => None,
            () if !call.has("continue") => Some(first_page("a")),
            () => {
                pages += 1;
                let busy = pages <= refusals;
                Some(if busy {
                    Answer::Status(429, Some(7), "too many requests")
                } else {
                    list(4, &[object("b", 1)])
                })
            }
        });
        let mut followed = Followed::start(server);
        followed.until_hosts(&["a", "b"]).await;
        let calls = followed.server.calls(|call| call.is_list("nodes"));
        let firsts = calls.iter().filter(|call| !call.has("continue")).count();
        assert_eq!(firsts, if refusals == 5 { 1 } else { 2 }, "{refusals}: patience ends");
        assert_eq!(seconds_between(&calls)[1..6], [7; 5]);
        assert_eq!(followed.errors_of("Node"), refusals == 6);
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_watch_is_taken_for_dead_and_gone_on_with() {
    let mut watches = 0;
    let server = ApiServer::new(move |call| {
        (of_nodes(call) && call.is_watch()).then(|| {
            watches += 1;
            let silence = Step::Wait(Duration::from_hours(1));
            match watches {
                1 => Answer::Events(vec![Step::Event("ADDED", object("a", 5)), silence]),
                2 => Answer::Silence,
                _ => Answer::Events(vec![Step::Event("ADDED", object("b", 6)), silence]),
            }
        })
    });
    let mut followed = Followed::start(server);
    followed.until_hosts(&["a", "b"]).await;
    let calls = followed.server.calls(|call| of_nodes(call) && call.is_watch());
    let versions: Vec<&str> = calls.iter().map(|it| &*it.query["resourceVersion"]).collect();
    assert_eq!(versions, ["1", "5", "5"]);
    let waits = seconds_between(&calls);
    assert_eq!(waits, [65, 15], "a watch may be silent for 65 s, an answer's beginning take 15 s");
}

#[tokio::test(start_paused = true)]
async fn without_streams_on_the_api_server_pages_are_asked_for() {
    let server = ApiServer::streaming(|call| {
        call.is_stream().then_some(Answer::Status(422, None, "sendInitialEvents is forbidden"))
    });
    let mut followed = Followed::start(server);
    followed.until("everything", |snapshot| snapshot.count(Kind::Host) == 0).await;
    let streams = followed.server.calls(Call::is_stream).len();
    assert!(streams <= Kind::ALL.len(), "no kind asks twice: {streams}");
    assert!(!followed.errors_of("Node"), "that is no fault");
}

#[tokio::test(start_paused = true)]
async fn an_object_that_cant_be_read_is_kept_as_a_problem_and_an_event_that_cant_is_listed_anew() {
    let mut lists = 0;
    let server = ApiServer::new(move |call| {
        if call.is_list("nodes") {
            lists += 1;
            return Some(list(lists * 10, &[object("a", 1)]));
        }
        let first = of_nodes(call) && call.query.get("resourceVersion")? == "10";
        first.then(|| {
            let mut odd = object("a", 11);
            odd["metadata"]["labels"] = json!(["x"]);
            Answer::Events(vec![
                Step::Event("MODIFIED", odd),
                Step::Wait(Duration::from_secs(5)),
                Step::Event("CHANGED", object("a", 12)),
            ])
        })
    });
    let mut followed = Followed::start(server);
    followed.until("a problem", |snapshot| snapshot.problems().len() == 1).await;
    assert_eq!(hosts(followed.snapshots.current().snapshot().unwrap()), ["a"]);
    followed.until("its end", |snapshot| snapshot.problems().is_empty()).await;
    assert_eq!(followed.server.calls(|call| call.is_list("nodes")).len(), 2);
}
