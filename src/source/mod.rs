//! Where facts come from. A source is the only writer of the index.

mod documents;
mod files;
pub mod live;
pub mod manifests;
mod once;
mod owner;

pub use live::Live;
pub use manifests::{Manifests, Unreadable, objects_in};
pub use once::{Once, OnceError};
