//! What the rounds gave, on the terminal: a table of medians and spreads, then one line of JSON.

use crate::figures::{Report, Row};

/// Prints the table and the line.
pub(crate) fn print(host: &str, report: &Report) {
    println!("\n{host}\n");
    println!("{:<66}{:>12}   {:<25}", "", "median", "min – max");
    for row in &report.figures {
        println!("{}", line(row));
    }
    println!();
    for row in &report.ratios {
        println!("{}", line(row));
    }
    println!("\n{}", report.line());
}

fn line(row: &Row) -> String {
    let Row { what, spread, unit, .. } = row;
    let (median, least, most) = (shown(spread.median()), shown(spread.min()), shown(spread.max()));
    format!("{what:<66}{median:>12}   {least} – {most} {unit}").trim_end().to_owned()
}

/// A number as people read it: thousands apart, three decimals below a hundred.
pub(crate) fn shown(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.3}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_as_people_read_them() {
        assert_eq!(
            [0.1234, 99.9, 100.4, 1_000.0, 1_234_567.0].map(shown),
            ["0.123", "99.900", "100", "1,000", "1,234,567"]
        );
    }
}
