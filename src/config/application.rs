//! The application's own settings and the rules of production for its secrets.
//! Never accepts a development secret in production.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::draft::{Draft, Section};
use super::environment::Environment;
use super::variable::{Group, Shape, Variable};

/// Settings under `TRIPSAGE_`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Application {
    /// Where the service runs.
    pub environment: Environment,
    /// Whether diagnostic extras are on.
    pub debug: bool,
    /// The name under which the service appears.
    pub app_name: String,
    /// The port of the HTTP side.
    pub api_port: u16,
    /// Signs access tokens.
    pub jwt_secret_key: SecretString,
    /// Encrypts the keys that users bring.
    pub api_key_master_secret: SecretString,
    /// The settings file that was read, if any.
    pub config_file: Option<PathBuf>,
}

const ENVIRONMENTS: Shape =
    Shape::Choice { served: &["development", "staging", "production", "testing"], reserved: &[] };

/// Shortest secret that production accepts, in characters.
const SECRET_CHARACTERS: usize = 32;

impl Section for Application {
    const GROUP: &'static Group = &Group {
        section: "application",
        prefix: "TRIPSAGE_",
        title: "Application",
        variables: &[
            Variable::new("environment", ENVIRONMENTS, "where the service runs; chooses the profile"),
            Variable::new("debug", Shape::Flag, "diagnostic extras; refused in production"),
            Variable::new("app_name", Shape::Text, "the name under which the service appears"),
            Variable::new("api_port", Shape::Integer { min: 1024, max: 65_535 }, "port of the HTTP side"),
            Variable::new(
                "jwt_secret_key",
                Shape::Secret,
                "signs access tokens; production wants 32 characters or more",
            )
            .required(),
            Variable::new(
                "api_key_master_secret",
                Shape::Secret,
                "encrypts the keys that users bring; production wants 32 characters or more",
            )
            .required(),
            Variable::new("config_file", Shape::Text, "a TOML file of settings, read between the profile and .env")
                .unset("no file"),
        ],
    };

    fn check(&self, draft: &mut Draft) {
        if draft.environment() != Environment::Production {
            return;
        }
        if self.debug {
            draft.problem(&[Self::GROUP.name("debug")], "must be false in production");
        }
        for (field, secret) in
            [("jwt_secret_key", &self.jwt_secret_key), ("api_key_master_secret", &self.api_key_master_secret)]
        {
            if let Some(text) = weakness(secret.expose_secret()) {
                draft.problem(&[Self::GROUP.name(field)], text);
            }
        }
    }
}

/// Why a secret is refused in production; never quotes it.
fn weakness(secret: &str) -> Option<String> {
    let lower = secret.to_lowercase();
    if secret.chars().count() < SECRET_CHARACTERS {
        Some(format!(
            "is too short for production; expected {SECRET_CHARACTERS} characters or more, for example from `openssl rand -hex 32`"
        ))
    } else if Environment::ALL.iter().any(|environment| environment.profile().contains(secret)) {
        Some(
            "is a published default; production needs one of its own, for example from `openssl rand -hex 32`"
                .to_owned(),
        )
    } else if lower.contains("test") || lower.contains("dev") {
        Some("holds the word \"test\" or \"dev\", so it is taken for a stand-in; production needs a real one, for example from `openssl rand -hex 32`".to_owned())
    } else {
        None
    }
}
