//! What is computed between a query and stored rows; the functions are methods of [`Kernels`](super::Kernels).

/// A sum over the components of a query `q` and a row `v`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// `sum (q_i - v_i)^2`.
    L2,
    /// `sum q_i v_i`.
    Dot,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{CpuPath, Kernels, encode_row};
    use crate::metric::Element;
    use proptest::prelude::*;

    const FLOATS: [Element; 3] = [Element::F32, Element::F16, Element::Bf16];
    const OPS: [Op; 2] = [Op::L2, Op::Dot];

    fn every_path() -> impl Iterator<Item = &'static Kernels> {
        CpuPath::ALL.into_iter().filter_map(Kernels::for_path)
    }

    /// The sum in f64, and the sum of the magnitudes of its terms, which rounding errors are relative to.
    fn exact(op: Op, query: &[f32], row: &[f32]) -> (f64, f64) {
        let terms = query.iter().zip(row).map(|(q, v)| match op {
            Op::L2 => (f64::from(*q) - f64::from(*v)).powi(2),
            Op::Dot => f64::from(*q) * f64::from(*v),
        });
        terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()))
    }

    fn check(op: Op, query: &[f32], stored: &[f32], got: f32, what: &str) {
        let (expected, size) = exact(op, query, stored);
        // Differences of nearly equal components lose relative accuracy before they are squared.
        let inputs: f64 = query.iter().chain(stored).map(|x| f64::from(*x).powi(2)).sum();
        let tolerance = size * 4e-6 + inputs * 1e-7 + 1e-37;
        assert!((f64::from(got) - expected).abs() <= tolerance, "{what}: {got} instead of {expected}");
    }

    /// Rows in `element` with `gap` bytes between them, starting at byte `shift` of the buffer; and what they hold.
    fn lay_out(element: Element, rows: &[Vec<f32>], gap: usize, shift: usize) -> (Vec<u8>, Vec<Vec<f32>>) {
        let mut bytes = vec![0xAA; shift];
        let mut stored = Vec::new();
        for row in rows {
            let start = bytes.len();
            encode_row(element, row, &mut bytes);
            let mut back = vec![0.0; row.len()];
            crate::kernel::decode_row(element, &bytes[start..], &mut back);
            stored.push(back);
            bytes.extend(std::iter::repeat_n(0xFF, gap));
        }
        (bytes, stored)
    }

    /// And no distance depends on how the components are stored.
    fn check_all(query: &[f32], rows: &[Vec<f32>], gap: usize, shift: usize) {
        for element in Element::ALL {
            let stride = element.vector_bytes(query.len()) + gap;
            let (bytes, stored) = lay_out(element, rows, gap, shift);
            let offsets: Vec<usize> = (0..rows.len()).rev().map(|i| shift + i * stride).collect();
            for (kernels, op) in every_path().flat_map(|k| OPS.map(|op| (k, op))) {
                let what = format!("{:?} {op:?} {element:?} dim {}", kernels.path(), query.len());
                let mut many = vec![f32::NAN; rows.len()];
                kernels.many(op, element, query, &bytes[shift..], stride, &mut many);
                let mut block = vec![f32::NAN; rows.len()];
                kernels.block(op, element, query, &bytes[shift..], stride, &mut block);
                let mut gathered = vec![f32::NAN; rows.len()];
                kernels.gather(op, element, query, &bytes, &offsets, &mut gathered);
                gathered.reverse();
                for (i, row) in stored.iter().enumerate() {
                    let one = kernels.one(op, element, query, &bytes[shift + i * stride..]);
                    check(op, query, row, one, &what);
                    let wide = kernels.one(op, Element::F32, query, bytemuck::cast_slice(row));
                    assert_eq!(one.to_bits(), wide.to_bits(), "{what}: stored longer");
                    assert_eq!(one.to_bits(), many[i].to_bits(), "{what}: a row alone and among others");
                    assert_eq!(one.to_bits(), block[i].to_bits(), "{what}: a row alone and in a block");
                    assert_eq!(one.to_bits(), gathered[i].to_bits(), "{what}: a row alone and gathered");
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn every_path_agrees_with_the_sum_for_any_dimension_alignment_and_row_count(
            (query, rows) in (0usize..200, 0usize..11).prop_flat_map(|(dim, count)| (
                prop::collection::vec(-9.0f32..9.0, dim),
                prop::collection::vec(prop::collection::vec(-9.0f32..9.0, dim), count),
            )),
            gap in 0usize..20,
            shift in 0usize..70,
        ) {
            check_all(&query, &rows, gap, shift);
        }
    }

    #[test]
    fn degenerate_vectors_give_the_same_sums_on_every_path() {
        for dim in [1, 15, 16, 17, 63, 64, 65, 4096] {
            let constant = vec![3.25; dim];
            let denormal = vec![1.0e-40; dim];
            let huge = vec![5.0e3; dim];
            let zero = vec![0.0; dim];
            let rows = [constant.clone(), denormal, huge, zero, constant.clone(), constant.clone()];
            check_all(&constant, &rows, 16, 8);
        }
    }

    #[test]
    fn a_row_equal_to_the_query_is_at_distance_zero() {
        let query: Vec<f32> = (0..77).map(|i| (i * i) as f32 * 0.125 - 9.0).collect();
        let mut row = Vec::new();
        encode_row(Element::F32, &query, &mut row);
        for kernels in every_path() {
            assert_eq!(kernels.one(Op::L2, Element::F32, &query, &row), 0.0);
        }
    }

    #[test]
    fn infinities_and_not_a_number_come_through() {
        let values = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
        for (value, element) in values.into_iter().flat_map(|v| FLOATS.map(|f| (v, f))) {
            let mut row = Vec::new();
            encode_row(element, &[1.0, value, 1.0], &mut row);
            for kernels in every_path() {
                let dot = kernels.one(Op::Dot, element, &[1.0, 1.0, 1.0], &row);
                assert!(dot == value || (dot.is_nan() && value.is_nan()), "{:?} {element:?}", kernels.path());
            }
        }
    }

    #[test]
    #[should_panic(expected = "rows reach past the slice")]
    fn rows_past_the_end_of_the_slice_are_refused() {
        let bytes = [0; 31];
        Kernels::scalar().many(Op::L2, Element::F32, &[0.0; 4], &bytes, 16, &mut [0.0; 2]);
    }

    #[test]
    #[should_panic(expected = "row reaches past the slice")]
    fn an_offset_near_the_end_of_the_address_space_is_refused() {
        Kernels::scalar().gather(Op::L2, Element::F32, &[0.0; 4], &[0; 64], &[usize::MAX - 3], &mut [0.0]);
    }
}
