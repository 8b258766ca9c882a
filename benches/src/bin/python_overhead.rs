//! The Rust side of `benches/compare/python_overhead.py`: the same searches on the same collection, timed in turns on demand.
//!
//! Reads commands from standard input, one a line: `single DIR QUERIES N` or `batch DIR QUERIES N`, where QUERIES is a file of f32; answers
//! with the nanoseconds that one query took.

use std::io::{BufRead, Write};
use std::time::Instant;

use stratavec::{Collection, Follower};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut open: Option<(String, Follower)> = None;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let [kind, dir, file, rounds] = words[..] else { return Err(format!("not understood: {line}").into()) };
        if open.as_ref().is_none_or(|(name, _)| name != dir) {
            open = Some((dir.to_owned(), Collection::open_read_only(dir)?));
        }
        let Some((_, follower)) = &open else { continue };
        let dim = follower.schema().dim();
        let bytes = std::fs::read(file)?;
        let floats: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let queries: Vec<&[f32]> = floats.chunks_exact(dim).collect();
        let rounds: usize = rounds.parse()?;
        let started = Instant::now();
        let mut found = 0;
        for _ in 0..rounds {
            if kind == "single" {
                for query in &queries {
                    // As a call from another language must: a snapshot for each.
                    found += follower.snapshot().search(query).k(10).run()?.len();
                }
            } else {
                found += follower
                    .snapshot()
                    .search_batch(&queries)
                    .k(10)
                    .run()?
                    .iter()
                    .map(|hits| hits.len())
                    .sum::<usize>();
            }
        }
        let each = started.elapsed().as_nanos() as f64 / (rounds * queries.len()) as f64;
        println!("{each} {found}");
        std::io::stdout().flush()?;
    }
    Ok(())
}
