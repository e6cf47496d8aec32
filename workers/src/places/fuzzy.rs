//! Edit distance, one letter of the name at a time, so that names with a common beginning share the work.
//!
//! Promise: the optimal string alignment distance: an insertion, a deletion, a replacement and a swap
//! of neighbours cost one each. Never looks at a whole name: the walk in `names.rs` does.

/// The distance table of one query against the name that is being read, a row a letter.
#[derive(Debug)]
pub(crate) struct Distances {
    query: Vec<char>,
    name: Vec<char>,
    /// Row after row: distances of each beginning of the name to each beginning of the query.
    cells: Vec<u8>,
}

impl Distances {
    /// The table of the empty name. Only the first 100 letters of the query count, which no name has.
    pub(crate) fn new(query: &str) -> Self {
        let query: Vec<char> = query.chars().take(100).collect();
        let cells = (0u8..).take(query.len() + 1).collect();
        Self { query, name: Vec::new(), cells }
    }

    /// The letters of the name read so far.
    pub(crate) fn name(&self) -> &[char] {
        &self.name
    }

    /// Whether name and query begin alike.
    pub(crate) fn begins_alike(&self) -> bool {
        self.name.first() == self.query.first()
    }

    /// Forgets all but the first `n_letters` of the name.
    pub(crate) fn truncate(&mut self, n_letters: usize) {
        self.name.truncate(n_letters);
        self.cells.truncate((n_letters + 1) * (self.query.len() + 1));
    }

    /// Reads one more letter of the name. Gives the least distance that a longer name that begins so can
    /// have: the row's least cell, for no cell below it is smaller (a swap across two rows costs one as well).
    pub(crate) fn push(&mut self, letter: char) -> usize {
        let width = self.query.len() + 1;
        let above = self.cells.len() - width;
        let before = self.name.last().copied();
        self.name.push(letter);
        let mut left = self.cells[above].saturating_add(1);
        let mut least = left;
        self.cells.push(left);
        for column in 1..width {
            let wanted = self.query[column - 1];
            let replaced = self.cells[above + column - 1] + u8::from(wanted != letter);
            let mut cell = replaced.min(self.cells[above + column] + 1).min(left + 1);
            if column > 1 && before == Some(wanted) && self.query[column - 2] == letter {
                cell = cell.min(self.cells[above - width + column - 2] + 1);
            }
            self.cells.push(cell);
            least = least.min(cell);
            left = cell;
        }
        usize::from(least)
    }

    /// The distance between the whole query and the name as read.
    pub(crate) fn distance(&self) -> usize {
        usize::from(self.cells[self.cells.len() - 1])
    }
}

/// How many edits a query of this length may be away from a name: short names have too many neighbours.
pub(crate) fn allowed_edits(n_letters: usize) -> usize {
    match n_letters {
        0..=3 => 0,
        4..=7 => 1,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::Distances;

    fn distance(name: &str, query: &str) -> usize {
        let mut distances = Distances::new(query);
        name.chars().for_each(|letter| {
            distances.push(letter);
        });
        distances.distance()
    }

    #[test]
    fn each_kind_of_slip_costs_one() {
        assert_eq!(distance("london", "london"), 0);
        assert_eq!(distance("london", "londn"), 1);
        assert_eq!(distance("london", "londoon"), 1);
        assert_eq!(distance("london", "lomdon"), 1);
        assert_eq!(distance("london", "lodnon"), 1);
        assert_eq!(distance("london", "olndno"), 2);
        assert_eq!(distance("", "abc"), 3);
    }
}
