//! Line charts as SVG: axes, ticks, a legend, nothing else.

use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 380.0;
/// Room for ticks and labels on each side.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 170.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 46.0;
/// Told apart by people who do not tell red from green (Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072b2", "#56b4e9", "#009e73", "#d55e00", "#e69f00", "#cc79a7"];
/// Ticks of a linear axis.
const TICKS: usize = 5;

/// One axis.
pub(super) struct Axis {
    pub(super) label: String,
    pub(super) logarithmic: bool,
}

/// One line.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// A chart.
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
}

/// An axis with the values it spans, mapped to a length in pixels.
struct Scale {
    logarithmic: bool,
    low: f64,
    high: f64,
}

impl Scale {
    fn new(axis: &Axis, values: impl Iterator<Item = f64>) -> Scale {
        let mut span = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.filter(|value| value.is_finite() && (!axis.logarithmic || *value > 0.0))
        {
            span = (span.0.min(value), span.1.max(value));
        }
        let (mut low, mut high) = if span.0 > span.1 { (0.1, 1.0) } else { span };
        if axis.logarithmic {
            (low, high) = (10_f64.powf(low.log10().floor()), 10_f64.powf(high.log10().ceil()));
        } else {
            low = low.min(0.0);
        }
        if low >= high {
            high = if axis.logarithmic { low * 10.0 } else { low + 1.0 };
        }
        Scale { logarithmic: axis.logarithmic, low, high }
    }

    /// Where `value` lies, from 0 to 1.
    fn at(&self, value: f64) -> f64 {
        if self.logarithmic {
            let value = value.max(self.low);
            (value / self.low).log10() / (self.high / self.low).log10()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    fn ticks(&self) -> Vec<f64> {
        if self.logarithmic {
            let mut ticks = vec![self.low];
            while let Some(next) = ticks.last().map(|last| last * 10.0)
                && next <= self.high * 1.001
            {
                ticks.push(next);
            }
            return ticks;
        }
        let rough = (self.high - self.low) / TICKS as f64;
        let unit = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * unit).into_iter().find(|s| *s >= rough);
        let step = step.unwrap_or(rough);
        let count = ((self.high - self.low) / step).floor() as usize;
        (0..=count).map(|tick| self.low + tick as f64 * step).collect()
    }
}

impl Chart {
    /// The SVG document.
    pub(super) fn draw(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let x = Scale::new(&self.x, points().map(|point| point.0));
        let y = Scale::new(&self.y, points().map(|point| point.1));
        let px = |value: f64| LEFT + x.at(value) * (WIDTH - LEFT - RIGHT);
        let py = |value: f64| HEIGHT - BOTTOM - y.at(value) * (HEIGHT - TOP - BOTTOM);
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
        );
        let mut text = |x: f64, y: f64, more: &str, text: &str| {
            let text = escape(text);
            let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\"{more}>{text}</text>");
        };
        text(LEFT, 20.0, " font-size=\"14\"", &self.title);
        let middle = (LEFT + WIDTH - RIGHT) / 2.0;
        text(middle, HEIGHT - 10.0, " text-anchor=\"middle\"", &self.x.label);
        let turned =
            format!(" text-anchor=\"middle\" transform=\"rotate(-90 14 {})\"", HEIGHT / 2.0);
        text(14.0, HEIGHT / 2.0, &turned, &self.y.label);
        for tick in x.ticks() {
            text(px(tick), HEIGHT - BOTTOM + 16.0, " text-anchor=\"middle\"", &number(tick));
        }
        for tick in y.ticks() {
            text(LEFT - 6.0, py(tick) + 4.0, " text-anchor=\"end\"", &number(tick));
        }
        for (index, line) in self.lines.iter().enumerate() {
            let at = TOP + 8.0 + 18.0 * index as f64;
            text(WIDTH - RIGHT + 34.0, at + 4.0, "", &line.name);
        }
        for tick in y.ticks() {
            let (at, end) = (py(tick), WIDTH - RIGHT);
            let _ = writeln!(
                out,
                "<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{end}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>"
            );
        }
        for (index, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let path = line.points.iter().map(|(x, y)| format!("{:.1},{:.1}", px(*x), py(*y)));
            let path = path.collect::<Vec<_>>().join(" ");
            let stroke = format!("fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"");
            let _ = writeln!(out, "<polyline points=\"{path}\" {stroke}/>");
            let (from, at) = (WIDTH - RIGHT + 10.0, TOP + 8.0 + 18.0 * index as f64);
            let to = from + 18.0;
            let _ =
                writeln!(out, "<line x1=\"{from}\" y1=\"{at}\" x2=\"{to}\" y2=\"{at}\" {stroke}/>");
        }
        out.push_str("</svg>\n");
        out
    }
}

fn number(value: f64) -> String {
    match value {
        value if value.abs() >= 1e6 => format!("{}M", value / 1e6),
        value if value.abs() >= 1e4 => format!("{}k", value / 1e3),
        value => format!("{}", (value * 1e6).round() / 1e6),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(logarithmic: bool) -> Axis {
        Axis { label: "a<b".into(), logarithmic }
    }

    #[test]
    fn ticks_are_round() {
        let linear = Scale::new(&axis(false), [3.0, 47.0].into_iter());
        assert_eq!(linear.ticks(), [0.0, 10.0, 20.0, 30.0, 40.0]);
        let logarithmic = Scale::new(&axis(true), [0.3, 0.0, 20.0].into_iter());
        assert_eq!(logarithmic.ticks().len(), 4);
        assert!((logarithmic.at(1.0) - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn a_chart_of_nothing_is_a_chart() {
        let chart = Chart { title: "t".into(), x: axis(false), y: axis(true), lines: Vec::new() };
        let drawn = chart.draw();
        assert!(drawn.starts_with("<svg") && drawn.ends_with("</svg>\n"));
        assert!(drawn.contains("a&lt;b") && !drawn.contains("NaN"));
    }
}
