//! What follows from the facts: every rule of the spec, each in exactly one function. Synchronous,
//! deterministic, total; the webhooks, the CLI and the page all ask here.
#![warn(missing_docs)]

pub mod causes;
pub mod explain;
pub mod filter;
mod names;
pub mod needs;
pub mod placement;
pub mod plan;
pub mod prioritize;
pub mod review;
