//! What the program does for people. Each command is a thin shell around `decide`.

pub mod explain;
