//! The settings of outside services: their keys, addresses and common limits.
//! Never calls any of them.

use std::time::Duration;

use engine::config::{Draft, Group, Section, ServerUrl, Shape, Variable, seconds};
use secrecy::SecretString;
use serde::Deserialize;

/// Settings under `TRIPSAGE_EXTERNAL_`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct External {
    /// OpenAI's key.
    pub openai_api_key: Option<SecretString>,
    /// OpenAI's organization.
    pub openai_organization: Option<String>,
    /// OpenAI's address, or that of a compatible endpoint, up to and with its version.
    pub openai_base_url: ServerUrl,
    /// Duffel's key: flights.
    pub duffel_api_key: Option<SecretString>,
    /// Google Maps' key: places.
    pub google_maps_api_key: Option<SecretString>,
    /// Google's client id.
    pub google_client_id: Option<String>,
    /// Google's client secret.
    pub google_client_secret: Option<SecretString>,
    /// OpenWeatherMap's key.
    pub openweathermap_api_key: Option<SecretString>,
    /// Visual Crossing's key: weather.
    pub visual_crossing_api_key: Option<SecretString>,
    /// Crawl4AI's address: web pages.
    pub crawl4ai_api_url: ServerUrl,
    /// Crawl4AI's key.
    pub crawl4ai_api_key: Option<SecretString>,
    /// How long a call may take.
    #[serde(deserialize_with = "seconds")]
    pub default_timeout: Duration,
    /// How often a failed call is tried again.
    pub max_retries: u32,
}

const HTTP: Shape = Shape::Address(&["https", "http"]);

impl Section for External {
    const GROUP: &'static Group = &Group {
        section: "external",
        prefix: "TRIPSAGE_EXTERNAL_",
        title: "External services",
        variables: &[
            Variable::new("openai_api_key", Shape::Secret, "OpenAI's key; production needs it for the openai embedder"),
            Variable::new("openai_organization", Shape::Text, "OpenAI's organization"),
            Variable::new("openai_base_url", HTTP, "OpenAI's address, or a compatible endpoint's, with its version"),
            Variable::new("duffel_api_key", Shape::Secret, "Duffel's key: flights"),
            Variable::new("google_maps_api_key", Shape::Secret, "Google Maps' key: places"),
            Variable::new("google_client_id", Shape::Text, "Google's client id; together with its secret"),
            Variable::new("google_client_secret", Shape::Secret, "Google's client secret; together with its id"),
            Variable::new("openweathermap_api_key", Shape::Secret, "OpenWeatherMap's key"),
            Variable::new("visual_crossing_api_key", Shape::Secret, "Visual Crossing's key: weather"),
            Variable::new("crawl4ai_api_url", HTTP, "Crawl4AI's address: web pages"),
            Variable::new("crawl4ai_api_key", Shape::Secret, "Crawl4AI's key"),
            Variable::new(
                "default_timeout",
                Shape::Integer { min: 5, max: 120 },
                "longest call in seconds; over 60 warns",
            )
            .warn_above(60),
            Variable::new("max_retries", Shape::Integer { min: 0, max: 10 }, "how often a failed call is tried again"),
        ],
    };

    fn check(&self, draft: &mut Draft) {
        if self.google_client_id.is_some() != self.google_client_secret.is_some() {
            let names = [Self::GROUP.name("google_client_id"), Self::GROUP.name("google_client_secret")];
            draft.problem(&names, "contradict: only one of them is set; set both or neither");
        }
    }
}
