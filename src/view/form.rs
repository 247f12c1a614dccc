//! The forms in which an answer is printed.

use serde::Serialize;
use serde_json::Value;

/// The form of an answer.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// For people.
    Table,
    /// JSON, on one line.
    Json,
    /// YAML.
    Yaml,
}

impl Form {
    /// Writes an answer in this form. `table` writes it as a table.
    ///
    /// # Errors
    /// If the answer can't be written as JSON or YAML.
    pub fn write<V: Serialize>(
        self,
        view: &V,
        table: impl FnOnce(&V) -> String,
    ) -> Result<String, WriteError> {
        match self {
            Self::Table => Ok(table(view)),
            Self::Json => Ok(serde_json::to_string(view)? + "\n"),
            Self::Yaml => Ok(serde_saphyr::to_string(view)?),
        }
    }
}

/// Why an answer can't be written.
#[derive(Debug, thiserror::Error)]
#[error("can't write the answer: {0}")]
pub enum WriteError {
    /// As JSON.
    Json(#[from] serde_json::Error),
    /// As YAML.
    Yaml(#[from] serde_saphyr::ser::Error),
    /// What it is made from can't be read.
    Read(#[from] serde_saphyr::Error),
}

/// Writes an object as YAML, its members in the order of their names. `serde_json` keeps another order if
/// any crate of the build asks for that.
///
/// # Errors
/// If the object can't be written as YAML.
pub fn to_yaml(object: &Value) -> Result<String, serde_saphyr::ser::Error> {
    let mut object = object.clone();
    object.sort_all_objects();
    serde_saphyr::to_string(&object)
}
