//! A minimal client of the API server: it lists kinds page by page, reads and writes single objects
//! and opens watches. It never retries, since only callers know when to, but for a page of a list that
//! the API server puts off.

mod error;
mod events;
mod object;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use form_urlencoded::Serializer;
use http::Request;
use http_body_util::{BodyExt as _, Limited};
use kube::Client;
use kube::client::Body;
use kube::config::{Config, InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::runtime::{Builder, Runtime};

use crate::cluster::{Change, Kind, Name, Now, ObjectRef, is_dns_subdomain};
use crate::k8s::objects::{LAUNCHER_PODS, group_and_version, metadata_is_enough};
use crate::k8s::{Decoder, Malformed};
use crate::threads::{LARGE_JSON, off_thread};

pub use error::Error;
pub use events::{Event, Events};
pub use object::RawObject;
pub use write::{FIELD_MANAGER, WRITE_TIMEOUT};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may take, or the head of the answer for a watch. A server that is just
/// starting may accept a connection and never answer on it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// The largest answer, in bytes. A page has about a tenth of this. Only one host's pods are listed
/// without pages.
const MAX_ANSWER: usize = 256 << 20;
/// The largest error answer, in bytes. Its message may quote the object of a request, which the API
/// server limits to 3 MiB.
const MAX_REFUSAL: usize = 4 << 20;
/// How often the API server may put off one page, and for how long, before the list fails. A list that
/// failed begins again with its first page, which would load a busy API server even more.
const MAX_PUT_OFF: usize = 5;
const MAX_PAGE_DELAY: Duration = Duration::from_secs(10);
/// The number of whole objects in a page.
const PAGE_SIZE: u32 = 250;
/// The number of objects in a page of metadata: 7 MB of pods.
const METADATA_PAGE_SIZE: u32 = 2_000;
/// After this many seconds the API server closes a watch. The caller then continues with a new one.
const WATCH_SECONDS: u32 = 60;
/// A watch that is silent for this long is dead: the API server would have closed it by now.
pub const SILENCE: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 5);

const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// Why a client for the API server can't be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A kubeconfig can't be used.
    #[error("{path}: {why}")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Neither arguments nor environment name a cluster.
    #[error(
        "no cluster is given: use --kubeconfig (or --cluster, with a command that reads manifests), \
         set KUBECONFIG, or run in a pod (in-cluster: {in_cluster}; kubeconfig: {kubeconfig})"
    )]
    NoCluster {
        /// Why the environment of a pod can't be used.
        in_cluster: InClusterError,
        /// Why there is no kubeconfig, or why it can't be used.
        kubeconfig: String,
    },
    /// The configuration can't be used to connect.
    #[error(transparent)]
    Client(#[from] kube::Error),
    /// The runtime of a command can't be started.
    #[error("can't start the runtime: {0}")]
    Runtime(std::io::Error),
}

/// Makes a client from this kubeconfig, or else from the environment. Sends no request yet.
///
/// # Errors
/// If the kubeconfig can't be used, or none is found.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, ConnectError> {
    Ok(Client::try_from(configuration(kubeconfig).await?)?)
}

async fn configuration(kubeconfig: Option<&Path>) -> Result<Config, ConnectError> {
    let options = KubeConfigOptions::default();
    let from = async |kubeconfig: Result<Kubeconfig, KubeconfigError>| {
        Config::from_custom_kubeconfig(kubeconfig?, &options).await
    };
    let mut config = match kubeconfig {
        Some(path) => from(Kubeconfig::read_from(path)).await.map_err(|error| {
            ConnectError::Kubeconfig { path: path.to_owned(), why: without_excerpt(&error) }
        })?,
        None => match from(Kubeconfig::read()).await {
            Ok(config) => config,
            Err(error) => Config::incluster().map_err(|in_cluster| ConnectError::NoCluster {
                in_cluster,
                kubeconfig: without_excerpt(&error),
            })?,
        },
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    // kube's own retries would hide the reason of a failure for fifteen attempts.
    config.default_retry = false;
    Ok(config)
}

/// Why a kubeconfig can't be used, without the lines around a fault, or a value: these may be
/// credentials.
fn without_excerpt(error: &KubeconfigError) -> String {
    let KubeconfigError::Parse(fault) = error else { return error.to_string() };
    let why = fault.without_snippet().render_with_formatter(&serde_saphyr::UserMessageFormatter);
    format!("failed to parse kubeconfig YAML: {why}")
}

/// A client as [`connect`] makes it, for a command.
pub struct Connection {
    /// Runs the requests.
    pub runtime: Runtime,
    /// The API server.
    pub api: Api,
    /// The API server's address.
    pub address: String,
    /// The namespace of the kubeconfig's context, in which kubectl looks for an object that names none.
    pub namespace: Name,
}

/// Makes a client as [`connect`] does, and the runtime on which a command runs its requests.
///
/// # Errors
/// As for [`connect`], or if the runtime can't be started.
pub fn with_runtime(kubeconfig: Option<&Path>) -> Result<Connection, ConnectError> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(ConnectError::Runtime)?;
    let config = runtime.block_on(configuration(kubeconfig))?;
    let address = config.cluster_url.to_string();
    let namespace = (&*config.default_namespace).into();
    // The client starts a task.
    let client = runtime.block_on(async { Client::try_from(config) })?;
    Ok(Connection { runtime, api: Api::new(client), address, namespace })
}

/// Which objects of a kind to list, and how much of each.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Which {
    /// Which launcher pods, if the kind is that.
    pub pods: Pods,
    /// Whether to list only cordoned hosts, if the kind is that. The list is from the API server's
    /// memory and may be a moment old: from etcd, it would read every host to find these.
    pub cordoned: bool,
    /// Whether to list metadata only.
    pub metadata: bool,
}

/// Which launcher pods to list.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pods {
    /// All.
    #[default]
    All,
    /// Those that have not ended.
    Alive,
    /// Those that have not ended and are bound to a host.
    Bound,
    /// Those that have not ended and are bound to this host.
    On(Name),
}

impl Pods {
    /// The field selector for these pods.
    fn fields(&self) -> Option<String> {
        const ALIVE: &str = "status.phase!=Succeeded,status.phase!=Failed";
        match self {
            Self::All => None,
            Self::Alive => Some(ALIVE.to_owned()),
            Self::Bound => Some(format!("spec.nodeName!=,{ALIVE}")),
            Self::On(host) => Some(format!("spec.nodeName={host},{ALIVE}")),
        }
    }
}

/// A list, page by page.
pub struct Pages<'a> {
    api: &'a Api,
    kind: Kind,
    which: Which,
    /// The continue token for the next page, or `None` before the first page.
    after: Option<String>,
    ended: bool,
    /// The resource version of the list, once its first page has been read.
    pub version: String,
}

#[derive(Deserialize)]
struct List {
    metadata: ListMeta,
    // Go may write an empty list as `null`.
    items: Option<Vec<RawObject>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ListMeta {
    resource_version: String,
    #[serde(rename = "continue")]
    after: String,
}

impl Pages<'_> {
    /// Reads the next page. Returns `None` after the last one.
    ///
    /// # Errors
    /// If the page can't be read. [`Error::Gone`] means that the list must start again.
    pub async fn next(&mut self) -> Result<Option<Vec<RawObject>>, Error> {
        if self.ended {
            return Ok(None);
        }
        let query = self.query();
        let accept = if self.which.metadata { METADATA_LIST } else { "application/json" };
        let path = collection_of(self.kind, None);
        let mut put_off = 0;
        let list: List = loop {
            match self.api.get_json(&path, &query, accept).await {
                Err(Error::Busy { retry_after: Some(delay), .. })
                    if put_off < MAX_PUT_OFF && delay <= MAX_PAGE_DELAY =>
                {
                    put_off += 1;
                    tokio::time::sleep(delay).await;
                }
                answer => break answer?,
            }
        };
        self.after = Some(list.metadata.after).filter(|token| !token.is_empty());
        self.ended = self.after.is_none();
        self.version = list.metadata.resource_version;
        Ok(Some(list.items.unwrap_or_default()))
    }

    /// The query for the next page.
    fn query(&self) -> String {
        let mut query = Serializer::new(String::new());
        select_launcher_pods(&mut query, self.kind);
        if let Some(fields) = self.which.pods.fields() {
            query.append_pair("fieldSelector", &fields);
        }
        if self.which.cordoned {
            query.append_pair("fieldSelector", "spec.unschedulable=true");
            query.append_pair("resourceVersion", "0");
        }
        // The API server answers a list without a limit from memory, but pages from etcd. One host
        // has few pods, so its list needs no pages.
        if !matches!(self.which.pods, Pods::On(_)) {
            let page = if self.which.metadata { METADATA_PAGE_SIZE } else { PAGE_SIZE };
            query.append_pair("limit", &page.to_string());
        }
        if let Some(after) = &self.after {
            query.append_pair("continue", after);
        }
        query.finish()
    }
}

/// A client of the API server.
#[derive(Clone)]
pub struct Api {
    client: Client,
    /// The `User-Agent` of single reads and writes.
    agent: Arc<str>,
}

/// The path of an object of a watched kind.
#[must_use]
pub fn path_of(object: &ObjectRef) -> String {
    format!("{}/{}", collection_of(object.kind, object.key.namespace()), object.key.name())
}

/// The path of a watched kind's objects.
#[must_use]
pub fn collection_of(kind: Kind, namespace: Option<&str>) -> String {
    let (group, version) = group_and_version(kind);
    let root = if group.is_empty() { "/api".to_owned() } else { format!("/apis/{group}") };
    let namespace = namespace.map(|it| format!("/namespaces/{it}")).unwrap_or_default();
    format!("{root}/{version}{namespace}/{}", kind.plural())
}

/// Restricts pods to launcher pods.
fn select_launcher_pods(query: &mut Serializer<'_, String>, kind: Kind) {
    if kind == Kind::LauncherPod {
        query.append_pair("labelSelector", LAUNCHER_PODS);
    }
}

impl Api {
    /// Uses this client.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, agent: concat!("lanekeeper/", env!("CARGO_PKG_VERSION")).into() }
    }

    /// Names the replica in `User-Agent`, so that an audit log tells whose writes are whose.
    #[must_use]
    pub fn identified(self, identity: &str) -> Self {
        let agent = format!("{} ({identity})", self.agent).into();
        Self { agent, ..self }
    }

    /// Sends a GET and waits for the head of the answer. Any status but a success is an error.
    async fn send(&self, path: &str, query: &str, accept: &str) -> Result<Body, Error> {
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let request = Request::get(target)
            .header(http::header::ACCEPT, accept)
            .body(Body::empty())
            .map_err(|error| Error::Invalid(error.to_string()))?;
        let answer = self.client.send(request).await.map_err(|error| Error::unreachable(&error))?;
        let (head, body) = answer.into_parts();
        if head.status.is_success() {
            return Ok(body);
        }
        let text = Limited::new(body, MAX_REFUSAL).collect().await;
        let text = text.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        Err(Error::of_answer(head.status, &head.headers, &text))
    }

    async fn get_json<T: DeserializeOwned + Send + 'static>(
        &self,
        path: &str,
        query: &str,
        accept: &str,
    ) -> Result<T, Error> {
        let answer = async {
            let body = self.send(path, query, accept).await?;
            let body = Limited::new(body, MAX_ANSWER).collect().await;
            let bytes = body.map_err(|error| Error::unreachable(&*error))?.to_bytes();
            // The error does not quote the body, since objects may contain secrets.
            let read =
                off_thread(bytes.len() >= LARGE_JSON, move || serde_json::from_slice(&bytes));
            let read = read.await.map_err(|error| Error::Unreadable(error.to_string()))?;
            read.map_err(|error| Error::Unreadable(format!("{path}: {}", Malformed::from(error))))
        };
        in_time(answer).await
    }

    /// Returns whether the API server's version can stream lists: from 1.34 on.
    ///
    /// # Errors
    /// If the version can't be read.
    pub async fn streams_lists(&self) -> Result<bool, Error> {
        #[derive(Deserialize)]
        struct Version {
            major: String,
            minor: String,
        }
        let version: Version = self.get_json("/version", "", "application/json").await?;
        let number = |text: &str| {
            text.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0)
        };
        Ok((number(&version.major), number(&version.minor)) >= (1_u32, 34))
    }

    /// Returns whether the API server serves a kind.
    ///
    /// # Errors
    /// If the group's resources can't be read.
    pub async fn serves(&self, kind: Kind) -> Result<bool, Error> {
        #[derive(Deserialize)]
        struct Resources {
            resources: Vec<Resource>,
        }
        #[derive(Deserialize)]
        struct Resource {
            name: String,
        }
        let (group, version) = group_and_version(kind);
        if group.is_empty() {
            return Ok(true);
        }
        let path = format!("/apis/{group}/{version}");
        match self.get_json::<Resources>(&path, "", "application/json").await {
            Ok(list) => Ok(list.resources.iter().any(|resource| resource.name == kind.plural())),
            Err(Error::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Lists a kind. Pods on a host whose name is invalid are an empty list, without any request.
    #[must_use]
    pub fn pages(&self, kind: Kind, which: Which) -> Pages<'_> {
        let ended = matches!(&which.pods, Pods::On(host) if !is_dns_subdomain(host));
        Pages { api: self, kind, which, after: None, ended, version: String::new() }
    }

    /// Gets one object. Returns `None` if it does not exist. An object with an invalid name can't
    /// exist, and the name is never put into a path.
    ///
    /// # Errors
    /// If the object can't be read.
    pub async fn get(&self, object: &ObjectRef) -> Result<Option<RawObject>, Error> {
        let namespace = object.key.namespace();
        if !is_dns_subdomain(object.key.name()) || !namespace.is_none_or(is_dns_subdomain) {
            return Ok(None);
        }
        match self.get_json(&path_of(object), "", "application/json").await {
            Ok(object) => Ok(Some(object)),
            Err(Error::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gets one object as [`Self::get`] does, but by a list of it, so that an account that may list the
    /// kind needs no right to get.
    ///
    /// # Errors
    /// If the object can't be read.
    pub async fn find(&self, object: &ObjectRef) -> Result<Option<RawObject>, Error> {
        let (namespace, name) = (object.key.namespace(), object.key.name());
        if !is_dns_subdomain(name) || !namespace.is_none_or(is_dns_subdomain) {
            return Ok(None);
        }
        let path = collection_of(object.kind, namespace);
        // A valid name needs no escapes.
        let query = format!("fieldSelector=metadata.name%3D{name}");
        match self.get_json::<List>(&path, &query, "application/json").await {
            Ok(list) => Ok(list.items.unwrap_or_default().into_iter().next()),
            Err(Error::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gets one object as a change. An object that does not exist is gone.
    ///
    /// # Errors
    /// If the object can't be read.
    pub async fn now(&self, object: ObjectRef, decoder: &Decoder) -> Result<Change, Error> {
        Ok(match self.get(&object).await? {
            Some(found) => found.change(object.kind, decoder),
            None => Change { object, now: Now::Gone },
        })
    }

    /// Watches a kind from a resource version, for about a minute.
    ///
    /// # Errors
    /// If the watch can't be started.
    pub async fn watch(&self, kind: Kind, after: &str) -> Result<Events, Error> {
        let seconds = WATCH_SECONDS.to_string();
        self.events(kind, &[("resourceVersion", after), ("timeoutSeconds", &seconds)]).await
    }

    /// Lists a kind as a stream, which ends with a bookmark. The stream has no timeout of ours: the
    /// API server's own limit is half an hour.
    ///
    /// # Errors
    /// If the stream can't be started. [`Error::Invalid`] means that the API server can't stream
    /// lists.
    pub async fn stream(&self, kind: Kind) -> Result<Events, Error> {
        let initial = [("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan")];
        self.events(kind, &initial).await
    }

    async fn events(&self, kind: Kind, more: &[(&str, &str)]) -> Result<Events, Error> {
        let query = watch_query(kind, more);
        let accept = if metadata_is_enough(kind) { METADATA } else { "application/json" };
        let path = collection_of(kind, None);
        let body = in_time(self.send(&path, &query, accept)).await?;
        Ok(Events::of(body))
    }
}

/// The query for a watch.
fn watch_query(kind: Kind, more: &[(&str, &str)]) -> String {
    let mut query = Serializer::new(String::new());
    query.append_pair("watch", "true").append_pair("allowWatchBookmarks", "true");
    select_launcher_pods(&mut query, kind);
    query.extend_pairs(more).finish()
}

/// Waits for an answer for at most `ANSWER_TIMEOUT`.
async fn in_time<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(ANSWER_TIMEOUT, answer)
        .await
        .unwrap_or(Err(Error::Timeout(ANSWER_TIMEOUT)))
}
