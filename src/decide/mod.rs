//! Decisions: every rule of docs/reference.md, each in exactly one function. The functions are
//! synchronous, deterministic and total. The webhooks, the extender and the CLI all call them.
#![warn(missing_docs)]

pub mod causes;
pub mod check;
pub mod explain;
pub mod feasible;
pub mod filter;
mod names;
pub mod needs;
pub mod placement;
pub mod plan;
pub mod prioritize;
pub mod review;
pub mod upkeep;

pub use names::{Audience, first_of};
