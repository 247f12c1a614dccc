//! Where facts come from. A source is the only writer of the index.

mod documents;
mod files;
pub mod manifests;

pub use manifests::{Manifests, objects_in};
