//! Writes, merges, loads and searches under a memory budget, and says on standard output how much memory the process took.
//!
//! `frugal DIRECTORY ROWS DIM BUDGET`: one line, `name bytes` pairs: the most anonymous memory, the most mapped memory, what the
//! engine counted at most, the number of rows in the end.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use stratavec::{BulkItem, Collection, Compact, Durability, IdKind, Metric, OpenOptions, Result, Schema};
use stratavec_tests::Random;

/// Resident memory of this process, anonymous and mapped from files.
fn resident() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        let kib = line.and_then(|line| line.split_whitespace().nth(1)).and_then(|n| n.parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    };
    (field("RssAnon:"), field("RssFile:"))
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<u64> = args.iter().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let (Some(dir), [rows, dim, budget]) = (args.first(), &numbers[..]) else {
        eprintln!("usage: frugal DIRECTORY ROWS DIM BUDGET");
        return ExitCode::from(2);
    };
    let (stop, anonymous, mapped) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let worked = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let now = resident();
                anonymous.fetch_max(now.0, Ordering::Relaxed);
                mapped.fetch_max(now.1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let worked = work(dir, *rows, *dim as usize, *budget);
        stop.store(true, Ordering::Relaxed);
        worked
    });
    match worked {
        Ok((counted, rows)) => {
            let (anonymous, mapped) = (anonymous.into_inner(), mapped.into_inner());
            println!("anonymous {anonymous} mapped {mapped} counted {counted} rows {rows}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("frugal: {error:?}");
            ExitCode::FAILURE
        }
    }
}

fn work(dir: &str, rows: u64, dim: usize, budget: u64) -> Result<(u64, u64)> {
    let schema = Schema::new(dim, Metric::L2).ids(IdKind::U64);
    let options = OpenOptions::new().memory_budget(budget).durability(Durability::Os);
    let c = Collection::create(dir, schema, options)?;
    let mut random = Random::new(1);
    // Half by batches, every tenth row replaced later; a snapshot is held for a while.
    let mut pinned = None;
    for first in (0..rows / 2).step_by(500) {
        let mut batch = c.batch();
        for id in first..first + 500 {
            let id = if id % 10 == 9 { random.below(id) } else { id };
            batch.upsert(id, &random.vector(dim));
        }
        batch.commit()?;
        if first % 10_000 == 0 {
            pinned = Some(c.snapshot());
        }
    }
    drop(pinned);
    c.compact(Compact::Full)?.wait()?;
    // The rest, and an eighth again, at once.
    let mut random = Random::new(2);
    let items = (rows * 3 / 8..rows).map(move |id| BulkItem::new(id, random.vector(dim)));
    c.bulk_load(items)?.wait()?;
    c.compact(Compact::Full)?.wait()?;
    let mut random = Random::new(3);
    for _ in 0..3 {
        let hits = c.snapshot().search(&random.vector(dim)).k(100).run()?;
        assert_eq!(hits.len(), 100);
    }
    let counted = c.stats().memory.peak;
    let live = c.snapshot().count();
    c.close()?;
    Ok((counted, live))
}
