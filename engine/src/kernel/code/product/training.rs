//! Lloyd's algorithm for the codewords of one part.

use crate::kernel::lanes::Lanes;
use crate::kernel::rotation::SplitMix64;

use super::nearest;

/// How books are trained.
#[derive(Clone, Copy, Debug)]
pub struct ProductTraining {
    /// Numbers in a code; divides the dimension.
    pub parts: usize,
    /// Codewords per part, a power of two in `16..=1024`.
    pub size: usize,
    /// Passes of Lloyd's algorithm.
    pub rounds: usize,
    /// Where the first codewords are drawn.
    pub seed: u64,
}

/// Trains the book of one part (`width * size` numbers) on residuals of `dim` components laid end to end. Parts are independent,
/// so that they may be trained side by side; the numbers are the same on every path.
#[inline(always)]
pub(in crate::kernel) fn train_part<L: Lanes>(
    lanes: L,
    training: &ProductTraining,
    sample: &[f32],
    dim: usize,
    part: usize,
) -> Vec<f32> {
    let width = dim / training.parts;
    let points: Vec<&[f32]> = sample.chunks_exact(dim).map(|x| &x[part * width..][..width]).collect();
    let mut words = vec![0.0; width * training.size];
    if points.is_empty() {
        return words;
    }
    let mut draw = SplitMix64::new(training.seed ^ (part as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    for word in 0..training.size {
        let at = draw.next_u64() % points.len() as u64;
        put_word(&mut words, training.size, word, points[at as usize].iter().copied());
    }
    for _ in 0..training.rounds {
        pass(lanes, &points, &mut words, training.size);
    }
    words
}

fn put_word(words: &mut [f32], size: usize, word: usize, values: impl Iterator<Item = f32>) {
    words.chunks_exact_mut(size).zip(values).for_each(|(row, value)| row[word] = value);
}

/// One pass: every codeword becomes the mean of the points nearest to it; one with none becomes the point that is coded worst.
#[inline(always)]
fn pass<L: Lanes>(lanes: L, points: &[&[f32]], words: &mut [f32], size: usize) {
    let width = words.len() / size;
    let mut sums = vec![0.0_f64; words.len()];
    let mut counts = vec![0_u32; size];
    let mut worst: Vec<(f32, usize)> = Vec::with_capacity(points.len());
    for (i, x) in points.iter().enumerate() {
        let (word, distance) = nearest(lanes, words, size, x);
        counts[word] += 1;
        worst.push((distance, i));
        for (sum, x) in sums[word * width..][..width].iter_mut().zip(*x) {
            *sum += f64::from(*x);
        }
    }
    worst.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut worst = worst.into_iter();
    for word in 0..size {
        if counts[word] > 0 {
            let count = f64::from(counts[word]);
            put_word(words, size, word, sums[word * width..][..width].iter().map(|sum| (sum / count) as f32));
        } else if let Some((_, at)) = worst.next().filter(|(distance, _)| *distance > 0.0) {
            put_word(words, size, word, points[at].iter().copied());
        }
    }
}
