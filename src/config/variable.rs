//! The table row of a setting: its name, what may be in it, and what it means.
//! Promise: reading, range checks and documents are all driven by these rows, so they cannot disagree.
//! Never holds a value; the defaults are in `defaults.toml`.

/// What a variable may hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// `true` or `false`.
    Flag,
    /// A whole number, both ends included.
    Integer {
        /// The smallest allowed.
        min: u64,
        /// The largest allowed.
        max: u64,
    },
    /// A number with a fraction, both ends included.
    Decimal {
        /// The smallest allowed.
        min: f64,
        /// The largest allowed.
        max: f64,
    },
    /// One of a closed set of words.
    Choice {
        /// Words that work.
        served: &'static [&'static str],
        /// Words that are understood and refused, because this version does not serve them.
        reserved: &'static [&'static str],
    },
    /// Any text.
    Text,
    /// Texts separated by commas.
    List,
    /// An absolute URL with one of these schemes; a password inside is never shown.
    Address(&'static [&'static str]),
    /// A key or password, never shown.
    Secret,
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// Its key within the group, in lower case: `pool_size`.
    pub field: &'static str,
    /// What it may hold.
    pub shape: Shape,
    /// What it does, in a few words, with its unit.
    pub meaning: &'static str,
    /// What happens when nothing sets it and no default does; empty when nothing special does.
    pub unset: &'static str,
    /// An addition to the range, where the range depends on another setting.
    pub note: &'static str,
    /// Whether the start stops without it.
    pub required: bool,
    /// A value above this is allowed and warned about.
    pub warn_above: Option<u64>,
    /// Other variable names that are honoured, in this order, when nobody set this one.
    pub fallbacks: &'static [&'static str],
}

impl Variable {
    /// A variable that may be left out.
    #[must_use]
    pub const fn new(field: &'static str, shape: Shape, meaning: &'static str) -> Self {
        Self { field, shape, meaning, unset: "", note: "", required: false, warn_above: None, fallbacks: &[] }
    }

    /// The start stops without it.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Says what happens when nothing sets it.
    #[must_use]
    pub const fn unset(mut self, words: &'static str) -> Self {
        self.unset = words;
        self
    }

    /// Adds to the range shown in problems and documents.
    #[must_use]
    pub const fn note(mut self, words: &'static str) -> Self {
        self.note = words;
        self
    }

    /// Warns above this value.
    #[must_use]
    pub const fn warn_above(mut self, limit: u64) -> Self {
        self.warn_above = Some(limit);
        self
    }

    /// Honours these names when nobody set this variable.
    #[must_use]
    pub const fn fallbacks(mut self, names: &'static [&'static str]) -> Self {
        self.fallbacks = names;
        self
    }

    /// The allowed values in words: `1..100`, `json or human`, `secret`.
    #[must_use]
    pub fn range(&self) -> String {
        let range = match self.shape {
            Shape::Flag => "true or false".to_owned(),
            Shape::Integer { min, max } => format!("{min}..{max}"),
            Shape::Decimal { min, max } => format!("{min:?}..{max:?}"),
            Shape::Choice { served, .. } => either(served),
            Shape::Text => "text".to_owned(),
            Shape::List => "list, by commas".to_owned(),
            Shape::Address(schemes) => {
                let schemes: Vec<String> = schemes.iter().map(|scheme| format!("{scheme}://")).collect();
                format!("URL: {}", schemes.join(" "))
            }
            Shape::Secret => "secret".to_owned(),
        };
        if self.note.is_empty() { range } else { format!("{range} ({})", self.note) }
    }
}

/// The variables of one concern, under one prefix.
#[derive(Debug)]
pub struct Group {
    /// The name of its table in a settings file: `database`.
    pub section: &'static str,
    /// What its variables' names begin with: `TRIPSAGE_DB_`.
    pub prefix: &'static str,
    /// Its heading in documents.
    pub title: &'static str,
    /// Its settings.
    pub variables: &'static [Variable],
}

impl Group {
    /// The full variable name of a field: `TRIPSAGE_DB_POOL_SIZE`.
    #[must_use]
    pub fn name(&self, field: &str) -> String {
        format!("{}{}", self.prefix, field.to_ascii_uppercase())
    }

    /// The key of a field in a settings file: `database.pool_size`.
    pub(crate) fn key(&self, field: &str) -> String {
        format!("{}.{field}", self.section)
    }
}

/// `a, b or c`.
fn either(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
