//! A scripted API server: a client whose answers a test writes, in paused time. What takes a real one
//! minutes takes milliseconds here, and the order is the test's.

mod fresh;
mod lease;
mod networks;
mod watch;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use http_body_util::combinators::UnsyncBoxBody;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::service_fn;

/// A request as the API server sees it.
#[derive(Clone, Debug)]
pub struct Call {
    pub path: String,
    pub query: BTreeMap<String, String>,
    pub accept: String,
    /// When it came, from the start of the test.
    pub at: Duration,
}

impl Call {
    /// The collection, or the object's name.
    fn last(&self) -> &str {
        self.path.rsplit('/').next().unwrap()
    }

    fn has(&self, key: &str) -> bool {
        self.query.contains_key(key)
    }

    fn is_watch(&self) -> bool {
        self.has("watch") && !self.is_stream()
    }

    fn is_stream(&self) -> bool {
        self.has("sendInitialEvents")
    }

    fn is_list(&self, plural: &str) -> bool {
        self.last() == plural && !self.has("watch")
    }
}

/// What the API server answers.
pub enum Answer {
    Json(Value),
    /// A refusal: its code, after how many seconds to ask again, what it says.
    Status(u16, Option<u64>, &'static str),
    /// A watch, event by event.
    Events(Vec<Step>),
    /// Nothing, ever.
    Silence,
    /// The connection breaks.
    Broken,
}

/// A part of a watch.
pub enum Step {
    Event(&'static str, Value),
    Wait(Duration),
    Break,
}

/// An object of a collection, as lists and events have it.
pub fn object(name: &str, version: u32) -> Value {
    json!({ "metadata": { "name": name, "resourceVersion": version.to_string() } })
}

pub fn list(version: u32, items: &[Value]) -> Answer {
    Answer::Json(json!({ "metadata": { "resourceVersion": version.to_string() }, "items": items }))
}

pub fn end_of_list(version: u32) -> Step {
    let annotations = json!({ "k8s.io/initial-events-end": "true" });
    let metadata = json!({ "resourceVersion": version.to_string(), "annotations": annotations });
    Step::Event("BOOKMARK", json!({ "metadata": metadata }))
}

/// A watch that tells nothing for a minute and then ends, as they do.
pub fn quiet() -> Answer {
    Answer::Events(vec![Step::Wait(Duration::from_mins(1))])
}

type Script = dyn FnMut(&Call) -> Option<Answer> + Send;

/// The API server: a script says what is special, all else is empty and well.
#[derive(Clone)]
pub struct ApiServer {
    script: Arc<Mutex<Box<Script>>>,
    calls: Arc<Mutex<Vec<Call>>>,
    started: Instant,
    /// Its minor version.
    minor: u32,
}

impl ApiServer {
    /// One that lists in pages.
    pub fn new(script: impl FnMut(&Call) -> Option<Answer> + Send + 'static) -> Self {
        Self {
            script: Arc::new(Mutex::new(Box::new(script))),
            calls: Arc::default(),
            started: Instant::now(),
            minor: 33,
        }
    }

    /// One that streams lists.
    pub fn streaming(script: impl FnMut(&Call) -> Option<Answer> + Send + 'static) -> Self {
        Self { minor: 37, ..Self::new(script) }
    }

    pub fn client(&self) -> Client {
        let server = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let server = server.clone();
            let call = server.call(&request);
            async move { server.serve(call).await }
        });
        Client::new(service, "default")
    }

    /// Every call so far that this holds for.
    pub fn calls(&self, of: impl Fn(&Call) -> bool) -> Vec<Call> {
        self.calls.lock().unwrap().iter().filter(|call| of(call)).cloned().collect()
    }

    fn call(&self, request: &Request<Body>) -> Call {
        let query = request.uri().query().unwrap_or_default();
        Call {
            path: request.uri().path().to_owned(),
            query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            accept: request.headers()["accept"].to_str().unwrap().to_owned(),
            at: self.started.elapsed(),
        }
    }

    async fn serve(
        &self,
        call: Call,
    ) -> Result<Response<UnsyncBoxBody<Bytes, std::io::Error>>, std::io::Error> {
        self.calls.lock().unwrap().push(call.clone());
        let scripted = (self.script.lock().unwrap())(&call);
        let answer = scripted.unwrap_or_else(|| self.usual(&call));
        let mut response = Response::builder();
        let steps = match answer {
            Answer::Json(value) => vec![Step::Event("", value)],
            Answer::Status(code, after, message) => {
                response = response.status(code);
                if let Some(after) = after {
                    response = response.header("retry-after", after.to_string());
                }
                vec![Step::Event("", json!({ "kind": "Status", "message": message }))]
            }
            Answer::Events(steps) => steps,
            Answer::Silence => std::future::pending().await,
            Answer::Broken => return Err(std::io::Error::other("connection reset")),
        };
        let steps = stream::unfold(steps.into_iter(), async |mut steps| {
            loop {
                match steps.next()? {
                    Step::Wait(time) => tokio::time::sleep(time).await,
                    Step::Break => return Some((Err(std::io::Error::other("reset")), steps)),
                    Step::Event("", value) => {
                        return Some((Ok(Frame::data(value.to_string().into())), steps));
                    }
                    Step::Event(kind, object) => {
                        let line = format!("{}\n", json!({ "type": kind, "object": object }));
                        return Some((Ok(Frame::data(line.into())), steps));
                    }
                }
            }
        });
        let body = UnsyncBoxBody::new(StreamBody::new(steps));
        Ok(response.body(body).unwrap())
    }

    fn usual(&self, call: &Call) -> Answer {
        if call.path == "/version" {
            return Answer::Json(json!({ "major": "1", "minor": self.minor.to_string() }));
        }
        if call.path.starts_with("/apis/") && call.path.matches('/').count() == 3 {
            return Answer::Json(resources(&ALL));
        }
        if call.is_stream() {
            return Answer::Events(vec![end_of_list(1)]);
        }
        if call.is_watch() { quiet() } else { list(1, &[]) }
    }
}

/// Every kind that is found by discovery.
pub const ALL: [&str; 9] = [
    "clusternetworks",
    "vlanconfigs",
    "vlanstatuses",
    "linkmonitors",
    "hostnetworkconfigs",
    "network-attachment-definitions",
    "virtualmachines",
    "virtualmachineinstances",
    "virtualmachineinstancemigrations",
];

/// What discovery says.
pub fn resources(names: &[&str]) -> Value {
    let resources: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
    json!({ "resources": resources })
}
