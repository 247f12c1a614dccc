//! Lanekeeper.
pub mod cluster;
pub mod decide;
pub mod k8s;
