//! The API server's objects, as little of them as is needed: where a kind lies, pages of it, single
//! objects, what a watch tells. Nothing is tried again in here: callers know better when.

mod error;
mod events;
mod object;

use std::path::{Path, PathBuf};
use std::time::Duration;

use form_urlencoded::Serializer;
use http::Request;
use http_body_util::{BodyExt as _, Limited};
use kube::Client;
use kube::client::Body;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::cluster::{Change, Kind, Name, Now, ObjectRef, is_dns_subdomain};
use crate::k8s::Decoder;
use crate::k8s::objects::{LAUNCHER_PODS, group_and_version, metadata_is_enough};

pub use error::Error;
pub use events::{Event, Events};
pub use object::RawObject;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take; of a watch, its beginning. A server that is just starting may take
/// a connection and never answer on it.
const ANSWER: Duration = Duration::from_secs(15);
/// The most bytes of an answer. A page has a tenth of it, a list without pages is of one host's
/// pods.
const MAX_ANSWER: usize = 256 << 20;
/// The most bytes that are read of an answer which says what went wrong.
const MAX_REFUSAL: usize = 64 << 10;
/// How many whole objects come in one page.
const PAGE: u32 = 250;
/// How many objects come in one page, of which only metadata does: 7 MB of pods.
const METADATA_PAGE: u32 = 2_000;
/// After this many seconds the API server ends a watch, which is then gone on with.
const WATCH_FOR: u32 = 60;
/// A watch that is silent for so long is dead: the server would have ended it by now.
pub const SILENCE: Duration = Duration::from_secs(WATCH_FOR as u64 + 5);

const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

/// Why there is no API server to be asked.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A kubeconfig can't be used.
    #[error("{path}: {source}")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        source: kube::config::KubeconfigError,
    },
    /// No cluster is named.
    #[error(
        "no cluster is given: neither --cluster, nor --kubeconfig, nor KUBECONFIG, nor a pod's \
         service account ({0})"
    )]
    NoCluster(#[from] kube::config::InferConfigError),
    /// What is named can't be used to connect.
    #[error(transparent)]
    Client(#[from] kube::Error),
}

/// An API server, and who we are to it.
///
/// # Errors
/// Says what is missing in the kubeconfig, or that there is none.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, ConnectError> {
    let mut config = match kubeconfig {
        Some(path) => {
            let at = |source| ConnectError::Kubeconfig { path: path.to_owned(), source };
            let kubeconfig = Kubeconfig::read_from(path).map_err(at)?;
            let options = KubeConfigOptions::default();
            Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(at)?
        }
        None => Config::infer().await?,
    };
    config.connect_timeout = Some(CONNECT);
    // It would hide the reason behind fifteen tries of its own.
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}

/// Which objects of a kind, and how much of each.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Which {
    /// Of launcher pods, these only.
    pub pods: Pods,
    /// Whether metadata is enough.
    pub metadata: bool,
}

/// Which launcher pods.
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
    /// The field selector that finds them.
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
    /// What the next page comes after; nothing before the first.
    after: Option<String>,
    ended: bool,
    /// The resource version of the list, once a page of it came.
    pub version: String,
}

#[derive(Deserialize)]
struct List {
    metadata: ListMeta,
    // Go writes an empty list as `null`.
    items: Option<Vec<RawObject>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
struct ListMeta {
    resource_version: String,
    #[serde(rename = "continue")]
    after: String,
}

impl Pages<'_> {
    /// The objects of the next page, if there is one.
    ///
    /// # Errors
    /// If it can't be had; [`Error::Gone`], if the list has to begin again.
    pub async fn next(&mut self) -> Result<Option<Vec<RawObject>>, Error> {
        if self.ended {
            return Ok(None);
        }
        let query = self.query();
        let accept = if self.which.metadata { METADATA_LIST } else { "application/json" };
        let list: List = self.api.get_json(&collection(self.kind, None), &query, accept).await?;
        self.after = Some(list.metadata.after).filter(|token| !token.is_empty());
        self.ended = self.after.is_none();
        self.version = list.metadata.resource_version;
        Ok(Some(list.items.unwrap_or_default()))
    }

    /// What asks for the next page.
    fn query(&mut self) -> String {
        let mut query = Serializer::new(String::new());
        select(&mut query, self.kind);
        if let Some(fields) = self.which.pods.fields() {
            query.append_pair("fieldSelector", &fields);
        }
        // One host's pods are few: the API server answers that from memory, pages from etcd.
        if !matches!(self.which.pods, Pods::On(_)) {
            let page = if self.which.metadata { METADATA_PAGE } else { PAGE };
            query.append_pair("limit", &page.to_string());
        }
        if let Some(after) = self.after.take() {
            query.append_pair("continue", &after);
        }
        query.finish()
    }
}

/// An API server's objects of our kinds.
#[derive(Clone)]
pub struct Api(Client);

/// The path of a kind's objects.
fn collection(kind: Kind, namespace: Option<&str>) -> String {
    let (group, version) = group_and_version(kind);
    let root = if group.is_empty() { "/api".to_owned() } else { format!("/apis/{group}") };
    let namespace = namespace.map(|it| format!("/namespaces/{it}")).unwrap_or_default();
    format!("{root}/{version}{namespace}/{}", kind.plural())
}

/// Of pods, asks for launcher pods alone.
fn select(query: &mut Serializer<'_, String>, kind: Kind) {
    if kind == Kind::LauncherPod {
        query.append_pair("labelSelector", LAUNCHER_PODS);
    }
}

impl Api {
    /// Through this client.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self(client)
    }

    /// Sends a GET, and waits for the head of its answer. What is no success is an error.
    async fn send(&self, path: &str, query: &str, accept: &str) -> Result<Body, Error> {
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let request = Request::get(target)
            .header(http::header::ACCEPT, accept)
            .body(Body::empty())
            .map_err(|error| Error::Invalid(error.to_string()))?;
        let answer = self.0.send(request).await.map_err(|error| Error::unreachable(&error))?;
        let (head, body) = answer.into_parts();
        if head.status.is_success() {
            return Ok(body);
        }
        let text = Limited::new(body, MAX_REFUSAL).collect().await;
        let text = text.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        Err(Error::of_answer(head.status, &head.headers, &text))
    }

    async fn get_json<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &str,
        accept: &str,
    ) -> Result<T, Error> {
        let answer = async {
            let body = self.send(path, query, accept).await?;
            let body = Limited::new(body, MAX_ANSWER).collect().await;
            let bytes = body.map_err(|error| Error::unreachable(&*error))?.to_bytes();
            // What it holds is not told: objects hold secrets.
            serde_json::from_slice(&bytes)
                .map_err(|error| Error::Unreadable(format!("{path}: {error}")))
        };
        in_time(answer).await
    }

    /// Returns whether the API server sends lists as streams when it is asked to: from 1.34 on.
    ///
    /// # Errors
    /// If it can't be asked.
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

    /// Returns whether the API server serves a kind at all.
    ///
    /// # Errors
    /// If it can't be asked.
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

    /// All objects of a kind. A host whose name can't be one has no pods, and nobody is asked.
    #[must_use]
    pub fn pages(&self, kind: Kind, which: Which) -> Pages<'_> {
        let ended = matches!(&which.pods, Pods::On(host) if !is_dns_subdomain(host));
        Pages { api: self, kind, which, after: None, ended, version: String::new() }
    }

    /// One object, if it is there. What can't be a name is there in no case, and not put into a
    /// path.
    ///
    /// # Errors
    /// If it can't be asked for.
    pub async fn get(&self, object: &ObjectRef) -> Result<Option<RawObject>, Error> {
        let namespace = object.key.namespace();
        if !is_dns_subdomain(object.key.name()) || !namespace.is_none_or(is_dns_subdomain) {
            return Ok(None);
        }
        let path = format!("{}/{}", collection(object.kind, namespace), object.key.name());
        match self.get_json(&path, "", "application/json").await {
            Ok(object) => Ok(Some(object)),
            Err(Error::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// One object as a change: gone, where it is not there.
    ///
    /// # Errors
    /// If it can't be asked for.
    pub async fn now(&self, object: ObjectRef, decoder: &Decoder) -> Result<Change, Error> {
        Ok(match self.get(&object).await? {
            Some(found) => found.change(object.kind, decoder),
            None => Change { object, now: Now::Gone },
        })
    }

    /// What happens to a kind after a resource version, for about a minute.
    ///
    /// # Errors
    /// If the watch can't be begun.
    pub async fn watch(&self, kind: Kind, after: &str) -> Result<Events, Error> {
        let seconds = WATCH_FOR.to_string();
        self.events(kind, &[("resourceVersion", after), ("timeoutSeconds", &seconds)]).await
    }

    /// All objects of a kind as a stream, which ends with a bookmark. It takes as long as it takes:
    /// the API server's own limit is half an hour.
    ///
    /// # Errors
    /// If the stream can't be begun; [`Error::Invalid`], if the API server can't stream lists.
    pub async fn stream(&self, kind: Kind) -> Result<Events, Error> {
        let initial = [("sendInitialEvents", "true"), ("resourceVersionMatch", "NotOlderThan")];
        self.events(kind, &initial).await
    }

    async fn events(&self, kind: Kind, more: &[(&str, &str)]) -> Result<Events, Error> {
        let query = watch_query(kind, more);
        let accept = if metadata_is_enough(kind) { METADATA } else { "application/json" };
        let path = collection(kind, None);
        let body = in_time(self.send(&path, &query, accept)).await?;
        Ok(Events::of(body))
    }
}

/// What asks for a watch.
fn watch_query(kind: Kind, more: &[(&str, &str)]) -> String {
    let mut query = Serializer::new(String::new());
    query.append_pair("watch", "true").append_pair("allowWatchBookmarks", "true");
    select(&mut query, kind);
    query.extend_pairs(more).finish()
}

/// What the API server answers, if it does so in time.
async fn in_time<T>(answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(ANSWER, answer).await.unwrap_or(Err(Error::Timeout(ANSWER)))
}
