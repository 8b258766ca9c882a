//! The suites' only source of chance: the splitmix64 sequence of a seed.

/// A sequence of numbers that its seed decides.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
    vectors: u64,
}

impl Random {
    /// The sequence of `seed`.
    pub fn new(seed: u64) -> Random {
        Random { state: seed, vectors: seed % 120 }
    }

    /// The next number.
    #[expect(clippy::should_implement_trait, reason = "a generator never ends, an iterator may")]
    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is at least 1.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// True once in `odds` times.
    pub fn one_in(&mut self, odds: u64) -> bool {
        self.below(odds) == 0
    }

    /// A vector of small whole numbers, of which the first is never zero. Every row format holds it exactly, and sums of
    /// its products are exact in f32, so oracle and engine have to agree on ties too. Of sixty in a row none is negative, then some of sixty
    /// are: so there are files of bytes, files of halves, and merges of both.
    pub fn vector(&mut self, dim: usize) -> Vec<f32> {
        let least = if (self.vectors / 60).is_multiple_of(2) { 0.0 } else { -8.0 };
        self.vectors += 1;
        let mut vector: Vec<f32> = (0..dim).map(|_| self.below(17) as f32 + least).collect();
        if let Some(first) = vector.first_mut().filter(|first| **first == 0.0) {
            *first = 1.0;
        }
        vector
    }
}
