//! Gathers the sources of settings in their order and lays one over the other.
//! Promise: the same inputs give the same settings; the environment and the files are parameters.
//! Never stops at the first problem.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{Config, Map, Source, Value, ValueKind};

use super::draft::{Draft, Section};
use super::environment::Environment;
use super::hardware::Hardware;
use super::layer::{Layer, dotenv_pairs};
use super::problem::Problem;
use super::variable::{Group, Variable};
use super::{Application, GROUPS};

/// What every variable of ours begins with.
const PREFIX: &str = "TRIPSAGE_";
const DOTENV: &str = ".env";
const ENVIRONMENT: &str = "environment";

/// Where settings come from; build one, then [`Loader::load`].
#[derive(Clone)]
pub struct Loader {
    pub(super) groups: Vec<&'static Group>,
    pub(super) defaults: Vec<&'static str>,
    environment: BTreeMap<String, String>,
    dotenv: Option<PathBuf>,
    file: Option<PathBuf>,
    hardware: Hardware,
}

impl Loader {
    /// The engine's groups and defaults on this hardware, with no file and an empty environment.
    #[must_use]
    pub fn new(hardware: Hardware) -> Self {
        Self {
            groups: GROUPS.to_vec(),
            defaults: vec![include_str!("defaults.toml")],
            environment: BTreeMap::new(),
            dotenv: None,
            file: None,
            hardware,
        }
    }

    /// What a running program uses: this machine, `.env` of the working directory, the process's environment.
    #[must_use]
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the process's environment")]
    pub fn from_process() -> Self {
        // Not `vars`: it panics, and prints the value, when any variable is not UTF-8.
        let pairs =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::new(Hardware::detect()).dotenv(DOTENV).environment(pairs)
    }

    /// Adds groups of another crate with their defaults, a TOML text.
    #[must_use]
    pub fn with(mut self, groups: &[&'static Group], defaults: &'static str) -> Self {
        self.groups.extend_from_slice(groups);
        self.defaults.push(defaults);
        self
    }

    /// Takes these variables as the environment, instead of any given before.
    #[must_use]
    pub fn environment<N: Into<String>, V: Into<String>>(mut self, pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        self.environment = by_upper_case(pairs.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Reads this `.env` file, if it exists.
    #[must_use]
    pub fn dotenv(mut self, path: impl Into<PathBuf>) -> Self {
        self.dotenv = Some(path.into());
        self
    }

    /// Reads this settings file, which has to exist; it wins over `TRIPSAGE_CONFIG_FILE`.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.file = Some(path.into());
        self
    }

    /// Reads, merges and checks everything; the draft holds the values and the problems.
    #[must_use]
    pub fn load(self) -> Draft {
        let (mut problems, mut warnings) = (Vec::new(), Vec::new());
        let dotenv = self.dotenv.as_deref().map_or_else(|| Ok(Vec::new()), dotenv_pairs);
        let dotenv = by_upper_case(dotenv.unwrap_or_else(|found| {
            problems.extend(found);
            Vec::new()
        }));
        let mut names = dotenv.clone();
        names.extend(
            self.environment
                .iter()
                .filter(|(_, value)| !value.trim().is_empty())
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        let file = self.file_layer(&names, &mut problems);
        let dotenv = self.variables_layer(DOTENV, &dotenv, &mut warnings);
        let environment = self.variables_layer(ENVIRONMENT, &self.environment, &mut warnings);
        let said = [file, dotenv, environment];

        let chosen = chosen_environment(&said);
        let mut layers = self.base_layers(chosen);
        layers.push(self.fallback_layer(&said, &names));
        layers.extend(said);
        Draft::check(&self.groups, merge(layers), chosen, problems, warnings)
    }

    /// The layers that hold whatever anybody says: machine, defaults, profile.
    pub(super) fn base_layers(&self, environment: Environment) -> Vec<Layer> {
        let embedded = |label: String, text| match Layer::from_toml(label, text) {
            Ok(layer) => layer,
            Err(problem) => unreachable!("an embedded file is tested to parse: {problem}"),
        };
        let mut layers = vec![self.hardware.layer()];
        layers.extend(self.defaults.iter().map(|text| embedded("default".to_owned(), text)));
        layers.push(embedded(format!("profile {environment}"), environment.profile()));
        layers
    }

    fn file_layer(&self, names: &BTreeMap<String, String>, problems: &mut Vec<Problem>) -> Layer {
        let variable = Application::GROUP.name("config_file");
        let named = names.get(&variable).filter(|path| !path.is_empty()).map(Path::new);
        let Some(path) = self.file.as_deref().or(named) else {
            return Layer::empty("file");
        };
        let layer = Layer::from_file(path).unwrap_or_else(|problem| {
            problems.push(problem);
            Layer::empty("file")
        });
        let known: BTreeMap<String, String> =
            self.variables().map(|(group, row)| (group.key(row.field), group.name(row.field))).collect();
        for key in layer.values.keys().filter(|key| !known.contains_key(*key)) {
            let text = format!("{}: no such setting{}", layer.label, suggestion(key, known.keys()));
            problems.push(Problem { variable: key.clone(), text });
        }
        Layer {
            label: layer.label,
            values: layer.values.into_iter().filter(|(key, _)| known.contains_key(key)).collect(),
        }
    }

    /// The known variables among these, by key; unknown ones of ours become warnings.
    fn variables_layer(&self, label: &str, pairs: &BTreeMap<String, String>, warnings: &mut Vec<Problem>) -> Layer {
        let known: BTreeMap<String, String> =
            self.variables().map(|(group, row)| (group.name(row.field), group.key(row.field))).collect();
        let mut layer = Layer::empty(label);
        for (name, value) in pairs {
            match known.get(name) {
                Some(key) => layer.set(key.clone(), ValueKind::String(value.clone())),
                None if name.starts_with(PREFIX) => {
                    let text = format!("no such setting, ignored{} (from: {label})", suggestion(name, known.keys()));
                    warnings.push(Problem { variable: name.clone(), text });
                }
                None => {}
            }
        }
        layer
    }

    /// Values under the names that others use (`REDIS_URL`), where nobody said ours.
    fn fallback_layer(&self, said: &[Layer; 3], names: &BTreeMap<String, String>) -> Layer {
        let mut layer = Layer::empty("fallback");
        for (group, row) in self.variables() {
            let key = group.key(row.field);
            let found = row.fallbacks.iter().find_map(|name| names.get(*name).filter(|value| !value.trim().is_empty()));
            if let (Some(value), false) = (found, said.iter().any(|layer| layer.values.contains_key(&key))) {
                layer.set(key, ValueKind::String(value.clone()));
            }
        }
        layer
    }

    pub(super) fn variables(&self) -> impl Iterator<Item = (&'static Group, &'static Variable)> + '_ {
        self.groups.iter().flat_map(|group| group.variables.iter().map(move |row| (*group, row)))
    }
}

/// Names in upper case; where a name comes in several spellings, the one in upper case wins.
fn by_upper_case(pairs: impl IntoIterator<Item = (String, String)>) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for (name, value) in pairs {
        let upper = name.to_ascii_uppercase();
        if name == upper || !names.contains_key(&upper) {
            names.insert(upper, value);
        }
    }
    names
}

/// The environment that the highest layer names; a wrong name is a problem that the checks report.
fn chosen_environment(said: &[Layer]) -> Environment {
    let key = Application::GROUP.key("environment");
    let word = said.iter().rev().find_map(|layer| match layer.values.get(&key) {
        Some(ValueKind::String(word)) => Some(word.as_str()),
        _ => None,
    });
    word.and_then(Environment::named).unwrap_or_default()
}

/// `; did you mean X?` for the nearest name, when one is near.
fn suggestion<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> String {
    let nearest = known.map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate)).min();
    match nearest {
        Some((distance, candidate)) if distance <= 1 + name.len() / 5 => format!("; did you mean {candidate}?"),
        _ => String::new(),
    }
}

/// Lays the layers over each other: section to its table, every value with its source's label.
pub(super) fn merge(layers: Vec<Layer>) -> Map<String, Value> {
    let builder = layers.into_iter().fold(Config::builder(), |builder, layer| builder.add_source(layer));
    match builder.build().and_then(|merged| merged.collect()) {
        Ok(sections) => sections,
        Err(_) => unreachable!("layers hold flat keys and plain values, which always merge"),
    }
}
