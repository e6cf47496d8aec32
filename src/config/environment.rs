//! The four environments and the profile each one carries.
//! Never decides anything itself: the rules of production live in the groups that they concern.

use std::fmt;

use serde::Deserialize;

/// Where the service runs; chosen by `TRIPSAGE_ENVIRONMENT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// A developer's machine: everything has a default.
    #[default]
    Development,
    /// Like production, with room for experiments.
    Staging,
    /// Real users: unsafe settings stop the start.
    Production,
    /// Automatic tests: small pools, quiet logs.
    Testing,
}

impl Environment {
    /// All of them, in the order in which documents list them.
    pub const ALL: [Self; 4] = [Self::Development, Self::Staging, Self::Production, Self::Testing];

    /// The name as it is written in `TRIPSAGE_ENVIRONMENT`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Staging => "staging",
            Self::Production => "production",
            Self::Testing => "testing",
        }
    }

    /// The environment of this name, whatever its case.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|environment| environment.name().eq_ignore_ascii_case(name.trim()))
    }

    /// The embedded TOML overlay that this environment puts over the defaults.
    pub(crate) fn profile(self) -> &'static str {
        match self {
            Self::Development => include_str!("profiles/development.toml"),
            Self::Staging => include_str!("profiles/staging.toml"),
            Self::Production => include_str!("profiles/production.toml"),
            Self::Testing => include_str!("profiles/testing.toml"),
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
