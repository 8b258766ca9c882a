//! Distances of a query to rows, timed on request: one line of JSON for each line `op dim place repeats` on the standard input.
//!
//! `op`: l2 or dot. `place`: how many bytes of rows. Answers: nanoseconds per row of `kernels().many` for rows of f32, f16 and
//! bf16 that follow each other. `benches/compare/distance_peers.py` asks in turns with other libraries.

use std::hint::black_box;
use std::io::{BufRead, Write};
use std::time::Instant;

use stratavec::kernel::{Element, Op, encode_row, kernels};
use stratavec_benches::Random;

const SEED: u64 = 20_261_121;
/// Rows scored by one call, as a search does.
const CHUNK: usize = 64;

fn main() {
    let mut output = std::io::stdout();
    let mut rows = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("a line of text");
        let words: Vec<&str> = line.split_whitespace().collect();
        let [op, dim, bytes, repeats] = words[..] else { panic!("op dim bytes repeats, not {line:?}") };
        let op = match op {
            "l2" => Op::L2,
            "dot" => Op::Dot,
            other => panic!("l2 or dot, not {other}"),
        };
        let [dim, bytes, repeats] = [dim, bytes, repeats].map(|word| word.parse().expect("a number"));
        if rows.first().is_none_or(|rows: &Rows| (rows.dim(), rows.bytes) != (dim, bytes)) {
            rows = [Element::F32, Element::F16, Element::Bf16].map(|element| Rows::new(element, dim, bytes)).into();
        }
        let times = [0, 1, 2].map(|at| rows[at].time(op, repeats));
        let [f32_ns, f16_ns, bf16_ns] = times;
        let path = kernels().path().name();
        writeln!(output, r#"{{"f32":{f32_ns},"f16":{f16_ns},"bf16":{bf16_ns},"path":"{path}"}}"#)
            .expect("someone reads");
        output.flush().expect("someone reads");
    }
}

/// Rows that follow each other from a cache line on, as many as would take `bytes` as f32.
struct Rows {
    element: Element,
    bytes: usize,
    query: Vec<f32>,
    stride: usize,
    room: Vec<u8>,
    start: usize,
    out: Vec<f32>,
}

impl Rows {
    fn new(element: Element, dim: usize, bytes: usize) -> Rows {
        let mut random = Random::new(SEED);
        let query = random.vector(dim);
        let count = bytes / (4 * dim);
        let mut some = Vec::new();
        (0..64).for_each(|_| encode_row(element, &random.vector(dim), &mut some));
        let stride = some.len() / 64;
        let mut room = vec![0_u8; count * stride + 64];
        let start = room.as_ptr().align_offset(64);
        let places = room[start..start + count * stride].chunks_mut(some.len());
        places.for_each(|place| place.copy_from_slice(&some[..place.len()]));
        Rows { element, bytes, query, stride, room, start, out: vec![0.0; count] }
    }

    fn dim(&self) -> usize {
        self.query.len()
    }

    fn pass(&mut self, op: Op) {
        let rows = self.room[self.start..].chunks(CHUNK * self.stride);
        for (rows, out) in rows.zip(self.out.chunks_mut(CHUNK)) {
            kernels().many(op, self.element, &self.query, rows, self.stride, black_box(out));
        }
    }

    /// Nanoseconds per row.
    fn time(&mut self, op: Op, repeats: usize) -> f64 {
        self.pass(op);
        let start = Instant::now();
        (0..repeats).for_each(|_| self.pass(op));
        start.elapsed().as_secs_f64() * 1e9 / (repeats * self.out.len()) as f64
    }
}
