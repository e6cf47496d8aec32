//! The stable identity of a place, the same in every build of the index.
//!
//! Promise: what `Display` writes, `FromStr` reads back. Never derived from a place's position in a file.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A three-letter IATA code in capitals, such as `CDG`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IataCode([u8; 3]);

impl IataCode {
    /// The code as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only ASCII letters and digits are let in")
    }
}

impl FromStr for IataCode {
    type Err = PlaceIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match *text.as_bytes() {
            [a, b, c] if text.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                Ok(Self([a, b, c].map(|byte| byte.to_ascii_uppercase())))
            }
            _ => Err(PlaceIdError(text.to_owned())),
        }
    }
}

impl fmt::Debug for IataCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// Names one place: `geonames:2988507` (Paris) or `iata:CDG` (an airport).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum PlaceId {
    /// A city, by its GeoNames number.
    Geonames(u32),
    /// An airport, by its IATA code.
    Iata(IataCode),
}

/// The text does not name a place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "read a place id from {0:?}: expected `geonames:<number>` such as geonames:2988507, or `iata:<code>` such as iata:CDG"
)]
pub struct PlaceIdError(String);

impl fmt::Display for PlaceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Geonames(number) => write!(formatter, "geonames:{number}"),
            Self::Iata(code) => write!(formatter, "iata:{}", code.as_str()),
        }
    }
}

impl FromStr for PlaceId {
    type Err = PlaceIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || PlaceIdError(text.to_owned());
        match text.split_once(':') {
            Some(("geonames", number)) => number.parse().map(Self::Geonames).map_err(|_| wrong()),
            Some(("iata", code)) => code.parse().map(Self::Iata).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }
}

impl From<PlaceId> for String {
    fn from(id: PlaceId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for PlaceId {
    type Error = PlaceIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl JsonSchema for PlaceId {
    fn schema_name() -> Cow<'static, str> {
        "PlaceId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "Names one place: a city by its GeoNames number, an airport by its IATA code.",
            "pattern": "^(geonames:[0-9]+|iata:[A-Za-z0-9]{3})$",
            "examples": ["geonames:2988507", "iata:CDG"],
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::PlaceId;

    #[test]
    fn an_id_survives_its_own_text() {
        for text in ["geonames:2988507", "iata:CDG"] {
            assert_eq!(text.parse::<PlaceId>().unwrap().to_string(), text);
            let json = format!("\"{text}\"");
            assert_eq!(serde_json::to_string(&serde_json::from_str::<PlaceId>(&json).unwrap()).unwrap(), json);
        }
    }

    #[test]
    fn what_is_no_id_is_refused_and_said() {
        for text in ["", "paris", "geonames:", "geonames:-1", "iata:CDGX", "iata:C G", "osm:1"] {
            assert!(text.parse::<PlaceId>().unwrap_err().to_string().contains("geonames:2988507"));
        }
    }
}
