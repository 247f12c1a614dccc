//! Single reads and writes of any object, by its path. Nothing is retried here.

use std::time::Duration;

use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Limited};
use kube::client::Body;
use serde_json::Value;

use super::{Api, Error, MAX_ANSWER, MAX_REFUSAL};

/// How long the answer to a single read or write may take. It is shorter than the time between the
/// end of a leader's term and the beginning of the next one (`controller::lease`), so that a write
/// that an old leader began has ended before a new leader writes.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(4);
/// How long the answer to a dry run may take. The API server waits 10 s for each of our webhooks, the
/// mutating one first.
const DRY_RUN_TIMEOUT: Duration = Duration::from_secs(35);
/// The name under which the API server records which fields we set.
pub const FIELD_MANAGER: &str = "lanekeeper";

/// How a patch is read.
#[derive(Clone, Copy)]
enum PatchType {
    Merge,
    Strategic,
    Json,
}

impl PatchType {
    fn media_type(self) -> &'static str {
        match self {
            Self::Merge => "application/merge-patch+json",
            Self::Strategic => "application/strategic-merge-patch+json",
            Self::Json => "application/json-patch+json",
        }
    }
}

impl Api {
    /// Gets an object. Returns `None` if it does not exist, or its kind is not served.
    ///
    /// # Errors
    /// If the object can't be read.
    pub async fn get_value(&self, path: &str) -> Result<Option<Value>, Error> {
        match self.call(Method::GET, path, "").await {
            Ok(object) => Ok(Some(object)),
            Err(Error::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Lists objects, in one answer. `query` is the query of the request, such as `limit=1`.
    ///
    /// # Errors
    /// If they can't be listed.
    pub async fn list_values(&self, path: &str, query: &str) -> Result<Vec<Value>, Error> {
        let mut list = self.call(Method::GET, path, query).await?;
        Ok(match list.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        })
    }

    /// Creates an object in the collection at `path`. [`Error::Conflict`] means that it exists.
    ///
    /// # Errors
    /// If it can't be created.
    pub async fn create(&self, path: &str, object: &Value) -> Result<Value, Error> {
        self.write(Method::POST, path, object, "application/json", false).await
    }

    /// Asks what a create would do, without doing it: admission runs as for a real one, and may take
    /// as long as the webhooks that are called, one after the other.
    ///
    /// # Errors
    /// If it would be refused.
    pub async fn try_create(&self, path: &str, object: &Value) -> Result<Value, Error> {
        self.write(Method::POST, path, object, "application/json", true).await
    }

    /// Replaces an object. With `metadata.resourceVersion` in it, [`Error::Conflict`] means that
    /// another write came first.
    ///
    /// # Errors
    /// If it can't be replaced.
    pub async fn replace(&self, path: &str, object: &Value) -> Result<Value, Error> {
        self.write(Method::PUT, path, object, "application/json", false).await
    }

    /// Changes an object by a merge patch (RFC 7386). `metadata.uid` or `metadata.resourceVersion`
    /// in the patch is a precondition.
    ///
    /// # Errors
    /// If it can't be changed.
    pub async fn merge(&self, path: &str, change: &Value) -> Result<Value, Error> {
        self.patch(path, change, PatchType::Merge).await
    }

    /// Changes an object of a built-in kind by a strategic merge patch, which finds elements of a
    /// list by their key.
    ///
    /// # Errors
    /// If it can't be changed.
    pub async fn strategic(&self, path: &str, change: &Value) -> Result<Value, Error> {
        self.patch(path, change, PatchType::Strategic).await
    }

    /// Changes an object by a JSON patch (RFC 6902).
    ///
    /// # Errors
    /// If it can't be changed.
    pub async fn json_patch(&self, path: &str, change: &Value) -> Result<Value, Error> {
        self.patch(path, change, PatchType::Json).await
    }

    /// Deletes an object, at once.
    ///
    /// # Errors
    /// If it can't be deleted. [`Error::NotFound`] means that it is gone already.
    pub async fn delete(&self, path: &str) -> Result<(), Error> {
        self.call(Method::DELETE, path, "gracePeriodSeconds=0").await.map(drop)
    }

    async fn patch(&self, path: &str, change: &Value, of: PatchType) -> Result<Value, Error> {
        self.write(Method::PATCH, path, change, of.media_type(), false).await
    }

    async fn write(
        &self,
        method: Method,
        path: &str,
        body: &Value,
        media_type: &str,
        dry_run: bool,
    ) -> Result<Value, Error> {
        let (more, time) =
            if dry_run { ("&dryRun=All", DRY_RUN_TIMEOUT) } else { ("", WRITE_TIMEOUT) };
        let query = format!("fieldManager={FIELD_MANAGER}{more}");
        let answer = self.send_body(method, path, &query, Some(body), media_type);
        tokio::time::timeout(time, answer).await.unwrap_or(Err(Error::Timeout(time)))
    }

    async fn call(&self, method: Method, path: &str, query: &str) -> Result<Value, Error> {
        let answer = self.send_body(method, path, query, None, "");
        let answer = tokio::time::timeout(WRITE_TIMEOUT, answer).await;
        answer.unwrap_or(Err(Error::Timeout(WRITE_TIMEOUT)))
    }

    async fn send_body(
        &self,
        method: Method,
        path: &str,
        query: &str,
        body: Option<&Value>,
        media_type: &str,
    ) -> Result<Value, Error> {
        let invalid = |error: &dyn std::fmt::Display| Error::Invalid(error.to_string());
        let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, &*self.agent);
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, media_type);
        }
        let bytes = match body {
            Some(body) => serde_json::to_vec(body).map_err(|error| invalid(&error))?,
            None => Vec::new(),
        };
        let request = request.body(Body::from(bytes)).map_err(|error| invalid(&error))?;
        let answer = self.client.send(request).await.map_err(|error| Error::unreachable(&error))?;
        let (head, body) = answer.into_parts();
        let limit = if head.status.is_success() { MAX_ANSWER } else { MAX_REFUSAL };
        let bytes = Limited::new(body, limit).collect().await;
        let bytes = bytes.map_err(|error| Error::unreachable(&*error))?.to_bytes();
        if !head.status.is_success() {
            return Err(Error::of_answer(head.status, &head.headers, &bytes));
        }
        // The error does not quote the body, since objects may contain secrets.
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::Unreadable(format!("{path}: {:?}", error.classify())))
    }
}
