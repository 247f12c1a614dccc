//! Manifests on disk: what is read, what is a problem, and that changes are followed
//! (docs/reference.md, "Server").

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use lanekeeper::cluster::{Kind, Options, Snapshot};
use lanekeeper::k8s::Decoder;
use lanekeeper::publish::{self, Published};
use lanekeeper::source::{Manifests, Unreadable};
use tempfile::TempDir;

use crate::harness::snapshot_of;

fn network(name: &str) -> String {
    format!(
        "apiVersion: network.harvesterhci.io/v1beta1\nkind: ClusterNetwork\nmetadata: {{name: {name}}}\n"
    )
}

fn names(snapshot: &Snapshot) -> Vec<String> {
    snapshot.cluster_networks().map(ToString::to_string).collect()
}

fn problems(snapshot: &Snapshot) -> Vec<String> {
    snapshot.problems().iter().map(|it| it.message.to_string()).collect()
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn nothing_at_all_is_no_cluster() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "comment.yaml", "# nothing\n");
    let mut manifests =
        Manifests::new(folder.path().to_owned(), Decoder::default(), Options::default());
    assert!(manifests.read().err().unwrap().0[0].contains(": no object in any *.yaml"));
}

#[test]
fn a_file_alone_complains_as_one_in_a_folder_does() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        "one.yaml",
        &[&*network("a"), &*network("a"), "just: text\n"].join("---\n"),
    );
    for path in [folder.path().to_owned(), folder.path().join("one.yaml")] {
        assert_eq!(problems(&snapshot_of(&path)).len(), 2, "{}", path.display());
    }
}

#[test]
fn a_folder_reached_by_many_ways_is_looked_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut depth = folder.path().to_owned();
    for _ in 0..40 {
        fs::create_dir(depth.join("next")).unwrap();
        for link in ["a", "b"] {
            symlink("next", depth.join(link)).unwrap();
        }
        depth = depth.join("next");
    }
    write(&depth, "a.yaml", &network("a"));
    let snapshot = snapshot_of(folder.path());
    assert_eq!(names(&snapshot), ["a"]);
    assert_eq!(problems(&snapshot), [""; 0]);
}

#[test]
fn a_folder_is_read_recursively_and_hidden_names_and_other_endings_are_not() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "one.yaml", &network("one"));
    write(folder.path(), "deep/er/two.yml", &network("two"));
    let json = r#"{"apiVersion":"network.harvesterhci.io/v1beta1","kind":"ClusterNetwork","metadata":{"name":"three"}}"#;
    write(folder.path(), "three.json", json);
    write(folder.path(), ".hidden.yaml", &network("hidden"));
    write(folder.path(), ".folder/four.yaml", &network("four"));
    write(folder.path(), "five.txt", "nothing: [");
    symlink("..", folder.path().join("deep/loop")).unwrap();
    symlink("nowhere", folder.path().join("dangling.yaml")).unwrap();
    let snapshot = snapshot_of(folder.path());
    assert_eq!(names(&snapshot), ["one", "three", "two"]);
    assert_eq!(problems(&snapshot), [""; 0]);
}

#[test]
fn one_file_of_any_name_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let list = format!(
        "apiVersion: v1\nkind: List\nitems:\n- {}",
        network("a").trim().replace('\n', "\n  ")
    );
    write(folder.path(), "dump", &list);
    assert_eq!(names(&snapshot_of(&folder.path().join("dump"))), ["a"]);
}

#[test]
fn a_dump_in_typed_lists_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let nodes = r#"{"apiVersion":"v1","kind":"NodeList","items":[{"metadata":{"name":"h"}}]}"#;
    write(folder.path(), "nodes.json", nodes);
    let networks = "apiVersion: network.harvesterhci.io/v1beta1\nkind: ClusterNetworkList\nitems:\n- metadata: {name: a}\n";
    write(folder.path(), "networks.yaml", networks);
    let none = "apiVersion: kubevirt.io/v1\nkind: VirtualMachineList\nitems: null\n";
    write(folder.path(), "vms.yaml", none);
    let snapshot = snapshot_of(folder.path());
    assert_eq!((names(&snapshot), snapshot.count(Kind::Host)), (vec!["a".to_owned()], 1));
    assert_eq!(problems(&snapshot), [""; 0]);
}

#[test]
fn a_malformed_object_is_a_problem_and_does_not_hide_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let odd = "apiVersion: network.harvesterhci.io/v1beta1\nkind: VlanConfig\nmetadata: {name: odd}\nspec: {clusterNetwork: a, nodeSelector: [x]}\n";
    let nameless = "apiVersion: v1\nkind: Node\nmetadata: {}\n";
    let stranger = "just: text\n";
    let unknown = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: 7\n";
    let all = [&*network("a"), odd, nameless, stranger, unknown, &network("b")].join("---\n");
    write(folder.path(), "all.yaml", &all);
    let snapshot = snapshot_of(folder.path());
    assert_eq!(names(&snapshot), ["a", "b"]);
    let problems = problems(&snapshot);
    assert_eq!(problems.len(), 3, "{problems:#?}");
    assert!(
        problems[0].contains("all.yaml: object 3 is ignored: Node has no usable"),
        "{problems:#?}"
    );
    assert!(problems[1].contains("object 4 is ignored: not a Kubernetes object"), "{problems:#?}");
    assert!(problems[2].starts_with("VlanConfig odd can't be read: "), "{problems:#?}");
    let why = "spec.nodeSelector: Invalid value: a list: must be a map of strings";
    assert!(problems[2].contains(why), "{problems:#?}");
    assert_eq!(snapshot.count(Kind::NetworkConfig), 0);
}

#[test]
fn of_the_same_object_twice_the_later_path_counts() {
    let folder = tempfile::tempdir().unwrap();
    let host = |rack: u8| {
        format!("apiVersion: v1\nkind: Node\nmetadata: {{name: h, labels: {{rack: '{rack}'}}}}\n")
    };
    write(folder.path(), "1.yaml", &format!("{}---\n{}", host(0), host(1)));
    write(folder.path(), "2.yaml", &host(2));
    let snapshot = snapshot_of(folder.path());
    let selector = |rack: &str| [("rack", rack)].into_iter().collect();
    assert_eq!(snapshot.covered(&selector("2")).len(), 1);
    assert!(snapshot.covered(&selector("1")).is_empty());
    let problems = problems(&snapshot);
    assert_eq!(problems.len(), 2, "{problems:#?}");
    for (problem, place) in problems.iter().zip(["1.yaml: ", "2.yaml: "]) {
        assert!(problem.contains(place) && problem.contains("Node h is also in "), "{problems:#?}");
    }
}

#[test]
fn broken_at_the_start_it_names_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "fine.yaml", &network("a"));
    write(folder.path(), "odd.yaml", "a: 1\nb: c: d\n");
    write(folder.path(), "odd.json", "{\n\n]");
    fs::write(folder.path().join("bytes.yaml"), [0xff]).unwrap();
    let mut manifests =
        Manifests::new(folder.path().to_owned(), Decoder::default(), Options::default());
    let Unreadable(errors) = manifests.read().err().unwrap();
    assert_eq!(errors.len(), 3, "{errors:#?}");
    assert!(errors[0].contains("bytes.yaml: ") && errors[0].contains("UTF-8"), "{errors:#?}");
    assert!(errors[1].contains("odd.json: line 3: "), "{errors:#?}");
    assert!(errors[2].contains("odd.yaml: line 2: "), "{errors:#?}");
    let mut manifests =
        Manifests::new(folder.path().join("nowhere"), Decoder::default(), Options::default());
    assert!(manifests.read().err().unwrap().0[0].contains("nowhere: No such file"));
}

/// Manifests in a temporary folder, followed.
struct Followed {
    folder: TempDir,
    snapshots: publish::Snapshots,
}

impl Followed {
    fn start(write: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path());
        let manifests =
            Manifests::new(folder.path().to_owned(), Decoder::default(), Options::default());
        let (publisher, snapshots) = publish::channel();
        tokio::spawn(manifests.follow(publisher));
        Self { folder, snapshots }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Waits until what is published is as it should be.
    async fn until(&self, what: &str, is_so: impl Fn(&Published) -> bool) {
        let mut every = tokio::time::interval(Duration::from_millis(5));
        let waited = tokio::time::timeout(Duration::from_secs(20), async {
            while !is_so(&self.snapshots.current()) {
                every.tick().await;
            }
        });
        assert!(waited.await.is_ok(), "{what} did not come about");
    }

    async fn until_snapshot(&self, what: &str, is_so: impl Fn(&Snapshot) -> bool) {
        self.until(what, |published| published.snapshot().is_some_and(&is_so)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_new_files_and_removals_are_followed() {
    let followed = Followed::start(|folder| write(folder, "a.yaml", &network("a")));
    followed.until_snapshot("the start", |it| names(it) == ["a"]).await;
    write(followed.path(), "sub/b.yaml", &network("b"));
    followed.until_snapshot("a new file", |it| names(it) == ["a", "b"]).await;
    write(followed.path(), "a.yaml", &network("c"));
    followed.until_snapshot("a change", |it| names(it) == ["b", "c"]).await;
    fs::remove_dir_all(followed.path().join("sub")).unwrap();
    followed.until_snapshot("a removal", |it| names(it) == ["c"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_symlink_swap_is_followed_as_kubelet_does_one() {
    let followed = Followed::start(|folder| {
        write(folder, "..1/a.yaml", &network("a"));
        symlink("..1", folder.join("..data")).unwrap();
        symlink("..data/a.yaml", folder.join("a.yaml")).unwrap();
    });
    followed.until_snapshot("the start", |it| names(it) == ["a"]).await;
    write(followed.path(), "..2/a.yaml", &network("b"));
    symlink("..2", followed.path().join("..new")).unwrap();
    fs::rename(followed.path().join("..new"), followed.path().join("..data")).unwrap();
    followed.until_snapshot("the swap", |it| names(it) == ["b"] && problems(it).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_later_the_last_good_content_stays_and_a_problem_says_so() {
    let followed = Followed::start(|folder| write(folder, "a.yaml", &network("a")));
    followed.until_snapshot("the start", |it| names(it) == ["a"]).await;
    write(followed.path(), "a.yaml", "kind: [\n");
    followed
        .until_snapshot("the problem", |it| {
            let problems = problems(it);
            names(it) == ["a"]
                && problems.len() == 1
                && problems[0].contains("a.yaml: line ")
                && problems[0].ends_with("its last good content still counts")
        })
        .await;
    write(followed.path(), "a.yaml", &network("b"));
    followed.until_snapshot("the repair", |it| names(it) == ["b"] && problems(it).is_empty()).await;
    write(followed.path(), "new.yaml", "kind: [\n");
    followed
        .until_snapshot("a new broken file", |it| names(it) == ["b"] && problems(it).len() == 1)
        .await;
    fs::remove_file(followed.path().join("new.yaml")).unwrap();
    followed.until_snapshot("its removal", |it| problems(it).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_emptied_keeps_what_it_held() {
    let followed = Followed::start(|folder| write(folder, "a.yaml", &network("a")));
    followed.until_snapshot("the start", |it| names(it) == ["a"]).await;
    // As `kubectl get ... > a.yaml` leaves it, until kubectl has its answer.
    write(followed.path(), "a.yaml", "");
    followed
        .until_snapshot("the problem", |it| {
            names(it) == ["a"]
                && problems(it).iter().any(|it| it.contains("it no longer holds any object"))
        })
        .await;
    write(followed.path(), "a.yaml", &network("b"));
    followed.until_snapshot("the rest", |it| names(it) == ["b"] && problems(it).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cant_be_looked_at_is_not_taken_for_gone() {
    let followed = Followed::start(|folder| {
        write(folder, "real/a.yaml", &network("a"));
        symlink("real/a.yaml", folder.join("z.yaml")).unwrap();
    });
    followed.until_snapshot("the start", |it| names(it) == ["a"] && problems(it).len() == 1).await;
    // A symlink that leads to itself can't be looked at, whoever asks.
    let link = followed.path().join("z.yaml");
    symlink("z.yaml", followed.path().join("new")).unwrap();
    fs::remove_file(followed.path().join("real/a.yaml")).unwrap();
    fs::rename(followed.path().join("new"), &link).unwrap();
    followed
        .until_snapshot("the problem", |it| {
            let problems = problems(it);
            let told =
                |it: &String| it.contains("z.yaml: Too many") && it.ends_with("still counts");
            names(it) == ["a"] && problems.iter().any(told)
        })
        .await;
    symlink("new.yaml", followed.path().join("new.yaml")).unwrap();
    followed
        .until_snapshot("a problem about what never held anything", |it| {
            let problems = problems(it);
            let told = problems.iter().find(|it| it.contains("new.yaml: Too many"));
            told.is_some_and(|it| !it.contains("still counts"))
        })
        .await;
    fs::remove_file(&link).unwrap();
    followed.until_snapshot("its removal", |it| names(it).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_breaks_keeps_what_it_said() {
    let vmi = |phase: &str| {
        format!(
            "{{apiVersion: kubevirt.io/v1, kind: VirtualMachineInstance, metadata: {{name: vm, \
             namespace: ns}}, status: {{phase: {phase}, nodeName: h}}}}"
        )
    };
    let followed = Followed::start(|folder| write(folder, "vm.yaml", &vmi("Running")));
    let on_h = |it: &Snapshot| it.vmis_on(&"h".into()).count();
    followed.until_snapshot("the start", |it| on_h(it) == 1).await;
    write(followed.path(), "vm.yaml", &vmi("[Running]"));
    followed.until_snapshot("the problem", |it| on_h(it) == 1 && problems(it).len() == 1).await;
    write(followed.path(), "vm.yaml", &vmi("Succeeded"));
    followed.until_snapshot("the end", |it| on_h(it) == 0 && problems(it).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_published_before_every_file_was_good_once() {
    let followed = Followed::start(|folder| {
        write(folder, "a.yaml", &network("a"));
        write(folder, "b.yaml", "kind: [\n");
    });
    followed
        .until("the report", |published| match published {
            Published::Waiting(what) => what.len() == 1 && what[0].contains("b.yaml: line "),
            Published::Synced { .. } => panic!("published though b.yaml is broken"),
        })
        .await;
    write(followed.path(), "b.yaml", &network("b"));
    followed.until_snapshot("the repair", |it| names(it) == ["a", "b"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_goes_away_keeps_what_it_held() {
    let followed = Followed::start(|folder| write(folder, "sub/a.yaml", &network("a")));
    followed.until_snapshot("the start", |it| names(it) == ["a"]).await;
    let moved = followed.path().with_extension("moved");
    fs::rename(followed.path(), &moved).unwrap();
    followed
        .until_snapshot("a problem", |it| {
            let problems = problems(it);
            names(it) == ["a"] && problems.len() == 1 && problems[0].ends_with("still counts")
        })
        .await;
    fs::rename(&moved, followed.path()).unwrap();
    followed.until_snapshot("its return", |it| names(it) == ["a"] && problems(it).is_empty()).await;
}
