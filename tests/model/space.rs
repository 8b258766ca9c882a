//! What ids and vectors a case uses, and the oracle's own definition of their distances.

use half::{bf16, f16};
use proptest::prelude::*;
use stratavec::{Codes, Id, IdKind, IndexKind, IvfOptions, Metric, RowFormat, Schema};

/// Components that a case draws; a smaller dimension uses the first ones.
pub const MOST_COMPONENTS: usize = 19;

/// The schema of a case and how its small numbers become vectors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Space {
    pub metric: Metric,
    pub rows: RowFormat,
    pub ids: IdKind,
    pub dim: usize,
    /// Whole numbers: every row format of floats holds them and sums of their products are exact in f32, so that distances, and
    /// with them ties, have to agree to the last bit. Otherwise components that are rounded when they are stored.
    pub whole: bool,
    /// Lists wanted; 0: the collection is flat.
    pub lists: u32,
    /// How lists code rows.
    pub codes: Codes,
}

/// Spaces of one schema.
pub fn spaces(metric: Metric, rows: RowFormat, ids: IdKind) -> impl Strategy<Value = Space> {
    let dims = prop_oneof![3 => 1..=4usize, 1 => Just(8), 1 => Just(16), 1 => Just(MOST_COMPONENTS)];
    let fewest = if rows.keeps_vectors() { 0u32 } else { 1 };
    let lists = fewest..4u32;
    let product = |codebook_size| Just(Codes::Product { m: 8, codebook_size });
    // Without vectors there must be codes.
    let none = if rows.keeps_vectors() { Codes::None } else { Codes::Auto };
    let codes = prop_oneof![3 => Just(Codes::Auto), 1 => Just(none), 1 => product(16), 1 => product(32)];
    (dims, any::<bool>(), lists, codes).prop_map(move |(dim, whole, lists, codes)| Space {
        metric,
        rows,
        ids,
        dim,
        whole,
        lists,
        codes,
    })
}

/// Spaces of any schema.
pub fn any_space() -> impl Strategy<Value = Space> {
    let metrics = prop_oneof![Just(Metric::L2), Just(Metric::Cosine), Just(Metric::InnerProduct)];
    let rows = prop_oneof![Just(RowFormat::F32), Just(RowFormat::F16), Just(RowFormat::Bf16), Just(RowFormat::I8)];
    let ids = prop_oneof![Just(IdKind::U64), Just(IdKind::Bytes)];
    (metrics, rows, ids).prop_flat_map(|(metric, rows, ids)| spaces(metric, rows, ids))
}

impl Space {
    pub fn schema(&self) -> Schema {
        let index = match self.lists {
            0 => IndexKind::Flat,
            lists => IndexKind::Ivf(IvfOptions::auto().nlist(lists).codes(self.codes)),
        };
        Schema::new(self.dim, self.metric).ids(self.ids).rows(self.rows).index(index)
    }

    /// The id with this number: first and last numbers, short and long strings, equal beginnings, bytes that are no text.
    pub fn id(&self, number: u8) -> Id {
        let n = u64::from(number);
        match (self.ids, number % 4) {
            (IdKind::U64, 0) => Id::U64(n),
            (IdKind::U64, 1) => Id::U64(u64::MAX - 1 - n),
            (IdKind::U64, _) => Id::U64(n << 32 | 7),
            (_, 0) => Id::from(vec![number]),
            (_, 1) => Id::from(format!("a rather ordinary id, {number}")),
            (_, 2) => Id::from([vec![b'x'; 511], vec![number]].concat()),
            (_, _) => Id::from(vec![0xff, number, 0]),
        }
    }

    /// The vector as it is given to the engine.
    pub fn vector(&self, small: &[i8]) -> Vec<f32> {
        let component = |x: &i8| if self.whole { f32::from(*x) } else { f32::from(*x) * 0.137 };
        small.iter().map(component).take(self.dim).collect()
    }

    /// The vector as it must come back; what the model knows of it where nothing does.
    pub fn stored(&self, given: &[f32]) -> Vec<f32> {
        let largest = given.iter().fold(0.0_f32, |largest, x| largest.max(x.abs()));
        let step = f32::from_bits((largest / 127.0).to_bits().div_ceil(128) * 128);
        let round = |x: &f32| match self.rows {
            RowFormat::F16 => f16::from_f32(*x).to_f32(),
            RowFormat::Bf16 => bf16::from_f32(*x).to_f32(),
            RowFormat::I8 if largest > 0.0 => {
                let byte = (x / step).round_ties_even();
                // There is no negative zero among bytes.
                if byte == 0.0 { 0.0 } else { byte * step }
            }
            RowFormat::I8 => 0.0,
            _ => *x,
        };
        given.iter().map(round).collect()
    }

    /// Whether the engine has to refuse this vector.
    pub fn refuses(&self, vector: &[f32]) -> bool {
        self.metric == Metric::Cosine && vector.iter().all(|x| *x == 0.0)
    }

    /// The distance in f64, and how far an f32 sum in any order may be from it.
    pub fn distance(&self, query: &[f32], stored: &[f32]) -> (f64, f64) {
        let sum = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
            query.iter().zip(stored).map(|(q, v)| f(f64::from(*q), f64::from(*v))).sum()
        };
        let per_sum = f64::from(f32::EPSILON) * (self.dim as f64 + 4.0);
        let exact = if self.whole && self.rows != RowFormat::I8 { 0.0 } else { per_sum };
        let dot = sum(&|q, v| q * v);
        match self.metric {
            Metric::InnerProduct => (-dot, exact * sum(&|q, v| (q * v).abs())),
            Metric::Cosine => {
                let lengths = (sum(&|q, _| q * q) * sum(&|_, v| v * v)).sqrt();
                (1.0 - dot / lengths, per_sum * (2.0 + sum(&|q, v| (q * v).abs()) / lengths))
            }
            _ => {
                let squares = sum(&|q, v| (q - v) * (q - v));
                // The difference of two components is rounded too, to their size.
                (squares, exact * (squares + sum(&|q, v| (q - v).abs() * (q.abs() + v.abs()))))
            }
        }
    }
}
