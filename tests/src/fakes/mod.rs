//! Local stand-ins for outside APIs.
//! Promise: as strict as the real ones about methods, paths, headers and shapes; free ports, so tests run in parallel.
//! Never reach the network.

pub mod model;
pub mod openai;
