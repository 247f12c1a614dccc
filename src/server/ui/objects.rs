//! What the page reads beyond the snapshot.

use std::collections::BTreeSet;

use axum::BoxError;
use futures_util::future::BoxFuture;
use serde_json::Value;

use crate::cluster::{Name, ObjectRef};

/// A read that may fail.
pub type Reading<'a, T> = BoxFuture<'a, Result<T, BoxError>>;

/// Whole objects, of which the snapshot has only the facts.
pub trait Objects: Send + Sync + 'static {
    /// One object; `None` if it does not exist.
    fn object<'a>(&'a self, object: &'a ObjectRef) -> Reading<'a, Option<Value>>;

    /// The hosts that are cordoned.
    fn cordoned(&self) -> Reading<'_, BTreeSet<Name>>;
}
