//! Sources of facts: an API server, or manifests on disk. A source is the only writer of its index.

mod files;
pub mod live;
pub mod manifests;
mod once;
mod owner;

pub use live::Live;
pub use manifests::{Manifests, Unreadable, objects_in};
pub use once::{Once, OnceError};
