//! `config show` and `config check`: what the settings are, and whether what they name answers.
//! Promise: every probe has its own time limit, all run at once, all failures are told.
//! Never shows a secret, nor an address's password.

use std::fmt::Write as _;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, join_all};
use secrecy::ExposeSecret;
use serde_json::json;

use crate::app::App;
use crate::settings::{Embedder, Settings};

/// Time limit of a probe of an outside service.
pub const EXTERNAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Time limit of the Postgres probe.
pub const DATABASE_TIMEOUT: Duration = Duration::from_secs(5);
/// Time limit of the Dragonfly probe.
pub const DRAGONFLY_TIMEOUT: Duration = Duration::from_secs(2);

/// One try of a dependency.
pub struct Probe {
    /// What is tried, for people: `Postgres`.
    pub name: String,
    /// How long it may take.
    pub timeout: Duration,
    /// Tries it: what answered, or why it did not. Neither may hold a secret.
    pub run: BoxFuture<'static, Result<Answer, String>>,
}

/// What answered to a probe.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// A word about it.
    pub said: String,
    /// What should be changed about it, although it can be used.
    pub warnings: Vec<String>,
}

impl From<String> for Answer {
    fn from(said: String) -> Self {
        Self { said, warnings: Vec::new() }
    }
}

/// What became of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was tried.
    pub name: String,
    /// What answered, or what went wrong.
    pub result: Result<Answer, String>,
}

impl Probe {
    /// A probe of this future.
    pub fn new<A: Into<Answer>, F>(name: impl Into<String>, timeout: Duration, run: F) -> Self
    where
        F: Future<Output = Result<A, String>> + Send + 'static,
    {
        Self { name: name.into(), timeout, run: run.map(|result| result.map(Into::into)).boxed() }
    }
}

/// The settings as a table: variable, value, source.
#[must_use]
pub fn show(settings: &Settings) -> String {
    let rows = &settings.shown;
    let width =
        |text: fn(&engine::config::Shown) -> &str| rows.iter().map(|row| text(row).chars().count()).max().unwrap_or(0);
    let (names, values) = (width(|row| &row.name), width(|row| &row.value).min(60));
    let mut table = String::new();
    for row in rows {
        let line = format!("{:names$}  {:values$}  {}", row.name, row.value, row.source);
        let _ = writeln!(table, "{}", line.trim_end());
    }
    for warning in &settings.warnings {
        let _ = writeln!(table, "(warning) {warning}");
    }
    table
}

/// The same as JSON: `{"settings": {NAME: {"value", "source"}}, "warnings": [..]}`.
#[must_use]
pub fn show_json(settings: &Settings) -> serde_json::Value {
    let rows = settings.shown.iter().map(|row| (row.name.clone(), json!({"value": row.value, "source": row.source})));
    let warnings: Vec<String> = settings.warnings.iter().map(ToString::to_string).collect();
    json!({"settings": rows.collect::<serde_json::Map<_, _>>(), "warnings": warnings})
}

/// Runs all probes at once, each under its own limit; the findings come in the order of the probes.
pub async fn check(probes: Vec<Probe>) -> Vec<Finding> {
    join_all(probes.into_iter().map(|probe| async move {
        let result = match tokio::time::timeout(probe.timeout, probe.run).await {
            Ok(result) => result,
            Err(_) => Err(format!("gave no answer within {} s", probe.timeout.as_secs_f64())),
        };
        Finding { name: probe.name, result }
    }))
    .await
}

/// The findings as lines, and whether all is well; warnings change nothing about that.
#[must_use]
pub fn report(findings: &[Finding]) -> (String, bool) {
    let mut text = String::new();
    for finding in findings {
        let name = &finding.name;
        let _ = match &finding.result {
            Ok(answer) => writeln!(text, "ok      {name}: {}", answer.said),
            Err(reason) => writeln!(text, "FAILED  {name}: {reason}"),
        };
        for warning in finding.result.iter().flat_map(|answer| &answer.warnings) {
            let _ = writeln!(text, "warning {name}: {warning}");
        }
    }
    (text, findings.iter().all(|finding| finding.result.is_ok()))
}

/// Prints every setting.
pub fn print(settings: &Settings, json: bool) {
    if json {
        println!("{}", show_json(settings));
    } else {
        print!("{}", show(settings));
    }
}

/// Tries every server and configured provider for real, and prints what was found.
///
/// # Errors
/// When one of them fails.
pub async fn check_all(app: &App, json: bool) -> anyhow::Result<()> {
    let mut probes = super::servers::probes(app)?;
    probes.extend(provider_probes(&app.settings));
    let findings = check(probes).await;
    let (text, all_well) = report(&findings);
    if json {
        let lines = findings.iter().map(|finding| match &finding.result {
            Ok(Answer { said, warnings }) => {
                serde_json::json!({ "name": finding.name, "ok": true, "answer": said, "warnings": warnings })
            }
            Err(reason) => serde_json::json!({ "name": finding.name, "ok": false, "reason": reason }),
        });
        println!("{}", serde_json::Value::from(lines.collect::<Vec<_>>()));
    } else {
        print!("{text}");
    }
    anyhow::ensure!(all_well, "not everything answers");
    Ok(())
}

/// Probes of the outside services that are configured: OpenAI where a key is set or its embedder is
/// pointed at another endpoint; Crawl4AI and Airbnb where somebody set their address.
#[must_use]
pub fn provider_probes(settings: &Settings) -> Vec<Probe> {
    let external = &settings.external;
    let somebody_set = |name: &str| {
        let source = settings.shown.iter().find(|row| row.name == name).map_or("", |row| row.source.as_str());
        !(source.is_empty() || source == "default")
    };
    let mut probes = Vec::new();
    let endpoint = settings.memory.embedder == Embedder::OpenAi && somebody_set("TRIPSAGE_EXTERNAL_OPENAI_BASE_URL");
    if external.openai_api_key.is_some() || endpoint {
        probes.push(Probe::new("OpenAI", EXTERNAL_TIMEOUT, list_models(external.clone())));
    }
    if somebody_set("TRIPSAGE_EXTERNAL_CRAWL4AI_API_URL") {
        probes.push(Probe::new("Crawl4AI", EXTERNAL_TIMEOUT, reach(external.crawl4ai_api_url.clone())));
    }
    if somebody_set("TRIPSAGE_AIRBNB_MCP_ENDPOINT") {
        probes.push(Probe::new("Airbnb MCP", EXTERNAL_TIMEOUT, reach(settings.airbnb.endpoint.clone())));
    }
    probes
}

/// Asks for the model list, which costs nothing and needs a valid key.
async fn list_models(external: crate::settings::External) -> Result<String, String> {
    let url = format!("{}/models", external.openai_base_url.expose().trim_end_matches('/'));
    let mut request = reqwest::Client::new().get(url);
    if let Some(key) = &external.openai_api_key {
        request = request.bearer_auth(key.expose_secret());
    }
    if let Some(organization) = &external.openai_organization {
        request = request.header("OpenAI-Organization", organization);
    }
    let response = request.send().await.map_err(unreachable)?;
    let status = response.status();
    match status.as_u16() {
        200..=299 => Ok(format!("answers at {}", external.openai_base_url)),
        401 | 403 => Err(format!("refuses the key (status {}); see TRIPSAGE_EXTERNAL_OPENAI_API_KEY", status.as_u16())),
        _ => Err(format!("answers {status} at {}", external.openai_base_url)),
    }
}

/// Any answer but a server's failure will do: most addresses have no page at their root.
async fn reach(url: engine::config::ServerUrl) -> Result<String, String> {
    let response = reqwest::Client::new().get(url.url().clone()).send().await.map_err(unreachable)?;
    if response.status().is_server_error() {
        return Err(format!("answers {} at {url}", response.status()));
    }
    Ok(format!("answers at {url}"))
}

/// The whole chain of causes, without the URL, which may carry a secret.
fn unreachable(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = format!("cannot be reached: {error}");
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        let _ = write!(text, ": {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_hanging_dependency_fails_alone_and_all_failures_are_told() {
        let probes = vec![
            Probe::new("Postgres", DATABASE_TIMEOUT, pending::<Result<String, String>>()),
            Probe::new("Dragonfly", DRAGONFLY_TIMEOUT, async { Ok("version 1.30".to_owned()) }),
            Probe::new("OpenAI", EXTERNAL_TIMEOUT, async { Err::<String, _>("refuses the key".to_owned()) }),
        ];
        let (text, well) = report(&check(probes).await);
        assert!(!well);
        assert!(text.contains("FAILED  Postgres: gave no answer within 5 s"), "{text}");
        assert!(text.contains("ok      Dragonfly: version 1.30"), "{text}");
        assert!(text.contains("FAILED  OpenAI: refuses the key"), "{text}");
    }

    #[tokio::test]
    async fn all_well_is_told_as_such() {
        let probes = vec![Probe::new("Dragonfly", DRAGONFLY_TIMEOUT, async { Ok("up".to_owned()) })];
        assert_eq!(report(&check(probes).await), ("ok      Dragonfly: up\n".to_owned(), true));
    }

    #[tokio::test]
    async fn a_warning_stands_below_its_answer_and_is_no_failure() {
        let answer = Answer { said: "up".to_owned(), warnings: vec!["change this".to_owned()] };
        let probes = vec![Probe::new("Dragonfly", DRAGONFLY_TIMEOUT, async { Ok(answer) })];
        let told = "ok      Dragonfly: up\nwarning Dragonfly: change this\n".to_owned();
        assert_eq!(report(&check(probes).await), (told, true));
    }
}
