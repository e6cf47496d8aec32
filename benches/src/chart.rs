//! Charts as SVG: bars to compare, lines to follow. Text in, text out; nothing is written anywhere.

use anyhow::anyhow;
use plotters::{
    coord::Shift,
    prelude::*,
    style::{
        FontTransform,
        text_anchor::{HPos, Pos, VPos},
    },
};

use crate::report::shown;

// Sizes of text are those of a type designer: the page shows four fifths of them.
const WIDTH: u32 = 880;
const TITLE_HEIGHT: i32 = 48;
const BAR: i32 = 20;
const STEP: i32 = 30;
const LABELS: i32 = 300;
const NUMBERS: i32 = 110;
const OURS: RGBColor = RGBColor(0x1f, 0x6f, 0xb2);
const OTHERS: RGBColor = RGBColor(0x9a, 0xa5, 0xb1);
const INK: RGBColor = RGBColor(0x22, 0x2b, 0x36);
const LINES: [RGBColor; 4] = [OURS, RGBColor(0xd1, 0x49, 0x5b), RGBColor(0x2f, 0x9e, 0x6b), RGBColor(0xb0, 0x7a, 0x1e)];

/// One bar.
pub(crate) struct Bar {
    /// What it is of.
    pub(crate) label: String,
    /// How long it is.
    pub(crate) value: f64,
    /// Ours stand out.
    pub(crate) is_ours: bool,
}

/// How lengths are made of values.
#[derive(Clone, Copy)]
pub(crate) enum Scale {
    /// Twice the value, twice the length.
    Linear,
    /// Ten times the value, one step longer.
    Logarithmic,
}

impl Scale {
    /// The share of the full length, for the greatest and the least of all values.
    fn share(self, value: f64, (least, most): (f64, f64)) -> f64 {
        match self {
            Self::Linear => value / most,
            // The shortest bar is to be seen: a tenth of it would have none.
            Self::Logarithmic => (value * 10.0 / least).log10() / (most * 10.0 / least).log10(),
        }
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Bars one under the other, each with its label before and its number behind.
pub(crate) fn bars(title: &str, scale: Scale, bars: &[Bar]) -> anyhow::Result<String> {
    let height = TITLE_HEIGHT + STEP * i32::try_from(bars.len())? + 12;
    draw((title, u32::try_from(height)?), |area| {
        let values = || bars.iter().map(|bar| bar.value);
        let ends = (values().fold(f64::MAX, f64::min), values().fold(f64::MIN, f64::max));
        let full = f64::from(i32::try_from(WIDTH)? - LABELS - NUMBERS);
        for (place, bar) in bars.iter().enumerate() {
            let top = TITLE_HEIGHT + STEP * i32::try_from(place)?;
            let end = LABELS + pixels(full * scale.share(bar.value, ends)).max(2);
            let colour = if bar.is_ours { OURS } else { OTHERS };
            area.draw(&Rectangle::new([(LABELS, top), (end, top + BAR)], colour.filled())).map_err(broken)?;
            text(area, &bar.label, (LABELS - 10, top + BAR / 2), HPos::Right)?;
            text(area, &shown(bar.value), (end + 8, top + BAR / 2), HPos::Left)?;
        }
        Ok(())
    })
}

/// A line: its label, its points.
pub(crate) type Line = (String, Vec<(f64, f64)>);

/// Lines over one axis, each with its label in a legend.
pub(crate) fn lines(title: &str, (across, up): (&str, &str), lines: &[Line]) -> anyhow::Result<String> {
    draw((title, 400), |area| {
        let points = || lines.iter().flat_map(|(_, points)| points);
        let last = points().map(|&(x, _)| x).fold(1.0, f64::max);
        let most = points().map(|&(_, y)| y).fold(1.0, f64::max);
        let below = area.margin(TITLE_HEIGHT, 10, 10, 20);
        let mut chart = ChartBuilder::on(&below);
        chart.x_label_area_size(44).y_label_area_size(76);
        let mut chart = chart.build_cartesian_2d(0.0..last * 1.05, 0.0..most * 1.1).map_err(broken)?;
        let mut mesh = chart.configure_mesh();
        mesh.light_line_style(TRANSPARENT).label_style(("sans-serif", 16).into_font().color(&INK));
        mesh.x_desc(across).y_desc(up).x_label_formatter(&|x| format!("{x:.0}"));
        mesh.y_label_formatter(&|&y| if y < 1.0 { "0".to_owned() } else { shown(y.max(100.0)) });
        mesh.draw().map_err(broken)?;
        for ((label, points), colour) in lines.iter().zip(LINES.iter().cycle().copied()) {
            let path = std::iter::once(PathElement::new(points.clone(), colour.stroke_width(2)));
            let drawn = chart.draw_series(path).map_err(broken)?;
            let sample = move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2));
            drawn.label(label).legend(sample);
            let dots = points.iter().map(|&point| Circle::new(point, 4, colour.filled()));
            chart.draw_series(dots).map_err(broken)?;
        }
        let mut legend = chart.configure_series_labels();
        legend.position(SeriesLabelPosition::LowerRight).label_font(("sans-serif", 16).into_font().color(&INK));
        legend.background_style(WHITE.filled()).draw().map_err(broken)
    })
}

fn draw((title, height): (&str, u32), inside: impl FnOnce(&Area<'_>) -> anyhow::Result<()>) -> anyhow::Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
        area.fill(&WHITE).map_err(broken)?;
        let style = ("sans-serif", 22).into_font().color(&INK).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(title.to_owned(), (16, TITLE_HEIGHT / 2), style)).map_err(broken)?;
        inside(&area)?;
        area.present().map_err(broken)?;
    }
    Ok(svg)
}

fn text(area: &Area<'_>, text: &str, at: (i32, i32), side: HPos) -> anyhow::Result<()> {
    let font = ("sans-serif", 17).into_font().transform(FontTransform::None);
    let style = font.color(&INK).pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(text.to_owned(), at, style)).map_err(broken)
}

#[allow(clippy::cast_possible_truncation, reason = "a length on a page")]
fn pixels(length: f64) -> i32 {
    length.round() as i32
}

/// Its errors borrow what was drawn on.
fn broken(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("draw a chart: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_carry_their_labels_and_numbers() {
        let bar = |label: &str, value, is_ours| Bar { label: label.to_owned(), value, is_ours };
        let svg = bars("Drain", Scale::Linear, &[bar("ours", 30_000.0, true), bar("a < b", 6_900.0, false)]).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
        for said in ["Drain", "ours", "30,000", "a &lt; b", "6,900", "#1F6FB2", "#9AA5B1"] {
            assert!(svg.contains(said), "{said} in {svg}");
        }
    }

    #[test]
    fn lengths_follow_the_scale() {
        assert_eq!(Scale::Linear.share(5.0, (1.0, 10.0)), 0.5);
        assert_eq!(Scale::Logarithmic.share(1.0, (1.0, 100.0)), 1.0 / 3.0);
        assert_eq!(Scale::Logarithmic.share(100.0, (1.0, 100.0)), 1.0);
    }

    #[test]
    fn lines_have_a_legend() {
        let line = |label: &str, rate| (label.to_owned(), vec![(1.0, rate), (2.0, rate * 1.5), (8.0, rate)]);
        let svg = lines("Scale", ("partitions", "jobs/s"), &[line("1 worker", 2e4), line("2 workers", 3e4)]).unwrap();
        for said in ["partitions", "jobs/s", "1 worker", "2 workers"] {
            assert!(svg.contains(said), "{said} in {svg}");
        }
    }
}
