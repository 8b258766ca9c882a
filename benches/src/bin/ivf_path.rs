//! Search by lists on real files, before any collection uses it: recall against queries per second, and where the time goes.
//!
//! `cargo run --release -p stratavec-benches --bin ivf_path -- [name=value ..]` with `STRATAVEC_BENCH_VECTORS` naming a folder
//! with `base.f16.npy`, `query.f16.npy` and `gt100.npy` (32-bit row numbers of the nearest rows of each query). Names: metric
//! (cosine, l2, ip), lists (0: 8 times the root of the rows), bits, codes (none, product:48x256; instead of bits), spill (0, 1), segments, exact, z (tenths), rows (f32, f16),
//! passes, nprobes (numbers with colons between), merge (1: merge the segments before searching), seed.

use std::error::Error;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use stratavec::storage::RealDir;
use stratavec::trial::{Effort, Seeker, Stages, Trial, TrialOptions};
use stratavec::{Codes, Metric, RowFormat, Schema};
use stratavec_benches::{Scratch, Threads, matrix_of_halves, matrix_of_words, provenance, time, write_result};

const NPROBES: [usize; 13] = [4, 8, 12, 16, 20, 24, 28, 32, 48, 64, 96, 128, 192];
const TARGETS: [f64; 3] = [0.95, 0.98, 0.99];
const K: usize = 10;

struct Settings {
    metric: Metric,
    rows: RowFormat,
    lists: usize,
    bits: usize,
    codes: Option<Codes>,
    spill: bool,
    segments: usize,
    exact: usize,
    deviations: f32,
    passes: usize,
    nprobes: Vec<usize>,
    merge: bool,
    seed: u64,
}

fn settings() -> Result<Settings, Box<dyn Error>> {
    let mut settings = Settings {
        metric: Metric::Cosine,
        rows: RowFormat::F32,
        lists: 0,
        bits: 4,
        codes: None,
        spill: true,
        segments: 1,
        exact: 16,
        deviations: 1.5,
        passes: 7,
        nprobes: NPROBES.to_vec(),
        merge: false,
        seed: 42,
    };
    for word in std::env::args().skip(1) {
        let (name, value) = word.split_once('=').ok_or("settings are name=value")?;
        match (name, value) {
            ("metric", "cosine") => settings.metric = Metric::Cosine,
            ("metric", "l2") => settings.metric = Metric::L2,
            ("metric", "ip") => settings.metric = Metric::InnerProduct,
            ("rows", "f32") => settings.rows = RowFormat::F32,
            ("rows", "f16") => settings.rows = RowFormat::F16,
            ("lists", _) => settings.lists = value.parse()?,
            ("bits", _) => settings.bits = value.parse()?,
            ("codes", "none") => settings.codes = Some(Codes::None),
            ("codes", _) => settings.codes = Some(product(value).ok_or("codes are none or product:48x256")?),
            ("spill", _) => settings.spill = value != "0",
            ("segments", _) => settings.segments = value.parse()?,
            ("exact", _) => settings.exact = value.parse()?,
            ("z", _) => settings.deviations = value.parse::<f32>()? / 10.0,
            ("passes", _) => settings.passes = value.parse()?,
            ("nprobes", _) => settings.nprobes = value.split(':').map(str::parse).collect::<Result<_, _>>()?,
            ("seed", _) => settings.seed = value.parse()?,
            ("merge", _) => settings.merge = value != "0",
            _ => return Err(format!("no setting is {word}").into()),
        }
    }
    Ok(settings)
}

fn product(text: &str) -> Option<Codes> {
    let (m, size) = text.strip_prefix("product:")?.split_once('x')?;
    Some(Codes::Product { m: m.parse().ok()?, codebook_size: size.parse().ok()? })
}

/// Queries and the true neighbours of each.
struct Questions {
    queries: Vec<f32>,
    truth: Vec<u32>,
    dim: usize,
    known: usize,
}

impl Questions {
    fn each(&self) -> impl Iterator<Item = (&[f32], &[u32])> {
        self.queries.chunks_exact(self.dim).zip(self.truth.chunks_exact(self.known).map(|truth| &truth[..K]))
    }

    fn count(&self) -> usize {
        (self.queries.len() / self.dim).min(self.truth.len() / self.known)
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let settings = settings()?;
    let folder = std::env::var("STRATAVEC_BENCH_VECTORS").map_err(|_| "STRATAVEC_BENCH_VECTORS names no folder")?;
    let folder = Path::new(&folder);
    let (base, dim) = matrix_of_halves(&folder.join("base.f16.npy"))?;
    let (queries, _) = matrix_of_halves(&folder.join("query.f16.npy"))?;
    let (truth, known) = matrix_of_words(&folder.join("gt100.npy"))?;
    let questions = Questions { queries, truth, dim, known };
    let count = base.len() / dim;
    let lists = if settings.lists > 0 { settings.lists } else { (8.0 * (count as f64).sqrt()) as usize };
    let Settings { bits, spill, segments, .. } = settings;
    let codes = settings.codes.unwrap_or(Codes::Bits(bits as u8));
    let options = TrialOptions { lists, bits, spill, segments, seed: settings.seed };
    let schema = Schema::new(dim, settings.metric).ids(stratavec::IdKind::U64).rows(settings.rows);
    let scratch = Scratch::new("ivf");
    let storage = Arc::new(RealDir::create(scratch.path("files"))?);
    let (trial, building) = time(|| Trial::build_coded(storage, &schema, &base, options, codes, &Threads(2)));
    let mut trial = trial?;
    drop(base);
    if settings.merge {
        let (merged, merging) = time(|| trial.merge());
        merged?;
        println!("merged {segments} segments in {:.2} s", merging.as_secs_f64());
    }
    let (model_bytes, list_bytes) = trial.bytes();
    let built = building.as_secs_f64();
    println!(
        "{count} x {dim}, {} lists, built in {built:.1} s, model {model_bytes} B, lists {list_bytes} B",
        trial.lists()
    );
    let figures = measure(&trial, &questions, &settings)?;
    let name = folder.file_name().map_or("ivf".into(), |name| format!("ivf-{}", name.to_string_lossy()));
    let name = match settings.codes {
        Some(codes) => format!("{name}-{}", codes.to_string().replace(' ', "-")),
        None => name,
    };
    let result = json!({
        "provenance": provenance(options.seed), "codes": codes.to_string(), "spill": spill, "exact": settings.exact, "rows": count, "dim": dim, "lists": trial.lists(), "build_s": built,
        "model_bytes": model_bytes, "list_bytes": list_bytes, "figures": figures,
    });
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    println!("written to {}", write_result(&results, &name, &result).display());
    Ok(())
}

fn measure(trial: &Trial, questions: &Questions, settings: &Settings) -> Result<Value, Box<dyn Error>> {
    let mut seeker = trial.seeker()?;
    let mut points = Vec::new();
    let mut figures = Vec::new();
    println!("nprobe recall    us    QPS | scanned records | query centroids refine scan records exact, us");
    for nprobe in settings.nprobes.iter().copied().filter(|nprobe| *nprobe <= trial.lists()) {
        let effort = Effort { exact: settings.exact, deviations: settings.deviations, ..Effort::new(nprobe) };
        let (recall, work) = quality(&mut seeker, questions, &effort)?;
        let best = fastest(&mut seeker, questions, &effort, settings.passes)?;
        let spent = stages(&mut seeker, questions, &effort, settings.passes)?;
        let parts: Vec<String> = spent.iter().map(|us| format!("{us:.2}")).collect();
        let rate = 1e6 / best;
        println!("{nprobe:6} {recall:.4} {best:6.1} {rate:6.0} | {:7.0} {:7.0} | {}", work.0, work.1, parts.join(" "));
        points.push((recall, best));
        figures.push(json!({ "nprobe": nprobe, "recall": recall, "us": best, "stages_us": spent }));
    }
    let mut at = Map::new();
    for target in TARGETS {
        let rate = rate_at(&points, target);
        println!("QPS at recall@10 {target}: {}", rate.map_or("not reached".into(), |rate| format!("{rate:.0}")));
        at.insert(target.to_string(), json!(rate));
    }
    Ok(json!({ "points": figures, "qps_at_recall": at }))
}

/// Recall, and the mean numbers of entries scanned and of records read.
fn quality(
    seeker: &mut Seeker<'_>,
    questions: &Questions,
    effort: &Effort,
) -> Result<(f64, (f64, f64)), Box<dyn Error>> {
    let (mut hits, mut scanned, mut records) = (0, 0, 0);
    for (query, truth) in questions.each() {
        let found = seeker.nearest(query, K, effort)?;
        hits += found.iter().filter(|(_, row)| truth.contains(&(*row as u32))).count();
        let work = seeker.work();
        (scanned, records) = (scanned + work.0, records + work.1);
    }
    let count = questions.count() as f64;
    Ok((hits as f64 / (count * K as f64), (scanned as f64 / count, records as f64 / count)))
}

/// Mean microseconds per query; of each query the fastest of some passes counts, so that other work on the machine shows little.
fn fastest(
    seeker: &mut Seeker<'_>,
    questions: &Questions,
    effort: &Effort,
    passes: usize,
) -> Result<f64, stratavec::Error> {
    let mut best = vec![f64::INFINITY; questions.count()];
    for _ in 0..passes {
        for ((query, _), best) in questions.each().zip(&mut best) {
            let (outcome, spent) = time(|| seeker.nearest(query, K, effort).map(|found| black_box(found.len())));
            outcome?;
            *best = best.min(spent.as_secs_f64() * 1e6);
        }
    }
    Ok(best.iter().sum::<f64>() / best.len() as f64)
}

/// The same for each stage of a search.
fn stages(
    seeker: &mut Seeker<'_>,
    questions: &Questions,
    effort: &Effort,
    passes: usize,
) -> Result<[f64; 6], stratavec::Error> {
    let mut best = vec![[f64::INFINITY; 6]; questions.count()];
    for _ in 0..passes {
        for ((query, _), best) in questions.each().zip(&mut best) {
            let mut stages = Stages::default();
            seeker.timed(query, K, effort, &mut stages)?;
            for (best, spent) in best.iter_mut().zip(stages.spent) {
                *best = best.min(spent.as_secs_f64() * 1e6);
            }
        }
    }
    Ok(std::array::from_fn(|stage| best.iter().map(|best| best[stage]).sum::<f64>() / best.len() as f64))
}

/// Queries per second at a recall, times interpolated between two settings.
fn rate_at(points: &[(f64, f64)], target: f64) -> Option<f64> {
    points.windows(2).find_map(|pair| {
        let ((low, fast), (high, slow)) = (pair[0], pair[1]);
        let inside = (low..=high).contains(&target);
        inside.then(|| 1e6 / (fast + (target - low) / (high - low).max(1e-9) * (slow - fast)))
    })
}
