//! The settings of the Airbnb MCP server. Never calls it.

use std::time::Duration;

use engine::config::{Draft, Group, Section, ServerUrl, Shape, Variable, seconds};
use serde::Deserialize;

/// Settings under `TRIPSAGE_AIRBNB_MCP_`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Airbnb {
    /// The server's address.
    pub endpoint: ServerUrl,
    /// How long a call may take.
    #[serde(rename = "timeout_seconds", deserialize_with = "seconds")]
    pub timeout: Duration,
    /// How often a failed call is tried again.
    pub max_retries: u32,
    /// How long an answer is kept.
    #[serde(deserialize_with = "seconds")]
    pub cache_ttl: Duration,
    /// Calls a minute, over all workers.
    pub rate_limit_per_minute: u32,
}

impl Section for Airbnb {
    const GROUP: &'static Group = &Group {
        section: "airbnb_mcp",
        prefix: "TRIPSAGE_AIRBNB_MCP_",
        title: "Airbnb MCP",
        variables: &[
            Variable::new("endpoint", Shape::Address(&["https", "http"]), "the server's address"),
            Variable::new("timeout_seconds", Shape::Integer { min: 5, max: 120 }, "longest call"),
            Variable::new("max_retries", Shape::Integer { min: 0, max: 10 }, "how often a failed call is tried again"),
            Variable::new(
                "cache_ttl",
                Shape::Integer { min: 300, max: 86_400 },
                "how long an answer is kept, in seconds",
            ),
            Variable::new(
                "rate_limit_per_minute",
                Shape::Integer { min: 10, max: 1000 },
                "calls a minute, over all workers",
            ),
        ],
    };

    fn check(&self, _draft: &mut Draft) {}
}
