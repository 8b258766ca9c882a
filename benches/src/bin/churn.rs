//! A collection that changes and does not age: it begins with half of the rows, then twenty times a twentieth of the live rows comes and as
//! many go. Rows arrive in the order of their labels, so that what comes is of another kind than what is there. After each round it is compared with a
//! collection that is made anew of the same rows. Beside each round somebody searches: the collection as it was in the beginning, which a
//! snapshot keeps, then the collection while nothing happens, while rows come at a steady rate, and after that until the upkeep is done: flushes, merges, training. The rates of a
//! round are compared with those just before it, since other machines on the same host make all of them differ by half from second to second:
//! with that of the collection at rest (and the searches beside all rounds in which files changed with all those at rest), which tells what the work costs, and with that of the beginning, which tells what the rows in memory cost besides.
//!
//! `cargo run --release -p stratavec-benches --bin churn -- NAME METRIC ROWS.npy QUERIES.npy LABELS [tiered]`: halves in NumPy's format, one
//! number for each row in a text file. Prints a line per round and writes `benches/results/churn-NAME.json`. `benches/compare/plot.py` draws it.

#![recursion_limit = "256"]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use stratavec::{
    BulkItem, Collection, Compact, Compaction, Effort, IdKind, IndexKind, IvfOptions, Metric, OpenOptions, Schema,
    Snapshot,
};
use stratavec_benches::{Random, Scratch, matrix_of_halves, provenance, time, write_result};

const SEED: u64 = 20_261_121;
const ROUNDS: usize = 20;
const BATCH: usize = 250;
const K: usize = 10;
/// Models differ by chance: of fewer queries one has .005 more recall than another on the same rows.
const QUERIES: usize = 1_000;
/// Queries of the searcher.
const ASKED: usize = 500;
/// Thirty-two lists, whatever they find.
const FIXED: Effort = Effort::Probe { nprobe: 32, patience: usize::MAX };
/// Rows a second that come, unless a batch takes longer.
const PACE: f64 = 12_500.0;
/// How long somebody searches before searches are timed: what a round is compared with pushed all else out of the caches.
/// And how long the snapshot of the beginning is searched, timed, before each round.
const BEFORE: Duration = Duration::from_millis(250);
/// How long the collection at rest is searched, timed, before each round: as long as most upkeep takes, since other machines on the same host
/// make a quarter of a second quiet now and then.
const IDLE: Duration = Duration::from_millis(1_000);
/// How long searches are timed after the last batch of a round, at least: until what the rows of the round have begun is done.
const AFTER: Duration = Duration::from_millis(250);
/// Upkeep that has not shown itself for so long is done: calibration shows itself at its end alone.
const AT_REST: Duration = Duration::from_millis(2_000);
/// How often somebody looks.
const LOOK: Duration = Duration::from_millis(100);
/// Queries that are asked at each look: few, since they are asked beside the searcher.
const ASKED_OFTEN: usize = 20;
/// Parts of the nearest rows that are asked for after the stream.
const PROMISES: [f32; 4] = [0.8, 0.9, 0.95, 0.98];
/// So that the delta moves to files every few rounds.
const FLUSH_BYTES: u64 = 8 << 20;

struct Data {
    rows: Vec<f32>,
    queries: Vec<f32>,
    dim: usize,
    metric: Metric,
}

impl Data {
    fn row(&self, id: u64) -> &[f32] {
        &self.rows[id as usize * self.dim..][..self.dim]
    }

    fn count(&self) -> usize {
        self.rows.len() / self.dim
    }

    fn queries(&self) -> Vec<&[f32]> {
        self.queries.chunks_exact(self.dim).take(QUERIES).collect()
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [name, metric, rows, queries, labels, rest @ ..] = &arguments[..] else {
        panic!("NAME METRIC ROWS.npy QUERIES.npy LABELS [tiered]")
    };
    let tiered = rest.iter().any(|word| word == "tiered");
    let data = read(metric, Path::new(rows), Path::new(queries), Path::new(labels));
    let scratch = Scratch::new("churn");
    let result = churn(&data, &scratch, tiered);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
    println!("written to {}", write_result(&folder, &format!("churn-{name}"), &result).display());
}

/// Rows in the order of their labels.
fn read(metric: &str, rows: &Path, queries: &Path, labels: &Path) -> Data {
    let (rows, dim) = matrix_of_halves(rows).expect("rows");
    let (queries, _) = matrix_of_halves(queries).expect("queries");
    let labels = std::fs::read_to_string(labels).expect("labels");
    let labels: Vec<u64> = labels.split_whitespace().map(|label| label.parse().expect("a number")).collect();
    let metric = if metric == "cosine" { Metric::Cosine } else { Metric::L2 };
    let mut order: Vec<usize> = (0..rows.len() / dim).collect();
    order.sort_by_key(|row| labels[*row]);
    let rows = order.iter().flat_map(|row| rows[row * dim..][..dim].to_vec()).collect();
    Data { rows, queries, dim, metric }
}

fn create(path: PathBuf, data: &Data, tiered: bool) -> Collection {
    let schema = Schema::new(data.dim, data.metric).ids(IdKind::U64).index(IndexKind::Ivf(IvfOptions::auto()));
    let mut options = OpenOptions::new().flush_bytes(FLUSH_BYTES);
    if tiered {
        options = options.compaction(Compaction::Auto { dead_ratio: 0.4, fanout: 8 });
    }
    Collection::create(path, schema, options).expect("create")
}

fn load(c: &Collection, data: &Data, ids: &[u64]) {
    let items = ids.iter().map(|id| BulkItem::new(*id, data.row(*id).to_vec())).collect::<Vec<_>>();
    c.bulk_load(items).and_then(|load| load.wait()).expect("load");
}

/// What searches found, and what they scanned on average.
struct Answers {
    distances: Vec<Vec<f32>>,
    entries: f64,
    in_memory: f64,
    measured: f64,
}

impl Answers {
    /// To so many queries at an effort.
    fn to(snapshot: &Snapshot, data: &Data, queries: usize, effort: Effort) -> Answers {
        let mut answers = Answers { distances: Vec::new(), entries: 0.0, in_memory: 0.0, measured: 0.0 };
        for query in data.queries().iter().take(queries) {
            let hits = snapshot.search(query).k(K).effort(effort).run().expect("search");
            answers.distances.push(hits.iter().map(|hit| hit.distance).collect());
            answers.entries += hits.explain().entries_scanned as f64 / queries as f64;
            answers.in_memory += hits.explain().fresh_scanned as f64 / queries as f64;
            answers.measured += hits.explain().rows_scored as f64 / queries as f64;
        }
        answers
    }

    fn recall(&self, truth: &[Vec<f32>]) -> f64 {
        let found = |(found, truth): (&Vec<f32>, &Vec<f32>)| {
            let reach = truth.last().copied().unwrap_or(f32::INFINITY);
            found.iter().filter(|distance| **distance <= reach).count()
        };
        self.distances.iter().zip(truth).map(found).sum::<usize>() as f64 / (self.distances.len() * K) as f64
    }
}

/// Recall at an effort, and the entries and the rows in memory that it scans, on average.
fn measure(snapshot: &Snapshot, data: &Data, truth: &[Vec<f32>], effort: Effort) -> (f64, f64, f64) {
    let answers = Answers::to(snapshot, data, QUERIES, effort);
    (answers.recall(truth), answers.entries, answers.in_memory)
}

fn truth(snapshot: &Snapshot, data: &Data) -> Vec<Vec<f32>> {
    let batch = data.queries();
    let all = snapshot.search_batch(&batch).k(K).effort(Effort::Exact).threads(2).run().expect("search");
    all.iter().map(|hits| hits.iter().map(|hit| hit.distance).collect()).collect()
}

/// What the searcher searches.
const BEGINNING: u8 = 0;
const COLLECTION: u8 = 1;
const NOTHING: u8 = 2;

/// Searches a second and their 99th percentile in microseconds.
#[derive(Clone, Copy)]
struct Speed {
    rate: f64,
    p99: f64,
}

impl Speed {
    fn of(mut times: Vec<f64>) -> Speed {
        times.sort_by(f64::total_cmp);
        let sum: f64 = times.iter().sum();
        let p99 = times.get(times.len() * 99 / 100).copied().unwrap_or(f64::NAN);
        Speed { rate: times.len() as f64 / sum, p99: p99 * 1e6 }
    }
}

/// How long the searches took that ended within a span of time.
fn within(times: &[(Instant, f64)], from: Instant, to: Instant) -> impl Iterator<Item = f64> {
    times.iter().filter(move |(ended, _)| *ended > from && *ended <= to).map(|(_, took)| *took)
}

/// How fast searches were: of the snapshot of the beginning, of the collection before a round, beside the work of the round, and after it.
struct Beside {
    seconds_after: f64,
    beginning: Speed,
    idle: Speed,
    during: Speed,
    after: Speed,
    /// How long searches took at rest, and beside the work of the round and after it.
    times: [Vec<f64>; 2],
    /// Right after the last batch.
    at_first: Answers,
    upkeep: Upkeep,
}

/// Searches until told to stop; when each search ended, and how long it took.
fn search_until(c: &Collection, beginning: &Snapshot, data: &Data, what: &AtomicU8) -> Vec<(Instant, f64)> {
    let mut times = Vec::new();
    for query in data.queries().iter().take(ASKED).cycle() {
        let (hits, took) = match what.load(Ordering::Relaxed) {
            BEGINNING => time(|| beginning.search(query).k(K).run()),
            COLLECTION => time(|| c.snapshot().search(query).k(K).run()),
            _ => break,
        };
        assert_eq!(hits.expect("search").len(), K);
        times.push((Instant::now(), took.as_secs_f64()));
    }
    times
}

/// What somebody saw who looked on while upkeep was done.
struct Upkeep {
    /// When the last of it was seen, which is over.
    ended: Instant,
    /// The most that searches at the fixed effort scanned, of the few queries that are asked at each look: in lists, with the rows in memory, and
    /// rows measured.
    entries: f64,
    entries_and_memory: f64,
    measured: f64,
}

/// Looks on until there is no more to do.
fn upkeep_of(c: &Collection, data: &Data) -> Upkeep {
    let begun = Instant::now();
    let mut seen = Upkeep { ended: begun, entries: 0.0, entries_and_memory: 0.0, measured: 0.0 };
    let mut before = 0;
    while begun.elapsed() < AFTER || seen.ended.elapsed() < AT_REST {
        let stats = c.stats();
        if stats.generation != before || stats.memory.compaction + stats.memory.flush > 0 {
            (seen.ended, before) = (Instant::now(), stats.generation);
        }
        let now = Answers::to(&c.snapshot(), data, ASKED_OFTEN, FIXED);
        seen.entries = seen.entries.max(now.entries);
        seen.entries_and_memory = seen.entries_and_memory.max(now.entries + now.in_memory);
        seen.measured = seen.measured.max(now.measured);
        std::thread::sleep(LOOK);
    }
    Upkeep { ended: seen.ended.max(begun + AFTER), ..seen }
}

/// Somebody searches the beginning, then the collection, for a while alone, then beside `work`, then until the upkeep after it is done.
fn beside(c: &Collection, beginning: &Snapshot, data: &Data, work: impl FnOnce()) -> Beside {
    let what = AtomicU8::new(BEGINNING);
    std::thread::scope(|scope| {
        let searcher = scope.spawn(|| search_until(c, beginning, data, &what));
        std::thread::sleep(BEFORE);
        let alone = Instant::now();
        std::thread::sleep(BEFORE);
        let warming = Instant::now();
        what.store(COLLECTION, Ordering::Relaxed);
        std::thread::sleep(BEFORE);
        let resting = Instant::now();
        std::thread::sleep(IDLE);
        let begun = Instant::now();
        work();
        let done = Instant::now();
        // In no window: a second searcher.
        let at_first = Answers::to(&c.snapshot(), data, QUERIES, FIXED);
        let asked = Instant::now();
        let upkeep = upkeep_of(c, data);
        let ended = upkeep.ended;
        what.store(NOTHING, Ordering::Relaxed);
        let times = searcher.join().expect("the searcher");
        let speed = |from, to| Speed::of(within(&times, from, to).collect());
        Beside {
            seconds_after: (ended - asked).as_secs_f64(),
            beginning: speed(alone, warming),
            idle: speed(resting, begun),
            during: speed(begun, done),
            after: speed(asked, ended),
            times: [
                within(&times, resting, begun).collect(),
                within(&times, begun, done).chain(within(&times, asked, ended)).collect(),
            ],
            at_first,
            upkeep,
        }
    })
}

/// How often, and for how many microseconds, the machine stops somebody who does nothing but look at the clock, with nothing else running. Of a
/// hundred searches more than one meets such a stop once they are slower than a hundredth of the time between two: a 99th percentile then jumps.
fn stops_of_machine() -> Value {
    const LONG: f64 = 3.0;
    let (begun, mut last, mut stops) = (Instant::now(), Instant::now(), Vec::new());
    while begun.elapsed() < AT_REST {
        let now = Instant::now();
        let gap = (now - last).as_secs_f64() * 1e6;
        if gap > LONG {
            stops.push(gap);
        }
        last = now;
    }
    stops.sort_by(f64::total_cmp);
    let at = |part: usize| stops.get(stops.len() * part / 100);
    json!({ "per_second": stops.len() as f64 / AT_REST.as_secs_f64(), "microseconds_median": at(50), "microseconds_p90": at(90) })
}

fn least_of(rounds: &[Value], name: &str) -> f64 {
    rounds.iter().filter_map(|round| round[name].as_f64()).fold(f64::INFINITY, f64::min)
}

fn most_of(rounds: &[Value], name: &str) -> f64 {
    rounds.iter().filter_map(|round| round[name].as_f64()).fold(0.0, f64::max)
}

fn churn(data: &Data, scratch: &Scratch, tiered: bool) -> Value {
    let stops = stops_of_machine();
    let mut random = Random::new(SEED);
    let half = data.count() / 2;
    let step = half / ROUNDS;
    let mut live: Vec<u64> = (0..half as u64).collect();
    let c = create(scratch.path("c"), data, tiered);
    load(&c, data, &live);
    upkeep_of(&c, data);
    let beginning = c.snapshot();
    let begun = c.stats();
    let (mut rounds, mut new) = (Vec::new(), half as u64);
    let (mut seconds_writing, mut slowest) = (0.0, Duration::ZERO);
    let (mut at_rest, mut at_work) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        let coming: Vec<u64> = (new..new + step as u64).collect();
        new += step as u64;
        let going: Vec<u64> =
            (0..step).map(|_| live.swap_remove((random.bits() % live.len() as u64) as usize)).collect();
        let generation = c.stats().generation;
        let mut missing = 0;
        let started = Instant::now();
        let mut writing = Duration::ZERO;
        let speed = beside(&c, &beginning, data, || {
            let first = Instant::now();
            for (number, (coming, going)) in coming.chunks(BATCH).zip(going.chunks(BATCH)).enumerate() {
                let due = Duration::from_secs_f64((number * BATCH) as f64 / PACE);
                std::thread::sleep(due.saturating_sub(first.elapsed()));
                let begun = Instant::now();
                let mut batch = c.batch();
                for id in coming {
                    batch.insert(*id, data.row(*id));
                }
                for id in going {
                    batch.delete(*id);
                }
                batch.commit().expect("commit");
                writing += begun.elapsed();
                slowest = slowest.max(begun.elapsed());
                let last = coming[coming.len() - 1];
                let hits = c.snapshot().search(data.row(last)).k(3).run().expect("search");
                missing += usize::from(hits.iter().all(|hit| hit.id.as_u64() != Some(last)));
            }
        });
        let [idle, beside] = &speed.times;
        at_rest.extend_from_slice(idle);
        if c.stats().generation != generation {
            at_work.extend_from_slice(beside);
        }
        live.extend(&coming);
        seconds_writing += writing.as_secs_f64();
        let snapshot = c.snapshot();
        assert_eq!(snapshot.count(), live.len() as u64);
        let exact = truth(&snapshot, data);
        let (at_first, upkeep) = (&speed.at_first, &speed.upkeep);
        let (recall, scanned, in_memory) = measure(&snapshot, data, &exact, FIXED);
        let (promised, promised_scanned, _) = measure(&snapshot, data, &exact, Effort::Recall(0.95));
        let fresh = create(scratch.path("fresh"), data, tiered);
        load(&fresh, data, &live);
        let (fresh_recall, fresh_scanned, _) = measure(&fresh.snapshot(), data, &exact, FIXED);
        let fresh_often = Answers::to(&fresh.snapshot(), data, ASKED_OFTEN, FIXED).entries;
        let (fresh_promised, fresh_promised_scanned, _) =
            measure(&fresh.snapshot(), data, &exact, Effort::Recall(0.95));
        fresh.close().expect("close");
        std::fs::remove_dir_all(scratch.path("fresh")).expect("remove");
        let stats = c.stats();
        let figures = json!({
            "round": round,
            "seconds": started.elapsed().as_secs_f64(),
            "recall": recall, "fresh_recall": fresh_recall, "recall_at_first": at_first.recall(&exact),
            "entries": scanned, "fresh_entries": fresh_scanned, "entries_and_memory": scanned + in_memory,
            "entries_at_first": at_first.entries, "entries_and_memory_at_first": at_first.entries + at_first.in_memory,
            "entries_in_upkeep": upkeep.entries, "entries_and_memory_in_upkeep": upkeep.entries_and_memory,
            "rows_measured_in_upkeep": upkeep.measured, "fresh_entries_of_these": fresh_often,
            "recall_95": promised, "fresh_recall_95": fresh_promised,
            "entries_95": promised_scanned, "fresh_entries_95": fresh_promised_scanned,
            "new_rows_missing": missing,
            "searches_per_second_of_beginning": speed.beginning.rate, "p99_microseconds_of_beginning": speed.beginning.p99,
            "searches_per_second_idle": speed.idle.rate, "p99_microseconds_idle": speed.idle.p99,
            "searches_per_second": speed.during.rate, "p99_microseconds": speed.during.p99,
            "searches_per_second_after": speed.after.rate, "p99_microseconds_after": speed.after.p99,
            "searches_to_idle": speed.during.rate / speed.idle.rate, "p99_to_idle": speed.during.p99 / speed.idle.p99,
            "searches_to_idle_after": speed.after.rate / speed.idle.rate, "p99_to_idle_after": speed.after.p99 / speed.idle.p99,
            "seconds_after": speed.seconds_after,
            "searches_to_beginning": speed.during.rate / speed.beginning.rate, "p99_to_beginning": speed.during.p99 / speed.beginning.p99,
            "searches_to_beginning_after": speed.after.rate / speed.beginning.rate,
            "p99_to_beginning_after": speed.after.p99 / speed.beginning.p99,
            "rows_per_second": coming.len() as f64 / writing.as_secs_f64(),
            "lists": stats.lists, "segments": stats.list_segments, "models": stats.models,
            "retrains": stats.retrains, "delta_rows": stats.delta_rows, "drift": c.health().expect("health").drift,
        });
        println!("{figures}");
        rounds.push(figures);
    }
    // What the rules ask for after the last row is brought to its end.
    let written = c.stats();
    c.compact(Compact::Auto).and_then(|job| job.wait()).expect("compact");
    let snapshot = c.snapshot();
    let exact = truth(&snapshot, data);
    let promised: Vec<Value> = PROMISES
        .iter()
        .map(|part| json!({ "asked": part, "found": measure(&snapshot, data, &exact, Effort::Recall(*part)).0 }))
        .collect();
    let health = c.health().expect("health");
    let vectors = (step * ROUNDS * data.dim * 4) as f64;
    let bytes = |of: fn(&stratavec::Stats) -> u64| (of(&written) - of(&begun)) as f64 / vectors;
    let least = |name: &str, fresh: &str| {
        let ratio = |round: &Value| round[name].as_f64().unwrap_or(0.0) - round[fresh].as_f64().unwrap_or(0.0);
        rounds.iter().map(ratio).fold(f64::INFINITY, f64::min)
    };
    let most = |name: &str, fresh: &str| {
        let ratio = |round: &Value| round[name].as_f64().unwrap_or(0.0) / round[fresh].as_f64().unwrap_or(1.0);
        rounds.iter().map(ratio).fold(0.0, f64::max)
    };
    let (at_rest, at_work) = (Speed::of(at_rest), Speed::of(at_work));
    let summary = json!({
        "all_rounds": { "searches_to_idle": at_work.rate / at_rest.rate, "p99_to_idle": at_work.p99 / at_rest.p99,
            "p99_microseconds": at_work.p99, "p99_microseconds_idle": at_rest.p99 },
        "recall_below_fresh_at_most": -least("recall", "fresh_recall").min(least("recall_at_first", "fresh_recall")),
        "entries_over_fresh_at_most": most("entries", "fresh_entries").max(most("entries_at_first", "fresh_entries")),
        "entries_in_upkeep_over_fresh_at_most": most("entries_in_upkeep", "fresh_entries_of_these"),
        "entries_and_memory_in_upkeep_over_fresh_at_most": most("entries_and_memory_in_upkeep", "fresh_entries_of_these"),
        "entries_and_memory_over_fresh_at_most": most("entries_and_memory", "fresh_entries").max(most("entries_and_memory_at_first", "fresh_entries")),
        "recall_95_least": rounds.iter().filter_map(|round| round["recall_95"].as_f64()).fold(1.0, f64::min),
        "entries_95_over_fresh_at_most": most("entries_95", "fresh_entries_95"),
        "idle_searches_per_second_least": least_of(&rounds, "searches_per_second_idle"),
        "idle_searches_per_second_most": most_of(&rounds, "searches_per_second_idle"),
        "searches_to_idle_least": least_of(&rounds, "searches_to_idle"),
        "searches_to_idle_after_least": least_of(&rounds, "searches_to_idle_after"),
        "p99_to_idle_most": most_of(&rounds, "p99_to_idle"),
        "p99_to_idle_after_most": most_of(&rounds, "p99_to_idle_after"),
        "searches_to_beginning_least": least_of(&rounds, "searches_to_beginning"),
        "searches_to_beginning_after_least": least_of(&rounds, "searches_to_beginning_after"),
        "p99_to_beginning_most": most_of(&rounds, "p99_to_beginning"),
        "p99_to_beginning_after_most": most_of(&rounds, "p99_to_beginning_after"),
        "new_rows_missing": rounds.iter().filter_map(|round| round["new_rows_missing"].as_u64()).sum::<u64>(),
        "rows_per_second_asked_for": PACE, "slowest_commit_milliseconds": slowest.as_secs_f64() * 1e3,
        "rows_per_second": (step * ROUNDS) as f64 / seconds_writing,
        "log_bytes_per_vector_byte": bytes(|stats| stats.log_bytes),
        "flush_bytes_per_vector_byte": bytes(|stats| stats.flush_bytes_written),
        "merge_bytes_per_vector_byte": bytes(|stats| stats.merge_bytes_written),
        "list_bytes_per_vector_byte": bytes(|stats| stats.list_bytes_written),
        "retrains": written.retrains, "at_rest": promised,
        "health_score": health.score, "health_coverage": health.coverage, "health_recall": health.recall,
        "health_quantization_error": health.quantization_error, "health_balance": health.balance,
    });
    println!("{summary:#}");
    c.close().expect("close");
    json!({ "benchmark": "churn", "provenance": provenance(SEED), "rows": data.count(), "dim": data.dim, "tiered": tiered, "stops_of_machine": stops,
        "summary": summary, "rounds": rounds })
}
