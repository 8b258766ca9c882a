//! What the benchmarks share: seeded data, timing in turns, and a record that says where a number comes from.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

/// SplitMix64: the same numbers from the same seed everywhere.
pub struct Random(u64);

impl Random {
    /// A generator at its start.
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in -1..1.
    pub fn component(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    /// A vector of uniform components.
    pub fn vector(&mut self, dim: usize) -> Vec<f32> {
        (0..dim).map(|_| self.component()).collect()
    }
}

/// So many threads, started for each piece of work.
pub struct Threads(pub usize);

impl stratavec::kernel::cluster::Parallel for Threads {
    fn threads(&self) -> usize {
        self.0
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        let next = std::sync::atomic::AtomicUsize::new(0);
        let work = || {
            loop {
                let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                if number >= tasks {
                    return;
                }
                task(number);
            }
        };
        std::thread::scope(|scope| {
            (1..self.0.min(tasks)).for_each(|_| drop(scope.spawn(work)));
            work();
        });
    }
}

/// The middle of some figures.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// How long something takes.
pub fn time<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    let result = work();
    (result, started.elapsed())
}

/// Seconds the calling thread has been running on a processor: on a busy machine, what its work costs.
pub fn thread_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = stat.split_whitespace().next().and_then(|field| field.parse::<f64>().ok());
    nanoseconds.unwrap_or(f64::NAN) / 1e9
}

/// Seconds all threads of this process have been running on processors, those that ended too, to a hundredth.
pub fn process_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, which comes second, is in brackets and may have spaces; user and system ticks are fields 14 and 15.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: Vec<f64> = fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse().ok()).collect();
    if let [user, system] = ticks[..] { (user + system) / 100.0 } else { f64::NAN }
}

/// Bytes of this process that are in memory: anonymous, and mapped from files.
pub fn resident_bytes() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)).and_then(|n| n.parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    };
    (field("RssAnon:"), field("RssFile:"))
}

/// What a result was measured on and how to measure it again.
pub fn provenance(seed: u64) -> Value {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    json!({
        "unix_time": seconds,
        "cpu": model.trim_start_matches([' ', '\t', ':']),
        "threads": std::thread::available_parallelism().map_or(0, |n| n.get()),
        "kernel": output_of("uname", &["-sr"]),
        "rustc": output_of("rustc", &["--version"]),
        "commit": output_of("git", &["rev-parse", "--short", "HEAD"]),
        "seed": seed,
        "command": std::env::args().collect::<Vec<_>>().join(" ").rsplit('/').next().unwrap_or_default(),
    })
}

fn output_of(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned()).unwrap_or_default()
}

/// A directory for one benchmark, on the disk that `STRATAVEC_BENCH_DIR` names (default: `target/bench-data`), removed at the end.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes it.
    ///
    /// # Panics
    /// If the directory cannot be made.
    pub fn new(name: &str) -> Self {
        let base = std::env::var_os("STRATAVEC_BENCH_DIR").map_or_else(|| "target/bench-data".into(), PathBuf::from);
        let path = base.join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("the benchmark directory can be made");
        Scratch(path)
    }

    /// A path inside.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Writes a result beside earlier ones.
///
/// # Panics
/// If the file cannot be written.
pub fn write_result(folder: &Path, name: &str, result: &Value) -> PathBuf {
    std::fs::create_dir_all(folder).expect("the results folder can be made");
    let path = folder.join(format!("{name}.json"));
    std::fs::write(&path, format!("{result:#}\n")).expect("the result can be written");
    path
}

/// The bytes and the number of columns of a two-dimensional array in NumPy's format (version 1), whose elements are of `kind`.
fn array(path: &Path, kind: &str) -> std::io::Result<(Vec<u8>, usize)> {
    let bad = |what: &str| std::io::Error::other(format!("{}: {what}", path.display()));
    let bytes = std::fs::read(path)?;
    let length = bytes.get(8..10).map_or(0, |b| usize::from(u16::from_le_bytes([b[0], b[1]])));
    let header = bytes.get(10..10 + length).ok_or_else(|| bad("it is too short"))?;
    let header = String::from_utf8_lossy(header);
    if !header.contains(kind) || header.contains("True") {
        return Err(bad("its elements are of another kind or order"));
    }
    let shape =
        header.split_once('(').and_then(|(_, rest)| rest.split_once(')')).ok_or_else(|| bad("it has no shape"))?;
    let columns = shape.0.split(',').nth(1).and_then(|n| n.trim().parse().ok()).filter(|n| *n > 0);
    Ok((bytes[10 + length..].to_vec(), columns.ok_or_else(|| bad("it has no columns"))?))
}

/// A matrix of half-precision numbers in NumPy's format, row after row, and its columns.
///
/// # Errors
/// If the file cannot be read or is something else.
pub fn matrix_of_halves(path: &Path) -> std::io::Result<(Vec<f32>, usize)> {
    let (bytes, columns) = array(path, "<f2")?;
    let mut values = vec![0.0; bytes.len() / 2];
    stratavec::kernel::decode_row(stratavec::kernel::Element::F16, &bytes, &mut values);
    Ok((values, columns))
}

/// A matrix of 32-bit numbers in NumPy's format, row after row, and its columns.
///
/// # Errors
/// If the file cannot be read or is something else.
pub fn matrix_of_words(path: &Path) -> std::io::Result<(Vec<u32>, usize)> {
    let (bytes, columns) = array(path, "<i4")?;
    Ok((bytes.as_chunks::<4>().0.iter().map(|word| u32::from_le_bytes(*word)).collect(), columns))
}
