//! The kernels against `format-spec/golden/codes.txt`, which `format-spec/oracle/golden.py` computes with NumPy alone.

use std::collections::HashMap;

use super::extra::{ExtraList, append_record};
use super::product::{Codebook, ProductFactors, ProductScratch, ProductTables};
use super::query::QueryTables;
use super::residual::{Coded, Coding};
use super::row::RowCoding;
use super::scan::{ScanTerms, SignList, Survivors};
use super::sign_block::append_blocks;
use crate::kernel::{CpuPath, Kernels, Op, Rotation, SplitMix64, encode_row};
use crate::metric::Element;

/// The expected bytes by name.
fn golden() -> HashMap<String, String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../format-spec/golden/codes.txt");
    let text = std::fs::read_to_string(path).expect("golden file");
    text.lines().filter_map(|line| line.split_once(' ')).map(|(name, hex)| (name.into(), hex.into())).collect()
}

fn hex(bytes: impl IntoIterator<Item = u8>) -> String {
    bytes.into_iter().map(|byte| format!("{byte:02x}")).collect()
}

fn floats(values: &[f32]) -> String {
    hex(values.iter().flat_map(|x| x.to_le_bytes()))
}

fn uniform(stream: &mut SplitMix64, count: usize) -> Vec<f32> {
    (0..count).map(|_| (stream.next_u64() >> 40) as f32 / 8_388_608.0 - 1.0).collect()
}

/// Everything the golden file has for one dimension, as this path computes it.
fn computed(kernels: &Kernels, padded: usize) -> Vec<(String, String)> {
    let mut stream = SplitMix64::new(padded as u64);
    let vectors: Vec<Vec<f32>> = (0..8).map(|_| uniform(&mut stream, padded)).collect();
    let (centroid, query) = (&vectors[0], &vectors[1]);
    let zero = vec![0.0; padded];
    let members: Vec<&[f32]> = vectors[2..].iter().chain([centroid, &zero]).map(Vec::as_slice).collect();

    let mut row = Vec::new();
    encode_row(Element::F32, centroid, &mut row);
    let mut rotated = centroid.clone();
    Rotation::new(padded, 5).apply(kernels, &mut rotated);
    let mut tables = QueryTables::new();
    kernels.prepare_query(query, &mut tables);
    let (unit, bias) = tables.sign_terms();
    let (high, low, plane_unit, ..) = tables.planes();
    let mut all = vec![
        (format!("{padded}/norm"), hex(kernels.norm_squared(Element::F32, &row).to_le_bytes())),
        (format!("{padded}/rotated"), floats(&rotated)),
        (format!("{padded}/table"), hex(tables.table_bytes())),
        (format!("{padded}/planes"), hex(high.iter().chain(low).map(|x| x.cast_unsigned()))),
        (format!("{padded}/units"), floats(&[unit, bias, plane_unit])),
    ];
    for bits in 1..=8 {
        let op = if bits % 2 == 0 { Op::L2 } else { Op::Dot };
        let coding = Coding { bits, op, scale: 0.25 };
        let entries: Vec<Coded> = members
            .iter()
            .map(|member| {
                let mut coded = Coded::default();
                kernels.encode(&coding, member, centroid, 0.5, &mut coded);
                coded
            })
            .collect();
        list(kernels, &tables, &coding, &entries, &mut all);
    }
    for (bits, op, name) in [(4, Op::L2, "l2"), (4, Op::Dot, "dot"), (8, Op::L2, "l2"), (8, Op::Dot, "dot")] {
        let name = format!("{padded}/row{bits}/{name}");
        rows(kernels, &tables, &RowCoding { bits, op }, &members, &name, &mut all);
    }
    all
}

/// Records and estimates of whole rows.
fn rows(
    kernels: &Kernels,
    tables: &QueryTables,
    coding: &RowCoding,
    members: &[&[f32]],
    name: &str,
    all: &mut Vec<(String, String)>,
) {
    let (mut values, mut records) = (Vec::new(), Vec::new());
    members.iter().for_each(|row| kernels.encode_row_code(coding, row, 0.5, &mut values, &mut records));
    let offsets: Vec<usize> = (0..members.len()).map(|i| i * coding.record_bytes(tables.padded_dim())).collect();
    let terms = ScanTerms { op: coding.op, base: 7.5, reach: 3.25, scale: 1.0 };
    let mut estimates = vec![0.0; members.len()];
    kernels.estimate_row_codes(tables, coding, &terms, &records, &offsets, &mut estimates);
    all.push((format!("{name}/records"), hex(records)));
    all.push((format!("{name}/estimates"), floats(&estimates)));
}

/// Dimensions, parts and codewords of the books.
const BOOKS: [(usize, usize, usize); 5] = [(64, 16, 16), (64, 2, 1024), (128, 8, 256), (192, 24, 32), (384, 96, 16)];

/// Everything the golden file has for one book, as this path computes it.
fn product(kernels: &Kernels, padded: usize, parts: usize, size: usize) -> Vec<(String, String)> {
    let mut stream = SplitMix64::new((padded * 2048 + size) as u64);
    let vectors: Vec<Vec<f32>> = (0..6).map(|_| uniform(&mut stream, padded)).collect();
    let book = Codebook::new(padded, parts, size, uniform(&mut stream, padded * size)).expect("a book");
    let (centroid, query, zero) = (&vectors[0], &vectors[1], vec![0.0; padded]);
    let members = || vectors[2..].iter().chain([centroid, &zero]);
    let mut tables = ProductTables::new();
    kernels.prepare_product(&book, query, &mut tables);
    let name = format!("{padded}/product{parts}x{size}");
    let mut all = vec![(format!("{name}/tables"), floats(tables.entries()))];
    if size == 16 {
        let block = tables.to_block_tables(0.0);
        let (unit, bias) = block.sign_terms();
        all.push((format!("{name}/block-tables"), hex(block.table_bytes()) + &floats(&[unit, bias])));
    }
    for (op, op_name) in [(Op::L2, "l2"), (Op::Dot, "dot")] {
        let terms = ScanTerms { op, base: 7.5, reach: 3.25, scale: 1.0 };
        let (mut codes, mut factors, mut estimates) = (Vec::new(), Vec::new(), Vec::new());
        let mut scratch = ProductScratch::default();
        for member in members() {
            let made = kernels.encode_product(&book, op, member, centroid, 0.5, &mut scratch);
            let start = codes.len();
            book.pack(&scratch.code, &mut codes);
            estimates.push(tables.estimate(&book, &terms, &codes[start..], &made));
            let ProductFactors { add, rescale, error } = made;
            factors.extend(add.to_le_bytes().into_iter().chain(rescale.to_le_bytes()).chain(error.to_le_bytes()));
        }
        all.push((format!("{name}/{op_name}/codes"), hex(codes)));
        all.push((format!("{name}/{op_name}/factors"), hex(factors)));
        all.push((format!("{name}/{op_name}/estimates"), floats(&estimates)));
    }
    all
}

/// The bytes of a list and what a search computes from them.
fn list(kernels: &Kernels, tables: &QueryTables, coding: &Coding, entries: &[Coded], all: &mut Vec<(String, String)>) {
    let name = format!("{}/{}", tables.padded_dim(), coding.bits);
    let terms = ScanTerms { op: coding.op, base: 7.5, reach: 3.25, scale: coding.scale };
    let (mut codes, mut factors) = (Vec::new(), Vec::new());
    append_blocks(tables.padded_dim(), entries, &mut codes, &mut factors);
    let words = entries.iter().flat_map(|e| [e.sign_factors.add, e.sign_factors.rescale]).flat_map(u16::to_le_bytes);
    let mut found = Survivors::new();
    let signs = SignList { codes: &codes, factors: &factors, count: entries.len() };
    kernels.scan(tables, &signs, &terms, 1.5, f32::INFINITY, &[], &mut found);
    all.push((format!("{name}/block"), hex(codes.iter().copied())));
    all.push((format!("{name}/words"), hex(words)));
    all.push((format!("{name}/sums"), hex(found.sums().iter().flat_map(|sum| sum.to_le_bytes()))));
    all.push((format!("{name}/bounds"), floats(found.bounds())));
    if coding.bits > 1 {
        let mut records = Vec::new();
        entries.iter().for_each(|coded| append_record(coded, coding.extra_bits(), &mut records));
        let mut estimates = vec![0.0; entries.len()];
        let extra = ExtraList { records: &records, extra_bits: coding.extra_bits() };
        kernels.estimate_extra(tables, &extra, &terms, found.positions(), found.sums(), &mut estimates);
        all.push((format!("{name}/records"), hex(records)));
        all.push((format!("{name}/estimates"), floats(&estimates)));
    }
}

#[test]
fn every_path_computes_what_the_oracle_wrote_down() {
    let golden = golden();
    for kernels in CpuPath::ALL.into_iter().filter_map(Kernels::for_path) {
        let lists = [64, 192, 384, 1024].into_iter().flat_map(|p| computed(kernels, p));
        let books = BOOKS.into_iter().flat_map(|(padded, parts, size)| product(kernels, padded, parts, size));
        let all: Vec<(String, String)> = lists.chain(books).collect();
        assert_eq!(all.len(), golden.len(), "golden values computed");
        for (name, value) in all {
            assert_eq!(golden.get(&name), Some(&value), "{name} on {:?}", kernels.path());
        }
    }
}
