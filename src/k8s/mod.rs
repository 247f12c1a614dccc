//! Wire ⇄ facts: the shapes of Kubernetes' objects and messages. The only place that knows them;
//! no client, nothing asynchronous.

pub mod admission;
mod cni;
pub mod crds;
pub mod extender;
mod fold;
mod harvester;
mod kubevirt;
mod meta;
mod multus;
pub mod mutation;
mod node;
pub mod objects;
pub mod patch;
