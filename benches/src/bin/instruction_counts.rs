//! Runs each of the hottest kernels once on fixed input, each in a function of its own, for counting instructions: see
//! `benches/instruction_counts.py`.

use std::hint::black_box;

use stratavec::kernel::code::extra::{ExtraList, append_record};
use stratavec::kernel::code::product::{Codebook, ProductScratch, ProductTables, put_numbers};
use stratavec::kernel::code::query::QueryTables;
use stratavec::kernel::code::residual::{Coded, Coding};
use stratavec::kernel::code::row::RowCoding;
use stratavec::kernel::code::scan::{ScanTerms, ScanTurn, SignList, Survivors};
use stratavec::kernel::code::sign_block::{BLOCK, FACTOR_BYTES, append_blocks, put_factors};
use stratavec::kernel::{Element, Kernels, Op, Rotation, Selection, SplitMix64, encode_row, kernels};

const DIM: usize = 384;
const ROWS: usize = 64;

/// Defines functions that are not inlined, so that each is one line of the profile.
macro_rules! counted {
    ($($name:ident($($argument:ident: $type:ty),*) $body:block)*) => {
        $(#[inline(never)] fn $name($($argument: $type),*) { $body })*
    };
}

counted! {
    counted_many_f32(k: &Kernels, query: &[f32], rows: &[u8], out: &mut [f32]) {
        k.many(Op::L2, Element::F32, query, rows, DIM * 4, out);
    }
    counted_many_f16(k: &Kernels, query: &[f32], rows: &[u8], out: &mut [f32]) {
        k.many(Op::L2, Element::F16, query, rows, DIM * 2, out);
    }
    counted_gather_f32(k: &Kernels, query: &[f32], rows: &[u8], offsets: &[usize], out: &mut [f32]) {
        k.gather(Op::Dot, Element::F32, query, rows, offsets, out);
    }
    counted_rotate(k: &Kernels, rotation: &Rotation, vector: &mut [f32]) {
        rotation.apply(k, vector);
    }
    counted_prepare(k: &Kernels, query: &[f32], tables: &mut QueryTables) {
        k.prepare_query(query, tables);
    }
    counted_encode(k: &Kernels, coding: &Coding, vector: &[f32], centroid: &[f32], out: &mut Coded) {
        k.encode(coding, vector, centroid, 0.0, out);
    }
    counted_scan(k: &Kernels, tables: &QueryTables, list: &SignList, terms: &ScanTerms, found: &mut Survivors) {
        k.scan(tables, list, terms, 1.5, terms.base, &[], found);
    }
    counted_estimate(k: &Kernels, tables: &QueryTables, list: &SignList, terms: &ScanTerms, out: &mut [f32]) {
        k.estimate(tables, list, terms, out);
    }
    counted_second_stage(k: &Kernels, tables: &QueryTables, list: &ExtraList, terms: &ScanTerms, found: &Survivors) {
        let mut out = [0.0; ROWS];
        k.estimate_extra(tables, list, terms, found.positions(), found.sums(), &mut out);
        black_box(out);
    }
    counted_row_codes(k: &Kernels, tables: &QueryTables, coding: &RowCoding, terms: &ScanTerms, records: &[u8]) {
        let mut out = [0.0; ROWS];
        let offsets: [usize; ROWS] = std::array::from_fn(|i| i * coding.record_bytes(DIM));
        k.estimate_row_codes(tables, coding, terms, records, &offsets, &mut out);
        black_box(out);
    }
    counted_prepare_product(k: &Kernels, book: &Codebook, query: &[f32], tables: &mut ProductTables) {
        k.prepare_product(book, query, tables);
    }
    counted_scan_columns(k: &Kernels, tables: &ProductTables, turn: &ScanTurn, found: &mut Survivors) {
        k.scan_columns(tables, std::slice::from_ref(turn), turn.terms.base, found);
    }
    counted_select(k: &Kernels, estimates: &[f32], selection: &mut Selection) {
        black_box(k.select(estimates, 64, selection));
    }
}

fn vector(generator: &mut SplitMix64) -> Vec<f32> {
    (0..DIM).map(|_| (generator.next_u64() >> 40) as f32 / 8_388_608.0 - 1.0).collect()
}

fn distances(k: &Kernels, query: &[f32], vectors: &[Vec<f32>]) {
    let (mut wide, mut narrow) = (Vec::new(), Vec::new());
    for vector in vectors {
        encode_row(Element::F32, vector, &mut wide);
        encode_row(Element::F16, vector, &mut narrow);
    }
    let offsets: Vec<usize> = (0..ROWS).map(|i| i * 29 % ROWS * DIM * 4).collect();
    let mut out = [0.0; ROWS];
    counted_many_f32(k, query, &wide, &mut out);
    counted_many_f16(k, query, &narrow, &mut out);
    counted_gather_f32(k, query, &wide, &offsets, &mut out);
    black_box(out);
}

fn codes(k: &Kernels, query: &[f32], centroid: &[f32], vectors: &[Vec<f32>]) {
    let coding = Coding { bits: 4, op: Op::L2, scale: 1.0 };
    let (mut tables, mut found) = (QueryTables::new(), Survivors::new());
    k.prepare_query(query, &mut tables);
    counted_prepare(k, query, &mut tables);
    let entries: Vec<Coded> = vectors
        .iter()
        .map(|vector| {
            let mut coded = Coded::default();
            k.encode(&coding, vector, centroid, 0.0, &mut coded);
            coded
        })
        .collect();
    let mut again = Coded::default();
    k.encode(&coding, query, centroid, 0.0, &mut again);
    counted_encode(k, &coding, query, centroid, &mut again);
    let (mut blocks, mut factors, mut records) = (Vec::new(), Vec::new(), Vec::new());
    append_blocks(DIM, &entries, &mut blocks, &mut factors);
    entries.iter().for_each(|coded| append_record(coded, coding.extra_bits(), &mut records));
    let reach: f32 = query.iter().zip(centroid).map(|(q, c)| (q - c) * (q - c)).sum();
    let terms = ScanTerms { op: Op::L2, base: reach, reach: reach.sqrt(), scale: 1.0 };
    let list = SignList { codes: &blocks, factors: &factors, count: ROWS };
    let mut out = [0.0; ROWS];
    counted_estimate(k, &tables, &list, &terms, &mut out);
    black_box(out);
    k.scan(&tables, &list, &terms, 1.5, f32::INFINITY, &[], &mut found);
    let extra = ExtraList { records: &records, extra_bits: coding.extra_bits() };
    counted_second_stage(k, &tables, &extra, &terms, &found);
    found.clear();
    counted_scan(k, &tables, &list, &terms, &mut found);
    row_codes(k, &tables, vectors);
}

fn row_codes(k: &Kernels, tables: &QueryTables, vectors: &[Vec<f32>]) {
    let coding = RowCoding { bits: 8, op: Op::L2 };
    let (mut values, mut records) = (Vec::new(), Vec::new());
    vectors.iter().for_each(|vector| k.encode_row_code(&coding, vector, 0.0, &mut values, &mut records));
    let norm = tables.norm_squared();
    let terms = ScanTerms { op: Op::L2, base: norm, reach: norm.sqrt(), scale: 1.0 };
    counted_row_codes(k, tables, &coding, &terms, &records);
}

/// Product codes of 48 parts and 256 codewords.
fn product(k: &Kernels, generator: &mut SplitMix64, query: &[f32], centroid: &[f32], vectors: &[Vec<f32>]) {
    const PARTS: usize = 48;
    let words = (0..DIM * 256).map(|_| (generator.next_u64() >> 40) as f32 / 8_388_608.0 - 1.0).collect();
    let book = Codebook::new(DIM, PARTS, 256, words).expect("a book");
    let mut tables = ProductTables::new();
    k.prepare_product(&book, query, &mut tables);
    counted_prepare_product(k, &book, query, &mut tables);
    let (mut scratch, mut code) = (ProductScratch::default(), Vec::new());
    let (mut codes, mut factors) = (vec![0; ROWS * PARTS], vec![0; ROWS / BLOCK * FACTOR_BYTES]);
    for (i, vector) in vectors.iter().enumerate() {
        let made = k.encode_product(&book, Op::L2, vector, centroid, 0.0, &mut scratch);
        book.spell(&scratch.code, &mut code);
        put_numbers(&mut codes[i / BLOCK * BLOCK * PARTS..], i % BLOCK, 1, &code);
        put_factors(&mut factors.as_chunks_mut().0[i / BLOCK], i % BLOCK, made.to_block_factors(1.0));
    }
    let reach: f32 = query.iter().zip(centroid).map(|(q, c)| (q - c) * (q - c)).sum();
    let terms = ScanTerms { op: Op::L2, base: reach, reach: reach.sqrt(), scale: 1.0 };
    let turn = ScanTurn { list: SignList { codes: &codes, factors: &factors, count: ROWS }, terms, ahead: &[] };
    let mut found = Survivors::new();
    k.scan_columns(&tables, &[turn], f32::INFINITY, &mut found);
    found.clear();
    counted_scan_columns(k, &tables, &turn, &mut found);
    black_box(found.len());
}

fn main() {
    let k = kernels();
    println!("{}", k.path().name());
    let mut generator = SplitMix64::new(1);
    let vectors: Vec<Vec<f32>> = (0..ROWS).map(|_| vector(&mut generator)).collect();
    let (query, centroid) = (vector(&mut generator), vector(&mut generator));
    distances(k, &query, &vectors);
    codes(k, &query, &centroid, &vectors);
    let rotation = Rotation::new(DIM, 1);
    let mut turned = query.clone();
    counted_rotate(k, &rotation, &mut turned);
    black_box(turned);
    let estimates: Vec<f32> = (0..2048).map(|_| (generator.next_u64() >> 40) as f32).collect();
    product(k, &mut generator, &query, &centroid, &vectors);
    let mut selection = Selection::new();
    k.select(&estimates, 64, &mut selection);
    counted_select(k, &estimates, &mut selection);
}
