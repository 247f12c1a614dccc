//! Keeps KubeVirt virtual machines on hosts where their networks are up, and keeps network changes
//! from cutting off running machines.
//!
//! ```text
//!  API server ─▶ source ──▶ k8s ──▶ cluster::Index ──▶ publish ──▶ cluster::Snapshot
//!  manifests     (reads)   (facts)   (keeps)           (swaps)          │
//!                                                                       ▼
//!  scheduler ──▶ server ──▶ k8s ──────────────────────────────────▶  decide
//!  API server    (HTTP)    (wire)  ◀──────────────────────────────  (verdicts)
//!  people ─────▶ commands, page ──▶ view ──────────────────────────────┘
//! ```
//!
//! ARCHITECTURE.md has the map and the invariants.

pub mod cluster;
pub mod decide;

pub mod api;
pub mod k8s;
pub mod present;
pub mod publish;
pub mod source;

pub mod installed;
pub mod metrics;
pub mod pki;
pub mod server;

pub mod controller;

pub mod commands;
pub mod serve;
pub mod view;

pub mod cli;
pub mod progress;
pub mod telemetry;
pub mod threads;
