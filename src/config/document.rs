//! The settings as documents: rows, the README's table, and `.env.example`.
//! Promise: everything comes from the tables and the defaults, so a test can hold the documents to them.

use std::fmt::Write as _;

use config::{Map, Value};

use super::draft::shown;
use super::environment::Environment;
use super::loader::{Loader, merge};
use super::variable::{Group, Shape, Variable};

/// One setting, ready for a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The heading that it stands under.
    pub title: &'static str,
    /// The variable's name.
    pub name: String,
    /// The default, as it would be written; empty when there is none.
    pub default: String,
    /// What happens without a value: `required`, or words; empty when there is a default.
    pub unset: String,
    /// Profiles that differ from the default, with their value.
    pub profiles: Vec<(Environment, String)>,
    /// The allowed values.
    pub range: String,
    /// What it does.
    pub meaning: &'static str,
    /// Whether it is a key or password.
    pub secret: bool,
}

impl Loader {
    /// Every known setting, in the order of the tables.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let embedded = |environment: Option<Environment>| {
            // The machine's layer is left out: a document must not depend on where it was made.
            let layers =
                self.base_layers(environment.unwrap_or_default()).into_iter().filter(|layer| layer.label != "machine");
            merge(layers.filter(|layer| environment.is_some() || layer.label == "default").collect())
        };
        let defaults = embedded(None);
        let profiles = Environment::ALL.map(|environment| (environment, embedded(Some(environment))));
        self.variables().map(|(group, variable)| row(group, variable, &defaults, &profiles)).collect()
    }

    /// The table for a README: name, default, range, meaning.
    #[must_use]
    pub fn markdown_table(&self) -> String {
        let mut table = String::new();
        let mut title = "";
        for row in self.rows() {
            if row.title != title {
                title = row.title;
                let _ =
                    write!(table, "\n**{title}**\n\n| variable | default | allowed | meaning |\n|---|---|---|---|\n");
            }
            let _ =
                writeln!(table, "| `{}` | {} | {} | {} |", row.name, row.markdown_default(), row.range, row.meaning);
        }
        table.trim_start().to_owned()
    }

    /// The text of `.env.example`: every variable, commented out, at its default.
    #[must_use]
    pub fn env_example(&self) -> String {
        let mut text = EXAMPLE_HEAD.to_owned();
        let mut title = "";
        for row in self.rows() {
            if row.title != title {
                title = row.title;
                let _ = write!(text, "\n# ---- {title} ----\n");
            }
            let _ = writeln!(text, "\n# {}\n# allowed: {}{}", row.meaning, row.range, row.example_extra());
            let _ = writeln!(text, "# {}={}", row.name, quoted(&row.default));
        }
        text
    }
}

const EXAMPLE_HEAD: &str = "\
# Every setting of TripSage's background service. Copy to .env and uncomment what you change.
# Later wins: defaults, the profile of TRIPSAGE_ENVIRONMENT, a settings file, .env, the environment.
# Each line below is the default; one with nothing after the = has none. Empty counts as not set.
# Quote values that hold spaces, # or $ by single quotes.
";

fn row(
    group: &Group,
    variable: &Variable,
    defaults: &Map<String, Value>,
    profiles: &[(Environment, Map<String, Value>)],
) -> Row {
    let written = |values: &Map<String, Value>| {
        let section =
            values.get(group.section).and_then(|section| section.clone().into_table().ok()).unwrap_or_default();
        let value = section.get(variable.field);
        match (variable.shape, value) {
            (Shape::Secret, Some(_)) => "a published one".to_owned(),
            (Shape::Secret, None) => String::new(),
            (shape, value) => shown(shape, value),
        }
    };
    let default = written(defaults);
    let differing = profiles.iter().map(|(environment, values)| (*environment, written(values)));
    let unset = if variable.required { "required" } else { variable.unset };
    Row {
        title: group.title,
        name: group.name(variable.field),
        unset: if default.is_empty() { unset.to_owned() } else { String::new() },
        profiles: differing.filter(|(_, value)| *value != default).collect(),
        default,
        range: variable.range(),
        meaning: variable.meaning,
        secret: variable.shape == Shape::Secret,
    }
}

impl Row {
    fn markdown_default(&self) -> String {
        let mut words = match (self.default.as_str(), self.unset.as_str()) {
            ("", "") => "–".to_owned(),
            ("", unset) => unset.to_owned(),
            (default, _) => format!("`{default}`"),
        };
        for (environment, value) in &self.profiles {
            let value = if self.secret { value.clone() } else { format!("`{value}`") };
            let _ = write!(words, "; {environment}: {value}");
        }
        words
    }

    fn example_extra(&self) -> String {
        let mut words = String::new();
        if !self.unset.is_empty() {
            let _ = write!(
                words,
                "; without it: {}",
                if self.unset == "required" { "the start stops" } else { &self.unset }
            );
        }
        for (environment, value) in &self.profiles {
            let _ = write!(words, "; in {environment}: {value}");
        }
        words
    }
}

/// The value as a `.env` file needs it.
fn quoted(value: &str) -> String {
    if value.contains([' ', '#', '$', '"']) { format!("'{value}'") } else { value.to_owned() }
}
