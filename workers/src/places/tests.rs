//! The promises of the index, on its real data.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::HashSet;

use super::{FoundPlace, MatchedBy, PlaceIndex, PlaceKind, PlaceQuery, fold::fold};

mod judged;

fn top(text: &str) -> String {
    let hits = PlaceIndex::get().find(&PlaceQuery::new(text), 1);
    hits.first().map(|hit| hit.place.id().to_string()).unwrap_or_default()
}

fn described(id: &str) -> String {
    PlaceIndex::get().by_id(id.parse().unwrap()).unwrap().description()
}

#[test]
fn the_data_is_all_there_and_sane() {
    let index = PlaceIndex::get();
    let (cities, airports): (Vec<_>, Vec<_>) = index.all().partition(|place| place.kind() == PlaceKind::City);
    assert!(cities.len() >= 33_000, "{} cities", cities.len());
    assert!(airports.len() >= 7_800, "{} airports", airports.len());
    for place in index.all() {
        assert!(
            (-90.0..=90.0).contains(&place.latitude()) && (-180.0..=180.0).contains(&place.longitude()),
            "{place:?}"
        );
        assert!(
            !place.name().is_empty() && place.country_code().len() == 2 && place.timezone().contains('/'),
            "{place:?}"
        );
    }
    assert!(cities.is_sorted_by_key(|city| std::cmp::Reverse(city.population())));
}

#[test]
fn every_id_and_every_code_is_one_places_own() {
    let index = PlaceIndex::get();
    assert_eq!(index.all().map(super::Place::id).collect::<HashSet<_>>().len(), index.all().len());
    let codes: Vec<_> = index.all().filter_map(super::Place::iata).collect();
    assert_eq!(codes.iter().collect::<HashSet<_>>().len(), codes.len());
    for place in index.all() {
        assert_eq!(index.by_id(place.id()).unwrap().id(), place.id());
        assert!(place.airports().all(|code| { index.by_id(format!("iata:{code}").parse().unwrap()).is_some() }));
        assert!(place.serves_id().is_none_or(|id| index.by_id(id).is_some()));
    }
}

#[test]
fn the_data_files_are_folded_as_queries_are() {
    for file in [include_str!("../../data/cities.tsv"), include_str!("../../data/airports.tsv")] {
        for line in file.lines().skip(1) {
            let columns: Vec<_> = line.split('\t').collect();
            assert_eq!(fold(columns[1]), columns[2].split('|').next().unwrap(), "{line}");
            assert!(columns[2].split('|').all(|key| fold(key) == key), "{line}");
        }
    }
}

#[test]
fn a_code_finds_its_airport_and_a_shared_code_its_city() {
    let hits = PlaceIndex::get().find(&PlaceQuery::new("CDG"), 3);
    assert_eq!(
        (hits[0].place.name(), hits[0].matched_by),
        ("Charles de Gaulle International Airport", MatchedBy::Code)
    );
    assert_eq!(top("NYC"), "geonames:5128581");
    assert_eq!(top("jfk airport"), "iata:JFK");
    // In small letters a city's name comes before an airport's code.
    assert_eq!(top("ufa"), "geonames:479561");
    assert_eq!(top("UFA"), "iata:UFA");
}

#[test]
fn accents_and_case_do_not_matter() {
    for text in ["São Paulo", "sao paulo", "SAO PAULO", "São-Paulo"] {
        assert_eq!(top(text), "geonames:3448439", "{text}");
    }
}

#[test]
fn the_larger_of_two_namesakes_comes_first_and_a_filter_finds_the_other() {
    let springfields = PlaceIndex::get().find(&PlaceQuery::new("springfield"), 20);
    let exact: Vec<_> =
        springfields.iter().filter(|hit| hit.matched_by == MatchedBy::Name).map(|hit| hit.place).collect();
    assert!(exact.len() >= 4);
    let cities: Vec<_> =
        exact.iter().filter(|place| place.name() == "Springfield").filter_map(|place| place.population()).collect();
    assert!(cities.is_sorted_by(|a, b| a >= b), "{cities:?}");
    let query = PlaceQuery { country: Some("us".into()), ..PlaceQuery::new("Paris") };
    let hits = PlaceIndex::get().find(&query, 5);
    assert_eq!((hits[0].place.name(), hits[0].place.region()), ("Paris", Some("Texas")));
    assert!(hits.iter().all(|hit| hit.place.country_code() == "US"));
}

#[test]
fn a_kind_can_be_asked_for() {
    let query = PlaceQuery { kind: Some(PlaceKind::Airport), ..PlaceQuery::new("munich") };
    let hits = PlaceIndex::get().find(&query, 5);
    assert_eq!(hits[0].place.id().to_string(), "iata:MUC");
    assert!(hits.iter().all(|hit| hit.place.kind() == PlaceKind::Airport));
}

#[test]
fn the_beginning_of_any_word_finds_a_name() {
    let hits = PlaceIndex::get().find(&PlaceQuery::new("san franc"), 1);
    assert_eq!((hits[0].place.id().to_string().as_str(), hits[0].matched_by), ("geonames:5391959", MatchedBy::Prefix));
    assert_eq!(top("heathrow"), "iata:LHR");
}

#[test]
fn a_slip_or_two_is_forgiven_but_not_more() {
    for (text, id) in [
        ("Lodnon", "geonames:2643743"),
        ("Barcelnoa", "geonames:3128760"),
        ("Pragu", "geonames:3067696"),
        ("ondon", "geonames:2643743"),
    ] {
        assert_eq!(top(text), id, "{text}");
    }
    let hits = PlaceIndex::get().find(&PlaceQuery::new("Kopenhaggen"), 1);
    assert_eq!((hits[0].place.name(), hits[0].matched_by), ("Copenhagen", MatchedBy::Fuzzy));
    for text in ["", "  ", "?!", "qqqqqqqqqq", "zzxxyyqq"] {
        assert_eq!(top(text), "", "{text:?}");
    }
}

#[test]
fn a_walk_over_sorted_names_misses_none_that_a_look_at_each_would_find() {
    let index = PlaceIndex::get();
    let (query, mut walked) = ("marsielle", HashSet::new());
    for name in index.names.within(query, 2) {
        walked.insert((name.place, name.length));
    }
    let near = |key: &str| {
        let mut distances = super::fuzzy::Distances::new(query);
        key.chars().for_each(|letter| {
            distances.push(letter);
        });
        distances.distance() <= if key.starts_with('m') { 2 } else { 1 }
    };
    let lines = include_str!("../../data/cities.tsv")
        .lines()
        .skip(1)
        .chain(include_str!("../../data/airports.tsv").lines().skip(1));
    let seen: HashSet<_> = (0u16..)
        .zip(lines)
        .flat_map(|(at, line)| line.split('\t').nth(2).unwrap().split('|').map(move |key| (at, key)))
        .filter(|(_, key)| key.len().abs_diff(query.len()) <= 2 && near(key))
        .map(|(at, key)| (at, key.len()))
        .collect();
    assert!(seen.len() > 3);
    assert_eq!(walked, seen);
}

#[test]
fn a_description_tells_the_facts() {
    let paris = described("geonames:2988507");
    for fact in [
        "the capital of France",
        "Europe",
        "2.1 million",
        "French",
        "Euro (EUR)",
        "Charles de Gaulle",
        "(ORY)",
        "Spain",
    ] {
        assert!(paris.contains(fact), "{fact}: {paris}");
    }
    let munich = described("geonames:2867714");
    assert!(
        munich
            .starts_with("Munich is a very large city in Bayern, Germany, Europe, with about 1.5 million inhabitants."),
        "{munich}"
    );
    let amsterdam = described("geonames:2759794");
    assert!(
        amsterdam.contains("the capital of the Netherlands") && amsterdam.contains("The Netherlands borders"),
        "{amsterdam}"
    );
    let airport = described("iata:JFK");
    assert!(
        airport.starts_with(
            "John F Kennedy International Airport (JFK) is an airport serving New York in the United States"
        ),
        "{airport}"
    );
    let descriptions: HashSet<_> = PlaceIndex::get().all().take(12_000).map(super::Place::description).collect();
    assert!(descriptions.len() > 11_900, "only {} different descriptions", descriptions.len());
    let untidy = |text: &&String| ["  ", ", ,", "()", " ."].iter().any(|gap| text.contains(gap));
    assert_eq!(descriptions.iter().find(untidy), None);
}

#[test]
fn a_found_place_survives_the_wire() {
    let hit = PlaceIndex::get().find(&PlaceQuery::new("Paris"), 1)[0];
    let found = FoundPlace::from(hit);
    let json = serde_json::to_string(&found).unwrap();
    assert!(json.contains(r#""id":"geonames:2988507""#) && json.contains(r#""matched_by":"name""#), "{json}");
    assert_eq!(serde_json::from_str::<FoundPlace>(&json).unwrap(), found);
}
