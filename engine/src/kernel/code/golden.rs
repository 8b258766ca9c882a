//! The kernels against `format-spec/golden/codes.txt`, which `format-spec/oracle/golden.py` computes with NumPy alone.

use std::collections::HashMap;

use super::extra::{ExtraList, append_record};
use super::query::QueryTables;
use super::residual::{Coded, Coding};
use super::scan::{ScanTerms, SignList, Survivors};
use super::sign_block::append_blocks;
use crate::kernel::{CpuPath, Kernels, Op, Rotation, SplitMix64, encode_row};
use crate::metric::RowFormat;

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
    encode_row(RowFormat::F32, centroid, &mut row);
    let mut rotated = centroid.clone();
    Rotation::new(padded, 5).apply(kernels, &mut rotated);
    let mut tables = QueryTables::new();
    kernels.prepare_query(query, &mut tables);
    let (unit, bias) = tables.sign_terms();
    let (high, low, plane_unit, ..) = tables.planes();
    let mut all = vec![
        (format!("{padded}/norm"), hex(kernels.norm_squared(RowFormat::F32, &row).to_le_bytes())),
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
        let all: Vec<(String, String)> = [64, 192, 384, 1024].into_iter().flat_map(|p| computed(kernels, p)).collect();
        assert_eq!(all.len(), golden.len(), "golden values computed");
        for (name, value) in all {
            assert_eq!(golden.get(&name), Some(&value), "{name} on {:?}", kernels.path());
        }
    }
}
