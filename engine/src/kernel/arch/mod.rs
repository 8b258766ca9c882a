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
mod scalar;

use super::dispatch::CpuPath;
use super::distance::Op;
use super::element;
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
}

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
        DistanceFns { one: one::<$component, $op>, many: many::<$component, $op>, gather: gather::<$component, $op> }
    };
}
use distance_table;
