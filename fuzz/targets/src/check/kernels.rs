//! Distance kernels: every path of this machine gives the scalar path's sums, for any bytes, lengths and alignments.

use stratavec::kernel::{CpuPath, Element, Kernels, Op, decode_row};

use crate::input::Input;

/// One query against some rows, of any element, on every path.
pub fn kernels(data: &[u8]) {
    let mut input = Input::new(data);
    let element = Element::ALL[input.below(Element::ALL.len())];
    let op = [Op::L2, Op::Dot][input.below(2)];
    let (dim, count) = (input.below(300), input.below(9));
    let (gap, shift) = (input.below(20), input.below(64));
    let tame = input.u8() & 1 == 0;
    let component = |input: &mut Input<'_>| if tame { input.small_float() } else { input.f32() };
    let query: Vec<f32> = (0..dim).map(|_| component(&mut input)).collect();
    let width = element.vector_bytes(dim);
    let stride = width + gap;
    let mut rows = vec![0u8; shift + stride * count + width];
    let bytes = input.rest();
    if !bytes.is_empty() {
        rows.iter_mut().zip(bytes.iter().cycle()).for_each(|(to, from)| *to = *from);
    }
    let rows = &rows[shift..];
    let offsets: Vec<usize> = (0..count).rev().map(|i| i * stride).collect();
    let scalar = Kernels::scalar();
    for path in CpuPath::ALL.into_iter().filter_map(Kernels::for_path) {
        let mut many = vec![0.0; count];
        path.many(op, element, &query, rows, stride, &mut many);
        let mut gathered = vec![0.0; count];
        path.gather(op, element, &query, rows, &offsets, &mut gathered);
        for i in 0..count {
            let row = &rows[i * stride..];
            let one = path.one(op, element, &query, row);
            assert!(
                same(one, many[i]) && same(one, gathered[count - 1 - i]),
                "{:?}: alone and among others",
                path.path()
            );
            let wanted = scalar.one(op, element, &query, row);
            check(op, element, &query, row, one, wanted, path.path());
        }
        if count > 0 {
            let (a, b) = (path.norm_squared(element, &rows[..width]), scalar.norm_squared(element, &rows[..width]));
            assert!(a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()), "stored lengths differ between paths");
        }
    }
}

fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

/// Both sums lie within what rounding allows around the exact one. Where a term or a sum of magnitudes leaves the range of f32, the
/// order decides what comes out; then nothing is asked.
fn check(op: Op, element: Element, query: &[f32], row: &[u8], got: f32, scalar: f32, path: CpuPath) {
    let mut stored = vec![0.0; query.len()];
    decode_row(element, row, &mut stored);
    let (mut exact, mut size, mut inputs) = (0.0f64, 0.0f64, 0.0f64);
    for (q, v) in query.iter().zip(&stored) {
        let (q, v) = (f64::from(*q), f64::from(*v));
        let term = if op == Op::L2 { (q - v) * (q - v) } else { q * v };
        exact += term;
        size += term.abs();
        inputs += q * q + v * v;
    }
    if !(size.is_finite() && inputs.is_finite()) || size > 1e38 || inputs > 1e38 {
        return;
    }
    let tolerance = size * 4e-6 + inputs * 1e-6 + 1e-37;
    for (sum, who) in [(got, path), (scalar, CpuPath::Scalar)] {
        assert!((f64::from(sum) - exact).abs() <= tolerance, "{who:?} {op:?} {element:?}: {sum} for {exact}");
    }
}
