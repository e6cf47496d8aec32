//! The typed settings of the service, read once at start.
//!
//! Order, later wins: what the machine suggests, `defaults.toml`, the profile of the environment, an
//! optional file, `.env`, the process's environment. Promise: every problem is found in one go and
//! named by its variable. Never shows a secret, never changes the process's environment, and is the
//! only module that reads it.
//!
//! A group of settings is one [`Group`] table (names, ranges, meanings) and one struct that
//! implements [`Section`]; reading, range checks, `.env.example` and the README all come from the table.

mod application;
mod cache;
mod check;
mod database;
mod document;
mod draft;
mod dragonfly;
mod environment;
mod hardware;
mod layer;
mod loader;
mod log;
mod problem;
mod server_url;
mod units;
mod variable;
mod worker;

pub use self::application::Application;
pub use self::cache::Cache;
pub use self::database::{Database, Supabase};
pub use self::document::Row;
pub use self::draft::{Draft, Section, Shown};
pub use self::dragonfly::Dragonfly;
pub use self::environment::Environment;
pub use self::hardware::Hardware;
pub use self::loader::Loader;
pub use self::log::{Log, LogFormat};
pub use self::problem::{Problem, Problems};
pub use self::server_url::{ServerUrl, ServerUrlError};
pub use self::units::{millis, seconds};
pub use self::variable::{Group, Shape, Variable};
pub use self::worker::{CompletionFormat, Worker};

/// The engine's own groups, in the order in which documents list them.
pub const GROUPS: [&Group; 6] =
    [Application::GROUP, Database::GROUP, Dragonfly::GROUP, Cache::GROUP, Worker::GROUP, Log::GROUP];
