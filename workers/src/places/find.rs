//! Finds places by code and by name, and ranks what it found.
//!
//! Promise: an exact name or code beats the beginning of a name, which beats a misspelled one of the
//! same weight; among equals the larger place comes first; a place comes once. Never searches by
//! meaning: descriptions are embedded and searched elsewhere.

use std::collections::HashMap;

use super::fold::fold;
use super::found::{MatchedBy, PlaceHit, PlaceQuery};
use super::fuzzy::allowed_edits;
use super::index::PlaceIndex;
use super::names::NameMatch;
use super::place::Place;
use super::place_id::PlaceId;

/// The best reason so far for each found place, by position.
type Found = HashMap<u16, (f32, MatchedBy)>;

impl PlaceIndex {
    /// The best `limit` places for `query`, best first; none for a text without letters or digits.
    pub fn find(&self, query: &PlaceQuery, limit: usize) -> Vec<PlaceHit<'_>> {
        let text = fold(&query.text);
        let mut found = Found::new();
        if !text.is_empty() {
            self.find_code(&query.text, &text, &mut found);
            self.find_named(&text, &mut found);
            if !found.values().any(|(_, by)| matches!(by, MatchedBy::Code | MatchedBy::Name)) {
                self.find_within_area(&text, &mut found);
                self.find_misspelled(&text, &mut found);
            }
        }
        self.rank(found, query, limit)
    }

    /// `CDG` and `cdg airport`. Typed in small letters a code may be meant as a name: "ufa".
    fn find_code(&self, typed: &str, text: &str, found: &mut Found) {
        let code = text.strip_suffix(" airport").unwrap_or(text);
        let in_capitals = typed.trim() == code.to_uppercase();
        if let Some(at) = code.parse().ok().and_then(|code| self.position_of_code(code)) {
            keep_best(found, at, if in_capitals { 1.0 } else { 0.85 }, MatchedBy::Code);
        }
    }

    /// Names that are the text or have a word from which on they begin with it.
    fn find_named(&self, text: &str, found: &mut Found) {
        for name in self.names.with_prefix(text) {
            let weight = self.weight(name.place);
            if name.is_start && name.length == text.len() {
                keep_best(found, name.place, exact_score(name, weight), MatchedBy::Name);
            } else if name.is_start || text.len() > 2 {
                // One or two letters begin tens of thousands of words: then only whole names count.
                let covered = text.len() as f32 / name.length as f32;
                let score = 0.5 + 0.1 * covered + if name.is_start { 0.05 } else { 0.0 } + weight;
                keep_best(found, name.place, score, MatchedBy::Prefix);
            }
        }
    }

    /// "paris texas", "london ca", "vienna austria": a name, then the area that it lies in.
    fn find_within_area(&self, text: &str, found: &mut Found) {
        for (end, _) in text.match_indices(' ') {
            let (head, tail) = (&text[..end], &text[end + 1..]);
            let names = self.names.with_prefix(head).filter(|name| name.is_start && name.length == head.len());
            for name in names.filter(|name| lies_in(self.place(name.place), tail)) {
                keep_best(found, name.place, exact_score(name, self.weight(name.place)), MatchedBy::Name);
            }
        }
    }

    fn find_misspelled(&self, text: &str, found: &mut Found) {
        let allowed = allowed_edits(text.chars().count());
        if allowed == 0 {
            return;
        }
        for name in self.names.within(text, allowed) {
            let main = if name.is_main { 0.04 } else { 0.0 };
            let score = 0.65 - 0.1 * name.edits as f32 + main + self.weight(name.place);
            keep_best(found, name.place, score, MatchedBy::Fuzzy);
        }
    }

    fn rank(&self, found: Found, query: &PlaceQuery, limit: usize) -> Vec<PlaceHit<'_>> {
        let country = query.country.as_deref().map(str::trim);
        let wanted = |place: &Place| {
            query.kind.is_none_or(|kind| kind == place.kind())
                && country.is_none_or(|code| place.country_code().eq_ignore_ascii_case(code))
        };
        let found = found.into_iter().filter(|&(at, _)| wanted(self.place(at)));
        let mut ranked: Vec<_> = found.map(|(at, (score, by))| (at, score, by)).collect();
        // Cities stand in the index by population: the position settles what the score leaves open.
        ranked.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        ranked.truncate(limit);
        ranked
            .into_iter()
            .map(|(at, score, matched_by)| PlaceHit { place: self.place(at), score, matched_by })
            .collect()
    }

    fn place(&self, at: u16) -> &Place {
        &self.places[usize::from(at)]
    }

    /// What a place's size adds to its score, at most about 0.12: an airport counts by the city that it serves.
    fn weight(&self, at: u16) -> f32 {
        let place = self.place(at);
        if let Some(population) = place.population() {
            return magnitude(population);
        }
        let served = place.serves_id().and_then(|id: PlaceId| self.by_id(id)).and_then(Place::population);
        let international = if place.name.contains("International") { 0.015 } else { 0.0 };
        magnitude(served.unwrap_or(1)) / 2.0 + international
    }
}

/// A tenfold larger city counts 0.015 more.
fn magnitude(population: u32) -> f32 {
    0.015 * (population.max(1) as f32).log10()
}

/// A main name outweighs another place's lesser name, unless that place is about twenty times larger:
/// "roma" is Rome before the village that is called just so.
fn exact_score(name: NameMatch, weight: f32) -> f32 {
    0.8 + if name.is_main { 0.02 } else { 0.0 } + weight
}

/// Whether `tail`, folded, names the place's region or country or is the code of one.
fn lies_in(place: &Place, tail: &str) -> bool {
    let (area, country) = (place.area, place.area.country);
    let code = match tail {
        "uk" | "great britain" => "GB",
        "usa" | "america" => "US",
        other => other,
    };
    let named = |name: &str| !name.is_empty() && fold(name) == tail;
    country.code.eq_ignore_ascii_case(code)
        || area.region_code.eq_ignore_ascii_case(tail)
        || named(country.name)
        || named(area.region)
}

fn keep_best(found: &mut Found, at: u16, score: f32, by: MatchedBy) {
    let best = found.entry(at).or_insert((score, by));
    if best.0 < score {
        *best = (score, by);
    }
}
