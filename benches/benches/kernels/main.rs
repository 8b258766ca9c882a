//! Speed of the kernels on one core.
//!
//! `cargo bench --bench kernels` runs criterion over each kernel on the best path of the machine; `cargo bench --bench kernels
//! -- ratios` times all paths against each other and against plain memory reads, interleaved in one run, and prints the median
//! of eleven runs. `ratios scan`, `stage`, `prelude` or `rows` does a part.

mod inputs;
mod ratios;

use criterion::{BenchmarkId, Criterion, Throughput};
use std::hint::black_box;
use stratavec::kernel::code::query::QueryTables;
use stratavec::kernel::code::residual::Coded;
use stratavec::kernel::code::scan::Survivors;
use stratavec::kernel::{Element, Op, Rotation, kernels};

use inputs::{Coding, List, Rows};

fn main() {
    if std::env::args().any(|argument| argument == "ratios") {
        return ratios::run();
    }
    let mut criterion = Criterion::default().configure_from_args();
    distances(&mut criterion);
    codes(&mut criterion);
    criterion.final_summary();
}

/// One query against rows in the second-level cache.
fn distances(criterion: &mut Criterion) {
    for element in Element::ALL {
        let mut group = criterion.benchmark_group(format!("many/{}", element.name()));
        for dim in [128, 384, 768, 1536] {
            let rows = Rows::new(element, dim, 256 << 10);
            let mut out = vec![0.0; rows.count];
            group.throughput(Throughput::Elements(rows.count as u64));
            group.bench_function(BenchmarkId::from_parameter(dim), |b| {
                b.iter(|| kernels().many(Op::L2, element, &rows.query, &rows.bytes, rows.stride, black_box(&mut out)));
            });
        }
        group.finish();
    }
}

/// The stages of a search over codes, and coding itself.
fn codes(criterion: &mut Criterion) {
    for dim in [128, 384, 768] {
        let list = List::new(Coding { bits: 4, op: Op::L2, scale: 1.0 }, dim, 4096);
        let mut group = criterion.benchmark_group(format!("code/{dim}"));
        let mut tables = QueryTables::new();
        group.bench_function("prepare", |b| b.iter(|| kernels().prepare_query(black_box(&list.query), &mut tables)));
        let rotation = Rotation::new(dim, 1);
        let mut vector = list.query.clone();
        group.bench_function("rotate", |b| b.iter(|| rotation.apply(kernels(), black_box(&mut vector))));
        let mut coded = Coded::default();
        group.bench_function("encode", |b| {
            b.iter(|| kernels().encode(&list.coding, &list.query, black_box(&list.centroid), 0.0, &mut coded));
        });
        let mut found = Survivors::new();
        group.throughput(Throughput::Elements(list.count as u64));
        group.bench_function("scan", |b| b.iter(|| list.scan(kernels(), &tables, black_box(&mut found))));
        let mut refined = vec![0.0; found.len()];
        group.throughput(Throughput::Elements(found.len() as u64));
        group.bench_function("second stage", |b| {
            b.iter(|| list.refine(kernels(), &tables, &found, black_box(&mut refined)));
        });
        group.finish();
    }
}
