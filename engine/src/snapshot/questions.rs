//! Stored rows that ask for the rows nearest to them, and the true answers: what recall is measured with.

use std::ops::{Range, RangeInclusive};

use super::read_ahead::ReadAhead;
use super::scan::{CHUNK, Scan};
use super::search::new_scan;
use super::terms::Terms;
use super::{Snapshot, Source};
use crate::error::Result;
use crate::index::flat::FlatQuery;
use crate::index::stored::Run;
use crate::kernel::SplitMix64;
use crate::options::Schema;

/// Rows that are compared with questions, all in all, unless that leaves too few questions.
const COMPARISONS: u64 = 100_000_000;
/// Words of rows between two looks at whether to go on.
const WORDS_PER_LOOK: usize = 64;
/// Bytes of rows that fit the first cache beside a question.
const CACHED_BYTES: usize = 32 << 10;

/// A stored row that serves as a query, and the rows nearest to it with their distances. Equally distant rows are as good as each other.
pub(super) struct Question {
    pub(super) row: u64,
    pub(super) vector: Vec<f32>,
    pub(super) truth: Vec<f32>,
    pub(super) nearest: Vec<u64>,
}

/// Live ones of the `rows` rows in lists, one of each so many that follow each other, about as many as can be compared with all rows in a few
/// seconds. Which one of them is drawn: rows often come in turns, and every seventh might be of one kind.
///
/// # Errors
/// `Corrupt`.
pub(super) fn sample(snapshot: &Snapshot, rows: u64, most: RangeInclusive<u64>) -> Result<Vec<Question>> {
    let schema = snapshot.schema();
    let queries = (COMPARISONS / rows.max(1)).clamp(*most.start(), *most.end());
    let step = (rows / queries).max(1);
    let mut places = (0..).map(|n: u64| n * step + SplitMix64::new(n).next_u64() % step).peekable();
    let (mut questions, mut end) = (Vec::new(), 0);
    for live in snapshot.view().version.rows.iter().filter(|rows| rows.in_lists() && rows.file.has_vectors()) {
        let start = end;
        end += live.file.len() as u64;
        while let Some(place) = places.next_if(|place| *place < end) {
            let at = (place - start) as usize;
            if live.live_word(at / 64) >> (at % 64) & 1 == 1 {
                let mut vector = vec![0.0; schema.dim()];
                live.file.records(at..at + 1)?.vector(0).decode(&mut vector);
                questions.push(Question {
                    row: live.file.row_number(at)?,
                    vector,
                    truth: Vec::new(),
                    nearest: Vec::new(),
                });
            }
        }
    }
    Ok(questions)
}

/// The distances of some rows, at most [`CHUNK`], from all questions: `CHUNK` places for each. Rows are taken so few at a time that they stay in the
/// first cache until every question was compared with them.
fn score_all(
    questions: &[FlatQuery],
    source: &Source<'_>,
    schema: &Schema,
    rows: Range<usize>,
    distances: &mut [f32],
) -> Result<()> {
    let (count, stride) = (rows.len(), source.stride().max(1));
    let vectors = source.vectors(rows, schema)?;
    let step = (CACHED_BYTES / stride / 4 * 4).clamp(4, CHUNK);
    for from in (0..count).step_by(step) {
        let to = count.min(from + step);
        let run = vectors.run();
        let run = Run { bytes: run.bytes.get(from * stride..).unwrap_or_default(), ..run };
        for (question, distances) in questions.iter().zip(distances.chunks_exact_mut(CHUNK)) {
            let distances = distances.get_mut(from..to).unwrap_or_default();
            question.score_block(run, |i| vectors.norm(from + i), distances);
        }
    }
    Ok(())
}

/// Finds the `k` live rows of some sources that are nearest to each question, without itself, in one pass over the sources.
/// `go_on` is asked now and then.
///
/// # Errors
/// `Corrupt`; what `go_on` says.
pub(super) fn answer<'s>(
    snapshot: &'s Snapshot,
    sources: impl Iterator<Item = Source<'s>>,
    questions: &mut [Question],
    k: usize,
    go_on: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    let terms = Terms { k: k + 1, ..Terms::default() };
    let ready = |question: &Question| FlatQuery::new(&question.vector, snapshot.schema());
    let ready: Vec<FlatQuery> = questions.iter().map(ready).collect::<Result<_>>()?;
    let mut scans: Vec<Scan<'_, '_>> = ready.iter().map(|query| new_scan(snapshot, &terms, k + 1, query)).collect();
    let mut distances = vec![0.0; ready.len() * CHUNK];
    for source in sources {
        let mut ahead = ReadAhead::new(&source);
        for word in 0..source.len().div_ceil(CHUNK) {
            if word % WORDS_PER_LOOK == 0 {
                go_on()?;
            }
            let Some(first) = scans.first_mut() else { return Ok(()) };
            let live = source.live_word(word, &mut first.killed)?;
            if live != 0 {
                ahead.before(&source, word * CHUNK);
                let start = word * CHUNK;
                let rows = (source.len() - start).min(CHUNK);
                score_all(&ready, &source, snapshot.schema(), start..start + rows, &mut distances)?;
                for (scan, distances) in scans.iter_mut().zip(distances.chunks_exact(CHUNK)) {
                    scan.take_scored(source, start, live, distances.get(..rows).unwrap_or_default())?;
                }
            }
        }
    }
    for (question, scan) in questions.iter_mut().zip(scans) {
        question.truth.clear();
        question.nearest.clear();
        for (distance, spot) in scan.best.into_sorted(|_, _| std::cmp::Ordering::Equal) {
            let row = spot.source.row_number(spot.at)?;
            if row != question.row && question.truth.len() < k {
                question.truth.push(distance);
                question.nearest.push(row);
            }
        }
    }
    Ok(())
}
