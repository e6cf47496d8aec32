//! A place in one to four sentences.
//!
//! Promise: says nothing that the data does not say or that does not follow from the coordinates.
//! Made to be embedded by a model of word vectors: plain words, no abbreviations without their name.

use super::index::PlaceIndex;
use super::place::{Place, PlaceKind};
use super::place_id::PlaceId;

impl Place {
    /// What is known of the place, in natural sentences.
    pub fn description(&self) -> String {
        let mut sentences = match self.kind() {
            PlaceKind::City => vec![self.introduce_city(), self.tell_customs()],
            PlaceKind::Airport => vec![self.introduce_airport()],
        };
        sentences.extend(self.tell_neighbours());
        sentences.extend(self.tell_zone());
        sentences.extend(self.tell_airports());
        sentences.retain(|sentence| !sentence.is_empty());
        sentences.join(" ")
    }

    fn introduce_city(&self) -> String {
        let country = self.in_country();
        let what = if self.is_capital() {
            format!("the capital of {}", country.in_text)
        } else {
            format!("a {} in {}", size_word(self.number), self.in_words())
        };
        let continent =
            if country.continent == country.name { String::new() } else { format!(", {}", country.continent) };
        let inhabitants =
            if self.number == 0 { String::new() } else { format!(", with about {} inhabitants", rounded(self.number)) };
        format!("{} is {what}{continent}{inhabitants}.", self.name)
    }

    fn introduce_airport(&self) -> String {
        let serves = self.serves().map(|city| format!(" serving {city}")).unwrap_or_default();
        let continent = self.in_country().continent;
        let code = self.iata.map(|code| format!(" ({})", code.as_str())).unwrap_or_default();
        format!("{}{code} is an airport{serves} in {}, {continent}.", self.name, self.in_words())
    }

    /// "Bavaria, Germany"; a region that is called like the place is left out.
    fn in_words(&self) -> String {
        let country = self.in_country().in_text;
        match self.region().filter(|&region| region != self.name && self.serves() != Some(region)) {
            Some(region) => format!("{region}, {country}"),
            None => country.to_owned(),
        }
    }

    fn tell_customs(&self) -> String {
        let country = self.in_country();
        let languages: Vec<_> = country.languages.split(',').filter(|name| !name.is_empty()).collect();
        let currency = format!("the currency is the {} ({})", country.currency_name, country.currency);
        match (languages.is_empty(), country.currency_name.is_empty()) {
            (false, false) => format!("Languages spoken in the country: {}; {currency}.", listed(&languages)),
            (false, true) => format!("Languages spoken in the country: {}.", listed(&languages)),
            (true, false) => format!("In this country {currency}."),
            (true, true) => String::new(),
        }
    }

    /// A capital stands for its country: its description names the countries around.
    fn tell_neighbours(&self) -> Option<String> {
        let index = PlaceIndex::get();
        let country = self.in_country();
        let names: Vec<_> = country
            .neighbours()
            .filter_map(|code| super::atlas::find_country(index.countries, code))
            .map(|country| country.in_text)
            .collect();
        let mut in_text = country.in_text.to_owned();
        in_text[..1].make_ascii_uppercase();
        (self.is_capital() && !names.is_empty()).then(|| format!("{in_text} borders {}.", listed(&names)))
    }

    /// Far north and far south, and the tropics, follow from the latitude.
    fn tell_zone(&self) -> Option<String> {
        let zone = match self.latitude {
            66.563.. => "north of the Arctic Circle",
            ..=-66.563 => "south of the Antarctic Circle",
            -23.436..=23.436 => "in the tropics",
            ..0.0 => "in the southern hemisphere",
            _ => return None,
        };
        Some(format!("It lies {zone}."))
    }

    fn tell_airports(&self) -> Option<String> {
        let index = PlaceIndex::get();
        let name = |code: &str| {
            let airport = index.by_id(PlaceId::Iata(code.parse().ok()?))?;
            Some(format!("{} ({code})", airport.name.strip_suffix(" Airport").unwrap_or(airport.name)))
        };
        let names: Vec<_> = self.airports().filter_map(name).collect();
        (!names.is_empty()).then(|| format!("Airports nearby: {}.", names.join(", ")))
    }
}

fn size_word(population: u32) -> &'static str {
    match population {
        5_000_000.. => "metropolis",
        1_000_000.. => "very large city",
        300_000.. => "large city",
        100_000.. => "city",
        30_000.. => "town",
        _ => "small town",
    }
}

/// "2.1 million", "853,000", "15,900": three digits at most are more than a census keeps.
fn rounded(population: u32) -> String {
    match population {
        1_000_000.. => format!("{:.1} million", f64::from(population) / 1e6),
        100_000.. => format!("{},000", (population + 500) / 1000),
        1_000.. => format!("{},{}00", (population + 50) / 100 / 10, (population + 50) / 100 % 10),
        _ => population.to_string(),
    }
}

/// "a", "a and b", "a, b and c".
fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
