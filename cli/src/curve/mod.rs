//! What searches find and how fast, at each effort: queries, the truth, and a curve of points.

mod svg;

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use stratavec::{Effort, Hits, Id, Snapshot};

use crate::failure::Failure;
use crate::screen::{Screen, Tone};
use crate::words;

pub use svg::draw;

/// Parts of the nearest rows that are asked for, beside every row.
const PARTS: [f32; 12] = [0.5, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.985, 0.99, 0.995];
/// Times that all queries are asked at each effort; of each query the fastest counts, so that what else the machine does is left out.
const PASSES: usize = 3;
/// Distances are equal if they differ by less than rounding makes them.
const ROUNDING: f32 = 1e-6;

/// Vectors to ask with, and the distance of the k-th nearest row of each.
pub struct Queries {
    vectors: Vec<Vec<f32>>,
    /// The row that a query is, if it is a stored one: it does not count as found.
    own: Vec<Option<Id>>,
    farthest: Vec<f32>,
    k: usize,
}

/// What one effort does.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// The effort.
    pub effort: Effort,
    /// The part of the true `k` nearest rows that is found, on average.
    pub recall: f64,
    /// Queries per second, of one thread, one at a time.
    pub per_second: f64,
    /// Half of the queries take at most so long.
    pub p50: Duration,
    /// 99 of a hundred do.
    pub p99: Duration,
    /// Lists looked at for each query.
    pub lists: f64,
    /// Entries of lists estimated for each query.
    pub entries: f64,
    /// Rows measured for each query.
    pub rows: f64,
}

impl Queries {
    /// Queries that are no rows of the collection, and their truth: every row is measured for each.
    ///
    /// # Errors
    /// Of the engine.
    pub fn foreign(snapshot: &Snapshot, vectors: Vec<Vec<f32>>, k: usize, threads: usize) -> stratavec::Result<Self> {
        let own = vec![None; vectors.len()];
        Queries { vectors, own, farthest: Vec::new(), k }.with_truth(snapshot, threads)
    }

    /// So many rows of the collection as queries, evenly spaced.
    ///
    /// # Errors
    /// Of the engine.
    pub fn own_rows(snapshot: &Snapshot, count: u64, k: usize, threads: usize) -> stratavec::Result<Self> {
        let step = (snapshot.count() / count.max(1)).max(1) as usize;
        let (mut vectors, mut own) = (Vec::new(), Vec::new());
        for item in snapshot.iter().skip(step / 2).step_by(step).take(count as usize) {
            let item = item?;
            vectors.push(item.vector);
            own.push(Some(item.id));
        }
        Queries { vectors, own, farthest: Vec::new(), k }.with_truth(snapshot, threads)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.vectors.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.vectors.is_empty()
    }

    fn with_truth(mut self, snapshot: &Snapshot, threads: usize) -> stratavec::Result<Self> {
        let answers =
            snapshot.search_batch(&self.vectors).k(self.asked()).effort(Effort::Exact).threads(threads).run()?;
        self.farthest = answers.iter().zip(&self.own).map(|(hits, own)| self.kth(hits, own.as_ref())).collect();
        Ok(self)
    }

    /// One row more than is wanted, where a query finds itself.
    fn asked(&self) -> usize {
        self.k + usize::from(self.own.iter().any(Option::is_some))
    }

    /// Distance of the last of the wanted rows.
    fn kth(&self, hits: &Hits, own: Option<&Id>) -> f32 {
        others(hits, own).take(self.k).last().unwrap_or(f32::INFINITY)
    }

    /// The part of the nearest rows that is among the hits. A row as near as the last of them is as good.
    fn found(&self, at: usize, hits: &Hits) -> f64 {
        let own = self.own.get(at).and_then(Option::as_ref);
        let bound = self.farthest.get(at).copied().unwrap_or(f32::INFINITY);
        let bound = bound + bound.abs() * ROUNDING + f32::MIN_POSITIVE;
        let near = others(hits, own).take(self.k).filter(|distance| *distance <= bound).count();
        near as f64 / self.k as f64
    }

    /// Asks all of them, one at a time.
    ///
    /// # Errors
    /// Of the engine.
    pub fn ask(&self, snapshot: &Snapshot, effort: Effort) -> stratavec::Result<Point> {
        let mut times = vec![Duration::MAX; self.len()];
        let (mut recall, mut lists, mut entries, mut rows) = (0.0, 0, 0, 0);
        // Every row measured takes as long each time.
        let passes = if effort == Effort::Exact { 1 } else { PASSES };
        for pass in 0..passes {
            for (at, (vector, time)) in self.vectors.iter().zip(&mut times).enumerate() {
                let start = Instant::now();
                let hits = snapshot.search(vector).k(self.asked()).effort(effort).run()?;
                *time = start.elapsed().min(*time);
                if pass == 0 {
                    let explain = hits.explain();
                    recall += self.found(at, &hits);
                    lists += explain.lists_probed;
                    entries += explain.entries_scanned;
                    rows += explain.rows_scored;
                }
            }
        }
        let count = self.len().max(1) as f64;
        let all: Duration = times.iter().sum();
        times.sort_unstable();
        let at = |part: f64| times.get(((times.len().saturating_sub(1)) as f64 * part) as usize).copied();
        Ok(Point {
            effort,
            recall: recall / count,
            per_second: count / all.as_secs_f64().max(1e-9),
            p50: at(0.5).unwrap_or_default(),
            p99: at(0.99).unwrap_or_default(),
            lists: lists as f64 / count,
            entries: entries as f64 / count,
            rows: rows as f64 / count,
        })
    }

    /// The part of the nearest rows that some other way to search finds, on average. It is given a query and how many rows are wanted.
    ///
    /// # Errors
    /// Of the search.
    pub fn found_with(
        &self,
        mut search: impl FnMut(&[f32], usize) -> stratavec::Result<Hits>,
    ) -> stratavec::Result<f64> {
        let mut sum = 0.0;
        for (at, vector) in self.vectors.iter().enumerate() {
            sum += self.found(at, &search(vector, self.asked())?);
        }
        Ok(sum / self.len().max(1) as f64)
    }

    /// A point for each effort, from the least to every row. Nothing but the last where there are no lists to choose from.
    ///
    /// # Errors
    /// Of the engine.
    pub fn curve(&self, snapshot: &Snapshot, mut seen: impl FnMut(&Point)) -> stratavec::Result<Vec<Point>> {
        let mut points: Vec<Point> = Vec::new();
        for part in PARTS {
            let point = self.ask(snapshot, Effort::Recall(part))?;
            // Without lists every effort is the last one.
            if point.lists == 0.0 {
                break;
            }
            seen(&point);
            points.push(point);
        }
        let exact = self.ask(snapshot, Effort::Exact)?;
        seen(&exact);
        points.push(exact);
        Ok(points)
    }
}

/// Distances of the hits but the query itself.
fn others<'h>(hits: &'h Hits, own: Option<&'h Id>) -> impl Iterator<Item = f32> + 'h {
    hits.iter().filter(move |hit| Some(&hit.id) != own).map(|hit| hit.distance)
}

/// An effort as the command line says it.
pub fn effort_text(effort: Effort) -> String {
    match effort {
        Effort::Recall(part) => format!("--recall {part}"),
        Effort::Probe { nprobe, .. } => format!("--nprobe {nprobe}"),
        _ => "--exact".into(),
    }
}

/// A curve as a table.
///
/// # Errors
/// The end of the command if nobody reads any more.
pub fn show(points: &[Point], chosen: Option<usize>, screen: &Screen) -> Result<(), Failure> {
    let head = format!(
        "  {:<15} {:>7} {:>11} {:>9} {:>9} {:>7} {:>9} {:>8}",
        "effort", "recall", "queries/s", "p50", "p99", "lists", "entries", "rows"
    );
    screen.line(screen.paint(Tone::Faint, &head))?;
    for (at, point) in points.iter().enumerate() {
        let mark = if chosen == Some(at) { "*" } else { " " };
        let line = format!(
            "{mark} {:<15} {:>7.4} {:>11} {:>9} {:>9} {:>7.0} {:>9} {:>8}",
            effort_text(point.effort),
            point.recall,
            words::count(point.per_second.round() as u64),
            words::time(point.p50),
            words::time(point.p99),
            point.lists,
            words::count(point.entries.round() as u64),
            words::count(point.rows.round() as u64)
        );
        let line = line.trim_end();
        screen.line(if chosen == Some(at) { screen.paint(Tone::Good, line) } else { line.to_owned() })?;
    }
    Ok(())
}

/// A curve for programs.
pub fn json(points: &[Point]) -> Json {
    points
        .iter()
        .map(|point| {
            json!({
                "effort": effort_json(point.effort),
                "recall": point.recall,
                "queries_per_second": point.per_second,
                "p50_microseconds": point.p50.as_secs_f64() * 1e6,
                "p99_microseconds": point.p99.as_secs_f64() * 1e6,
                "lists_probed": point.lists,
                "entries_scanned": point.entries,
                "rows_scored": point.rows,
            })
        })
        .collect()
}

/// An effort for programs.
pub fn effort_json(effort: Effort) -> Json {
    match effort {
        Effort::Recall(part) => json!({ "recall": part }),
        Effort::Probe { nprobe, .. } => json!({ "nprobe": nprobe }),
        _ => json!("exact"),
    }
}
