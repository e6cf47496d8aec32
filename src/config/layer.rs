//! One source of settings, as flat keys (`database.pool_size`) with the source's name on each value.
//! Promise: an empty text counts as not set. Never shows a value in `Debug` or in an error.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use config::{ConfigError, File, FileFormat, Map, Source, Value, ValueKind};

use super::problem::Problem;

/// The values that one source gives.
#[derive(Clone)]
pub(super) struct Layer {
    /// The source's name, for people.
    pub(super) label: String,
    /// Dotted key to value.
    pub(super) values: BTreeMap<String, ValueKind>,
}

impl Layer {
    /// A layer without values.
    pub(super) fn empty(label: impl Into<String>) -> Self {
        Self { label: label.into(), values: BTreeMap::new() }
    }

    /// Sets one value, unless it is an empty text.
    pub(super) fn set(&mut self, key: String, value: ValueKind) {
        if !matches!(&value, ValueKind::String(text) if text.trim().is_empty()) {
            self.values.insert(key, value);
        }
    }

    /// The values of a TOML text.
    pub(super) fn from_toml(label: impl Into<String>, text: &str) -> Result<Self, Problem> {
        let mut layer = Self::empty(label);
        match File::from_str(text, FileFormat::Toml).collect() {
            Ok(table) => flatten("", table, &mut layer),
            Err(error) => return Err(broken_file(&layer.label, &error)),
        }
        Ok(layer)
    }

    /// The values of a settings file.
    pub(super) fn from_file(path: &Path) -> Result<Self, Problem> {
        let label = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::from_toml(label, &text),
            Err(error) => Err(Problem { variable: label, text: format!("the settings file cannot be read: {error}") }),
        }
    }
}

fn flatten(prefix: &str, table: Map<String, Value>, layer: &mut Layer) {
    for (key, value) in table {
        let key = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        match value.kind {
            ValueKind::Table(inner) => flatten(&key, inner, layer),
            kind => layer.set(key, kind),
        }
    }
}

/// Only the first line of a parser's message: the rest quotes the file, and with it perhaps a secret.
fn broken_file(label: &str, error: &ConfigError) -> Problem {
    let message = match error {
        ConfigError::FileParse { cause, .. } => cause.to_string(),
        _ => "unreadable".to_owned(),
    };
    let place = message.lines().next().unwrap_or_default().to_owned();
    Problem { variable: label.to_owned(), text: format!("the settings file is not valid TOML: {place}") }
}

/// The pairs of a `.env` file; none when there is no such file. Never changes the environment.
pub(super) fn dotenv_pairs(path: &Path) -> Result<Vec<(String, String)>, Vec<Problem>> {
    let label = path.display().to_string();
    let problem = |text: String| Problem { variable: label.clone(), text };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(vec![problem(format!("cannot be read: {error}"))]),
    };
    let (mut pairs, mut problems) = (Vec::new(), Vec::new());
    for item in dotenvy::from_read_iter(text.as_bytes()) {
        match item {
            Ok(pair) => pairs.push(pair),
            Err(dotenvy::Error::LineParse(line, _)) => {
                let number = text.lines().position(|candidate| candidate.contains(line.as_str())).map_or(0, |n| n + 1);
                problems.push(problem(format!(
                    "line {number} is not NAME=value; quote values with spaces, `#` or `$` by ''"
                )));
            }
            Err(_) => problems.push(problem("cannot be read".to_owned())),
        }
    }
    if problems.is_empty() { Ok(pairs) } else { Err(problems) }
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        let value = |kind: &ValueKind| Value::new(Some(&self.label), kind.clone());
        Ok(self.values.iter().map(|(key, kind)| (key.clone(), value(kind))).collect())
    }
}

impl fmt::Debug for Layer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Layer").field("label", &self.label).field("n_values", &self.values.len()).finish()
    }
}
