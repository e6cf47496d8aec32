//! Checks one value against its row of the table and gives it its type.
//! Promise: what passes has the shape's type and range. Never repeats a secret, an address or a long text.

use config::ValueKind;

use super::server_url::ServerUrl;
use super::variable::{Shape, Variable};

/// The typed value, or what is wrong with it and what is allowed.
pub(super) fn check(variable: &Variable, value: &ValueKind) -> Result<ValueKind, String> {
    match variable.shape {
        Shape::Flag => flag(value).map(ValueKind::Boolean).ok_or_else(|| is_not(variable, value, "a yes or no")),
        Shape::Integer { min, max } => {
            let number = integer(value).ok_or_else(|| is_not(variable, value, "a whole number"))?;
            let fitting = u64::try_from(number).ok().filter(|number| (min..=max).contains(number));
            fitting.map(ValueKind::U64).ok_or_else(|| outside(variable, value))
        }
        Shape::Decimal { min, max } => {
            let number = decimal(value).ok_or_else(|| is_not(variable, value, "a number"))?;
            if (min..=max).contains(&number) { Ok(ValueKind::Float(number)) } else { Err(outside(variable, value)) }
        }
        Shape::Choice { served, reserved } => choice(variable, value, served, reserved),
        Shape::Text => text(value).map(ValueKind::String).ok_or_else(|| "is not a text; put it in quotes".to_owned()),
        Shape::Secret => match value {
            ValueKind::String(secret) => Ok(ValueKind::String(secret.clone())),
            _ => Err("is not a text; put it in quotes".to_owned()),
        },
        Shape::List => list(value).ok_or_else(|| "is not a list of texts; separate them by commas".to_owned()),
        Shape::Address(schemes) => address(value, schemes),
    }
}

/// A value of the right type to go on with after a problem, so that the rest is checked too.
pub(super) fn placeholder(shape: Shape) -> ValueKind {
    match shape {
        Shape::Flag => ValueKind::Boolean(false),
        Shape::Integer { min, .. } => ValueKind::U64(min),
        Shape::Decimal { min, .. } => ValueKind::Float(min),
        Shape::Choice { served, .. } => ValueKind::String(served.first().copied().unwrap_or_default().to_owned()),
        Shape::Text | Shape::Secret => ValueKind::String(String::new()),
        Shape::List => ValueKind::Array(Vec::new()),
        Shape::Address(schemes) => {
            ValueKind::String(format!("{}://unset.invalid/", schemes.first().copied().unwrap_or("http")))
        }
    }
}

fn is_not(variable: &Variable, value: &ValueKind, expected: &str) -> String {
    format!("{} is not {expected}; allowed: {}", quoted(value), variable.range())
}

fn outside(variable: &Variable, value: &ValueKind) -> String {
    format!("{} is out of range; allowed: {}", quoted(value), variable.range())
}

/// The value in backquotes, cut so that a misplaced file does not flood the message.
fn quoted(value: &ValueKind) -> String {
    let shown: String = text(value).unwrap_or_else(|| "a table".to_owned()).chars().take(40).collect();
    format!("`{shown}`")
}

fn text(value: &ValueKind) -> Option<String> {
    match value {
        ValueKind::String(text) => Some(text.clone()),
        ValueKind::Boolean(flag) => Some(flag.to_string()),
        ValueKind::I64(number) => Some(number.to_string()),
        ValueKind::U64(number) => Some(number.to_string()),
        ValueKind::Float(number) => Some(number.to_string()),
        _ => None,
    }
}

fn flag(value: &ValueKind) -> Option<bool> {
    match text(value)?.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// Wider than any range, so that a negative number is told to be out of range, not to be no number.
fn integer(value: &ValueKind) -> Option<i128> {
    text(value)?.trim().parse().ok()
}

fn decimal(value: &ValueKind) -> Option<f64> {
    text(value)?.trim().parse().ok().filter(|number: &f64| number.is_finite())
}

fn choice(variable: &Variable, value: &ValueKind, served: &[&str], reserved: &[&str]) -> Result<ValueKind, String> {
    let word = text(value).unwrap_or_default().trim().to_ascii_lowercase();
    if served.contains(&word.as_str()) {
        return Ok(ValueKind::String(word));
    }
    if reserved.contains(&word.as_str()) {
        return Err(format!("`{word}` is known but not served by this version; allowed: {}", variable.range()));
    }
    Err(format!("{} is unknown; allowed: {}", quoted(value), variable.range()))
}

fn list(value: &ValueKind) -> Option<ValueKind> {
    let items: Vec<String> = match value {
        ValueKind::String(items) => items.split(',').map(|item| item.trim().to_owned()).collect(),
        ValueKind::Array(items) => items.iter().map(|item| text(&item.kind)).collect::<Option<_>>()?,
        _ => return None,
    };
    Some(items.into_iter().filter(|item| !item.is_empty()).collect::<Vec<_>>().into())
}

/// Most URLs that cannot be read have a password that was not encoded.
const PASSWORD_HINT: &str =
    "; in a password @ is written %40, / is %2F, : is %3A, # is %23, ? is %3F, or give the password by its own setting";

fn address(value: &ValueKind, schemes: &[&str]) -> Result<ValueKind, String> {
    let ValueKind::String(text) = value else {
        return Err("is not a text; put it in quotes".to_owned());
    };
    // A web address carries a key in a header, a server's URL its password.
    let hint = if schemes.contains(&"https") { "" } else { PASSWORD_HINT };
    let expected = || format!("expected one that begins with {}://{hint}", schemes.join(":// or "));
    let url = ServerUrl::parse(text).map_err(|error| format!("is not a URL ({error}); {}", expected()))?;
    if schemes.contains(&url.url().scheme()) {
        Ok(ValueKind::String(text.trim().to_owned()))
    } else {
        Err(format!("is a URL of the wrong kind; {}", expected()))
    }
}
