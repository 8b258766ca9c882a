//! A curve as a picture: recall to the right, queries per second upwards, in powers of ten.

use std::fmt::Write as _;

use super::Point;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 400.0;
/// Left, right, above and below of the plot.
const MARGIN: [f64; 4] = [72.0, 24.0, 40.0, 48.0];
/// Recall at the left edge, unless a point lies below.
const LEAST_RECALL: f64 = 0.8;

/// Draws a curve. The title is foreign text and is escaped.
pub fn draw(title: &str, k: usize, points: &[Point]) -> String {
    let rates = || points.iter().map(|point| point.per_second.max(1e-3));
    let (low, high) = (rates().fold(f64::INFINITY, f64::min), rates().fold(0.0, f64::max));
    let (bottom, top) = (low.log10().floor(), high.log10().ceil());
    let top = if top > bottom { top } else { bottom + 1.0 };
    let least = points.iter().map(|point| point.recall).fold(LEAST_RECALL, f64::min);
    let left = ((least * 20.0).floor() / 20.0).min(0.95);
    let [before, after, above, below] = MARGIN;
    let x = |recall: f64| before + (recall - left) / (1.0 - left) * (WIDTH - before - after);
    let y = |rate: f64| HEIGHT - below - (rate.max(1e-3).log10() - bottom) / (top - bottom) * (HEIGHT - above - below);
    let mut svg = String::new();
    // Writing to a text does not fail.
    let _ = write!(
        svg,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>"##
    );
    let _ = write!(svg, r#"<text x="{before}" y="24" font-size="14">{}</text>"#, escaped(title));
    for step in 0..=5 {
        let recall = left + (1.0 - left) * f64::from(step) / 5.0;
        let at = x(recall);
        let _ = write!(
            svg,
            r##"<line x1="{at:.1}" y1="{above}" x2="{at:.1}" y2="{:.1}" stroke="#ddd"/><text x="{at:.1}" y="{:.1}" text-anchor="middle">{recall:.2}</text>"##,
            HEIGHT - below,
            HEIGHT - below + 16.0
        );
    }
    for power in bottom as i32..=top as i32 {
        let rate = 10f64.powi(power);
        let at = y(rate);
        let _ = write!(
            svg,
            r##"<line x1="{before}" y1="{at:.1}" x2="{:.1}" y2="{at:.1}" stroke="#ddd"/><text x="{:.1}" y="{:.1}" text-anchor="end">{rate}</text>"##,
            WIDTH - after,
            before - 6.0,
            at + 4.0
        );
    }
    let _ = write!(
        svg,
        r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">recall@{k}</text><text x="16" y="{:.1}" transform="rotate(-90 16 {:.1})" text-anchor="middle">queries/s</text>"#,
        (before + WIDTH - after) / 2.0,
        HEIGHT - 12.0,
        HEIGHT / 2.0,
        HEIGHT / 2.0
    );
    let mut places: Vec<(f64, f64)> = points.iter().map(|point| (x(point.recall), y(point.per_second))).collect();
    places.sort_by(|a, b| a.0.total_cmp(&b.0));
    let line: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = write!(svg, r##"<polyline points="{}" fill="none" stroke="#1668b8" stroke-width="2"/>"##, line.join(" "));
    for (x, y) in places {
        let _ = write!(svg, r##"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="#1668b8"/>"##);
    }
    svg + "</svg>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use stratavec::Effort;

    use super::*;

    fn point(recall: f64, per_second: f64) -> Point {
        let (p50, p99) = (Duration::from_micros(10), Duration::from_micros(20));
        Point { effort: Effort::Exact, recall, per_second, p50, p99, lists: 1.0, entries: 1.0, rows: 1.0 }
    }

    #[test]
    fn a_curve_is_drawn_inside_its_frame_and_names_are_escaped() {
        let svg = draw("a <b> & c", 10, &[point(0.5, 90_000.0), point(1.0, 12.0)]);
        assert!(svg.contains("a &lt;b&gt; &amp; c") && svg.contains("recall@10"));
        assert_eq!((svg.matches("<circle").count(), svg.matches("NaN").count()), (2, 0));
        for number in svg.split("cx=\"").skip(1) {
            let x: f64 = number.split('"').next().unwrap().parse().unwrap();
            assert!((0.0..=WIDTH).contains(&x));
        }
        let one = draw("", 10, &[point(1.0, 100.0)]);
        assert!(!one.contains("NaN") && !one.contains("inf"), "{one}");
    }
}
