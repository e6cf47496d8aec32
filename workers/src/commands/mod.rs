//! What the command line does, one file a command. Each returns its text: only the binary prints.

pub mod config;
