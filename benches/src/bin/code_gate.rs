//! The table of `format-spec/oracle/gate.py` with the engine's own codes, over the lists it wrote: how many of the true ten
//! neighbours are among the best T rows by estimate, and whether errors are as large as sigma says. The errors of inner products
//! follow, over the same entries: there the inner products are those before the mean was taken off.

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;

use stratavec::kernel::code::extra::{ExtraList, append_record};
use stratavec::kernel::code::query::QueryTables;
use stratavec::kernel::code::residual::{Coded, Coding};
use stratavec::kernel::code::scan::{ScanTerms, SignList, Survivors};
use stratavec::kernel::code::sign_block::append_blocks;
use stratavec::kernel::{Op, kernels};

const PROBES: usize = 96;
const TAKE: [usize; 8] = [10, 16, 24, 32, 48, 64, 96, 192];

struct Input {
    dim: usize,
    base: Vec<f32>,
    query: Vec<f32>,
    centroids: Vec<f32>,
    mean: Vec<f32>,
    members: Vec<Vec<usize>>,
    truth: Vec<i32>,
    /// Unit of the stored first-stage constants.
    scale: f32,
}

fn words<T>(path: &Path, word: impl Fn([u8; 4]) -> T) -> Result<Vec<T>, Box<dyn Error>> {
    Ok(std::fs::read(path)?.as_chunks::<4>().0.iter().map(|bytes| word(*bytes)).collect())
}

fn squared(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

impl Input {
    fn read(directory: &Path) -> Result<Self, Box<dyn Error>> {
        let dim: usize = std::fs::read_to_string(directory.join("dim"))?.trim().parse()?;
        let floats = |name: &str| words(&directory.join(name), f32::from_le_bytes);
        let integers = |name: &str| words(&directory.join(name), i32::from_le_bytes);
        let centroids = floats("centroids.f32")?;
        let mut members = vec![Vec::new(); centroids.len() / dim];
        let (first, second) = (integers("first.i32")?, integers("second.i32")?);
        first.iter().enumerate().for_each(|(row, list)| members[*list as usize].push(row));
        for (row, list) in second.iter().enumerate().filter(|(row, list)| first[*row] != **list) {
            members[*list as usize].push(row);
        }
        let base = floats("base.f32")?;
        let longest = base.chunks_exact(dim).map(|x| squared(x, &vec![0.0; dim])).fold(0.0, f64::max);
        // Sixteen times the longest is far below the largest half-precision number.
        let scale = 2.0_f32.powi(longest.log2().ceil() as i32 - 11);
        let (query, truth, mean) = (floats("query.f32")?, integers("truth.i32")?, floats("mean.f32")?);
        Ok(Input { dim, base, query, centroids, mean, members, truth, scale })
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.base[row * self.dim..][..self.dim]
    }

    /// What centring took off the inner products of a row with queries, but for a part that is the query's own.
    fn offset(&self, row: usize, op: Op) -> f64 {
        if op == Op::Dot { dot(&self.mean, self.row(row)) } else { 0.0 }
    }

    /// What an estimate for `row` should be.
    fn exact(&self, query: &[f32], row: usize, op: Op) -> f64 {
        match op {
            Op::L2 => squared(query, self.row(row)),
            Op::Dot => -(dot(query, self.row(row)) + self.offset(row, op)),
        }
    }

    fn centroid(&self, list: usize) -> &[f32] {
        &self.centroids[list * self.dim..][..self.dim]
    }
}

struct List {
    codes: Vec<u8>,
    factors: Vec<u8>,
    records: Vec<u8>,
    rescale: Vec<f32>,
}

impl List {
    fn new(input: &Input, coding: &Coding, list: usize) -> Self {
        let entries: Vec<Coded> = input.members[list]
            .iter()
            .map(|row| {
                let mut coded = Coded::default();
                let offset = input.offset(*row, coding.op) as f32;
                kernels().encode(coding, input.row(*row), input.centroid(list), offset, &mut coded);
                coded
            })
            .collect();
        let (mut codes, mut factors, mut records) = (Vec::new(), Vec::new(), Vec::new());
        append_blocks(input.dim, &entries, &mut codes, &mut factors);
        if coding.bits > 1 {
            entries.iter().for_each(|coded| append_record(coded, coding.bits - 1, &mut records));
        }
        List { codes, factors, records, rescale: entries.iter().map(|coded| coded.factors.rescale).collect() }
    }
}

/// Sums of z and of its square, and their number.
#[derive(Default)]
struct Errors(f64, f64, f64);

impl Errors {
    fn note(&mut self, z: f64) {
        self.0 += z;
        self.1 += z * z;
        self.2 += 1.0;
    }
}

fn gate(input: &Input, op: Op, bits: usize) {
    let coding = Coding { bits, op, scale: input.scale };
    let mut lists: HashMap<usize, List> = HashMap::new();
    let mut hits = [0_usize; TAKE.len()];
    let mut errors = Errors::default();
    let (mut tables, mut found) = (QueryTables::new(), Survivors::new());
    for (query, truth) in input.query.chunks_exact(input.dim).zip(input.truth.chunks_exact(10)) {
        kernels().prepare_query(query, &mut tables);
        let mut near: Vec<(f64, usize)> =
            (0..input.members.len()).map(|list| (squared(query, input.centroid(list)), list)).collect();
        near.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut best: HashMap<usize, f32> = HashMap::new();
        for (reach, at) in near.into_iter().take(PROBES) {
            let list = lists.entry(at).or_insert_with(|| List::new(input, &coding, at));
            let members = &input.members[at];
            let base = if op == Op::L2 { reach } else { -dot(query, input.centroid(at)) };
            let terms = ScanTerms { op, base: base as f32, reach: reach.sqrt() as f32, scale: input.scale };
            let signs = SignList { codes: &list.codes, factors: &list.factors, count: members.len() };
            let mut estimates = vec![0.0; members.len()];
            if bits == 1 {
                kernels().estimate(&tables, &signs, &terms, &mut estimates);
            } else {
                found.clear();
                kernels().scan(&tables, &signs, &terms, 0.0, f32::INFINITY, &[], &mut found);
                let extra = ExtraList { records: &list.records, extra_bits: bits - 1 };
                kernels().estimate_extra(&tables, &extra, &terms, found.positions(), found.sums(), &mut estimates);
            }
            for ((row, estimate), rescale) in members.iter().zip(&estimates).zip(&list.rescale) {
                let sigma = f64::from(terms.sigma(&tables, bits, *rescale));
                if sigma > 0.0 {
                    errors.note((f64::from(*estimate) - input.exact(query, *row, op)) / sigma);
                }
                best.entry(*row).and_modify(|e| *e = e.min(*estimate)).or_insert(*estimate);
            }
        }
        let mut order: Vec<(f32, usize)> = best.into_iter().map(|(row, estimate)| (estimate, row)).collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        for (hits, take) in hits.iter_mut().zip(TAKE) {
            let taken = &order[..take.min(order.len())];
            *hits += taken.iter().filter(|(_, row)| truth.contains(&(*row as i32))).count();
        }
    }
    let table = hits.map(|hits| format!("{:.3}", hits as f64 / input.truth.len() as f64)).join(" ");
    let Errors(sum, square, n) = errors;
    let mean = sum / n;
    let deviation = (square / n - mean * mean).sqrt();
    match op {
        Op::L2 => println!("{bits} bits: {table}   z mean {mean:+.3} deviation {deviation:.3}"),
        Op::Dot => println!("{bits} bits, inner product: z mean {mean:+.3} deviation {deviation:.3}"),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).ok_or("usage: code_gate DIRECTORY (written by gate.py)")?;
    let input = Input::read(Path::new(&directory))?;
    println!("T = {TAKE:?}");
    (1..=8).for_each(|bits| gate(&input, Op::L2, bits));
    (1..=8).for_each(|bits| gate(&input, Op::Dot, bits));
    Ok(())
}
