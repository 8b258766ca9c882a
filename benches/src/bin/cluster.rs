//! Clustering from the command line, for `benches/compare/kmeans_peers.py` and by hand. Every command prints one JSON line.
//!
//! * `cluster mixture ROWS DIM CLUSTERS SEED FILE` writes a seeded Gaussian mixture as little-endian f32 rows.
//! * `cluster train FILE DIM NLIST [name=value ..]` trains on all rows of such a file, or on a sample, and writes
//!   `FILE.centroids`. Names: sample (rows per list), passes, probes, threads, seed, halve (0 keeps oversized lists).
//! * `cluster build FILE DIM NLIST [name=value ..]` trains, then assigns every row to two lists, and writes `FILE.lists` too.
//! * `cluster speed DIM NLIST` times the scores of rows against centroids on one thread.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;
use stratavec::kernel::cluster::{
    Assigner, Oversize, Parallel, Places, Points, Rows, Spill, Trained, Training, Unwatched, Work, train,
};
use stratavec::kernel::kernels;
use stratavec_benches::{Random, Threads, process_seconds, thread_seconds, time};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match &words[..] {
        ["mixture", rows, dim, clusters, seed, file] => {
            mixture(rows.parse()?, dim.parse()?, clusters.parse()?, seed.parse()?, Path::new(file))
        }
        ["train", file, dim, nlist, settings @ ..] => run(file, dim.parse()?, nlist.parse()?, settings, false),
        ["build", file, dim, nlist, settings @ ..] => run(file, dim.parse()?, nlist.parse()?, settings, true),
        ["speed", dim, nlist] => speed(dim.parse()?, nlist.parse()?),
        _ => Err("see the head of cluster.rs for the commands".into()),
    }
}

/// A normal deviate: the sum of twelve uniform numbers of variance 1/12.
fn normal(random: &mut Random) -> f32 {
    (0..12).map(|_| random.component()).sum::<f32>() / 2.0
}

/// Rows around cluster centres: centres normal with variance 1, clusters of unequal sizes, rows normal around them with
/// standard deviation 0.35 times a factor of 0.5..1.5 that is the cluster's own.
fn mixture(rows: usize, dim: usize, clusters: usize, seed: u64, file: &Path) -> Result<(), Box<dyn Error>> {
    let mut random = Random::new(seed);
    let centres: Vec<f32> = (0..clusters * dim).map(|_| normal(&mut random)).collect();
    let spreads: Vec<f32> = (0..clusters).map(|_| 0.35 * (1.0 + 0.5 * random.component())).collect();
    let mut bytes = Vec::with_capacity(rows * dim * 4);
    for _ in 0..rows {
        // The smaller of two draws: the first clusters are larger than the last ones.
        let cluster = (random.bits() % clusters as u64).min(random.bits() % clusters as u64) as usize;
        for c in &centres[cluster * dim..][..dim] {
            bytes.extend_from_slice(&(c + spreads[cluster] * normal(&mut random)).to_le_bytes());
        }
    }
    std::fs::write(file, bytes)?;
    println!("{}", json!({ "rows": rows, "dim": dim, "clusters": clusters, "seed": seed }));
    Ok(())
}

struct Settings {
    training: Training,
    threads: usize,
}

fn settings(nlist: usize, words: &[&str]) -> Result<Settings, Box<dyn Error>> {
    let mut settings = Settings { training: Training::new(nlist), threads: 2 };
    settings.training.budget_bytes = 1 << 34;
    for word in words {
        let (name, value) = word.split_once('=').ok_or("settings are name=value")?;
        let number: usize = value.parse()?;
        match name {
            "sample" => settings.training.rows_per_list = number,
            "passes" => settings.training.passes = number,
            "probes" => settings.training.probes = number,
            "seed" => settings.training.seed = number as u64,
            "halve" if number == 0 => settings.training.oversize = Oversize::Keep,
            "halve" => settings.training.oversize = Oversize::Halve(number as f32),
            "threads" => settings.threads = number,
            _ => return Err(format!("no setting is called {name}").into()),
        }
    }
    Ok(settings)
}

fn run(file: &str, dim: usize, nlist: usize, words: &[&str], build: bool) -> Result<(), Box<dyn Error>> {
    let settings = settings(nlist, words)?;
    let values: Vec<f32> = std::fs::read(file)?.as_chunks::<4>().0.iter().map(|x| f32::from_le_bytes(*x)).collect();
    let points = Rows::new(&values, dim)?;
    let threads = Threads(settings.threads);
    let work = Work { kernels: kernels(), parallel: &threads, watch: &Unwatched };
    let before = process_seconds();
    let (trained, training_time) = time(|| train(&work, &points, &settings.training));
    let (trained, training_cpu) = (trained?, process_seconds() - before);
    write_words(&beside(file, "centroids"), trained.centroids.values().iter().map(|x| x.to_bits()))?;
    let mut report = report(&settings, &trained);
    report["train_s"] = json!(training_time.as_secs_f64());
    report["train_cpu_s"] = json!(training_cpu);
    if build {
        let (started, before) = (Instant::now(), process_seconds());
        let assigner = Assigner::new(&work, &trained.centroids, settings.training.probes, Some(Spill::default()))?;
        report["prepare_s"] = json!(started.elapsed().as_secs_f64());
        let mut lists = vec![0; points.count()];
        let mut seconds = lists.clone();
        let places = Places { lists: &mut lists, seconds: Some(&mut seconds), distances: None };
        assigner.assign(&work, &points, 0, places)?;
        report["assign_s"] = json!(started.elapsed().as_secs_f64());
        report["assign_cpu_s"] = json!(process_seconds() - before);
        write_words(&beside(file, "lists"), lists.into_iter().chain(seconds))?;
    }
    println!("{report}");
    Ok(())
}

fn report(settings: &Settings, trained: &Trained) -> serde_json::Value {
    json!({
        "path": kernels().path().name(),
        "threads": settings.threads,
        "lists": trained.centroids.count(),
        "sample_rows": trained.sample_rows,
        "passes": settings.training.passes,
        "probes": settings.training.probes,
        "reseeded": trained.reseeded,
        "halved": trained.halved,
        "errors": trained.errors,
    })
}

fn beside(file: &str, extension: &str) -> PathBuf {
    PathBuf::from(format!("{file}.{extension}"))
}

fn write_words(file: &Path, words: impl Iterator<Item = u32>) -> std::io::Result<()> {
    std::fs::write(file, words.flat_map(u32::to_le_bytes).collect::<Vec<u8>>())
}

/// Exact assignment on one thread: multiply-adds per second, which the tiles of scores determine.
fn speed(dim: usize, nlist: usize) -> Result<(), Box<dyn Error>> {
    let mut random = Random::new(1);
    let rows = 4096;
    let values = random.vector(rows * dim);
    let centroids = stratavec::kernel::cluster::Centroids::new(random.vector(nlist * dim), dim)?;
    let threads = Threads(1);
    let work = Work { kernels: kernels(), parallel: &threads, watch: &Unwatched };
    let points = Rows::new(&values, dim)?;
    let mut figures = serde_json::Map::new();
    for (name, probes) in [("exact", usize::MAX), ("8 probes", 8)] {
        let assigner = Assigner::new(&work, &centroids, probes, None)?;
        let mut lists = vec![0; rows];
        let mut best = f64::INFINITY;
        for _ in 0..5 {
            let places = Places { lists: &mut lists, seconds: None, distances: None };
            let started = thread_seconds();
            assigner.assign(&work, &points, 0, places)?;
            best = best.min(thread_seconds() - started);
        }
        let all = (rows * nlist * dim) as f64;
        figures.insert(
            name.into(),
            json!({ "us_per_row": best * 1e6 / rows as f64, "giga_multiply_adds": all / best / 1e9 }),
        );
    }
    println!("{}", json!({ "path": kernels().path().name(), "threads": threads.threads(), "figures": figures }));
    Ok(())
}
