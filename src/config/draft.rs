//! The merged settings while they are checked: typed values, problems and warnings.
//! Promise: every value that a group reads has its shape; a group with a problem can still be read, so
//! that its contradictions are found in the same go. Never shows a secret.

use std::collections::BTreeSet;

use config::{Map, Value, ValueKind};
use serde::de::DeserializeOwned;

use super::check::{check, placeholder};
use super::environment::Environment;
use super::problem::{Problem, Problems};
use super::server_url::ServerUrl;
use super::variable::{Group, Shape, Variable};

/// A group of settings as a type.
pub trait Section: DeserializeOwned {
    /// The table that drives reading, checks and documents.
    const GROUP: &'static Group;

    /// Rules that concern more than one value, and those of production.
    fn check(&self, draft: &mut Draft);
}

/// A setting as it may be shown to anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The variable's name.
    pub name: String,
    /// Its value: `set` or `not set` for a secret, `***` for a password in a URL, empty for nothing.
    pub value: String,
    /// Where the value came from: `default`, `profile …`, a file, `.env`, `environment`, `machine`.
    pub source: String,
}

/// Settings being checked.
pub struct Draft {
    values: Map<String, Value>,
    environment: Environment,
    unsound: BTreeSet<String>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    shown: Vec<Shown>,
}

impl Draft {
    /// Checks every variable of every group against its row.
    pub(super) fn check(
        groups: &[&'static Group],
        mut merged: Map<String, Value>,
        environment: Environment,
        problems: Vec<Problem>,
        warnings: Vec<Problem>,
    ) -> Self {
        let mut draft =
            Self { values: Map::new(), environment, unsound: BTreeSet::new(), problems, warnings, shown: Vec::new() };
        for group in groups {
            let section =
                merged.remove(group.section).and_then(|section| section.into_table().ok()).unwrap_or_default();
            let mut typed = Map::new();
            for variable in group.variables {
                let value = draft.check_one(group, variable, section.get(variable.field));
                typed.extend(value.map(|kind| (variable.field.to_owned(), Value::new(None, kind))));
            }
            draft.values.insert(group.section.to_owned(), Value::new(None, typed));
        }
        draft
    }

    fn check_one(&mut self, group: &Group, variable: &Variable, value: Option<&Value>) -> Option<ValueKind> {
        let name = group.name(variable.field);
        let source = value.and_then(Value::origin).unwrap_or_default().to_owned();
        self.shown.push(Shown { name: name.clone(), value: shown(variable.shape, value), source: source.clone() });
        let checked = match value {
            Some(value) => check(variable, &value.kind).map_err(|text| format!("{text} (from: {source})")),
            None if variable.required => {
                Err(format!("is missing in {}; expected: {}", self.environment, variable.range()))
            }
            None => return None,
        };
        let kind = checked.unwrap_or_else(|text| {
            self.problem(std::slice::from_ref(&name), text);
            placeholder(variable.shape)
        });
        if let (Some(limit), ValueKind::U64(number)) = (variable.warn_above, &kind)
            && *number > limit
        {
            let text = format!("{number} is allowed, but more than {limit} is unusual");
            self.warnings.push(Problem { variable: name, text });
        }
        Some(kind)
    }

    /// Reads a group and runs its own rules.
    #[must_use]
    pub fn read<S: Section>(&mut self) -> S {
        let section = self.values.get(S::GROUP.section).cloned();
        // The error is dropped: it could quote a value.
        let Some(Ok(group)) = section.map(Value::try_deserialize::<S>) else {
            unreachable!("the table of [{}] fits its type: every group is read by a test", S::GROUP.section)
        };
        group.check(self);
        group
    }

    /// The environment that was chosen.
    #[must_use]
    pub fn environment(&self) -> Environment {
        self.environment
    }

    /// Reports what is wrong with one variable or between several, unless one of them is known to be
    /// wrong already: then this would be an echo. The text must not hold a secret.
    pub fn problem(&mut self, variables: &[String], text: impl Into<String>) {
        if variables.iter().any(|name| self.unsound.contains(name)) {
            return;
        }
        if let [only] = variables {
            self.unsound.insert(only.clone());
        }
        self.problems.push(Problem { variable: variables.join(" and "), text: text.into() });
    }

    /// Every setting as it may be shown, and the warnings; or everything that is wrong.
    ///
    /// # Errors
    /// When there is any problem; the warnings are told too, since an ignored name may be the cause.
    pub fn finish(self) -> Result<(Vec<Shown>, Vec<Problem>), Problems> {
        if self.problems.is_empty() {
            Ok((self.shown, self.warnings))
        } else {
            Err(Problems { problems: self.problems, warnings: self.warnings })
        }
    }
}

/// The value as anybody may see it.
pub(super) fn shown(shape: Shape, value: Option<&Value>) -> String {
    let Some(value) = value else {
        return if shape == Shape::Secret { "not set".to_owned() } else { String::new() };
    };
    match (shape, &value.kind) {
        (Shape::Secret, _) => "set".to_owned(),
        (Shape::Address(_), ValueKind::String(text)) => {
            ServerUrl::parse(text).map_or_else(|_| "not a URL".to_owned(), |url| url.to_string())
        }
        (_, ValueKind::Array(items)) => {
            let items: Vec<String> = items.iter().map(|item| shown(Shape::Text, Some(item))).collect();
            items.join(",")
        }
        (_, kind) => kind.to_string(),
    }
}
