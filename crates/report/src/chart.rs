//! Line charts as inline SVG.

use std::fmt::Write as _;

use crate::text::{escaped, number, round_ticks};

/// How values are laid out along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Equal steps for equal differences.
    Linear,
    /// Equal steps for equal ratios; values at or below zero are left out.
    Log10,
}

/// One line of a chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its name, written at its end.
    pub name: String,
    /// Points from left to right; one that is not finite breaks the line.
    pub points: Vec<(f64, f64)>,
}

impl Series {
    /// A line through these points.
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points }
    }
}

/// Lines over one axis, told apart by marker, dash and direct label as well as by color.
#[derive(Clone, Debug, PartialEq)]
pub struct LineChart {
    caption: String,
    x_label: String,
    y_label: String,
    y_scale: Scale,
    y_limits: Option<(f64, f64)>,
    series: Vec<Series>,
    x_marks: Vec<(f64, String)>,
}

/// Okabe and Ito's palette without its yellow, which is too light for lines on white.
const COLORS: [&str; 7] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#222222", "#b07d00", "#56b4e9"];
const DASHES: [&str; 7] = ["", "7 3", "2 3", "9 3 2 3", "", "7 3", "2 3"];

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 66.0;
const RIGHT: f64 = 176.0;
const TOP: f64 = 18.0;
const BOTTOM: f64 = 50.0;
/// The smallest vertical distance between two labels at line ends.
const LABEL_STEP: f64 = 17.0;

impl LineChart {
    /// A chart without lines; axis labels carry their unit.
    pub fn new(caption: impl Into<String>, x_label: impl Into<String>, y_label: impl Into<String>) -> Self {
        Self {
            caption: caption.into(),
            x_label: x_label.into(),
            y_label: y_label.into(),
            y_scale: Scale::Linear,
            y_limits: None,
            series: Vec::new(),
            x_marks: Vec::new(),
        }
    }

    /// With one line more.
    pub fn series(mut self, series: Series) -> Self {
        self.series.push(series);
        self
    }

    /// With values laid out by `scale`.
    pub const fn y_scale(mut self, scale: Scale) -> Self {
        self.y_scale = scale;
        self
    }

    /// With a vertical axis from `lower` to `upper`; otherwise it fits the points.
    pub const fn y_limits(mut self, lower: f64, upper: f64) -> Self {
        self.y_limits = Some((lower, upper));
        self
    }

    /// With a labelled vertical line, as at the best epoch.
    pub fn x_mark(mut self, x: f64, label: impl Into<String>) -> Self {
        self.x_marks.push((x, label.into()));
        self
    }

    pub(crate) fn write_html(&self, out: &mut String) {
        out.push_str("<figure class=\"chart\">\n");
        self.write_svg(out);
        let _ = writeln!(out, "<figcaption>{}</figcaption>\n</figure>", escaped(&self.caption));
    }

    fn is_drawable(&self, (x, y): (f64, f64)) -> bool {
        x.is_finite() && y.is_finite() && (self.y_scale == Scale::Linear || y > 0.0)
    }

    /// A value on the axis's own scale.
    fn scaled(&self, y: f64) -> f64 {
        match self.y_scale {
            Scale::Linear => y,
            Scale::Log10 => y.log10(),
        }
    }

    fn write_svg(&self, out: &mut String) {
        let drawable: Vec<(f64, f64)> = (self.series.iter())
            .flat_map(|series| series.points.iter().copied())
            .filter(|&point| self.is_drawable(point))
            .collect();
        if drawable.is_empty() {
            out.push_str("<p class=\"note\">No values to draw.</p>\n");
            return;
        }
        let range = |pick: &dyn Fn(&(f64, f64)) -> f64| {
            let values = drawable.iter().map(pick);
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)))
        };
        let (x0, x1) = widened(range(&|p| p.0), 0.0);
        let (y0, y1) = match self.y_limits {
            Some((lower, upper)) if upper > lower && self.scaled(lower).is_finite() => {
                (self.scaled(lower), self.scaled(upper))
            }
            _ => widened(range(&|p| self.scaled(p.1)), 0.06),
        };
        let px = |x: f64| LEFT + (x - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT);
        let py = |scaled: f64| HEIGHT - BOTTOM - (scaled - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM);
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);

        let names: Vec<&str> = self.series.iter().map(|series| series.name.as_str()).collect();
        let _ = writeln!(
            out,
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{} against {}: {}\">",
            escaped(&self.y_label),
            escaped(&self.x_label),
            escaped(&names.join(", "))
        );
        let y_ticks = match self.y_scale {
            Scale::Linear => {
                let (ticks, decimals) = round_ticks(y0, y1, 6);
                ticks.into_iter().map(|tick| (tick, number(tick, decimals))).collect()
            }
            Scale::Log10 => log_ticks(y0, y1),
        };
        for (tick, text) in y_ticks {
            let y = py(tick);
            let _ = writeln!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                LEFT - 8.0,
                y + 4.0
            );
        }
        let (x_ticks, decimals) = round_ticks(x0, x1, 7);
        for tick in x_ticks {
            let x = px(tick);
            let _ = writeln!(
                out,
                "<line class=\"axis\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{bottom}\" y2=\"{:.1}\"/>\
                 <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 5.0,
                bottom + 19.0,
                number(tick, decimals)
            );
        }
        let _ = writeln!(
            out,
            "<path class=\"axis\" d=\"M{LEFT} {TOP}V{bottom}H{right}\"/>\
             <text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text class=\"label\" transform=\"translate(16 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            f64::midpoint(LEFT, right),
            HEIGHT - 10.0,
            escaped(&self.x_label),
            f64::midpoint(TOP, bottom),
            escaped(&self.y_label)
        );
        for (x, label) in self.x_marks.iter().filter(|(x, _)| (x0..=x1).contains(x)) {
            let x = px(*x);
            let (anchor, offset) =
                if x > f64::midpoint(LEFT, right) { ("end", -5.0) } else { ("start", 5.0) };
            let _ = writeln!(
                out,
                "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
                 <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                x + offset,
                TOP + 11.0,
                escaped(label)
            );
        }
        let mut ends = Vec::new();
        for (n, series) in self.series.iter().enumerate() {
            let (color, dash) = (COLORS[n % COLORS.len()], DASHES[n % DASHES.len()]);
            let mut path = String::new();
            let mut pen_is_down = false;
            let mut last = None;
            // Markers every so many points, so that long curves stay legible.
            let every = series.points.len().div_ceil(16).max(1);
            let mut markers = String::new();
            for (at, &point) in series.points.iter().enumerate() {
                if !self.is_drawable(point) {
                    pen_is_down = false;
                    continue;
                }
                let (x, y) = (px(point.0), py(self.scaled(point.1)));
                let _ = write!(path, "{}{x:.1} {y:.1}", if pen_is_down { 'L' } else { 'M' });
                pen_is_down = true;
                last = Some(y);
                if at % every == 0 || at + 1 == series.points.len() {
                    markers.push_str(&marker(n, x, y, color));
                }
            }
            let _ = writeln!(
                out,
                "<path d=\"{path}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\" \
                 stroke-linejoin=\"round\"/>{markers}"
            );
            if let Some(y) = last {
                ends.push((y, n));
            }
        }
        for (label_y, end_y, n) in spread_labels(ends, TOP + 4.0, bottom) {
            let color = COLORS[n % COLORS.len()];
            let _ = writeln!(
                out,
                "<path d=\"M{:.1} {end_y:.1}L{:.1} {label_y:.1}\" stroke=\"{color}\" fill=\"none\"/>{}\
                 <text class=\"name\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                right + 5.0,
                right + 14.0,
                marker(n, right + 20.0, label_y, color),
                right + 29.0,
                label_y + 4.0,
                escaped(&self.series[n].name)
            );
        }
        out.push_str("</svg>\n");
    }
}

/// The range with a margin on both sides; a single value gets a range around it.
fn widened((low, high): (f64, f64), margin: f64) -> (f64, f64) {
    let span = high - low;
    if span > 0.0 {
        return (low - margin * span, high + margin * span);
    }
    let half = if low.abs() > 0.0 { low.abs() * 0.1 } else { 1.0 };
    (low - half, high + half)
}

/// Ticks of a logarithmic axis: powers of ten, with 2 and 5 between them where there are few.
fn log_ticks(low: f64, high: f64) -> Vec<(f64, String)> {
    let factors: &[f64] = if high - low > 2.5 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let mut ticks = Vec::new();
    for power in low.floor() as i32..=high.ceil() as i32 {
        for factor in factors {
            let value = factor * 10_f64.powi(power);
            let at = value.log10();
            if (low..=high).contains(&at) {
                let decimals = usize::try_from(-power).unwrap_or(0);
                ticks.push((at, number(value, decimals)));
            }
        }
    }
    if ticks.len() < 2 {
        // Less than a factor of two: plain numbers tell more.
        let (values, decimals) = round_ticks(10_f64.powf(low), 10_f64.powf(high), 5);
        return values.into_iter().filter(|v| *v > 0.0).map(|v| (v.log10(), number(v, decimals))).collect();
    }
    ticks
}

/// The marker of the n-th series: each has its own shape.
fn marker(n: usize, x: f64, y: f64, color: &str) -> String {
    let shape = match n % 7 {
        0 => format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.4\""),
        1 => format!("<path d=\"M{:.1} {:.1}h6.4v6.4h-6.4z\"", x - 3.2, y - 3.2),
        2 => format!("<path d=\"M{x:.1} {:.1}l4 7h-8z\"", y - 4.4),
        3 => format!("<path d=\"M{x:.1} {:.1}l4.4 4.4l-4.4 4.4l-4.4 -4.4z\"", y - 4.4),
        4 => format!("<path d=\"M{x:.1} {:.1}l4 -7h-8z\"", y + 4.4),
        5 => {
            let (x, y) = (x - 3.2, y - 3.2);
            return format!(
                "<path d=\"M{x:.1} {y:.1}l6.4 6.4m0 -6.4l-6.4 6.4\" stroke=\"{color}\" stroke-width=\"2\"/>"
            );
        }
        _ => {
            return format!(
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.4\" fill=\"#fff\" stroke=\"{color}\" stroke-width=\"1.6\"/>"
            );
        }
    };
    format!("{shape} fill=\"{color}\"/>")
}

/// Where to put labels so that they keep their order and do not overlap: `(label, line end, series)`.
fn spread_labels(mut ends: Vec<(f64, usize)>, top: f64, bottom: f64) -> Vec<(f64, f64, usize)> {
    ends.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut at: Vec<f64> = ends.iter().map(|end| end.0.clamp(top, bottom)).collect();
    for n in 1..at.len() {
        at[n] = at[n].max(at[n - 1] + LABEL_STEP);
    }
    // Where the lowest ran over the bottom, push back up.
    let mut limit = bottom;
    for label in at.iter_mut().rev() {
        *label = label.min(limit);
        limit = *label - LABEL_STEP;
    }
    std::iter::zip(at, ends).map(|(label, (end, n))| (label, end.clamp(top, bottom), n)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_keep_their_order_and_their_distance() {
        let placed = spread_labels(vec![(300.0, 0), (299.0, 1), (301.0, 2), (20.0, 3)], 10.0, 310.0);
        let order: Vec<usize> = placed.iter().map(|label| label.2).collect();
        assert_eq!(order, [3, 1, 0, 2]);
        for pair in placed.windows(2) {
            assert!(pair[1].0 - pair[0].0 >= LABEL_STEP - 1e-9);
        }
        assert!(placed.iter().all(|label| (10.0..=310.0).contains(&label.0)));
    }

    #[test]
    fn values_that_cannot_be_drawn_break_the_line() {
        let chart = LineChart::new("c", "epoch", "loss").y_scale(Scale::Log10).series(Series::new(
            "train <1>",
            vec![(1.0, 10.0), (2.0, f64::NAN), (3.0, 1.0), (4.0, 0.0), (5.0, 0.1)],
        ));
        let mut html = String::new();
        chart.write_html(&mut html);
        let line = html.split("<path d=\"").find(|part| part.contains("stroke-linejoin")).unwrap_or("");
        assert_eq!(line.matches('M').count(), 3, "{line}");
        assert!(!html.contains("NaN") && !html.contains("inf") && html.contains("train &lt;1&gt;"));
        let mut html = String::new();
        LineChart::new("c", "x", "y").series(Series::new("s", vec![(0.0, f64::NAN)])).write_html(&mut html);
        assert!(html.contains("No values to draw"));
    }

    #[test]
    fn logarithmic_ticks_are_round() {
        let texts = |low: f64, high: f64| -> Vec<String> {
            log_ticks(low, high).into_iter().map(|tick| tick.1).collect()
        };
        assert_eq!(texts(-1.1, 1.1), ["0.1", "0.2", "0.5", "1", "2", "5", "10"]);
        assert_eq!(texts(-3.2, 2.0), ["0.001", "0.01", "0.1", "1", "10", "100"]);
        assert_eq!(texts(2.1_f64.log10(), 4.2_f64.log10()), ["2.5", "3.0", "3.5", "4.0"]);
    }
}
