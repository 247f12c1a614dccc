//! The HTTP server. Handlers extract, decide and encode; every decision is made in `decide`.

pub mod admin;
mod admission;
mod app;
mod body;
mod buffers;
mod calls;
mod extender;
mod limit;
pub mod listen;
mod reply;
mod rest;
pub mod ui;

pub use app::{App, Settings};
pub use body::Bodies;
pub use calls::Calls;
