//! One crate of integration tests: properties, wire formats, rules as scenarios, files, the whole
//! program, and the house's own rules.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    reason = "a test that can't go on has failed"
)]

#[path = "../shared/lines.rs"]
mod lines;

mod admission;
mod authority;
mod bodies;
mod certificates;
mod check;
mod cleanup;
mod commands;
mod crds;
mod doctor;
mod explain;
mod extender;
mod feasible;
mod harness;
mod installation;
mod kustomize;
mod layout;
mod manifests;
mod mutation;
mod plan;
mod properties;
mod readme;
mod scenarios;
mod scripted;
mod serve;
mod store;
mod texts;
mod tidy;
mod ui;
mod upkeep;
mod waking;
mod wire;
mod wiring;
