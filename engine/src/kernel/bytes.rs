//! Distances of vectors of small integers, and of bits.

/// A sum over the bytes of two vectors; exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteOp {
    /// `sum (a_i - b_i)^2` of signed bytes.
    L2I8,
    /// `sum a_i b_i` of signed bytes.
    DotI8,
    /// `sum (a_i - b_i)^2` of unsigned bytes.
    L2U8,
    /// `sum a_i b_i` of unsigned bytes.
    DotU8,
    /// Number of differing bits.
    Hamming,
}

impl ByteOp {
    /// Every sum, in the order of the tables.
    pub const ALL: [ByteOp; 5] = [ByteOp::L2I8, ByteOp::DotI8, ByteOp::L2U8, ByteOp::DotU8, ByteOp::Hamming];

    /// Its place in a table.
    pub(super) fn index(self) -> usize {
        match self {
            ByteOp::L2I8 => 0,
            ByteOp::DotI8 => 1,
            ByteOp::L2U8 => 2,
            ByteOp::DotU8 => 3,
            ByteOp::Hamming => 4,
        }
    }
}

/// The sum numbered `OP` in plain Rust, over the shorter of the two.
#[inline(always)]
pub(super) fn terms<const OP: usize>(a: &[u8], b: &[u8]) -> i64 {
    let signed = |x: u8| i64::from(x.cast_signed());
    let term = |a: u8, b: u8| match OP {
        0 => (signed(a) - signed(b)).pow(2),
        1 => signed(a) * signed(b),
        2 => (i64::from(a) - i64::from(b)).pow(2),
        3 => i64::from(a) * i64::from(b),
        _ => i64::from((a ^ b).count_ones()),
    };
    a.iter().zip(b).map(|(a, b)| term(*a, *b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{CpuPath, Kernels};
    use proptest::prelude::*;

    fn expected(op: ByteOp, a: &[u8], b: &[u8]) -> i64 {
        match op {
            ByteOp::L2I8 => terms::<0>(a, b),
            ByteOp::DotI8 => terms::<1>(a, b),
            ByteOp::L2U8 => terms::<2>(a, b),
            ByteOp::DotU8 => terms::<3>(a, b),
            ByteOp::Hamming => terms::<4>(a, b),
        }
    }

    fn check(query: &[u8], rows: &[u8], stride: usize, count: usize) {
        let offsets: Vec<usize> = (0..count).rev().map(|i| i * stride).collect();
        for kernels in CpuPath::ALL.into_iter().filter_map(Kernels::for_path) {
            for op in ByteOp::ALL {
                let (mut many, mut gathered) = (vec![-1; count], vec![-1; count]);
                kernels.many_bytes(op, query, rows, stride, &mut many);
                kernels.gather_bytes(op, query, rows, &offsets, &mut gathered);
                gathered.reverse();
                for i in 0..count {
                    let wanted = expected(op, query, &rows[i * stride..]);
                    let one = kernels.one_bytes(op, query, &rows[i * stride..]);
                    let what = format!("{:?} {op:?}, {} bytes", kernels.path(), query.len());
                    assert_eq!((one, many[i], gathered[i]), (wanted, wanted, wanted), "{what}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn every_path_is_exact_at_any_length_and_alignment(
            query in prop::collection::vec(any::<u8>(), 0..300),
            pool in prop::collection::vec(any::<u8>(), 2000),
            gap in 0usize..9,
            shift in 0usize..65,
            count in 0usize..5,
        ) {
            check(&query, &pool[shift..], query.len() + gap, count);
        }
    }

    #[test]
    fn the_longest_and_most_different_vectors_do_not_overflow() {
        for (a, b) in [(0, 255), (255, 255), (128, 127), (128, 128)] {
            check(&vec![a; 65_536], &vec![b; 65_536], 65_536, 1);
        }
    }

    #[test]
    #[should_panic(expected = "rows reach past the slice")]
    fn rows_past_the_end_are_refused() {
        Kernels::scalar().many_bytes(ByteOp::Hamming, &[0; 8], &[0; 15], 8, &mut [0; 2]);
    }
}
