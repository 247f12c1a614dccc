//! The commands for people. Each is a thin shell around `decide`.

pub mod certs;
pub mod check;
pub mod cleanup;
pub mod doctor;
pub mod explain;
mod lease;
pub mod manifests;
pub mod plan;

use crate::installed::NAME;
