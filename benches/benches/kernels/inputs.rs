//! Seeded inputs: rows, lists of codes, queries.

use stratavec::kernel::code::extra::{ExtraList, append_record};
use stratavec::kernel::code::query::QueryTables;
use stratavec::kernel::code::residual::Coded;
pub use stratavec::kernel::code::residual::Coding;
use stratavec::kernel::code::scan::{ScanTerms, SignList, Survivors};
use stratavec::kernel::code::sign_block::append_blocks;
use stratavec::kernel::{Element, Kernels, Op, SplitMix64, encode_row, kernels};

/// Uniform numbers in -1..1; the kernels' speed does not depend on the distribution.
pub fn vector(dim: usize, generator: &mut SplitMix64) -> Vec<f32> {
    (0..dim).map(|_| (generator.next_u64() >> 40) as f32 / 8_388_608.0 - 1.0).collect()
}

/// Stored rows with the 16 bytes between them that row files have, and a query.
pub struct Rows {
    pub query: Vec<f32>,
    pub bytes: Vec<u8>,
    pub stride: usize,
    pub count: usize,
}

impl Rows {
    /// As many rows as fit `bytes`, copies of a few.
    pub fn new(element: Element, dim: usize, bytes: usize) -> Self {
        let mut generator = SplitMix64::new(1);
        let stride = element.vector_bytes(dim) + 16;
        let count = bytes / stride;
        let mut some = Vec::new();
        for _ in 0..64 {
            encode_row(element, &vector(dim, &mut generator), &mut some);
            some.extend([0; 16]);
        }
        let bytes = some.iter().copied().cycle().take(count * stride).collect();
        Rows { query: vector(dim, &mut generator), bytes, stride, count }
    }
}

/// A list of codes and a query against it.
pub struct List {
    pub coding: Coding,
    pub count: usize,
    pub centroid: Vec<f32>,
    pub query: Vec<f32>,
    pub codes: Vec<u8>,
    pub factors: Vec<u8>,
    pub records: Vec<u8>,
    terms: ScanTerms,
    /// About one entry in a hundred passes below it.
    threshold: f32,
}

impl List {
    /// `count` entries, copies of a few hundred.
    pub fn new(coding: Coding, dim: usize, count: usize) -> Self {
        let mut generator = SplitMix64::new(2);
        let (centroid, query) = (vector(dim, &mut generator), vector(dim, &mut generator));
        let some: Vec<Coded> = (0..512)
            .map(|_| {
                let mut coded = Coded::default();
                kernels().encode(&coding, &vector(dim, &mut generator), &centroid, 0.0, &mut coded);
                coded
            })
            .collect();
        let (mut codes, mut factors, mut records) = (Vec::new(), Vec::new(), Vec::new());
        append_blocks(dim, &some, &mut codes, &mut factors);
        if coding.bits > 1 {
            some.iter().for_each(|coded| append_record(coded, coding.bits - 1, &mut records));
        }
        let repeated =
            |bytes: &[u8]| bytes.iter().copied().cycle().take(bytes.len() / 512 * count).collect::<Vec<u8>>();
        let squared: f32 = query.iter().zip(&centroid).map(|(q, c)| (q - c) * (q - c)).sum();
        let terms = ScanTerms { op: coding.op, base: squared, reach: squared.sqrt(), scale: coding.scale };
        let mut list = List {
            codes: repeated(&codes),
            factors: repeated(&factors),
            records: repeated(&records),
            coding,
            count,
            centroid,
            query,
            terms,
            threshold: 0.0,
        };
        let mut tables = QueryTables::new();
        kernels().prepare_query(&list.query, &mut tables);
        let (mut found, all) = (Survivors::new(), f32::INFINITY);
        kernels().scan(&tables, &list.signs(), &list.terms, 1.5, all, &[], &mut found);
        let mut bounds = found.bounds().to_vec();
        bounds.sort_by(f32::total_cmp);
        list.threshold = bounds[count / 100];
        list
    }

    pub fn terms(&self) -> &ScanTerms {
        &self.terms
    }

    pub fn signs(&self) -> SignList<'_> {
        SignList { codes: &self.codes, factors: &self.factors, count: self.count }
    }

    pub fn scan(&self, kernels: &Kernels, tables: &QueryTables, found: &mut Survivors) {
        found.clear();
        kernels.scan(tables, &self.signs(), &self.terms, 1.5, self.threshold, &[], found);
    }

    /// The scan over parts of 1,024 entries, each reading the next part ahead: how a search walks its lists.
    pub fn scan_in_parts(&self, kernels: &Kernels, tables: &QueryTables, found: &mut Survivors) {
        const PART: usize = 32;
        found.clear();
        let block = tables.padded_dim() * 4;
        let parts = self.codes.chunks(PART * block).zip(self.factors.chunks(PART * 128));
        for (i, (codes, factors)) in parts.enumerate() {
            let next = (i + 1) * PART * block;
            let ahead = &self.codes[next.min(self.codes.len())..(next + PART * block).min(self.codes.len())];
            let list = SignList { codes, factors, count: codes.len() / block * 32 };
            kernels.scan(tables, &list, &self.terms, 1.5, self.threshold, ahead, found);
        }
    }

    pub fn estimate(&self, kernels: &Kernels, tables: &QueryTables, out: &mut [f32]) {
        kernels.estimate(tables, &self.signs(), &self.terms, out);
    }

    pub fn refine(&self, kernels: &Kernels, tables: &QueryTables, found: &Survivors, out: &mut [f32]) {
        let list = ExtraList { records: &self.records, extra_bits: self.coding.bits - 1 };
        kernels.estimate_extra(tables, &list, &self.terms, found.positions(), found.sums(), out);
    }
}

/// What both stages multiply: for reports.
pub const OP: Op = Op::L2;
