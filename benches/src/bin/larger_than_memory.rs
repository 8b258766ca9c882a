//! Search of a collection that is larger than the memory it may use: recall, queries per second, and what is read from the disk.
//!
//! `cargo run --release -p stratavec-benches --bin larger_than_memory [-- name=value ..]` makes a collection, forgets its pages, and
//! searches it again in processes of their own, one after the other, that have `limit` bytes for everything: own memory and cached pages of
//! files. Where control groups of the first version are mounted and may be made (`cgroup=FOLDER`, by default the usual place), the system
//! holds them to it; elsewhere pages are forgotten before each query instead, and the result says so.
//!
//! Names: rows (1,000,000), dim (128), limit (bytes; a quarter of the vectors and 64 MiB), queries (300), bits, folder (where the
//! collection is or goes; kept if said). Data: points on a curved sheet of few dimensions in a space of many, clustered, drawn from a seed.
//! Set `STRATAVEC_BENCH_VECTORS` to a folder as for `ivf_path` to take those instead (rows and dim follow).

use std::error::Error;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::{Value, json};
use stratavec::{
    Access, BulkItem, Codes, Collection, Compact, Effort, Hits, IdKind, IndexKind, IvfOptions, Metric, OpenOptions,
    Schema, SearchMode,
};
use stratavec_benches::{Random, Scratch, matrix_of_halves, median, provenance, time, write_result};

const SEED: u64 = 20_261_122;
const K: usize = 10;
/// Dimensions of the sheet that points are on.
const SHEET: usize = 16;
const CLUSTERS: usize = 400;
/// Queries whose truth is known.
const GROUPS: &str = "/sys/fs/cgroup/memory";

type Outcome<T> = Result<T, Box<dyn Error>>;

#[derive(Clone)]
struct Task {
    rows: usize,
    dim: usize,
    limit: u64,
    queries: usize,
    bits: Option<u8>,
    group: PathBuf,
    folder: Option<PathBuf>,
    vectors: Option<PathBuf>,
}

fn task() -> Outcome<Task> {
    let vectors = std::env::var_os("STRATAVEC_BENCH_VECTORS").map(PathBuf::from);
    let (rows, dim, group) = (1_000_000, 128, PathBuf::from(GROUPS));
    let mut task = Task { rows, dim, limit: 0, queries: 300, bits: None, group, folder: None, vectors };
    for word in std::env::args().skip(1).filter(|word| word != "measure") {
        match word.split_once('=').ok_or("settings are name=value")? {
            ("rows", value) => task.rows = value.parse()?,
            ("dim", value) => task.dim = value.parse()?,
            ("limit", value) => task.limit = value.parse()?,
            ("queries", value) => task.queries = value.parse()?,
            ("bits", value) => task.bits = Some(value.parse()?),
            ("cgroup", value) => task.group = value.into(),
            ("folder", value) => task.folder = Some(value.into()),
            (name, _) if ["access", "mode", "effort", "threads"].contains(&name) => {}
            _ => return Err(format!("no setting is {word}").into()),
        }
    }
    Ok(task)
}

/// One of the settings that only a measuring process has.
fn own(name: &str) -> Option<String> {
    std::env::args().find_map(|word| word.strip_prefix(name)?.strip_prefix('=').map(str::to_owned))
}

fn main() -> Outcome<()> {
    let task = task()?;
    match std::env::args().nth(1).as_deref() {
        Some("measure") => measure(&task),
        _ => compare(task),
    }
}

/// Draws points.
struct Points {
    frame: Vec<f32>,
    centers: Vec<f32>,
    dim: usize,
}

impl Points {
    fn new(dim: usize) -> Points {
        let mut random = Random::new(SEED);
        let frame = (0..2 * SHEET * dim).map(|_| random.component()).collect();
        let centers = (0..CLUSTERS * SHEET).map(|_| 2.0 * random.component()).collect();
        Points { frame, centers, dim }
    }

    fn draw(&self, random: &mut Random) -> Vec<f32> {
        let center = (random.bits() % CLUSTERS as u64) as usize * SHEET;
        let place: Vec<f32> =
            self.centers[center..center + SHEET].iter().map(|c| c + random.component() + random.component()).collect();
        let bent: Vec<f32> = place.iter().map(|x| (2.0 * x).sin()).collect();
        let of = |i: usize| {
            place.iter().chain(&bent).zip(self.frame[i..].iter().step_by(self.dim)).map(|(x, f)| x * f).sum()
        };
        (0..self.dim)
            .map(|i| {
                let x: f32 = of(i);
                x + 0.1 * random.component()
            })
            .collect()
    }
}

/// Rows and queries.
fn data(task: &mut Task) -> Outcome<(Vec<Vec<f32>>, Vec<Vec<f32>>)> {
    let Some(folder) = &task.vectors else {
        let points = Points::new(task.dim);
        let mut random = Random::new(SEED + 1);
        let mut draw = |count: usize| (0..count).map(|_| points.draw(&mut random)).collect::<Vec<_>>();
        return Ok((draw(task.rows), draw(task.queries)));
    };
    let (base, dim) = matrix_of_halves(&folder.join("base.f16.npy"))?;
    let (queries, _) = matrix_of_halves(&folder.join("query.f16.npy"))?;
    let rows: Vec<Vec<f32>> = base.chunks_exact(dim).take(task.rows).map(<[f32]>::to_vec).collect();
    let queries: Vec<Vec<f32>> = queries.chunks_exact(dim).take(task.queries).map(<[f32]>::to_vec).collect();
    (task.rows, task.dim, task.queries) = (rows.len(), dim, queries.len());
    Ok((rows, queries))
}

fn compare(mut task: Task) -> Outcome<()> {
    let scratch = Scratch::new("larger-than-memory");
    let folder = task.folder.clone().unwrap_or_else(|| scratch.path("c"));
    task.folder = Some(folder.clone());
    let made = build(&mut task, &folder)?;
    if task.limit == 0 {
        task.limit = (task.rows * task.dim) as u64 + (64 << 20);
    }
    let mut runs = Vec::new();
    for (access, mode) in [("pread", "auto"), ("mmap", "cold"), ("mmap", "hot")] {
        for effort in ["16", "32", "48", "64", "96"] {
            runs.push(run(&task, access, mode, effort, 0)?);
        }
    }
    for (access, mode) in [("pread", "auto"), ("mmap", "cold"), ("mmap", "hot")] {
        for effort in ["16", "32", "64"] {
            for threads in [1, 2] {
                runs.push(run(&task, access, mode, effort, threads)?);
            }
        }
    }
    runs.push(run(&task, "mmap", "cold", "exact", 0)?);
    let result = json!({
        "provenance": provenance(SEED), "rows": task.rows, "dim": task.dim, "limit_bytes": task.limit, "k": K,
        "queries": task.queries, "made": made, "runs": runs,
    });
    let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    println!("written to {}", write_result(&results, "larger_than_memory", &result).display());
    Ok(())
}

/// The collection with its queries and their true neighbours, unless it is there.
fn build(task: &mut Task, folder: &Path) -> Outcome<Value> {
    let facts = folder.with_extension("json");
    if facts.exists() {
        return Ok(serde_json::from_slice::<Value>(&std::fs::read(facts)?)?["made"].clone());
    }
    let (rows, queries) = data(task)?;
    let metric = if task.vectors.is_some() { Metric::Cosine } else { Metric::L2 };
    let options = task.bits.map_or(IvfOptions::auto(), |bits| IvfOptions::auto().codes(Codes::Bits(bits)));
    let schema = Schema::new(task.dim, metric).ids(IdKind::U64).index(IndexKind::Ivf(options)).seed(42);
    let c = Collection::create(folder, schema, OpenOptions::new())?;
    let items = rows.into_iter().zip(0u64..).map(|(row, id)| BulkItem::new(id, row));
    let (loaded, took) = time(|| c.bulk_load(items).and_then(|load| load.wait()));
    loaded?;
    c.compact(Compact::Full)?.wait()?;
    let snapshot = c.snapshot();
    let truth = |query: &Vec<f32>| -> Outcome<Vec<u64>> {
        let hits = snapshot.search(query).k(K).effort(Effort::Exact).run()?;
        Ok(hits.iter().filter_map(|hit| hit.id.as_u64()).collect())
    };
    let truths = queries.iter().map(truth).collect::<Outcome<Vec<_>>>()?;
    let stats = c.stats();
    let made = json!({
        "seconds": took.as_secs_f64(), "file_bytes": stats.file_bytes, "lists": stats.lists,
        "sections": stats.sections.iter().map(|(name, bytes)| json!([name, bytes])).collect::<Vec<_>>(),
    });
    drop(snapshot);
    c.close()?;
    std::fs::write(facts, serde_json::to_vec(&json!({ "made": made, "queries": queries, "truths": truths }))?)?;
    Ok(made)
}

/// Forgets what the system has in memory of a collection's files.
fn forget(folder: &Path) -> Outcome<()> {
    for entry in std::fs::read_dir(folder)? {
        let file = File::open(entry?.path())?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    }
    Ok(())
}

/// A control group, removed when this is dropped.
struct Group(PathBuf);

impl Group {
    fn new(task: &Task) -> Option<Group> {
        let group = task.group.join(format!("stratavec-bench-{}", std::process::id()));
        std::fs::create_dir(&group).ok()?;
        let group = Group(group);
        std::fs::write(group.0.join("memory.limit_in_bytes"), task.limit.to_string()).ok()?;
        Some(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// Measures in a process of its own, under the limit: one query after the other, or a batch of all on so many threads.
fn run(task: &Task, access: &str, mode: &str, effort: &str, threads: usize) -> Outcome<Value> {
    let folder = task.folder.clone().unwrap_or_default();
    forget(&folder)?;
    let group = Group::new(task);
    let place = group.as_ref().map_or(String::new(), |group| group.0.display().to_string());
    let output = Command::new(std::env::current_exe()?)
        .arg("measure")
        .args([format!("access={access}"), format!("mode={mode}"), format!("effort={effort}")])
        .arg(format!("threads={threads}"))
        .args([format!("folder={}", folder.display()), format!("queries={}", task.queries)])
        .args([format!("limit={}", task.limit), format!("cgroup={place}")])
        .output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        println!("{access} {mode} {effort}: {} {said}", output.status);
        return Ok(json!({ "access": access, "mode": mode, "effort": effort, "failed": output.status.to_string() }));
    }
    let mut figures: Value = serde_json::from_slice(&output.stdout)?;
    (figures["access"], figures["mode"], figures["effort"]) = (json!(access), json!(mode), json!(effort));
    figures["batch_threads"] = json!(threads);
    let way = if threads == 0 { String::new() } else { format!(" in a batch on {threads} threads") };
    let figure = |name: &str| figures[name].as_f64();
    let times = figure("p50_ms").zip(figure("p99_ms")).map(|(p50, p99)| format!(", p50 {p50:.2} ms, p99 {p99:.2} ms"));
    println!(
        "{access} {mode} {effort}{way}: recall {:.4}, {:.0} queries/s{}, {:.0} KB/query from disk",
        figure("recall").unwrap_or(0.0),
        figure("queries_per_second").unwrap_or(0.0),
        times.unwrap_or_default(),
        figure("disk_bytes_per_query").unwrap_or(0.0) / 1000.0,
    );
    Ok(figures)
}

/// Bytes that the disk gave this process.
fn disk_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("read_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}

/// What some searches found and cost.
#[derive(Default)]
struct Tally {
    found: usize,
    wanted: usize,
    /// Reads, their bytes, and lists.
    told: [u64; 3],
    times: Vec<f64>,
}

impl Tally {
    fn add(&mut self, hits: &Hits, truth: &[u64]) {
        let ids: Vec<u64> = hits.iter().filter_map(|hit| hit.id.as_u64()).collect();
        self.found += truth.iter().filter(|id| ids.contains(id)).count();
        self.wanted += truth.len();
        let told = hits.explain();
        let told = [told.reads, told.bytes_read, told.lists_probed];
        self.told.iter_mut().zip(told).for_each(|(sum, more)| *sum += more);
    }
}

fn measure(task: &Task) -> Outcome<()> {
    let folder = task.folder.clone().ok_or("no folder")?;
    let facts: Value = serde_json::from_slice(&std::fs::read(folder.with_extension("json"))?)?;
    let queries: Vec<Vec<f32>> = serde_json::from_value(facts["queries"].clone())?;
    let truths: Vec<Vec<u64>> = serde_json::from_value(facts["truths"].clone())?;
    drop(facts);
    let limited = !task.group.as_os_str().is_empty();
    if limited {
        std::fs::write(task.group.join("cgroup.procs"), std::process::id().to_string())?;
    }
    let access = if own("access").as_deref() == Some("pread") { Access::Pread } else { Access::Mmap };
    let mode = match own("mode").as_deref() {
        Some("hot") => SearchMode::Hot,
        Some("cold") => SearchMode::Cold,
        _ => SearchMode::Auto,
    };
    let effort = match own("effort").as_deref().unwrap_or("32") {
        "exact" => Effort::Exact,
        nprobe => Effort::Probe { nprobe: nprobe.parse()?, patience: usize::MAX },
    };
    let threads: usize = own("threads").map_or(Ok(0), |value| value.parse())?;
    let c = Collection::open(&folder, OpenOptions::new().access(access))?;
    let snapshot = c.snapshot();
    let count = if effort == Effort::Exact { 10 } else { queries.len() };
    // The first third warms up what has room.
    let warm = if effort == Effort::Exact { 0 } else { count / 3 };
    let ask = |query: &[f32]| snapshot.search(query).k(K).effort(effort).mode(mode).run();
    for query in &queries[..warm] {
        ask(query)?;
    }
    let mut tally = Tally::default();
    let (began, before) = (Instant::now(), disk_bytes());
    if threads > 0 {
        if !limited {
            forget(&folder)?;
        }
        let batch = snapshot.search_batch(&queries[warm..count]).k(K).effort(effort).mode(mode);
        let answers = batch.threads(threads).run()?;
        answers.iter().zip(&truths[warm..]).for_each(|(hits, truth)| tally.add(hits, truth));
    } else {
        for (query, truth) in queries.iter().zip(&truths).take(count).skip(warm) {
            if !limited {
                forget(&folder)?;
            }
            let (hits, spent) = time(|| ask(query));
            tally.times.push(spent.as_secs_f64() * 1000.0);
            tally.add(&hits?, truth);
        }
    }
    let (took, read) = (began.elapsed().as_secs_f64(), disk_bytes() - before);
    let each = (count - warm) as f64;
    let mean = |sum: u64| sum as f64 / each;
    tally.times.sort_by(f64::total_cmp);
    let p99 = tally.times.get(tally.times.len() * 99 / 100);
    let figures = json!({
        "recall": tally.found as f64 / f64::from(tally.wanted.max(1) as u32),
        "queries_per_second": each / took, "held_to_limit": limited,
        "p50_ms": p99.map(|_| median(&tally.times)), "p99_ms": p99,
        "disk_bytes_per_query": mean(read), "reads_asked_for": mean(tally.told[0]),
        "bytes_asked_for": mean(tally.told[1]), "lists": mean(tally.told[2]),
        "resident_bytes": stratavec_benches::resident_bytes().0,
    });
    println!("{figures}");
    Ok(())
}
