//! All names of all places, sorted once, without a copy of any.
//!
//! The keys are the third column of the data files: folded names, separated by `|`. This table
//! holds where each word of each key starts, sorted by what follows. One such table answers exact,
//! prefix and fuzzy look-ups. Promise: 6 bytes a word, no look-up reads the whole table.
//! Never ranks: that is `find.rs`.

use super::fuzzy::Distances;

/// The two data files whose keys are indexed: cities, then airports.
#[derive(Debug)]
pub(crate) struct NameTable {
    files: [&'static str; 2],
    /// Where words start, sorted by the key's rest; the top bit says which file.
    starts: Vec<u32>,
    /// The place that `starts` at the same position belongs to.
    places: Vec<u16>,
}

/// Where a name was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NameMatch {
    /// Position of the place in the index.
    pub(crate) place: u16,
    /// The key is the place's main name, not another one of it.
    pub(crate) is_main: bool,
    /// The match starts where the key starts, not at a later word of it.
    pub(crate) is_start: bool,
    /// Bytes of the key from the match on.
    pub(crate) length: usize,
    /// Edits between query and key: 0 except for fuzzy matches.
    pub(crate) edits: usize,
}

const SECOND_FILE: u32 = 1 << 31;

impl NameTable {
    /// Indexes the keys of both files; `n_first` rows are in the first.
    pub(crate) fn build(files: [&'static str; 2], n_first: usize) -> Self {
        let mut words = Vec::new();
        for (file, flag, first_place) in [(files[0], 0, 0), (files[1], SECOND_FILE, n_first)] {
            for (row, line) in file.lines().skip(1).enumerate() {
                let place = u16::try_from(first_place + row).expect("there are fewer than 65,536 places");
                let keys = line.split('\t').nth(2).expect("build_places.py writes the keys third");
                let offset =
                    u32::try_from(keys.as_ptr().addr() - file.as_ptr().addr()).expect("the files are a few megabytes");
                let starts = (0..)
                    .zip(keys.bytes())
                    .filter(|&(at, _)| at == 0 || matches!(keys.as_bytes()[at - 1], b' ' | b'|'));
                words.extend(
                    starts.map(|(at, _)| (flag | (offset + u32::try_from(at).expect("a line is short")), place)),
                );
            }
        }
        words.sort_unstable_by(|a, b| key_at(files, a.0).cmp(key_at(files, b.0)).then(a.1.cmp(&b.1)));
        let (starts, places) = words.into_iter().unzip();
        let mut table = Self { files, starts, places };
        table.starts.shrink_to_fit();
        table.places.shrink_to_fit();
        table
    }

    /// The names that begin, at some word, with `prefix`, shortest rest first within equal spelling.
    pub(crate) fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = NameMatch> + 'a {
        let from = self.starts.partition_point(|&start| self.key(start) < prefix);
        let n = self.starts[from..].partition_point(|&start| self.key(start).starts_with(prefix));
        (from..from + n).map(|at| self.found(at, 0))
    }

    /// The whole names within `max_edits` of `query`, and within one where the first letters differ.
    /// Walks the sorted names as if they were a trie: a beginning that is already too far off skips
    /// all names that begin with it.
    pub(crate) fn within(&self, query: &str, max_edits: usize) -> Vec<NameMatch> {
        let mut distances = Distances::new(query);
        let (mut found, mut at) = (Vec::new(), 0);
        while at < self.starts.len() {
            let key = self.key(self.starts[at]);
            let common = key.chars().zip(distances.name()).take_while(|(a, b)| a == *b).count();
            distances.truncate(common);
            if let Some(end) = read_on(&mut distances, key, common, max_edits) {
                at = self.skip(at, &key[..end]);
                continue;
            }
            if distances.distance() <= allowed(&distances, max_edits) && self.is_start(self.starts[at]) {
                found.push(self.found(at, distances.distance()));
            }
            at += 1;
        }
        found
    }

    /// The first position after `at` whose key does not begin with `prefix`: doubling steps, then halving.
    fn skip(&self, at: usize, prefix: &str) -> usize {
        let begins = |start: u32| {
            let (file, offset) = locate(self.files, start);
            file.as_bytes()[offset..].starts_with(prefix.as_bytes())
        };
        let mut step = 1;
        while at + step < self.starts.len() && begins(self.starts[at + step]) {
            step *= 2;
        }
        let (from, to) = (at + step / 2, (at + step).min(self.starts.len()));
        from + self.starts[from..to].partition_point(|&start| begins(start))
    }

    fn found(&self, at: usize, edits: usize) -> NameMatch {
        let start = self.starts[at];
        let (is_main, length) = (self.is_main(start), self.key(start).len());
        NameMatch { place: self.places[at], is_main, is_start: self.is_start(start), length, edits }
    }

    fn key(&self, start: u32) -> &'static str {
        key_at(self.files, start)
    }

    fn is_start(&self, start: u32) -> bool {
        self.before(start).ends_with(['\t', '|'])
    }

    fn is_main(&self, start: u32) -> bool {
        self.before(start).bytes().rev().find(|byte| matches!(byte, b'\t' | b'|')) == Some(b'\t')
    }

    fn before(&self, start: u32) -> &'static str {
        let (file, offset) = locate(self.files, start);
        &file[..offset]
    }
}

/// Reads `key` from its letter `known` on. Gives where it stopped, if no name that begins so far can be near enough.
fn read_on(distances: &mut Distances, key: &str, known: usize, max_edits: usize) -> Option<usize> {
    for (position, letter) in key.char_indices().skip(known) {
        let least = distances.push(letter);
        if least > allowed(distances, max_edits) {
            return Some(position + letter.len_utf8());
        }
    }
    None
}

/// People rarely miss the first letter and another: this cuts the walk to a fraction.
fn allowed(distances: &Distances, max_edits: usize) -> usize {
    if distances.begins_alike() { max_edits } else { max_edits.min(1) }
}

fn locate(files: [&'static str; 2], start: u32) -> (&'static str, usize) {
    (files[usize::from(start & SECOND_FILE != 0)], (start & !SECOND_FILE) as usize)
}

/// What follows `start` up to the end of its key.
fn key_at(files: [&'static str; 2], start: u32) -> &'static str {
    let (file, offset) = locate(files, start);
    let rest = &file[offset..];
    let end = rest.bytes().position(|byte| matches!(byte, b'\t' | b'|')).unwrap_or(rest.len());
    &rest[..end]
}
