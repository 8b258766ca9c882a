//! The functions themselves, one file per instruction set, and the table through which they are called.
//!
//! A [`Kernels`] exists only for a path whose instructions this machine has (`for_path` asks before it hands one out), and its
//! methods prove every length before they pass on a pointer: with that, calling through the table is sound.
#![expect(unsafe_code, reason = "vector instructions")]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod cluster;
mod kernels;
#[cfg(target_arch = "aarch64")]
mod neon;
mod prefetch;
mod scalar;

use super::code::extra::Record;
use super::code::product::{Codebook, ProductFactors, ProductScratch, ProductTables, ProductTraining};
use super::code::query::QueryTables;
use super::code::residual::{Coded, Coding};
use super::code::row::RowCoding;
use super::code::scan::{Line, ScanTurn, SignList, Survivors};
use super::distance::Op;
use super::rotation::Rotation;
use super::select::Selection;

pub use kernels::{Kernels, RECORDS, RECORDS_AHEAD};

// A row is as many components as the query has, and for bytes the step behind them.
/// Query, its dimension, row -> sum.
type One = unsafe fn(*const f32, usize, *const u8) -> f32;
/// Query, its dimension, first row, stride in bytes, results, number of rows.
type Many = unsafe fn(*const f32, usize, *const u8, usize, *mut f32, usize);
/// Query, its dimension, base, byte offsets from it, results, number of rows.
type Gather = unsafe fn(*const f32, usize, *const u8, *const usize, *mut f32, usize);

/// The three shapes of one sum over one element.
struct DistanceFns {
    one: One,
    many: Many,
    /// `many` for rows that are in the first cache.
    block: Many,
    gather: Gather,
}

/// The functions of one instruction set.
struct Table {
    /// By [`Op`], then by element, in the order of their declaration.
    distances: [[DistanceFns; 5]; 2],
    /// By `ByteOp`: two vectors and their length in bytes, at most 2^16.
    bytes: [ByteFn; 5],
    /// The sum of the squares of any components.
    squared_length: unsafe fn(&[f32]) -> f64,
    /// Rotates a vector of the rotation's length in place.
    rotate: unsafe fn(&Rotation, &mut [f32]),
    /// Coding, vector, centroid, offset, scratch, result: slices of equal length, a multiple of 64.
    encode: EncodeFn,
    /// Query, whose length is a multiple of 64, and its tables.
    prepare: unsafe fn(&[f32], &mut QueryTables),
    /// Coding, vector, offset, scratch, where the record is appended.
    encode_row_code: unsafe fn(&RowCoding, &[f32], f32, &mut Vec<u8>, &mut Vec<u8>),
    /// Book, vector, centroid, offset, scratch: vector and centroid have the book's length.
    encode_product: EncodeProductFn,
    /// Book, query of the book's length, tables.
    prepare_product: unsafe fn(&Codebook, &[f32], &mut ProductTables),
    /// Tables, lists of columns checked against them, threshold, and survivors with room for all lists.
    scan_columns: unsafe fn(&ProductTables, &[ScanTurn], f32, &mut Survivors),
    /// Training, residuals end to end, their length, and which part.
    train_product: unsafe fn(&ProductTraining, &[f32], usize, usize) -> Vec<f32>,
    /// Estimates, how many to choose, and the place for their keys.
    select: unsafe fn(&[f32], usize, &mut Selection),
    /// Estimates, the limit, and room for the places of all that are up to it and `select::SLACK` more.
    places_up_to: unsafe fn(&[f32], f32, &mut [u32]) -> usize,
    /// Estimates, and how many of them the result may not be below; room for minima.
    near: unsafe fn(&[f32], usize, &mut Selection) -> f32,
    /// Whole vectors of numbers and NaN, and how many of them are wanted.
    front: unsafe fn(&[f32], usize) -> Option<f32>,
    /// Survivors, the bound they are above, the one they do not pass, and room for all of them and the slack: how many there are.
    sift: unsafe fn(&Survivors, f32, f32, &mut Survivors) -> usize,
    /// Tables, lists checked against them, standard errors, threshold, and survivors with room for all lists.
    scan: ScanFn,
    /// Tables, a list checked against them, the line of estimates, and a place for each entry.
    estimate: unsafe fn(&QueryTables, &SignList, &Line, &mut [f32]),
    /// By bits per component, 1 to 8 (index 0 is the first): tables, gain, whether signs stand in front of the bits, up to
    /// `RECORDS` records of `P e / 8 + 8` bytes or more, and a place for the estimate of each.
    estimates: [EstimatesFn; 8],
}

/// See [`Table::bytes`].
type ByteFn = unsafe fn(*const u8, *const u8, usize) -> i64;
/// See [`Table::encode`].
type EncodeFn = unsafe fn(&Coding, &[f32], &[f32], f32, &mut [f32], &mut Coded);
/// See [`Table::encode_product`].
type EncodeProductFn = unsafe fn(&Codebook, Op, &[f32], &[f32], f32, &mut ProductScratch) -> ProductFactors;
/// See [`Table::scan`].
type ScanFn = unsafe fn(&QueryTables, &[ScanTurn], f32, f32, &mut Survivors);
/// See [`Table::estimates`].
type EstimatesFn = unsafe fn(&QueryTables, f32, bool, &[Record], &mut [f32]);

/// The loop around `scan_list` of the calling module, compiled with its instructions so that it becomes part of the loop.
macro_rules! scan_loop {
    ($($attribute:tt)*) => {
        $($attribute)*
        pub(super) unsafe fn scan(
            query: &crate::kernel::code::query::QueryTables,
            turns: &[crate::kernel::code::scan::ScanTurn],
            z: f32,
            threshold: f32,
            out: &mut crate::kernel::code::scan::Survivors,
        ) {
            let mut first_place = 0;
            for turn in turns {
                let line = crate::kernel::code::scan::Line::new(query, &turn.terms, z);
                // SAFETY: the caller checked every list against the tables and made room for the entries of all.
                let len = unsafe { scan_list(query, &turn.list, &line, threshold, turn.ahead, first_place, out) };
                out.set_len(len);
                first_place = first_place.wrapping_add(1 << crate::kernel::code::scan::PLACE_BITS);
            }
        }
    };
}
use scan_loop;

/// The loop around `extra` of the calling module, in the same way.
macro_rules! product_loop {
    ($($attribute:tt)*) => {
        $($attribute)*
        unsafe fn products<const BITS: usize>(
            query: &crate::kernel::code::query::QueryTables,
            records: &[crate::kernel::code::extra::Record],
            out: &mut [(i32, i32)],
        ) {
            for (record, out) in records.iter().zip(out) {
                // SAFETY: the caller checked that each record has `P e / 8` bytes of code.
                *out = unsafe { extra::<BITS>(query, record.bytes.as_ptr()) };
            }
        }
    };
}
use product_loop;

/// The loop over lists of columns around `column_sums` of the calling module, compiled with its instructions.
macro_rules! column_loop {
    ($($attribute:tt)*) => {
        $($attribute)*
        pub(super) unsafe fn scan_columns(
            tables: &crate::kernel::code::product::ProductTables,
            turns: &[crate::kernel::code::scan::ScanTurn],
            threshold: f32,
            out: &mut crate::kernel::code::scan::Survivors,
        ) {
            let mut first_place = 0;
            for turn in turns {
                let line = tables.line(turn);
                #[allow(unused_unsafe, reason = "the plain version needs no proof")]
                // SAFETY: the caller checked every list against the tables, so blocks have the bytes of their columns.
                let sums = |block: &[u8], out: &mut [u32; 32]| *out = unsafe { column_sums(tables, block) };
                crate::kernel::code::product::scan_columns(tables, &turn.list, &line, threshold, first_place, out, sums);
                first_place = first_place.wrapping_add(1 << crate::kernel::code::scan::PLACE_BITS);
            }
        }
    };
}
use column_loop;

/// Estimates from `products` of the calling module, compiled with its instructions.
macro_rules! estimate_table {
    ($($attribute:tt)*) => {
        $($attribute)*
        unsafe fn estimates<const BITS: usize>(
            query: &crate::kernel::code::query::QueryTables,
            gain: f32,
            signs: bool,
            records: &[crate::kernel::code::extra::Record],
            out: &mut [f32],
        ) {
            use crate::kernel::code::extra::{code_bytes, further_product, take_factors};
            let mut sums = [(0, 0); crate::kernel::RECORDS];
            // SAFETY: the caller checked that each record has `P e / 8` bytes of code.
            unsafe { products::<BITS>(query, records, &mut sums) };
            let mut terms = sums.map(|(high, low)| further_product(query, BITS, high, low));
            if signs {
                for (term, record) in terms.iter_mut().zip(records) {
                    *term += (1_u32 << BITS) as f32 * query.sign_product(record.sum);
                }
            }
            let length = code_bytes(query.padded_dim(), BITS) + 8;
            for ((record, out), term) in records.iter().zip(out).zip(terms) {
                let factors = take_factors(record.bytes.get(..length).unwrap_or_default());
                *out = (factors.add + record.base) - factors.rescale * (gain * term);
            }
        }

        pub(super) const ESTIMATES: [crate::kernel::arch::EstimatesFn; 8] = [
            estimates::<1>,
            estimates::<2>,
            estimates::<3>,
            estimates::<4>,
            estimates::<5>,
            estimates::<6>,
            estimates::<7>,
            estimates::<8>,
        ];
    };
}
use estimate_table;

/// Functions written once against `Lanes` and compiled for the calling module: how it gets its lanes, and its attributes.
macro_rules! portable_functions {
    ($lanes:expr; $($attribute:tt)*) => {
        $($attribute)*
        unsafe fn rotate(rotation: &crate::kernel::rotation::Rotation, vector: &mut [f32]) {
            #[allow(unused_unsafe, reason = "plain lanes need no proof")]
            // SAFETY: the caller has the instructions of this path.
            let lanes = unsafe { $lanes };
            crate::kernel::rotation::rotate(lanes, rotation, vector);
        }

        $($attribute)*
        unsafe fn squared_length(vector: &[f32]) -> f64 {
            crate::kernel::element::squared_length(vector)
        }

        $($attribute)*
        unsafe fn encode(
            coding: &crate::kernel::code::residual::Coding,
            vector: &[f32],
            centroid: &[f32],
            offset: f32,
            residual: &mut [f32],
            out: &mut crate::kernel::code::residual::Coded,
        ) {
            #[allow(unused_unsafe, reason = "plain lanes need no proof")]
            // SAFETY: the caller has the instructions of this path.
            let lanes = unsafe { $lanes };
            crate::kernel::code::residual::encode(lanes, coding, vector, centroid, offset, residual, out);
        }

        $($attribute)*
        unsafe fn prepare(query: &[f32], tables: &mut crate::kernel::code::query::QueryTables) {
            #[allow(unused_unsafe, reason = "plain lanes need no proof")]
            // SAFETY: the caller has the instructions of this path.
            let lanes = unsafe { $lanes };
            crate::kernel::code::query::prepare(lanes, query, tables);
        }

        $($attribute)*
        unsafe fn encode_row_code(
            coding: &crate::kernel::code::row::RowCoding,
            vector: &[f32],
            offset: f32,
            values: &mut Vec<u8>,
            out: &mut Vec<u8>,
        ) {
            #[allow(unused_unsafe, reason = "plain lanes need no proof")]
            // SAFETY: the caller has the instructions of this path.
            let lanes = unsafe { $lanes };
            crate::kernel::code::row::encode(lanes, coding, vector, offset, values, out);
        }

        $($attribute)*
        unsafe fn encode_product(
            book: &crate::kernel::code::product::Codebook,
            op: crate::kernel::Op,
            vector: &[f32],
            centroid: &[f32],
            offset: f32,
            scratch: &mut crate::kernel::code::product::ProductScratch,
        ) -> crate::kernel::code::product::ProductFactors {
            #[allow(unused_unsafe, reason = "plain lanes need no proof")]
            // SAFETY: the caller has the instructions of this path.
            let lanes = unsafe { $lanes };
            crate::kernel::code::product::encode(lanes, book, op, vector, centroid, offset, scratch)
        }

        $($attribute)*
        unsafe fn prepare_product(
            book: &crate::kernel::code::product::Codebook,
            query: &[f32],
            tables: &mut crate::kernel::code::product::ProductTables,
        ) {
            #[allow(unused_unsafe, reason = "plain lanes need no proof")]
            // SAFETY: the caller has the instructions of this path.
            let lanes = unsafe { $lanes };
            crate::kernel::code::product::prepare(lanes, book, query, tables);
        }

        $($attribute)*
        unsafe fn train_product(
            training: &crate::kernel::code::product::ProductTraining,
            sample: &[f32],
            dim: usize,
            part: usize,
        ) -> Vec<f32> {
            #[allow(unused_unsafe, reason = "plain lanes need no proof")]
            // SAFETY: the caller has the instructions of this path.
            let lanes = unsafe { $lanes };
            crate::kernel::code::product::train_part(lanes, training, sample, dim, part)
        }

        $($attribute)*
        unsafe fn select(estimates: &[f32], m: usize, selection: &mut crate::kernel::select::Selection) {
            #[allow(unused_unsafe, reason = "plain lanes need no proof")]
            // SAFETY: the caller has the instructions of this path.
            let lanes = unsafe { $lanes };
            crate::kernel::select::select(lanes, estimates, m, selection);
        }

        $($attribute)*
        unsafe fn near(estimates: &[f32], m: usize, selection: &mut crate::kernel::select::Selection) -> f32 {
            #[allow(unused_unsafe, reason = "plain lanes need no proof")]
            // SAFETY: the caller has the instructions of this path.
            let lanes = unsafe { $lanes };
            crate::kernel::select::near(lanes, estimates, m, selection)
        }

        $($attribute)*
        unsafe fn front(values: &[f32], m: usize) -> Option<f32> {
            #[allow(unused_unsafe, reason = "plain lanes need no proof")]
            // SAFETY: the caller has the instructions of this path.
            let lanes = unsafe { $lanes };
            crate::kernel::select::front(lanes, values, m)
        }
    };
}
use portable_functions;

/// [`Table::sift`] and [`Table::places_up_to`] written once against `Lanes`, for paths that cannot compress a vector.
macro_rules! portable_compression {
    ($lanes:expr; $($attribute:tt)*) => {
        $($attribute)*
        unsafe fn sift(
            survivors: &crate::kernel::code::scan::Survivors,
            above: f32,
            up_to: f32,
            out: &mut crate::kernel::code::scan::Survivors,
        ) -> usize {
            #[allow(unused_unsafe, reason = "plain lanes need no proof")]
            // SAFETY: the caller has the instructions of this path.
            let lanes = unsafe { $lanes };
            crate::kernel::code::scan::sift(lanes, survivors, above, up_to, out)
        }

        $($attribute)*
        unsafe fn places_up_to(estimates: &[f32], limit: f32, places: &mut [u32]) -> usize {
            #[allow(unused_unsafe, reason = "plain lanes need no proof")]
            // SAFETY: the caller has the instructions of this path.
            let lanes = unsafe { $lanes };
            crate::kernel::select::places_up_to(lanes, estimates, limit, places)
        }
    };
}
use portable_compression;

/// Builds the `distances` of a [`Table`] from generic functions `one`, `many`, `block`, `gather` of the calling module and its types
/// `L2`, `Dot`, `F32`, `F16`, `Bf16`, `I8`, `U8`.
macro_rules! distance_table {
    () => {
        [distance_table!(L2), distance_table!(Dot)]
    };
    ($op:ident) => {
        [
            distance_table!(F32, $op),
            distance_table!(F16, $op),
            distance_table!(Bf16, $op),
            distance_table!(I8, $op),
            distance_table!(U8, $op),
        ]
    };
    ($component:ident, $op:ident) => {
        super::DistanceFns {
            one: one::<$component, $op>,
            many: many::<$component, $op>,
            block: block::<$component, $op>,
            gather: gather::<$component, $op>,
        }
    };
}
use distance_table;
