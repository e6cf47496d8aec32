//! Where requests go and which headers they carry, from the settings.
//! Promise: the key is marked sensitive, so that no debug output of a request shows it.
//! Never checks whether anybody answers there.

use reqwest::Url;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use secrecy::ExposeSecret;

use super::OpenAiConfig;

/// `{base}/embeddings`, whether or not the base ends in a slash.
pub(super) fn endpoint(base: &Url) -> Option<Url> {
    let mut endpoint = base.clone();
    endpoint.path_segments_mut().ok()?.pop_if_empty().push("embeddings");
    Some(endpoint)
}

/// Host and port: what a person needs to find the provider, without a password that a URL may hold.
pub(super) fn provider(base: &Url) -> String {
    let host = base.host_str().unwrap_or("the embeddings endpoint");
    base.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The headers of every request, or the name of the setting that cannot be one.
pub(super) fn headers(config: &OpenAiConfig) -> Result<HeaderMap, &'static str> {
    let mut headers = HeaderMap::new();
    if let Some(key) = &config.api_key {
        let bearer = format!("Bearer {}", key.expose_secret());
        let mut value = HeaderValue::from_str(&bearer).map_err(|_| "API key")?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    if let Some(organization) = &config.organization {
        headers.insert("openai-organization", HeaderValue::from_str(organization).map_err(|_| "organization")?);
    }
    Ok(headers)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_is_below_the_base_with_or_without_a_slash() {
        for base in ["https://h/v1", "https://h/v1/"] {
            assert_eq!(endpoint(&base.parse().unwrap()).unwrap().as_str(), "https://h/v1/embeddings");
        }
        assert_eq!(endpoint(&"mailto:me@h".parse().unwrap()), None);
    }

    #[test]
    fn the_providers_name_holds_no_password() {
        assert_eq!(provider(&"https://me:secret@h:8080/v1".parse().unwrap()), "h:8080");
    }
}
