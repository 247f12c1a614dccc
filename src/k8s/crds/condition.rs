//! What several kinds share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A condition of an object. Lanekeeper reads the one of type `ready`.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// The type of the condition.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// When the condition was last updated.
    #[serde(default, skip_serializing_if = "is_default")]
    pub last_update_time: String,
    /// When the status last changed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub last_transition_time: String,
    /// The reason for the status, in one word.
    #[serde(default, skip_serializing_if = "is_default")]
    pub reason: String,
    /// The reason for the status, for people.
    #[serde(default, skip_serializing_if = "is_default")]
    pub message: String,
}

/// Returns whether a value is empty, so that it is omitted, as by Go.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
