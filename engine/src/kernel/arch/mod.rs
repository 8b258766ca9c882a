//! The functions themselves, one file per instruction set, and the table through which they are called.
//!
//! A [`Kernels`] exists only for a path whose instructions this machine has (`for_path` asks before it hands one out), and its
//! methods prove every length before they pass on a pointer: with that, calling through the table is sound.
#![expect(unsafe_code, reason = "vector instructions")]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod prefetch;
mod scalar;

use super::code::extra::{self, ExtraList, record_bytes};
use super::code::query::QueryTables;
use super::code::residual::{Coded, Coding, MAX_BITS};
use super::code::scan::{Line, ScanTerms, SignList, Survivors};
use super::dispatch::CpuPath;
use super::distance::Op;
use super::element;
use super::rotation::{PADDING, Rotation};
use crate::metric::RowFormat;

/// Query, its dimension, row -> sum.
type One = unsafe fn(*const f32, usize, *const u8) -> f32;
/// Query, its dimension, first row, stride in bytes, results, number of rows.
type Many = unsafe fn(*const f32, usize, *const u8, usize, *mut f32, usize);
/// Query, its dimension, base, byte offsets from it, results, number of rows.
type Gather = unsafe fn(*const f32, usize, *const u8, *const usize, *mut f32, usize);

/// The three shapes of one sum over one format.
struct DistanceFns {
    one: One,
    many: Many,
    gather: Gather,
}

/// The functions of one instruction set.
struct Table {
    /// By [`Op`], then by [`RowFormat`], in the order of their declaration.
    distances: [[DistanceFns; 3]; 2],
    /// Rotates a vector of the rotation's length in place.
    rotate: unsafe fn(&Rotation, &mut [f32]),
    /// Coding, vector, centroid, offset, scratch, result: slices of equal length, a multiple of 64.
    encode: unsafe fn(&Coding, &[f32], &[f32], f32, &mut [f32], &mut Coded),
    /// Query, whose length is a multiple of 64, and its tables.
    prepare: unsafe fn(&[f32], &mut QueryTables),
    /// Tables, a list checked against them, the line of bounds, threshold, bytes to prefetch meanwhile, and survivors with room
    /// for the list; returns how many there are then.
    scan: unsafe fn(&QueryTables, &SignList, &Line, f32, &[u8], &mut Survivors) -> usize,
    /// Tables, a list checked against them, the line of estimates, and a place for each entry.
    estimate: unsafe fn(&QueryTables, &SignList, &Line, &mut [f32]),
    /// By bits per component, 1 to 8 (index 0 is the first): tables, code bits of one entry (`P e / 8` bytes) -> products with
    /// the high and, from five bits on, the low plane.
    extra: [ExtraFn; 8],
}

/// See [`Table::extra`].
type ExtraFn = unsafe fn(&QueryTables, *const u8) -> (i32, i32);

/// The table of kernels of one instruction set.
///
/// Row results are equal bit for bit whichever of [`one`](Kernels::one), [`many`](Kernels::many) and
/// [`gather`](Kernels::gather) computes them.
pub struct Kernels {
    path: CpuPath,
    table: &'static Table,
}

static SCALAR: Kernels = Kernels { path: CpuPath::Scalar, table: &scalar::TABLE };
#[cfg(target_arch = "aarch64")]
static NEON: Kernels = Kernels { path: CpuPath::Neon, table: &neon::TABLE };
#[cfg(target_arch = "x86_64")]
static AVX2: Kernels = Kernels { path: CpuPath::Avx2, table: &avx2::TABLE };
#[cfg(target_arch = "x86_64")]
static AVX512: Kernels = Kernels { path: CpuPath::Avx512, table: &avx512::TABLE };

impl Kernels {
    /// The kernels of one path; `None` if this machine does not have its instructions.
    pub fn for_path(path: CpuPath) -> Option<&'static Kernels> {
        if !path.available() {
            return None;
        }
        match path {
            CpuPath::Scalar => Some(&SCALAR),
            #[cfg(target_arch = "aarch64")]
            CpuPath::Neon => Some(&NEON),
            #[cfg(target_arch = "x86_64")]
            CpuPath::Avx2 => Some(&AVX2),
            #[cfg(target_arch = "x86_64")]
            CpuPath::Avx512 => Some(&AVX512),
            _ => None,
        }
    }

    /// Plain Rust, which every machine can run.
    pub fn scalar() -> &'static Kernels {
        &SCALAR
    }

    /// The path this table belongs to.
    pub fn path(&self) -> CpuPath {
        self.path
    }

    /// The sum of one row: `row` starts with `query.len()` components in `format`, at any alignment.
    ///
    /// # Panics
    /// If `row` is shorter than that.
    pub fn one(&self, op: Op, format: RowFormat, query: &[f32], row: &[u8]) -> f32 {
        assert!(row.len() / format.component_bytes() >= query.len(), "row is shorter than the query");
        let function = self.distance(op, format).one;
        // SAFETY: the assertion proves query.len() components in `row`; the path is available (see `for_path`).
        unsafe { function(query.as_ptr(), query.len(), row.as_ptr()) }
    }

    /// The sums of `out.len()` rows: row `i` starts at `rows[i * stride]`. Reads memory in order, ahead of its use.
    ///
    /// # Panics
    /// If the last row reaches past the end of `rows`.
    pub fn many(&self, op: Op, format: RowFormat, query: &[f32], rows: &[u8], stride: usize, out: &mut [f32]) {
        let Some(last) = out.len().checked_sub(1) else { return };
        let width = query.len() * format.component_bytes();
        let end = last.checked_mul(stride).and_then(|start| start.checked_add(width));
        assert!(end.is_some_and(|end| end <= rows.len()), "rows reach past the slice");
        let function = self.distance(op, format).many;
        // SAFETY: the assertion proves last * stride + width <= rows.len(), which bounds every earlier row too; `out` is as long
        // as the count passed; the path is available.
        unsafe { function(query.as_ptr(), query.len(), rows.as_ptr(), stride, out.as_mut_ptr(), out.len()) }
    }

    /// The sums of rows here and there: row `i` starts at `base[offsets[i]]`. Coming rows are prefetched.
    ///
    /// # Panics
    /// If `out` is shorter than `offsets`, or a row reaches past the end of `base`.
    pub fn gather(&self, op: Op, format: RowFormat, query: &[f32], base: &[u8], offsets: &[usize], out: &mut [f32]) {
        let width = query.len() * format.component_bytes();
        assert!(out.len() >= offsets.len(), "fewer results than rows");
        let room = base.len().checked_sub(width);
        assert!(offsets.iter().all(|offset| room.is_some_and(|room| *offset <= room)), "a row reaches past the slice");
        let function = self.distance(op, format).gather;
        // SAFETY: the assertions prove offset + width <= base.len() for every offset and a place in `out` for each; the path is
        // available.
        unsafe {
            function(query.as_ptr(), query.len(), base.as_ptr(), offsets.as_ptr(), out.as_mut_ptr(), offsets.len());
        }
    }

    /// Squared length of a stored row: f64 sums in one fixed order, the same bits on every path (norms are stored).
    pub fn norm_squared(&self, format: RowFormat, row: &[u8]) -> f64 {
        element::norm_squared(format, row)
    }

    /// Asks for the cache lines of `bytes`, to be read soon.
    pub fn prefetch(&self, bytes: &[u8]) {
        prefetch::prefetch(bytes);
    }

    pub(super) fn rotate(&self, rotation: &Rotation, vector: &mut [f32]) {
        // SAFETY: only the path's instructions are asked for, and it is available.
        unsafe { (self.table.rotate)(rotation, vector) }
    }

    /// Codes `vector` relative to `centroid`, both rotated and padded; `offset` is added to every inner product with it (what
    /// centring took away; unused for L2). The same bytes on every path.
    ///
    /// # Panics
    /// If the lengths differ or are no multiple of 64, or the bits are not in `1..=8`.
    pub fn encode(&self, coding: &Coding, vector: &[f32], centroid: &[f32], offset: f32, out: &mut Coded) {
        assert_eq!(vector.len(), centroid.len(), "vector and centroid are of one length");
        assert!(vector.len().is_multiple_of(PADDING), "vectors are padded before they are coded");
        assert!((1..=MAX_BITS).contains(&coding.bits), "codes have 1 to 8 bits");
        let mut residual = std::mem::take(&mut out.residual);
        residual.resize(vector.len(), 0.0);
        // SAFETY: only the path's instructions are asked for, and it is available.
        unsafe { (self.table.encode)(coding, vector, centroid, offset, &mut residual, out) };
        out.residual = residual;
    }

    /// Makes the tables of a rotated, padded query. The same bytes on every path.
    ///
    /// # Panics
    /// If the length is no multiple of 64.
    pub fn prepare_query(&self, query: &[f32], tables: &mut QueryTables) {
        assert!(query.len().is_multiple_of(PADDING), "queries are padded before tables are made");
        // SAFETY: only the path's instructions are asked for, and it is available.
        unsafe { (self.table.prepare)(query, tables) }
    }

    /// Appends to `out` the entries of `list` whose estimate less `z` standard errors is below `threshold`, in order; reads
    /// `ahead` into the cache meanwhile (the list to be scanned next). The same survivors and bounds on every path.
    ///
    /// # Panics
    /// If the slices of `list` are too short for its count.
    #[expect(clippy::too_many_arguments, reason = "one call per list; each is needed")]
    pub fn scan(
        &self,
        query: &QueryTables,
        list: &SignList,
        terms: &ScanTerms,
        z: f32,
        threshold: f32,
        ahead: &[u8],
        out: &mut Survivors,
    ) {
        list.check(query.padded_dim());
        out.reserve(list.count);
        let line = Line::new(query, terms, z);
        // SAFETY: `check` proved the blocks and factors of `list.count` entries, `reserve` room for them and the slack; the path
        // is available.
        let len = unsafe { (self.table.scan)(query, list, &line, threshold, ahead, out) };
        out.set_len(len);
    }

    /// Writes the estimate of every entry of `list` to `out`. The same on every path.
    ///
    /// # Panics
    /// If the slices of `list` are too short for its count, or `out` does not have that length.
    pub fn estimate(&self, query: &QueryTables, list: &SignList, terms: &ScanTerms, out: &mut [f32]) {
        list.check(query.padded_dim());
        assert_eq!(out.len(), list.count, "one place for each entry");
        let line = Line::new(query, terms, 0.0);
        // SAFETY: as in `scan`; `out` has a place for each entry.
        unsafe { (self.table.estimate)(query, list, &line, out) }
    }

    /// Estimates of the whole codes of the entries at `positions` of a list, whose sign bits gave `sums`; coming records are
    /// prefetched. The same on every path.
    ///
    /// # Panics
    /// If the three do not have one length, a position is not among the records, or the bits are not in `1..=7`.
    pub fn estimate_extra(
        &self,
        query: &QueryTables,
        list: &ExtraList,
        terms: &ScanTerms,
        positions: &[u32],
        sums: &[u32],
        out: &mut [f32],
    ) {
        assert!((1..MAX_BITS).contains(&list.extra_bits), "1 to 7 bits stand behind the sign");
        assert!(positions.len() == sums.len() && positions.len() == out.len(), "one sum and one place for each entry");
        let stride = record_bytes(query.padded_dim(), list.extra_bits);
        let product = self.table.extra[list.extra_bits - 1];
        let record = |position: u32| -> &[u8] { &list.records[position as usize * stride..][..stride] };
        for (i, (position, (sum, out))) in positions.iter().zip(sums.iter().zip(out)).enumerate() {
            if let Some(next) = positions.get(i + EXTRA_AHEAD) {
                self.prefetch(record(*next));
            }
            let record = record(*position);
            // SAFETY: the record has `P e / 8 + 8` bytes; the tables were made for `P`; the path is available.
            let (high, low) = unsafe { product(query, record.as_ptr()) };
            *out = extra::estimate(query, terms, list.extra_bits, extra::take_factors(record), *sum, high, low);
        }
    }

    fn distance(&self, op: Op, format: RowFormat) -> &DistanceFns {
        let by_format = match op {
            Op::L2 => &self.table.distances[0],
            Op::Dot => &self.table.distances[1],
        };
        match format {
            RowFormat::F32 => &by_format[0],
            RowFormat::F16 => &by_format[1],
            RowFormat::Bf16 => &by_format[2],
        }
    }
}

/// Records prefetched ahead of the one in hand.
const EXTRA_AHEAD: usize = 4;

/// Functions written once in plain Rust and compiled for the calling module's instruction set, whose attributes are passed.
macro_rules! portable_functions {
    ($($attribute:tt)*) => {
        $($attribute)*
        unsafe fn rotate(rotation: &crate::kernel::rotation::Rotation, vector: &mut [f32]) {
            crate::kernel::rotation::rotate(rotation, vector, |part| {
                // SAFETY: the caller has the instructions this is compiled for.
                #[allow(unused_unsafe, reason = "plain Rust on some paths")]
                unsafe { hadamard(part) }
            });
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
            crate::kernel::code::residual::encode(coding, vector, centroid, offset, residual, out);
        }

        $($attribute)*
        unsafe fn prepare(query: &[f32], tables: &mut crate::kernel::code::query::QueryTables) {
            crate::kernel::code::query::prepare(query, tables);
        }
    };
}
use portable_functions;

/// Builds the `distances` of a [`Table`] from generic functions `one`, `many`, `gather` of the calling module and its types
/// `L2`, `Dot`, `F32`, `F16`, `Bf16`.
macro_rules! distance_table {
    () => {
        [distance_table!(L2), distance_table!(Dot)]
    };
    ($op:ident) => {
        [distance_table!(F32, $op), distance_table!(F16, $op), distance_table!(Bf16, $op)]
    };
    ($component:ident, $op:ident) => {
        super::DistanceFns {
            one: one::<$component, $op>,
            many: many::<$component, $op>,
            gather: gather::<$component, $op>,
        }
    };
}
use distance_table;
