//! What many places share: countries, and areas (a country's region in one time zone).
//!
//! Promise: text is borrowed from the data compiled into the binary, never copied.
//! Never holds a place itself: that is `index.rs`.

/// One country's facts, for descriptions.
#[derive(Debug)]
pub(crate) struct Country {
    pub(crate) code: &'static str,
    pub(crate) name: &'static str,
    /// The name as it stands inside a sentence: "the Netherlands".
    pub(crate) in_text: &'static str,
    pub(crate) continent: &'static str,
    /// GeoNames number of the capital, where it is among the cities.
    pub(crate) capital: Option<u32>,
    pub(crate) currency: &'static str,
    pub(crate) currency_name: &'static str,
    /// English names, the most spoken first, comma-separated.
    pub(crate) languages: &'static str,
    /// Codes of the countries with a common border, comma-separated.
    neighbours: &'static str,
}

/// A region of a country within one time zone. Some areas have no region.
#[derive(Debug)]
pub(crate) struct Area {
    pub(crate) country: &'static Country,
    /// The short code, known for the states of the United States alone.
    pub(crate) region_code: &'static str,
    pub(crate) region: &'static str,
    pub(crate) timezone: &'static str,
}

/// The columns of each row of a data file, its header left out. `N` is the number of columns.
pub(crate) fn rows<const N: usize>(file: &'static str) -> impl Iterator<Item = [&'static str; N]> {
    file.lines().skip(1).map(|line| {
        let mut columns = line.split('\t');
        std::array::from_fn(|_| columns.next().expect("build_places.py writes every column"))
    })
}

/// A number or a code of a data file.
pub(crate) fn value<T: std::str::FromStr>(text: &str) -> T {
    text.parse().ok().expect("build_places.py writes numbers and codes in this form")
}

impl Country {
    fn read(
        [code, name, in_text, continent, capital, currency, currency_name, languages, neighbours]: [&'static str; 9],
    ) -> Self {
        let capital = (!capital.is_empty()).then(|| value(capital));
        Self { code, name, in_text, continent, capital, currency, currency_name, languages, neighbours }
    }

    /// All countries, by code.
    pub(crate) fn read_all() -> &'static [Self] {
        rows(include_str!("../../data/countries.tsv")).map(Self::read).collect::<Vec<_>>().leak()
    }

    /// The neighbours' codes.
    pub(crate) fn neighbours(&self) -> impl Iterator<Item = &'static str> {
        self.neighbours.split(',').filter(|code| !code.is_empty())
    }
}

impl Area {
    /// All areas, by number. Leaked on purpose: read once, needed as long as the process lives.
    pub(crate) fn read_all(countries: &'static [Country]) -> &'static [Self] {
        let areas = rows(include_str!("../../data/areas.tsv")).map(|[country, region_code, region, timezone]| Self {
            country: find_country(countries, country).expect("build_places.py writes the country of every area"),
            region_code,
            region,
            timezone,
        });
        areas.collect::<Vec<_>>().leak()
    }
}

/// The country with this code, which must be in capitals.
pub(crate) fn find_country(countries: &'static [Country], code: &str) -> Option<&'static Country> {
    countries.binary_search_by(|country| country.code.cmp(code)).ok().map(|found| &countries[found])
}
