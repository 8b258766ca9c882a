//! The table as safe methods.

use crate::kernel::bytes::ByteOp;
use crate::kernel::code::extra::{ExtraList, Record, record_bytes};
use crate::kernel::code::product::{
    Codebook, MAX_WORDS, MIN_WORDS, ProductFactors, ProductScratch, ProductTables, ProductTraining,
};
use crate::kernel::code::query::QueryTables;
use crate::kernel::code::residual::{Coded, Coding, MAX_BITS, gain};
use crate::kernel::code::row::RowCoding;
use crate::kernel::code::scan::{Line, MAX_TURNS, PLACE_BITS, ScanTerms, ScanTurn, SignList, Survivors};
use crate::kernel::dispatch::CpuPath;
use crate::kernel::distance::Op;
use crate::kernel::element;
use crate::kernel::lanes::LANES;
use crate::kernel::rotation::{PADDING, Rotation};
use crate::kernel::select::{Chosen, SLACK, Selection};
use crate::metric::Element;

use super::{DistanceFns, Many, Table, prefetch, scalar};

/// Rows prefetched ahead of the one in hand.
const EXTRA_AHEAD: usize = 4;
/// Most records estimated in one call.
pub const RECORDS: usize = 8;
/// Calls for whose records memory is asked ahead.
pub const RECORDS_AHEAD: usize = 2;

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
static NEON: Kernels = Kernels { path: CpuPath::Neon, table: &super::neon::TABLE };
#[cfg(target_arch = "x86_64")]
static AVX2: Kernels = Kernels { path: CpuPath::Avx2, table: &super::avx2::TABLE };
#[cfg(target_arch = "x86_64")]
static AVX512: Kernels = Kernels { path: CpuPath::Avx512, table: &super::avx512::TABLE };

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

    /// The sum of one row: `row` starts with `query.len()` components in `element`, at any alignment.
    ///
    /// # Panics
    /// If `row` is shorter than that.
    pub fn one(&self, op: Op, element: Element, query: &[f32], row: &[u8]) -> f32 {
        assert!(row.len() >= element.vector_bytes(query.len()), "row is shorter than the query");
        let function = self.distance(op, element).one;
        // SAFETY: the assertion proves a stored row of query.len() components in `row`; the path is available (see `for_path`).
        unsafe { function(query.as_ptr(), query.len(), row.as_ptr()) }
    }

    /// The sums of `out.len()` rows: row `i` starts at `rows[i * stride]`. Reads memory in order, ahead of its use.
    ///
    /// # Panics
    /// If the last row reaches past the end of `rows`.
    pub fn many(&self, op: Op, element: Element, query: &[f32], rows: &[u8], stride: usize, out: &mut [f32]) {
        self.each_of(self.distance(op, element).many, element, query, (rows, stride), out);
    }

    /// The same for few rows that several queries are compared with, one after the other: nothing is read ahead.
    ///
    /// # Panics
    /// If the last row reaches past the end of `rows`.
    pub fn block(&self, op: Op, element: Element, query: &[f32], rows: &[u8], stride: usize, out: &mut [f32]) {
        self.each_of(self.distance(op, element).block, element, query, (rows, stride), out);
    }

    #[inline(always)]
    fn each_of(
        &self,
        function: Many,
        element: Element,
        query: &[f32],
        (rows, stride): (&[u8], usize),
        out: &mut [f32],
    ) {
        let Some(last) = out.len().checked_sub(1) else { return };
        let width = element.vector_bytes(query.len());
        let end = last.checked_mul(stride).and_then(|start| start.checked_add(width));
        assert!(end.is_some_and(|end| end <= rows.len()), "rows reach past the slice");
        // SAFETY: the assertion proves last * stride + width <= rows.len(), which bounds every earlier row too; `out` is as long
        // as the count passed; the path is available.
        unsafe { function(query.as_ptr(), query.len(), rows.as_ptr(), stride, out.as_mut_ptr(), out.len()) }
    }

    /// The sums of rows here and there: row `i` starts at `base[offsets[i]]`. Coming rows are prefetched.
    ///
    /// # Panics
    /// If `out` is shorter than `offsets`, or a row reaches past the end of `base`.
    pub fn gather(&self, op: Op, element: Element, query: &[f32], base: &[u8], offsets: &[usize], out: &mut [f32]) {
        let width = element.vector_bytes(query.len());
        assert!(out.len() >= offsets.len(), "fewer results than rows");
        let room = base.len().checked_sub(width);
        assert!(offsets.iter().all(|offset| room.is_some_and(|room| *offset <= room)), "a row reaches past the slice");
        let function = self.distance(op, element).gather;
        // SAFETY: the assertions prove offset + width <= base.len() for every offset and a place in `out` for each; the path is
        // available.
        unsafe {
            function(query.as_ptr(), query.len(), base.as_ptr(), offsets.as_ptr(), out.as_mut_ptr(), offsets.len());
        }
    }

    /// The sum over the bytes of `query` and the first as many of `row`: exact.
    ///
    /// # Panics
    /// If `row` is shorter than `query`.
    pub fn one_bytes(&self, op: ByteOp, query: &[u8], row: &[u8]) -> i64 {
        assert!(row.len() >= query.len(), "row is shorter than the query");
        // SAFETY: the assertion proves query.len() bytes in `row`; the path is available.
        unsafe { (self.table.bytes[op.index()])(query.as_ptr(), row.as_ptr(), query.len()) }
    }

    /// [`one_bytes`](Kernels::one_bytes) of `out.len()` rows: row `i` starts at `rows[i * stride]`.
    ///
    /// # Panics
    /// If the last row reaches past the end of `rows`.
    pub fn many_bytes(&self, op: ByteOp, query: &[u8], rows: &[u8], stride: usize, out: &mut [i64]) {
        let Some(last) = out.len().checked_sub(1) else { return };
        let end = last.checked_mul(stride).and_then(|start| start.checked_add(query.len()));
        assert!(end.is_some_and(|end| end <= rows.len()), "rows reach past the slice");
        for (i, out) in out.iter_mut().enumerate() {
            *out = self.one_bytes(op, query, &rows[i * stride..]);
        }
    }

    /// [`one_bytes`](Kernels::one_bytes) of rows here and there: row `i` starts at `base[offsets[i]]`. Coming rows are prefetched.
    ///
    /// # Panics
    /// If `out` is shorter than `offsets`, or a row reaches past the end of `base`.
    pub fn gather_bytes(&self, op: ByteOp, query: &[u8], base: &[u8], offsets: &[usize], out: &mut [i64]) {
        assert!(out.len() >= offsets.len(), "fewer results than rows");
        for (i, (offset, out)) in offsets.iter().zip(out).enumerate() {
            if let Some(next) = offsets.get(i + EXTRA_AHEAD) {
                self.prefetch(&base[*next..][..query.len()]);
            }
            *out = self.one_bytes(op, query, &base[*offset..]);
        }
    }

    /// Squared length of a stored row: f64 sums in one fixed order, the same bits on every path (norms are stored).
    pub fn norm_squared(&self, element: Element, row: &[u8]) -> f64 {
        element::norm_squared(element, row)
    }

    /// The sum of the squares of any components, added in f64 in one fixed order: the same bits on every path.
    pub fn squared_length(&self, vector: &[f32]) -> f64 {
        // SAFETY: only the path's instructions are asked for, and it is available.
        unsafe { (self.table.squared_length)(vector) }
    }

    /// Asks for the cache lines of `bytes`, to be read soon.
    #[inline]
    pub fn prefetch(&self, bytes: &[u8]) {
        prefetch::prefetch(bytes);
    }

    /// Asks for the cache lines of values, to be read soon: of the values themselves, not of what they point to.
    #[inline]
    pub fn prefetch_values<T>(&self, values: &[T]) {
        let start: *const u8 = values.as_ptr().cast();
        let before = start.addr() % 64;
        let length = size_of_val(values);
        prefetch::prefetch_from(start.wrapping_sub(before), if length == 0 { 0 } else { before + length });
    }

    pub(in crate::kernel) fn rotate(&self, rotation: &Rotation, vector: &mut [f32]) {
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

    /// Chooses the `m` smallest of `estimates`, ties to the smaller index, without sorting the rest; NaN is never chosen. The
    /// same choice on every path.
    ///
    /// # Panics
    /// If there are more than `u32::MAX` estimates.
    pub fn select<'a>(&self, estimates: &[f32], m: usize, selection: &'a mut Selection) -> &'a mut [Chosen] {
        assert!(u32::try_from(estimates.len()).is_ok(), "estimates are numbered with 32 bits");
        // SAFETY: only the path's instructions are asked for, and it is available.
        unsafe { (self.table.select)(estimates, m, selection) };
        selection.chosen_mut()
    }

    /// Appends to `out` the entries of `list` whose estimate less `z` standard errors is below `threshold`, in order; reads
    /// `ahead` into the cache meanwhile (the list to be scanned next). The same survivors and bounds on every path.
    ///
    /// # Panics
    /// If the slices of `list` are too short for its count.
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
        self.scan_all(query, &[ScanTurn { list: *list, terms: *terms, ahead }], z, threshold, out);
    }

    /// [`scan`](Kernels::scan) of several lists in one call. The position of a survivor becomes its place: `place_parts` takes it
    /// apart.
    ///
    /// # Panics
    /// If the slices of a list are too short for its count, there are more than [`MAX_TURNS`] lists, or one has more than
    /// 2^26 entries.
    pub fn scan_all(&self, query: &QueryTables, turns: &[ScanTurn], z: f32, threshold: f32, out: &mut Survivors) {
        assert!(turns.len() <= MAX_TURNS, "more lists than places tell apart");
        let mut entries = 0;
        for turn in turns {
            turn.list.check(query.padded_dim());
            assert!(turn.list.count <= 1 << PLACE_BITS, "more entries than places tell apart");
            entries += turn.list.count;
        }
        out.reserve(entries);
        // SAFETY: `check` proved the blocks and factors of the entries of every list, `reserve` room for all entries and the
        // slack; the path is available.
        unsafe { (self.table.scan)(query, turns, z, threshold, out) };
    }

    /// Adds to `out` the entries of lists of columns whose estimate is below `threshold`; their places are as those of
    /// [`scan_all`](Kernels::scan_all). The same on every path.
    ///
    /// # Panics
    /// If the slices of a list are too short for its count or of another book than the tables, there are more than [`MAX_TURNS`] lists, or
    /// one has more than 2^26 entries.
    pub fn scan_columns(&self, tables: &ProductTables, turns: &[ScanTurn], threshold: f32, out: &mut Survivors) {
        assert!(turns.len() <= MAX_TURNS, "more lists than places tell apart");
        let mut entries = 0;
        for turn in turns {
            tables.check(&turn.list);
            assert!(turn.list.count <= 1 << PLACE_BITS, "more entries than places tell apart");
            entries += turn.list.count;
        }
        out.reserve(entries);
        // SAFETY: `check` proved the blocks of the entries of every list; the path is available.
        unsafe { (self.table.scan_columns)(tables, turns, threshold, out) };
    }

    /// Leaves in `out` the survivors with bounds in `(above, up_to]`, in order; all up to `up_to` if `above` is minus infinity,
    /// none if it is not a number. The same on every path.
    pub fn sift(&self, survivors: &Survivors, above: f32, up_to: f32, out: &mut Survivors) {
        out.clear();
        if above.is_nan() {
            return;
        }
        out.reserve(survivors.len());
        // SAFETY: `out` has room for all survivors and the slack; the path is available.
        let len = unsafe { (self.table.sift)(survivors, above, up_to, out) };
        out.set_len(len);
    }

    /// The places of at least the `m` smallest of `estimates` (fewer if so many are not numbers) and of all up to some number near the
    /// `m`-th smallest, in order: cheaper than exactly `m`. The same choice on every path.
    ///
    /// # Panics
    /// If there are more than `u32::MAX` estimates.
    pub fn select_near<'a>(&self, estimates: &[f32], m: usize, selection: &'a mut Selection) -> &'a [u32] {
        if m == 0 {
            return &[];
        }
        let limit = self.near(estimates, m, selection);
        self.select_up_to(estimates, limit, selection)
    }

    /// The places of all `estimates` up to `limit`, in order. The same choice on every path.
    ///
    /// # Panics
    /// If there are more than `u32::MAX` estimates.
    pub fn select_up_to<'a>(&self, estimates: &[f32], limit: f32, selection: &'a mut Selection) -> &'a [u32] {
        assert!(u32::try_from(estimates.len()).is_ok(), "estimates are numbered with 32 bits");
        selection.places.resize((estimates.len() + SLACK).max(selection.places.len()), 0);
        // SAFETY: `places` has room for all estimates and the slack; the path is available.
        let count = unsafe { (self.table.places_up_to)(estimates, limit, &mut selection.places) };
        &selection.places[..count]
    }

    /// A number near the `m`-th smallest of `estimates`, which at least `m` of them do not exceed; infinity if they are few. The
    /// same on every path.
    pub fn near(&self, estimates: &[f32], m: usize, selection: &mut Selection) -> f32 {
        // SAFETY: only the path's instructions are asked for, and it is available.
        unsafe { (self.table.near)(estimates, m, selection) }
    }

    /// A number that exactly `m` of `values` do not exceed (NaN is passed over), found by halving their range; `None` if that finds
    /// none because some are equal, nearly equal or infinite. The same on every path.
    ///
    /// # Panics
    /// If the number of values is no multiple of 16.
    pub fn front(&self, values: &[f32], m: usize) -> Option<f32> {
        assert!(values.len().is_multiple_of(LANES), "whole vectors, filled up with NaN");
        // SAFETY: only the path's instructions are asked for, and it is available.
        unsafe { (self.table.front)(values, m) }
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

    /// Appends the record of a rotated, padded row to `out`; `values` is scratch space. The same bytes on every path.
    ///
    /// # Panics
    /// If the length is no multiple of 64, or the bits are not 4 or 8.
    pub fn encode_row_code(
        &self,
        coding: &RowCoding,
        vector: &[f32],
        offset: f32,
        values: &mut Vec<u8>,
        out: &mut Vec<u8>,
    ) {
        assert!(vector.len().is_multiple_of(PADDING), "vectors are padded before they are coded");
        assert!(matches!(coding.bits, 4 | 8), "row codes have 4 or 8 bits");
        // SAFETY: only the path's instructions are asked for, and it is available.
        unsafe { (self.table.encode_row_code)(coding, vector, offset, values, out) }
    }

    /// Estimates of the rows whose records (as [`encode_row_code`](Kernels::encode_row_code) wrote them) start at `offsets` of
    /// `base`; coming records are prefetched. The same on every path.
    ///
    /// # Panics
    /// If a record reaches past the end of `base`, the two lengths differ, or the bits are not 4 or 8.
    pub fn estimate_row_codes(
        &self,
        query: &QueryTables,
        coding: &RowCoding,
        terms: &ScanTerms,
        base: &[u8],
        offsets: &[usize],
        out: &mut [f32],
    ) {
        assert!(matches!(coding.bits, 4 | 8), "row codes have 4 or 8 bits");
        assert_eq!(offsets.len(), out.len(), "one place for each row");
        let length = coding.record_bytes(query.padded_dim());
        let record = |offset: &usize| Record { bytes: &base[*offset..][..length], base: terms.base, sum: 0 };
        let mut ahead = offsets.chunks(RECORDS).skip(RECORDS_AHEAD);
        for (offsets, out) in offsets.chunks(RECORDS).zip(out.chunks_mut(RECORDS)) {
            for offset in ahead.next().unwrap_or_default() {
                self.prefetch(record(offset).bytes);
            }
            let mut records = [Record::default(); RECORDS];
            records.iter_mut().zip(offsets).for_each(|(record_of, offset)| *record_of = record(offset));
            self.estimates(query, gain(terms.op), coding.bits, false, &records[..offsets.len()], out);
        }
    }

    /// The same for up to [`RECORDS`] records, wherever they are.
    ///
    /// # Panics
    /// If they are more, a record is too short, the two lengths differ, or the bits are not 4 or 8.
    pub fn estimate_row_records(
        &self,
        query: &QueryTables,
        coding: &RowCoding,
        terms: &ScanTerms,
        rows: &[&[u8]],
        out: &mut [f32],
    ) {
        assert!(matches!(coding.bits, 4 | 8), "row codes have 4 or 8 bits");
        assert!(rows.len() == out.len() && rows.len() <= RECORDS, "one place for each of few rows");
        let length = coding.record_bytes(query.padded_dim());
        let mut records = [Record::default(); RECORDS];
        for (record, row) in records.iter_mut().zip(rows) {
            *record = Record { bytes: &row[..length], base: terms.base, sum: 0 };
        }
        self.estimates(query, gain(terms.op), coding.bits, false, &records[..rows.len()], out);
    }

    /// Estimates of up to [`RECORDS`] vectors whose codes of one bit stand before their factors, signs included. The same on every path.
    ///
    /// # Panics
    /// If they are more, a record is too short, or the two lengths differ.
    pub fn estimate_signs(&self, query: &QueryTables, op: Op, records: &[Record], out: &mut [f32]) {
        assert_eq!(records.len(), out.len(), "one place for each record");
        self.estimates(query, gain(op), 1, false, records, out);
    }

    #[inline(always)]
    fn estimates(&self, query: &QueryTables, gain: f32, bits: usize, signs: bool, records: &[Record], out: &mut [f32]) {
        let length = record_bytes(query.padded_dim(), bits);
        assert!(records.len() <= RECORDS && records.iter().all(|record| record.bytes.len() >= length), "short records");
        // SAFETY: each record has at least `P bits / 8 + 8` bytes; the tables were made for `P`; the path is available.
        unsafe { (self.table.estimates[bits - 1])(query, gain, signs, records, out) };
    }

    /// Codes `vector` relative to `centroid` by the words of `book`; the numbers of the code stay in `scratch.code`. The same on
    /// every path.
    ///
    /// # Panics
    /// If the lengths are not the book's.
    pub fn encode_product(
        &self,
        book: &Codebook,
        op: Op,
        vector: &[f32],
        centroid: &[f32],
        offset: f32,
        scratch: &mut ProductScratch,
    ) -> ProductFactors {
        assert!(vector.len() == book.dim() && centroid.len() == book.dim(), "vectors of the book's length");
        // SAFETY: only the path's instructions are asked for, and it is available.
        unsafe { (self.table.encode_product)(book, op, vector, centroid, offset, scratch) }
    }

    /// Makes the tables of a query for `book`. The same numbers on every path.
    ///
    /// # Panics
    /// If the length is not the book's.
    pub fn prepare_product(&self, book: &Codebook, query: &[f32], tables: &mut ProductTables) {
        assert_eq!(query.len(), book.dim(), "a query of the book's length");
        // SAFETY: only the path's instructions are asked for, and it is available.
        unsafe { (self.table.prepare_product)(book, query, tables) }
    }

    /// Trains the words of one part on residuals of `dim` components laid end to end; the parts' words in order make a
    /// [`Codebook`]. The same numbers on every path.
    ///
    /// # Panics
    /// If `dim` is no multiple of the parts, the part is not one of them, or the size is no power of two in `16..=1024`.
    pub fn train_product(&self, training: &ProductTraining, sample: &[f32], dim: usize, part: usize) -> Vec<f32> {
        assert!(part < training.parts && dim.is_multiple_of(training.parts), "parts divide the dimension");
        let size = training.size;
        assert!(size.is_power_of_two() && (MIN_WORDS..=MAX_WORDS).contains(&size), "16 to 1,024 codewords");
        // SAFETY: only the path's instructions are asked for, and it is available.
        unsafe { (self.table.train_product)(training, sample, dim, part) }
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
        let record = |position: u32| -> &[u8] { &list.records[position as usize * stride..][..stride] };
        let chunks = positions.chunks(RECORDS).zip(sums.chunks(RECORDS)).zip(out.chunks_mut(RECORDS));
        for ((positions, sums), out) in chunks {
            let mut records = [Record::default(); RECORDS];
            for ((to, position), sum) in records.iter_mut().zip(positions).zip(sums) {
                *to = Record { bytes: record(*position), base: terms.base, sum: *sum };
                self.prefetch(to.bytes);
            }
            self.estimate_records(query, terms.op, list.extra_bits, &records[..positions.len()], out);
        }
    }

    /// Estimates of the whole codes of entries of any lists, up to [`RECORDS`] of them, whose records have `extra_bits` per
    /// component. The same on every path.
    ///
    /// # Panics
    /// If there are more, a record is too short, `out` is shorter than `records`, or the bits are not in `1..=7`.
    pub fn estimate_records(
        &self,
        query: &QueryTables,
        op: Op,
        extra_bits: usize,
        records: &[Record],
        out: &mut [f32],
    ) {
        assert!((1..MAX_BITS).contains(&extra_bits), "1 to 7 bits stand behind the sign");
        assert!(records.len() <= out.len(), "one place for each entry");
        self.estimates(query, gain(op), extra_bits, true, records, out);
    }

    fn distance(&self, op: Op, element: Element) -> &DistanceFns {
        let by_element = match op {
            Op::L2 => &self.table.distances[0],
            Op::Dot => &self.table.distances[1],
        };
        match element {
            Element::F32 => &by_element[0],
            Element::F16 => &by_element[1],
            Element::Bf16 => &by_element[2],
            Element::I8 => &by_element[3],
            Element::U8 => &by_element[4],
        }
    }
}
