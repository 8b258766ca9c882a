//! Codewords of product codes, from a sample of the rows.
//!
//! What is coded is what a row differs by from the centroid of its list, so lists come first. A part of the vectors is trained without a look
//! at the others; parts are shared out among threads, and the same rows give the same words however many there are.

use std::sync::Mutex;

use super::filing::{centroids_of, probes};
use super::live_points::FramedPoints;
use crate::error::Result;
use crate::index::ivf::{CentroidSet, Frame};
use crate::kernel::cluster::{Assigner, Places, Points, Work};
use crate::kernel::code::product::ProductTraining;
use crate::options::Codes;
use crate::segment::CodebookFacts;

/// Rows of the sample for each codeword.
const ROWS_PER_WORD: usize = 64;
/// Rows of the sample at least and at most.
const SAMPLE: (usize, usize) = (8 << 10, 32 << 10);
/// Passes of Lloyd's algorithm.
const ROUNDS: usize = 8;

/// What codewords there are with these codes.
pub(crate) fn codebook_of(codes: Codes) -> Option<CodebookFacts> {
    match codes {
        Codes::Product { m, codebook_size } => Some(CodebookFacts { parts: m as usize, size: codebook_size as usize }),
        _ => None,
    }
}

/// Memory for training the codewords of so many rows of `padded` components.
pub(crate) fn codebook_memory(codes: Codes, rows: u64, padded: usize) -> u64 {
    codebook_of(codes).map_or(0, |book| {
        let sample = sample_rows(book, usize::try_from(rows).unwrap_or(usize::MAX)) as u64;
        (sample + 4 * book.size as u64) * padded as u64 * 4 + sample * 64
    })
}

fn sample_rows(book: CodebookFacts, rows: usize) -> usize {
    rows.min((book.size * ROWS_PER_WORD).clamp(SAMPLE.0, SAMPLE.1))
}

/// Trains the words of a book on rows as they are stored, in the frame and by the lists of a model. The words are those of the parts in
/// order.
///
/// # Errors
/// `Cancelled`; what reading rows says.
pub(crate) fn train_codebook(
    work: &Work<'_>,
    points: &dyn Points,
    frame: &Frame,
    centroids: CentroidSet<'_>,
    book: CodebookFacts,
    seed: u64,
) -> Result<Vec<f32>> {
    let padded = frame.padded();
    let wanted = sample_rows(book, points.count());
    let sample = Sample { points, step: (points.count() / wanted.max(1)).max(1), count: wanted };
    let framed = FramedPoints { points: &sample, frame };
    let mut lists = vec![0; wanted];
    let assigner = Assigner::new(work, &centroids_of(&centroids, padded)?, probes(), None)?;
    assigner.assign(work, &framed, 0, Places { lists: &mut lists, seconds: None, distances: None })?;
    let mut residuals = vec![0.0; wanted * padded];
    framed.read(0, &mut residuals)?;
    let mut centroid = Vec::new();
    for (row, list) in residuals.chunks_exact_mut(padded).zip(&lists) {
        centroids.centroid(*list as usize, padded, &mut centroid);
        row.iter_mut().zip(&centroid).for_each(|(x, c)| *x -= c);
    }
    let training = ProductTraining { parts: book.parts, size: book.size, rounds: ROUNDS, seed };
    let parts: Vec<Mutex<Vec<f32>>> = (0..book.parts).map(|_| Mutex::default()).collect();
    work.parallel.run(book.parts, &|part| {
        if work.go_on().is_ok()
            && let Some(slot) = parts.get(part)
            && let Ok(mut slot) = slot.lock()
        {
            *slot = work.kernels.train_product(&training, &residuals, padded, part);
        }
    });
    work.go_on()?;
    Ok(parts.into_iter().flat_map(|part| part.into_inner().unwrap_or_default()).collect())
}

/// Every so-and-so-many-th row.
struct Sample<'a> {
    points: &'a dyn Points,
    step: usize,
    count: usize,
}

impl Points for Sample<'_> {
    fn count(&self) -> usize {
        self.count
    }

    fn dim(&self) -> usize {
        self.points.dim()
    }

    fn read(&self, start: usize, out: &mut [f32]) -> Result<()> {
        let rows = out.chunks_exact_mut(self.dim());
        rows.zip(start..).try_for_each(|(row, i)| self.points.read(i * self.step, row))
    }
}
