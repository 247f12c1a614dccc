//! What the commands and the web page show, as values. JSON, YAML and tables are written from the
//! same values.

mod check;
pub mod explain;
mod form;
pub mod page;
pub mod plan;
pub mod planner;
mod table;

pub use check::Report;
pub use form::{Form, WriteError, to_yaml};
pub(crate) use table::{Tone, cell, table};
