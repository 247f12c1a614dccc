//! An API server that keeps objects in memory, for what writes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use kube::Client;
use kube::client::Body;
use lanekeeper::api::Api;
use serde_json::{Value, json};
use tower::service_fn;

pub type Objects = BTreeMap<String, Value>;
/// Sees a request before it is served, may change the objects, and may answer in its place.
type Hook = dyn FnMut(&Method, &str, &mut Objects) -> Option<(u16, Value)> + Send;

/// An API server: its objects by their paths.
#[derive(Clone)]
pub struct Store {
    objects: Arc<Mutex<Objects>>,
    hook: Arc<Mutex<Box<Hook>>>,
    writes: Arc<Mutex<Vec<String>>>,
}

/// How many objects a page has.
const PAGE: usize = 2;

impl Store {
    pub fn new(objects: impl IntoIterator<Item = (String, Value)>) -> Self {
        Self::with(objects, |_, _, _| None)
    }

    pub fn with(
        objects: impl IntoIterator<Item = (String, Value)>,
        hook: impl FnMut(&Method, &str, &mut Objects) -> Option<(u16, Value)> + Send + 'static,
    ) -> Self {
        Self {
            objects: Arc::new(Mutex::new(objects.into_iter().collect())),
            hook: Arc::new(Mutex::new(Box::new(hook))),
            writes: Arc::default(),
        }
    }

    pub fn get(&self, path: &str) -> Value {
        self.objects.lock().unwrap().get(path).cloned().unwrap_or_default()
    }

    /// Changes or makes an object behind the back of those who read it.
    pub fn put(&self, path: &str, object: Value) {
        self.objects.lock().unwrap().insert(path.to_owned(), object);
    }

    /// Sees requests from now on.
    pub fn hook(
        &self,
        hook: impl FnMut(&Method, &str, &mut Objects) -> Option<(u16, Value)> + Send + 'static,
    ) {
        *self.hook.lock().unwrap() = Box::new(hook);
    }

    /// Every write since the last call.
    pub fn writes(&self) -> Vec<String> {
        std::mem::take(&mut *self.writes.lock().unwrap())
    }

    pub fn api(&self) -> Api {
        let store = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let store = store.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let query = head.uri.query().unwrap_or_default();
                let (status, answer) = store.answer(&head.method, head.uri.path(), query, &body);
                let response = Response::builder().status(StatusCode::from_u16(status).unwrap());
                let body = Full::new(Bytes::from(answer.to_string()));
                Ok::<_, std::io::Error>(response.body(body).unwrap())
            }
        });
        Api::new(Client::new(service, "default"))
    }

    fn answer(&self, method: &Method, path: &str, query: &str, body: &[u8]) -> (u16, Value) {
        let mut objects = self.objects.lock().unwrap();
        let answered = (self.hook.lock().unwrap())(method, path, &mut objects);
        if let Some(answer) = answered {
            return answer;
        }
        let not_found = (404, json!({ "message": "not found" }));
        if method != Method::GET {
            self.writes.lock().unwrap().push(format!("{method} {path}"));
        }
        match *method {
            Method::GET => match objects.get(path) {
                Some(object) => (200, object.clone()),
                None => Self::list(&objects, path, query).unwrap_or(not_found),
            },
            Method::DELETE => match objects.remove(path) {
                Some(object) => (200, object),
                None => not_found,
            },
            Method::PATCH => {
                let Some(object) = objects.get_mut(path) else { return not_found };
                let operations: json_patch::Patch = serde_json::from_slice(body).unwrap();
                let mut changed = object.clone();
                if json_patch::patch(&mut changed, &operations).is_err() {
                    return (422, json!({ "message": "the patch does not apply" }));
                }
                let version = object["metadata"]["resourceVersion"].clone();
                if changed["metadata"]["resourceVersion"] != version {
                    return (409, json!({ "message": "the object has been modified" }));
                }
                (200, Self::keep(object, changed))
            }
            Method::PUT => {
                let Some(object) = objects.get_mut(path) else { return not_found };
                let changed: Value = serde_json::from_slice(body).unwrap();
                let version = &object["metadata"]["resourceVersion"];
                if changed["metadata"]["resourceVersion"] != *version {
                    return (409, json!({ "message": "the object has been modified" }));
                }
                (200, Self::keep(object, changed))
            }
            Method::POST => {
                let mut object: Value = serde_json::from_slice(body).unwrap();
                let metadata = &mut object["metadata"];
                if let Some(begin) = metadata["generateName"].as_str() {
                    metadata["name"] = json!(format!("{begin}x"));
                }
                metadata["uid"] = json!("uid");
                metadata["resourceVersion"] = json!("1");
                let name = metadata["name"].as_str().unwrap().to_owned();
                objects.insert(format!("{path}/{name}"), object.clone());
                (201, object)
            }
            _ => (405, json!({ "message": "no such method" })),
        }
    }

    /// Keeps a new version of an object.
    fn keep(object: &mut Value, mut changed: Value) -> Value {
        let version = object["metadata"]["resourceVersion"].as_str().unwrap();
        let next = version.parse::<u64>().unwrap() + 1;
        changed["metadata"]["resourceVersion"] = json!(next.to_string());
        *object = changed.clone();
        changed
    }

    /// A page of a collection across namespaces, if the kind is served: if there is an object of it.
    fn list(objects: &Objects, path: &str, query: &str) -> Option<(u16, Value)> {
        let (root, plural) = path.rsplit_once('/')?;
        let of = |at: &str| {
            at.strip_prefix(root).is_some_and(|rest| {
                rest.rsplit('/').nth(1) == Some(plural) && (root != "/api/v1" || !rest.is_empty())
            })
        };
        let all: Vec<&Value> =
            objects.iter().filter(|(at, _)| of(at)).map(|(_, object)| object).collect();
        let is_built_in = ["nodes", "pods", "events"].contains(&plural);
        if all.is_empty() && !is_built_in {
            return None;
        }
        let query: BTreeMap<String, String> =
            form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let from: usize = query.get("continue").map_or(0, |it| it.parse().unwrap());
        let page: Vec<&Value> = all.iter().skip(from).take(PAGE).copied().collect();
        let next = from + page.len();
        let next = if next < all.len() { next.to_string() } else { String::new() };
        Some((
            200,
            json!({ "metadata": { "resourceVersion": "1", "continue": next }, "items": page }),
        ))
    }
}
