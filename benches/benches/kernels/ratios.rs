//! Paths against each other and against reading memory, interleaved.

use std::hint::black_box;
use std::time::Instant;

use stratavec::kernel::code::query::QueryTables;
use stratavec::kernel::code::residual::Coded;
use stratavec::kernel::code::scan::Survivors;
use stratavec::kernel::{CpuPath, Element, Kernels, Op, Rotation};

use super::inputs::{Coding, List, OP, Rows};

/// Interleaved runs; the median counts.
const RUNS: usize = 11;
/// Larger than any cache.
const MEMORY: usize = 192 << 20;

/// Something to time: its name, how many items one call handles, and the call.
type Job<'a> = (String, usize, Box<dyn FnMut() + 'a>);

/// The parts named among the arguments (`scan`, `stage`, `prelude`, `rows`), or all of them.
pub fn run() {
    let arguments: Vec<String> = std::env::args().collect();
    let parts: [(&str, fn(usize)); 5] =
        [("scan", cached_scan), ("scan", memory_scan), ("stage", second_stage), ("prelude", prelude), ("rows", rows)];
    let named = |part: &str| arguments.iter().any(|argument| argument == part);
    let all = !parts.iter().any(|(name, _)| named(name));
    for (_, part) in parts.iter().filter(|(name, _)| all || named(name)) {
        [128, 384, 768, 1536].into_iter().for_each(part);
    }
}

/// Nanoseconds per item, medians of interleaved runs; prints a line for each job.
fn compare(title: &str, repeats: usize, mut jobs: Vec<Job<'_>>) -> Vec<f64> {
    let mut times = vec![Vec::new(); jobs.len()];
    for _ in 0..RUNS {
        for (job, times) in jobs.iter_mut().zip(&mut times) {
            let start = Instant::now();
            for _ in 0..repeats {
                (job.2)();
            }
            times.push(start.elapsed().as_secs_f64() * 1e9 / (repeats * job.1) as f64);
        }
    }
    for times in &mut times {
        times.sort_by(f64::total_cmp);
    }
    let medians: Vec<f64> = times.iter().map(|times| times[RUNS / 2]).collect();
    println!("{title}");
    for (job, ns) in jobs.iter().zip(&medians) {
        println!("  {:28} {ns:10.3} ns", job.0);
    }
    medians
}

fn paths() -> impl Iterator<Item = &'static Kernels> {
    CpuPath::ALL.into_iter().rev().filter_map(Kernels::for_path)
}

fn coding(bits: usize) -> Coding {
    Coding { bits, op: OP, scale: 1.0 }
}

fn tables(list: &List) -> QueryTables {
    let mut tables = QueryTables::new();
    Kernels::scalar().prepare_query(&list.query, &mut tables);
    tables
}

fn cached_scan(dim: usize) {
    let list = List::new(coding(1), dim, (400 << 10) / (dim / 8 + 4) / 512 * 512);
    let tables = tables(&list);
    let mut jobs: Vec<Job<'_>> = Vec::new();
    for kernels in paths() {
        let (mut found, mut out) = (Survivors::new(), vec![0.0; list.count]);
        let (list, tables) = (&list, &tables);
        let name = kernels.path().name();
        jobs.push((
            format!("{name} scan"),
            list.count,
            Box::new(move || list.scan(kernels, tables, black_box(&mut found))),
        ));
        let estimate = move || list.estimate(kernels, tables, black_box(&mut out));
        jobs.push((format!("{name} estimate"), list.count, Box::new(estimate)));
    }
    compare(&format!("sign blocks, {dim} components, from the second-level cache, per entry"), 4, jobs);
}

/// Reads everything once, in words.
fn read(bytes: &[u8]) -> u64 {
    let mut lanes = [0_u64; 32];
    for chunk in bytes.as_chunks::<256>().0 {
        for (lane, word) in lanes.iter_mut().zip(chunk.as_chunks::<8>().0) {
            *lane |= u64::from_le_bytes(*word);
        }
    }
    lanes.into_iter().fold(0, |all, lane| all | lane)
}

fn memory_scan(dim: usize) {
    let list = List::new(coding(1), dim, MEMORY / (dim / 8 + 4) / 1024 * 1024);
    let tables = tables(&list);
    let bytes_each = dim / 8 + 4;
    let mut jobs: Vec<Job<'_>> = Vec::new();
    let count = list.count;
    let codes = &list.codes;
    jobs.push(("plain read".into(), codes.len() / bytes_each, Box::new(move || _ = black_box(read(codes)))));
    for kernels in paths().take(2) {
        let mut found = Survivors::new();
        let (list, tables) = (&list, &tables);
        let scan = move || list.scan_in_parts(kernels, tables, black_box(&mut found));
        jobs.push((format!("{} scan", kernels.path().name()), count, Box::new(scan)));
    }
    let ns = compare(&format!("sign blocks, {dim} components, from memory, per entry of {bytes_each} bytes"), 1, jobs);
    for ns_scan in &ns[1..] {
        println!("  {:.2} of the bandwidth of plain reads", ns[0] / ns_scan);
    }
}

fn second_stage(dim: usize) {
    for bits in [2, 3, 4, 5, 8] {
        let list = List::new(coding(bits), dim, 1024);
        let tables = tables(&list);
        let mut found = Survivors::new();
        Kernels::scalar().scan(&tables, &list.signs(), list.terms(), 0.0, f32::INFINITY, &[], &mut found);
        let mut jobs: Vec<Job<'_>> = Vec::new();
        for kernels in paths().take(2) {
            let mut out = vec![0.0; found.len()];
            let (list, tables, found) = (&list, &tables, &found);
            let refine = move || list.refine(kernels, tables, found, black_box(&mut out));
            jobs.push((kernels.path().name().into(), found.len(), Box::new(refine)));
        }
        compare(&format!("second stage, {dim} components, {bits} bits, per entry"), 20, jobs);
    }
}

fn prelude(dim: usize) {
    let list = List::new(coding(4), dim, 512);
    let rotation = Rotation::new(dim, 1);
    let mut jobs: Vec<Job<'_>> = Vec::new();
    for kernels in paths() {
        let (list, rotation) = (&list, &rotation);
        let name = kernels.path().name();
        let mut vector = list.query.clone();
        jobs.push((format!("{name} rotate"), 1, Box::new(move || rotation.apply(kernels, black_box(&mut vector)))));
        let mut tables = QueryTables::new();
        let prepare = move || kernels.prepare_query(black_box(&list.query), &mut tables);
        jobs.push((format!("{name} prepare"), 1, Box::new(prepare)));
        for bits in [1, 4] {
            let mut coded = Coded::default();
            let coding = coding(bits);
            let encode = move || kernels.encode(&coding, &list.query, black_box(&list.centroid), 0.0, &mut coded);
            jobs.push((format!("{name} encode {bits} bits"), 1, Box::new(encode)));
        }
    }
    compare(&format!("per vector, {dim} components"), 300, jobs);
}

fn rows(dim: usize) {
    for (place, bytes, repeats) in [("the second-level cache", 256 << 10, 20), ("memory", MEMORY, 1)] {
        let elements =
            [Element::F32, Element::F16, Element::Bf16].map(|element| (element, Rows::new(element, dim, bytes)));
        let mut jobs: Vec<Job<'_>> = Vec::new();
        let (_, first) = &elements[0];
        jobs.push(("plain read of f32 rows".into(), first.count, Box::new(|| _ = black_box(read(&first.bytes)))));
        for (element, rows) in &elements {
            for kernels in paths() {
                if kernels.path() == CpuPath::Scalar && *element == Element::F16 {
                    continue;
                }
                for op in [Op::L2, Op::Dot] {
                    let mut out = vec![0.0; rows.count];
                    let many = move || {
                        let rows_at = rows.bytes.chunks(64 * rows.stride).zip(out.chunks_mut(64));
                        for (bytes, out) in rows_at {
                            kernels.many(op, *element, &rows.query, bytes, rows.stride, black_box(out));
                        }
                    };
                    let name = format!("{} {} {op:?}", kernels.path().name(), element.name());
                    jobs.push((name, rows.count, Box::new(many)));
                }
            }
        }
        compare(&format!("rows, {dim} components, from {place}, per row"), repeats, jobs);
    }
}
