//! What the program does for people. Each command is a thin shell around `decide`.

pub mod explain;

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
