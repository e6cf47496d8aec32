//! The cache's switch. Never decides how long an entry lives: its kind does.

use serde::Deserialize;

use super::draft::{Draft, Section};
use super::variable::{Group, Shape, Variable};

/// Settings under `TRIPSAGE_CACHE_`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cache {
    /// Whether answers are kept and served again.
    pub enabled: bool,
}

impl Section for Cache {
    const GROUP: &'static Group = &Group {
        section: "cache",
        prefix: "TRIPSAGE_CACHE_",
        title: "Cache",
        variables: &[Variable::new("enabled", Shape::Flag, "whether answers are kept and served again")],
    };

    fn check(&self, _draft: &mut Draft) {}
}
