//! What the service tells about itself. Never a secret, a payload or a person's data.

pub mod logs;
mod rolling_file;
