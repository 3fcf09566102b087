//! Bars as SVG.

use std::fmt::Write as _;

use crate::spread::{Spread, number};

const WIDTH: f64 = 860.0;
const LABEL: f64 = 300.0;
const LONGEST: f64 = 400.0;
const BAR: f64 = 18.0;

/// One bar with its spread.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) spread: Spread,
    pub(crate) ours: bool,
}

/// Bars of one kind, one below the other.
pub(crate) struct Chart {
    pub(crate) title: &'static str,
    /// Behind the point.
    pub(crate) digits: usize,
    pub(crate) bars: Vec<Bar>,
}

/// The plot of those charts that have bars; none when none has.
pub(crate) fn svg(charts: &[Chart]) -> Option<String> {
    let mut drawn = String::new();
    let mut y = 10.0;
    for Chart {
        title,
        digits,
        bars,
    } in charts
    {
        if !bars.is_empty() {
            y = chart(&mut drawn, y, title, *digits, bars);
        }
    }
    (!drawn.is_empty()).then(|| {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{y}\" viewBox=\"0 0 {WIDTH} {y}\" \
             font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n{drawn}</svg>\n"
        )
    })
}

/// Draws one chart from `y` on; returns where the next begins.
fn chart(drawn: &mut String, y: f64, title: &str, digits: usize, bars: &[Bar]) -> f64 {
    let largest = bars
        .iter()
        .map(|bar| bar.spread.max)
        .fold(f64::MIN_POSITIVE, f64::max);
    let scale = LONGEST / largest;
    text(drawn, 10.0, y + 16.0, "font-weight=\"bold\"", title);
    let mut y = y + 28.0;
    for bar in bars {
        let (median, middle) = (bar.spread.median * scale, y + BAR / 2.0);
        let colour = if bar.ours { "#2a6f97" } else { "#b0b7bf" };
        text(
            drawn,
            LABEL - 8.0,
            y + 13.0,
            "text-anchor=\"end\"",
            &bar.name,
        );
        // Writing to a string does not fail.
        let _ = writeln!(
            drawn,
            "<rect x=\"{LABEL}\" y=\"{y:.1}\" width=\"{median:.1}\" height=\"{BAR}\" fill=\"{colour}\"/>"
        );
        let (from, to) = (
            LABEL + bar.spread.min * scale,
            LABEL + bar.spread.max * scale,
        );
        let _ = writeln!(
            drawn,
            "<line x1=\"{from:.1}\" y1=\"{middle:.1}\" x2=\"{to:.1}\" y2=\"{middle:.1}\" stroke=\"black\"/>"
        );
        text(
            drawn,
            to + 8.0,
            y + 13.0,
            "",
            &number(bar.spread.median, digits),
        );
        y += BAR + 6.0;
    }
    y + 14.0
}

fn text(drawn: &mut String, x: f64, y: f64, attributes: &str, text: &str) {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        drawn,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" {attributes}>{escaped}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_figures_and_names_are_escaped() {
        let bar = |name: &str, median| Bar {
            name: name.to_owned(),
            spread: Spread::of([median]),
            ours: false,
        };
        let mut drawn = String::new();
        let end = chart(
            &mut drawn,
            0.0,
            "a < b & c",
            0,
            &[bar("half", 50.0), bar("whole", 100.0)],
        );
        assert!(drawn.contains("a &lt; b &amp; c"), "{drawn}");
        assert!(
            drawn.contains("width=\"200.0\"") && drawn.contains("width=\"400.0\""),
            "{drawn}"
        );
        assert!(end > 2.0 * BAR);
    }
}
