//! The API server's objects, as little of them as is needed: where a kind lies, pages of it, single
//! objects, what a watch tells.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use kube::Client;
use kube::api::{GetParams, ListParams, WatchParams};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use kube::core::{ObjectList, Request, WatchEvent};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use futures_util::{Stream, StreamExt as _};

use crate::cluster::{Change, Key, Kind, Name, Now, ObjectRef};
use crate::k8s::objects::{LAUNCHER_PODS, Reader, group_and_version};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take; of a watch, its beginning. A server that is just starting may take a
/// connection and never answer on it.
const ANSWER: Duration = Duration::from_secs(15);
/// How many objects come in one page.
const PAGE: u32 = 250;
/// After this many seconds the API server ends a watch, which is then gone on with.
const WATCH_FOR: u32 = 60;
/// A watch that is silent for so long is dead: the server would have ended it by now.
pub const SILENCE: Duration = Duration::from_secs(WATCH_FOR as u64 + 5);

/// Why something could not be had from the API server.
#[derive(Debug)]
pub enum Error {
    /// It has no such object, or serves no such kind.
    NotFound,
    /// What was to be gone on from is too old.
    TooOld,
    /// Anything else: what the server or the connection says.
    Other(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("not found"),
            Self::TooOld => f.write_str("too old to go on from"),
            Self::Other(why) => f.write_str(why),
        }
    }
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => match status.code {
                404 => Self::NotFound,
                410 => Self::TooOld,
                code => Self::Other(format!("{} ({code})", status.message)),
            },
            kube::Error::Service(error) => {
                // The whole chain: the first says only that it failed.
                let mut why = error.to_string();
                let mut source = error.source();
                while let Some(inner) = source {
                    why = format!("{why}: {inner}");
                    source = inner.source();
                }
                Self::Other(why)
            }
            error => Self::Other(error.to_string()),
        }
    }
}

/// An API server, and who we are to it.
///
/// # Errors
/// Says what is missing in the kubeconfig, or that there is none.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client, String> {
    let config = match kubeconfig {
        Some(path) => {
            let at = |error: &dyn fmt::Display| format!("{}: {error}", path.display());
            let kubeconfig = Kubeconfig::read_from(path).map_err(|error| at(&error))?;
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .map_err(|error| at(&error))
        }
        None => Config::infer().await.map_err(|error| {
            format!(
                "no cluster is given: neither --cluster, nor --kubeconfig, nor KUBECONFIG, nor a \
                 pod's service account ({error})"
            )
        }),
    };
    let mut config = config?;
    config.connect_timeout = Some(CONNECT);
    Client::try_from(config).map_err(|error| error.to_string())
}

/// What an API server answers, if it does so in time.
async fn answered<T>(answer: impl Future<Output = Result<T, kube::Error>>) -> Result<T, Error> {
    match tokio::time::timeout(ANSWER, answer).await {
        Ok(answer) => answer.map_err(Error::from),
        Err(_) => Err(Error::Other(format!("no answer within {} s", ANSWER.as_secs()))),
    }
}

/// An object as it came, and what it is called.
#[derive(Clone)]
pub struct Object {
    meta: Meta,
    json: Box<RawValue>,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.meta.namespace, self.meta.name)
    }
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    name: Name,
    namespace: Option<Name>,
    resource_version: String,
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Head {
            #[serde(default)]
            metadata: Meta,
        }
        let json = Box::<RawValue>::deserialize(deserializer)?;
        let head: Head = serde_json::from_str(json.get()).map_err(serde::de::Error::custom)?;
        Ok(Self { meta: head.metadata, json })
    }
}

impl Object {
    /// Its name within its kind.
    #[must_use]
    pub fn key(&self) -> Key {
        match &self.meta.namespace {
            Some(namespace) => Key::in_namespace(namespace, &self.meta.name),
            None => Key::cluster_scoped(self.meta.name.clone()),
        }
    }

    /// The version of the collection that a watch can go on from.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.meta.resource_version
    }

    /// The object as it came.
    #[must_use]
    pub fn json(&self) -> &str {
        self.json.get()
    }

    /// What it says.
    #[must_use]
    pub fn change(&self, kind: Kind, reader: &Reader) -> Change {
        let now = reader.now(kind, &mut serde_json::Deserializer::from_str(self.json.get()));
        Change { object: ObjectRef { kind, key: self.key() }, now }
    }
}

/// Which objects of a kind, and how much of each.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Which {
    /// A field selector.
    pub fields: Option<String>,
    /// Whether metadata is enough.
    pub metadata: bool,
    /// Whether they are few, and come in one page: the API server answers that from memory.
    pub few: bool,
}

/// A list, page by page.
pub struct Pages<'a> {
    api: &'a Api,
    kind: Kind,
    which: Which,
    /// What the next page comes after; nothing before the first.
    after: Option<String>,
    ended: bool,
    /// The version of the collection that the last page was of.
    pub version: String,
}

impl Pages<'_> {
    /// The objects of the next page, if there is one.
    ///
    /// # Errors
    /// If it can't be had; too old, if what it comes after is.
    pub async fn next(&mut self) -> Result<Option<Vec<Object>>, Error> {
        if self.ended {
            return Ok(None);
        }
        let request = Api::collection(self.kind, None);
        let parameters = ListParams {
            label_selector: Api::labels(self.kind),
            field_selector: self.which.fields.clone(),
            limit: (!self.which.few).then_some(PAGE),
            continue_token: self.after.take(),
            ..ListParams::default()
        };
        let built = if self.which.metadata {
            request.list_metadata(&parameters)
        } else {
            request.list(&parameters)
        };
        let list: ObjectList<Object> =
            answered(self.api.0.request(built.map_err(kube::Error::BuildRequest)?)).await?;
        self.after = list.metadata.continue_.filter(|token| !token.is_empty());
        self.ended = self.after.is_none();
        self.version = list.metadata.resource_version.unwrap_or_default();
        Ok(Some(list.items))
    }
}

/// An API server's objects of our kinds.
#[derive(Clone)]
pub struct Api(Client);

impl Api {
    /// Through this client.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self(client)
    }

    fn collection(kind: Kind, namespace: Option<&str>) -> Request {
        let (group, version) = group_and_version(kind);
        let root = if group.is_empty() { "/api".to_owned() } else { format!("/apis/{group}") };
        let namespace = namespace.map(|it| format!("/namespaces/{it}")).unwrap_or_default();
        Request::new(format!("{root}/{version}{namespace}/{}", kind.plural()))
    }

    fn labels(kind: Kind) -> Option<String> {
        (kind == Kind::LauncherPod).then(|| LAUNCHER_PODS.to_owned())
    }

    /// Whether the API server sends lists as streams when it is asked to: from 1.34 on.
    ///
    /// # Errors
    /// If it can't be asked.
    pub async fn streams_lists(&self) -> Result<bool, Error> {
        let version = answered(self.0.apiserver_version()).await?;
        let number = |text: &str| {
            text.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap_or(0)
        };
        Ok((number(&version.major), number(&version.minor)) >= (1_u32, 34))
    }

    /// Whether the API server serves a kind at all.
    ///
    /// # Errors
    /// If it can't be asked.
    pub async fn serves(&self, kind: Kind) -> Result<bool, Error> {
        let (group, version) = group_and_version(kind);
        if group.is_empty() {
            return Ok(true);
        }
        let api_version = format!("{group}/{version}");
        match answered(self.0.list_api_group_resources(&api_version)).await {
            Ok(list) => Ok(list.resources.iter().any(|resource| resource.name == kind.plural())),
            Err(Error::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// All objects of a kind.
    #[must_use]
    pub fn pages(&self, kind: Kind, which: Which) -> Pages<'_> {
        Pages { api: self, kind, which, after: None, ended: false, version: String::new() }
    }

    /// One object, if it is there.
    ///
    /// # Errors
    /// If it can't be asked for.
    pub async fn get(&self, object: &ObjectRef) -> Result<Option<Object>, Error> {
        let request = Self::collection(object.kind, object.key.namespace())
            .get(object.key.name(), &GetParams::default())
            .map_err(kube::Error::BuildRequest)?;
        match answered(self.0.request::<Object>(request)).await {
            Ok(object) => Ok(Some(object)),
            Err(Error::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// One object as a change: gone, where it is not there.
    ///
    /// # Errors
    /// If it can't be asked for.
    pub async fn now(&self, object: ObjectRef, reader: &Reader) -> Result<Change, Error> {
        Ok(match self.get(&object).await? {
            Some(found) => found.change(object.kind, reader),
            None => Change { object, now: Now::Gone },
        })
    }

    /// What happens to a kind after a version; without one, first what is there, as a stream.
    ///
    /// # Errors
    /// If the watch can't be begun.
    pub async fn watch(
        &self,
        kind: Kind,
        after: Option<&str>,
    ) -> Result<impl Stream<Item = Result<WatchEvent<Object>, Error>> + use<>, Error> {
        let parameters = WatchParams {
            label_selector: Self::labels(kind),
            field_selector: None,
            timeout: Some(WATCH_FOR),
            bookmarks: true,
            send_initial_events: after.is_none(),
        };
        let request = Self::collection(kind, None)
            .watch(&parameters, after.unwrap_or_default())
            .map_err(kube::Error::BuildRequest)?;
        let events = answered(self.0.request_events::<Object>(request)).await?;
        Ok(events.map(|event| event.map_err(Error::from)))
    }
}
