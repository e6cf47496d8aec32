//! Forty queries and the place that a person would expect first.

use super::super::{PlaceIndex, PlaceQuery};

/// Query, then name and country code of the expected place.
const JUDGED: [(&str, &str, &str); 40] = [
    ("Paris", "Paris", "FR"),
    ("paris texas", "Paris", "US"),
    ("Paris, TX", "Paris", "US"),
    ("London", "London", "GB"),
    ("London, Ontario", "London", "CA"),
    ("london canada", "London", "CA"),
    ("new york", "New York City", "US"),
    ("los angel", "Los Angeles", "US"),
    ("san francisco", "San Francisco", "US"),
    ("Wien", "Vienna", "AT"),
    ("München", "Munich", "DE"),
    ("muenchen", "Munich", "DE"),
    ("Köln", "Köln", "DE"),
    ("cologne", "Köln", "DE"),
    ("Firenze", "Florence", "IT"),
    ("roma", "Rome", "IT"),
    ("Praha", "Prague", "CZ"),
    ("Warszawa", "Warsaw", "PL"),
    ("Москва", "Moscow", "RU"),
    ("東京", "Tokyo", "JP"),
    ("Αθήνα", "Athens", "GR"),
    ("peking", "Beijing", "CN"),
    ("bombay", "Mumbai", "IN"),
    ("saigon", "Ho Chi Minh City", "VN"),
    ("kiev", "Kyiv", "UA"),
    ("sao paulo", "São Paulo", "BR"),
    ("zurich", "Zürich", "CH"),
    ("Reykjavik", "Reykjavík", "IS"),
    ("cape town", "Cape Town", "ZA"),
    ("sydny", "Sydney", "AU"),
    ("Amsterdma", "Amsterdam", "NL"),
    ("istambul", "Istanbul", "TR"),
    ("singapor", "Singapore", "SG"),
    ("birmingham uk", "Birmingham", "GB"),
    ("birmingham alabama", "Birmingham", "US"),
    ("CDG", "Charles de Gaulle International Airport", "FR"),
    ("heathrow", "London Heathrow Airport", "GB"),
    ("john f kennedy", "John F Kennedy International Airport", "US"),
    ("charles de gaule", "Charles de Gaulle International Airport", "FR"),
    ("schiphol", "Amsterdam Airport Schiphol", "NL"),
];

#[test]
fn forty_queries_find_first_what_a_person_expects() {
    let answers = JUDGED.map(|(text, name, country)| {
        let place = PlaceIndex::get()
            .find(&PlaceQuery::new(text), 1)
            .first()
            .map(|hit| (hit.place.name(), hit.place.country_code()));
        (place != Some((name, country))).then(|| format!("{text:?} gave {place:?}, expected {name} in {country}"))
    });
    let wrong: Vec<_> = answers.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
