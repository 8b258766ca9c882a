//! Where the arithmetic happens: rows moved by an offset and scaled by a power of two.
//!
//! Without the offset, rows that lie close together far from zero would lose their differences in the products of scores;
//! without the scale, squares of huge or tiny rows would leave the range of f32. The scale is exact.

use crate::kernel::lanes::LANES;

/// `frame(x) = (x - offset) * scale`, padded with zeros to whole lanes.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    offset: Vec<f32>,
    scale: f32,
}

impl Frame {
    /// The frame around `offset` for rows that lie within `reach` of it in every component.
    pub(super) fn new(offset: Vec<f32>, reach: f64) -> Self {
        Frame { offset, scale: scale_for(reach) }
    }

    /// Components of a row outside.
    pub(super) fn dim(&self) -> usize {
        self.offset.len()
    }

    /// Takes a row in: `out` is as long as the frame is wide. The difference is rounded once, and cannot overflow.
    pub(super) fn enter(&self, row: &[f32], out: &mut [f32]) {
        let (out, padding) = out.split_at_mut(self.dim());
        let scale = f64::from(self.scale);
        for ((out, x), offset) in out.iter_mut().zip(row).zip(&self.offset) {
            *out = ((f64::from(*x) - f64::from(*offset)) * scale) as f32;
        }
        padding.fill(0.0);
    }

    /// The same for a row that is padded and in place.
    pub(super) fn enter_in_place(&self, row: &mut [f32]) {
        let scale = f64::from(self.scale);
        for (x, offset) in row.iter_mut().zip(&self.offset) {
            *x = ((f64::from(*x) - f64::from(*offset)) * scale) as f32;
        }
    }

    /// Appends the row outside that `row` inside stands for.
    pub(super) fn leave(&self, row: &[f32], out: &mut Vec<f32>) {
        let scale = f64::from(self.scale);
        out.extend(row.iter().zip(&self.offset).map(|(x, offset)| (f64::from(*x) / scale + f64::from(*offset)) as f32));
    }

    /// A squared distance inside as one outside.
    pub(super) fn distance(&self, inside: f64) -> f64 {
        inside / (f64::from(self.scale) * f64::from(self.scale))
    }
}

/// Components of a padded row.
pub(super) fn width(dim: usize) -> usize {
    dim.next_multiple_of(LANES)
}

/// The power of two that brings `reach` into 1..2.
fn scale_for(reach: f64) -> f32 {
    if !reach.is_finite() || reach <= 0.0 {
        return 1.0;
    }
    let exponent = (reach.to_bits() >> 52 & 0x7FF) as i64 - 1023;
    f32::from_bits(((127 - exponent).clamp(1, 254) as u32) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_any_size_come_into_reach_and_back_unchanged() {
        for size in [1e-38_f32, 3e-20, 1.0, 7.5, 4e20, 3e38] {
            let frame = Frame::new(vec![0.0; 3], f64::from(size));
            let row = [size, -size / 2.0, 0.0];
            let mut inside = vec![9.0; width(3)];
            frame.enter(&row, &mut inside);
            assert!(inside.iter().all(|x| x.abs() < 4.0) && inside[0].abs() >= 0.5, "{size}: {inside:?}");
            assert_eq!(inside[3..], [0.0; 13]);
            let mut back = Vec::new();
            frame.leave(&inside, &mut back);
            assert_eq!(back, row);
        }
        assert_eq!(scale_for(0.0), 1.0);
    }
}
