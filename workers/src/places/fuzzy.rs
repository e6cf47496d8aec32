//! Edit distance, one letter of the name at a time, so that names with a common beginning share the work.
//!
//! Promise: the optimal string alignment distance: an insertion, a deletion, a replacement and a swap
//! of neighbours cost one each. Never looks at a whole name: the walk in `names.rs` does.

/// One row of the distance table: distances of the name read so far to each beginning of the query.
#[derive(Debug, Clone)]
pub(crate) struct Row(Vec<usize>);

impl Row {
    /// The row of the empty name against a query of `n_letters`.
    pub(crate) fn first(n_letters: usize) -> Self {
        Self((0..=n_letters).collect())
    }

    /// The row after the last letter of `name`; `rows` are those of all its beginnings before that letter.
    pub(crate) fn next(rows: &[Self], name: &[char], query: &[char]) -> Self {
        let above = &rows[rows.len() - 1].0;
        let letter = name[name.len() - 1];
        let mut row = Vec::with_capacity(above.len());
        row.push(above[0] + 1);
        for (column, &wanted) in query.iter().enumerate() {
            let replaced = above[column] + usize::from(wanted != letter);
            let mut least = replaced.min(above[column + 1] + 1).min(row[column] + 1);
            let swapped = column > 0 && name.len() > 1 && query[column - 1] == letter && name[name.len() - 2] == wanted;
            if swapped {
                least = least.min(rows[rows.len() - 2].0[column - 1] + 1);
            }
            row.push(least);
        }
        Self(row)
    }

    /// The distance to the whole query.
    pub(crate) fn last(&self) -> usize {
        self.0[self.0.len() - 1]
    }

    /// No longer name that begins so can come nearer to the query than this, but for one swap across
    /// the end, which costs one as well and so cannot come below it either.
    pub(crate) fn least(&self) -> usize {
        self.0.iter().copied().min().expect("a row has a first column")
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
    use super::Row;

    fn distance(name: &str, query: &str) -> usize {
        let (name, query): (Vec<char>, Vec<char>) = (name.chars().collect(), query.chars().collect());
        let mut rows = vec![Row::first(query.len())];
        for end in 1..=name.len() {
            rows.push(Row::next(&rows, &name[..end], &query));
        }
        rows[name.len()].last()
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
