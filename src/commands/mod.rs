//! What the program does for people. Each command is a thin shell around `decide`.

pub mod explain;
pub mod manifests;
pub mod plan;

use serde::Serialize;

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
    /// An answer in this form; `table` makes a table of it.
    fn write<A: Serialize>(self, answer: &A, table: fn(&A) -> String) -> Result<String, String> {
        match self {
            Self::Table => Ok(table(answer)),
            Self::Json => serde_json::to_string(answer)
                .map(|json| json + "\n")
                .map_err(|error| error.to_string()),
            Self::Yaml => serde_saphyr::to_string(answer).map_err(|error| error.to_string()),
        }
    }
}
