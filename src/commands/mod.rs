//! The commands for people. Each is a thin shell around `decide`.

pub mod certs;
pub mod cleanup;
pub mod doctor;
pub mod explain;
mod lease;
pub mod manifests;
pub mod plan;

use serde::Serialize;

use crate::installed::NAME;

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
    fn write<V: Serialize>(self, view: &V, table: fn(&V) -> String) -> Result<String, WriteError> {
        match self {
            Self::Table => Ok(table(view)),
            Self::Json => Ok(serde_json::to_string(view)? + "\n"),
            Self::Yaml => Ok(to_yaml(view)?),
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

fn to_yaml<V: Serialize>(view: &V) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(view)
}
