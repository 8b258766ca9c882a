//! The random rotation every vector passes before it is coded: fast Hadamard transforms and sign flips.
//!
//! A rotation spreads each vector evenly over its components, which is what makes one bit per component a code with a known
//! error. Following the FHT-Kac rotator of the RaBitQ library (Gao et al., <https://arxiv.org/abs/2409.09913>): four rounds of
//! random signs and a Hadamard transform over the first or last `T` components, and, when `T < P`, butterflies between the two
//! halves. `4 P` random bits replace a `P x P` matrix. Departures: `P` is a multiple of 64; the bits come from SplitMix64 as
//! laid down in `format-spec/rotation.md`, because they are part of what a file means; and the butterfly follows every second
//! round only. After every round, as published, it moves what one transform missed to where the next one misses it too: a
//! single component of 1,536 came out with a kurtosis of up to 21 (3 is Gaussian), against 4.0 this way.

use super::Kernels;
use super::lanes::{LANES, Lanes};

/// Vectors are padded with zeros to a multiple of this many components before they are rotated and coded.
pub const PADDING: usize = 64;

/// Rounds of flips and transform.
const ROUNDS: usize = 4;

/// `dim` rounded up to a multiple of [`PADDING`].
pub fn padded_dim(dim: usize) -> usize {
    dim.next_multiple_of(PADDING)
}

/// The generator of the format: Steele, Lea and Flood's SplitMix64.
#[derive(Clone, Debug)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// The generator whose state is `seed`.
    pub fn new(seed: u64) -> Self {
        SplitMix64(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// An orthogonal map of vectors of `padded_dim` components, fixed by its seed.
pub struct Rotation {
    padded: usize,
    /// Largest power of two that is at most `padded`: the length of the Hadamard transforms.
    transform: usize,
    /// What each component is multiplied by at the start of each round: a sign, times `1 / sqrt(transform)` where the transform
    /// reaches. Round after round, `padded` factors each.
    factors: Vec<f32>,
}

impl Rotation {
    /// The rotation of vectors of `dim` components (`dim > 0`) with the bits of `seed`.
    pub fn new(dim: usize, seed: u64) -> Self {
        let padded = padded_dim(dim.max(1));
        let transform = 1 << padded.ilog2();
        let scale = (1.0 / (transform as f64).sqrt()) as f32;
        let mut generator = SplitMix64::new(seed);
        let mut factors = Vec::with_capacity(ROUNDS * padded);
        for round in 0..ROUNDS {
            let start = start_of(round, padded, transform);
            for word in 0..padded / 64 {
                let bits = generator.next_u64();
                factors.extend((0..64).map(|bit| {
                    let inside = (start..start + transform).contains(&(word * 64 + bit));
                    let size = if inside { scale } else { 1.0 };
                    if bits >> bit & 1 == 1 { -size } else { size }
                }));
            }
        }
        Rotation { padded, transform, factors }
    }

    /// Components after padding; what [`Rotation::apply`] takes.
    pub fn padded_dim(&self) -> usize {
        self.padded
    }

    /// Rotates `vector` in place. The same bits on every path.
    ///
    /// # Panics
    /// If its length is not [`padded_dim`](Rotation::padded_dim).
    pub fn apply(&self, kernels: &Kernels, vector: &mut [f32]) {
        assert_eq!(vector.len(), self.padded, "a vector to rotate is padded to the rotation's length");
        kernels.rotate(self, vector);
    }
}

/// First component of the transform of a round: the front and the back in turn.
fn start_of(round: usize, padded: usize, transform: usize) -> usize {
    if round.is_multiple_of(2) { 0 } else { padded - transform }
}

/// The rotation with the instructions of `lanes`.
#[inline(always)]
pub(super) fn rotate<L: Lanes>(lanes: L, rotation: &Rotation, vector: &mut [f32]) {
    let Rotation { padded, transform, factors } = rotation;
    for (round, factors) in factors.chunks_exact(*padded).enumerate() {
        for (x, factor) in vector.as_chunks_mut::<LANES>().0.iter_mut().zip(factors.as_chunks::<LANES>().0) {
            lanes.store(lanes.mul(lanes.load(x), lanes.load(factor)), x);
        }
        let start = start_of(round, *padded, *transform);
        hadamard(lanes, vector[start..start + transform].as_chunks_mut::<LANES>().0);
        if transform < padded && round % 2 == 1 {
            butterfly(lanes, vector);
        }
    }
}

/// The unscaled Hadamard transform: for h = 1, 2, 4 .. the pair (j, j + h) becomes its sum and its difference. Distances inside
/// a vector first, then two at a time, each load and store serving both.
#[inline(always)]
fn hadamard<L: Lanes>(lanes: L, vectors: &mut [[f32; LANES]]) {
    for x in vectors.iter_mut() {
        lanes.store(lanes.hadamard(lanes.load(x)), x);
    }
    let mut h = 1;
    while 4 * h <= vectors.len() {
        for four in vectors.chunks_exact_mut(4 * h) {
            let (front, back) = four.split_at_mut(2 * h);
            let ((a, b), (c, d)) = (front.split_at_mut(h), back.split_at_mut(h));
            for ((a, b), (c, d)) in a.iter_mut().zip(b).zip(c.iter_mut().zip(d)) {
                let (x, y) = (lanes.load(a), lanes.load(b));
                let (z, w) = (lanes.load(c), lanes.load(d));
                let ((x, y), (z, w)) = ((lanes.add(x, y), lanes.sub(x, y)), (lanes.add(z, w), lanes.sub(z, w)));
                lanes.store(lanes.add(x, z), a);
                lanes.store(lanes.add(y, w), b);
                lanes.store(lanes.sub(x, z), c);
                lanes.store(lanes.sub(y, w), d);
            }
        }
        h *= 4;
    }
    if 2 * h <= vectors.len() {
        let (front, back) = vectors.split_at_mut(h);
        for (a, b) in front.iter_mut().zip(back) {
            let (x, y) = (lanes.load(a), lanes.load(b));
            lanes.store(lanes.add(x, y), a);
            lanes.store(lanes.sub(x, y), b);
        }
    }
}

/// Sums and differences of the two halves, scaled by `1 / sqrt(2)`.
#[inline(always)]
fn butterfly<L: Lanes>(lanes: L, vector: &mut [f32]) {
    let half = lanes.splat(std::f32::consts::FRAC_1_SQRT_2);
    let (front, back) = vector.split_at_mut(vector.len() / 2);
    for (a, b) in front.as_chunks_mut::<LANES>().0.iter_mut().zip(back.as_chunks_mut::<LANES>().0) {
        let (x, y) = (lanes.load(a), lanes.load(b));
        lanes.store(lanes.mul(lanes.add(x, y), half), a);
        lanes.store(lanes.mul(lanes.sub(x, y), half), b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::CpuPath;

    fn some_vector(dim: usize, seed: u64) -> Vec<f32> {
        let mut generator = SplitMix64::new(seed);
        (0..dim).map(|_| (generator.next_u64() >> 40) as f32 / 8_388_608.0 - 1.0).collect()
    }

    #[test]
    fn the_generator_is_splitmix64() {
        // The published test vector for seed 1234567.
        let mut generator = SplitMix64::new(1_234_567);
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(expected, std::array::from_fn(|_| generator.next_u64()));
    }

    #[test]
    fn lengths_and_angles_are_kept() {
        for dim in [1, 64, 100, 128, 192, 384, 768, 784, 1536, 4096] {
            let rotation = Rotation::new(dim, 7);
            let padded = rotation.padded_dim();
            let (mut a, mut b) = (some_vector(padded, 1), some_vector(padded, 2));
            let dot =
                |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
            let before = [dot(&a, &a), dot(&b, &b), dot(&a, &b)];
            rotation.apply(Kernels::scalar(), &mut a);
            rotation.apply(Kernels::scalar(), &mut b);
            for (x, y) in before.into_iter().zip([dot(&a, &a), dot(&b, &b), dot(&a, &b)]) {
                assert!((x - y).abs() < 1e-5 * before[0], "{dim}: {x} became {y}");
            }
        }
    }

    #[test]
    fn one_component_is_spread_over_all_as_if_at_random() {
        for dim in [128, 192, 384, 768, 832, 1536, 1984] {
            let rotation = Rotation::new(dim, 99);
            for at in (0..dim).step_by(dim / 32) {
                let mut vector = vec![0.0; dim];
                vector[at] = 1.0;
                rotation.apply(Kernels::scalar(), &mut vector);
                let kurtosis = vector.iter().map(|x| f64::from(*x).powi(4)).sum::<f64>() * dim as f64;
                assert!((2.0..5.5).contains(&kurtosis), "{at} of {dim}: kurtosis {kurtosis}, 3 if Gaussian");
            }
        }
    }

    #[test]
    fn every_path_gives_the_same_bits() {
        for dim in [1, 64, 128, 192, 384, 448, 512, 768, 832, 1024, 4096] {
            let rotation = Rotation::new(dim, 3);
            let vector = some_vector(rotation.padded_dim(), 5);
            let mut expected = vector.clone();
            rotation.apply(Kernels::scalar(), &mut expected);
            for kernels in CpuPath::ALL.into_iter().filter_map(Kernels::for_path) {
                let mut got = vector.clone();
                rotation.apply(kernels, &mut got);
                assert!(
                    expected.iter().zip(&got).all(|(a, b)| a.to_bits() == b.to_bits()),
                    "{:?} at {dim}",
                    kernels.path()
                );
            }
        }
    }
}
