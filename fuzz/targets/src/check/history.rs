//! Operations against a map: after any of them, after reopening, after a power loss at any call, the collection is what the map says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;

use stratavec::storage::testing::{CrashOptions, HoleFill, MemDir, Phase, UnitMask};
use stratavec::{
    Attributes, Collection, Compaction, Durability, ErrorKind, Id, IdKind, Include, Metric, OpenOptions, RowFormat,
    Schema, Verify,
};

use crate::fixture::options;
use crate::input::Input;
use crate::reading::check_hits;

const DIM: usize = 3;
/// Operations of one input.
const MOST_STEPS: usize = 60;

/// A row as the map has it.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    vector: Vec<f32>,
    attributes: Attributes,
    payload: Option<Vec<u8>>,
    seq: u64,
}

type State = BTreeMap<Id, Row>;

/// What a batch does to one id.
enum Write {
    Upsert(Id, Row),
    Insert(Id, Row),
    Delete(Id),
}

fn schema(input: &mut Input<'_>) -> Schema {
    let metric = [Metric::L2, Metric::InnerProduct, Metric::Cosine][input.below(3)];
    let rows = [RowFormat::F32, RowFormat::F16, RowFormat::Bf16][input.below(3)];
    let ids = [IdKind::U64, IdKind::Bytes][input.below(2)];
    Schema::new(DIM, metric).rows(rows).ids(ids)
}

fn id(input: &mut Input<'_>, kind: IdKind) -> Id {
    let number = input.below(24) as u64;
    match kind {
        IdKind::U64 => Id::U64(number * 1_000_003),
        _ => Id::from(format!("{}{number}", "i".repeat(number as usize % 5))),
    }
}

fn row(input: &mut Input<'_>) -> Row {
    let mut vector: Vec<f32> = (0..DIM).map(|_| input.small_float()).collect();
    if vector.iter().all(|x| *x == 0.0) {
        vector[0] = 1.0;
    }
    let choice = input.u8();
    let mut attributes = Attributes::new();
    if choice & 1 == 1 {
        attributes.insert("n".to_owned(), i64::from(choice).into());
        attributes.insert("t".to_owned(), "x".repeat(usize::from(choice) / 8).as_str().into());
    }
    let payload = (choice & 2 == 2).then(|| vec![choice; 1 + usize::from(choice) * 3]);
    Row { vector, attributes, payload, seq: 0 }
}

fn writes(input: &mut Input<'_>, kind: IdKind) -> Vec<Write> {
    let count = 1 + input.below(6);
    let write = |_| match input.below(4) {
        0 => Write::Delete(id(input, kind)),
        1 => Write::Insert(id(input, kind), row(input)),
        _ => Write::Upsert(id(input, kind), row(input)),
    };
    (0..count).map(write).collect()
}

/// What the writes make of a state; `None` if an insert meets its id.
fn apply(state: &State, writes: &[Write], seq: u64) -> Option<State> {
    let mut next = state.clone();
    for write in writes {
        match write {
            Write::Upsert(id, row) => {
                next.insert(id.clone(), Row { seq, ..row.clone() });
            }
            Write::Insert(id, row) => {
                if next.contains_key(id) {
                    return None;
                }
                next.insert(id.clone(), Row { seq, ..row.clone() });
            }
            Write::Delete(id) => {
                next.remove(id);
            }
        }
    }
    Some(next)
}

/// A collection, and what it was after each batch.
struct Run {
    schema: Schema,
    dir: MemDir,
    collection: Option<Collection>,
    states: Arc<Mutex<BTreeMap<u64, State>>>,
    /// The last batch that was acknowledged as durable.
    durable: Arc<Mutex<u64>>,
    seq: u64,
    options: OpenOptions,
}

impl Run {
    fn new(input: &mut Input<'_>) -> Run {
        let schema = schema(input);
        let options = match input.below(4) {
            0 => options().flush_rows(4),
            1 => options().flush_bytes(1024),
            _ => options(),
        };
        let options = match input.below(3) {
            0 => options,
            choice => options.compaction(Compaction::Auto { dead_ratio: 0.3, fanout: 1 + choice as u32 }),
        };
        let dir = MemDir::new(5);
        let c = Collection::create_in(Arc::new(dir.clone()), schema.clone(), options.clone()).expect("create");
        let states = Arc::new(Mutex::new(BTreeMap::from([(0, State::new())])));
        Run { schema, dir, collection: Some(c), states, durable: Arc::new(Mutex::new(0)), seq: 0, options }
    }

    fn c(&self) -> &Collection {
        self.collection.as_ref().expect("open")
    }

    fn state(&self) -> State {
        self.states.lock().expect("states")[&self.seq].clone()
    }

    fn note_durable(&self) {
        let mut durable = self.durable.lock().expect("durable");
        *durable = (*durable).max(self.c().durable_seq());
    }

    fn step(&mut self, input: &mut Input<'_>) {
        match input.below(12) {
            0 => self.c().flush().expect("flush"),
            1 => drop(self.c().sync().expect("sync")),
            2 => self.reopen(false),
            3 => self.reopen(true),
            choice => self.commit(input, choice),
        }
        self.note_durable();
    }

    fn commit(&mut self, input: &mut Input<'_>, choice: usize) {
        let level = [Durability::Group, Durability::Sync, Durability::Os][choice % 3];
        let writes = writes(input, self.schema.id_kind());
        let next = apply(&self.state(), &writes, self.seq + 1);
        if let Some(next) = &next {
            self.states.lock().expect("states").insert(self.seq + 1, next.clone());
        }
        let mut batch = self.c().batch();
        for write in &writes {
            match write {
                Write::Delete(id) => drop(batch.delete(id.as_ref())),
                Write::Upsert(id, row) => fill(batch.upsert(id.as_ref(), &row.vector), row),
                Write::Insert(id, row) => fill(batch.insert(id.as_ref(), &row.vector), row),
            }
        }
        match (batch.commit_with(level), next) {
            (Ok(receipt), Some(_)) => {
                assert_eq!(receipt.seq, self.seq + 1);
                assert!(receipt.durable || level == Durability::Os);
                self.seq += 1;
            }
            (Err(error), None) => assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error:?}"),
            (outcome, next) => panic!("{outcome:?} where the map says {:?}", next.is_some()),
        }
    }

    fn reopen(&mut self, close: bool) {
        let c = self.collection.take().expect("open");
        match close {
            true => c.close().expect("close"),
            false => drop(c),
        }
        let c = Collection::open_in(Arc::new(self.dir.clone()), self.options.clone()).expect("open");
        assert!(!close || c.recovery().is_clean(), "{:?}", c.recovery());
        assert_eq!(c.last_seq(), self.seq);
        self.collection = Some(c);
    }
}

fn fill(mut put: stratavec::Put<'_, '_>, row: &Row) {
    if !row.attributes.is_empty() {
        put = put.attributes(row.attributes.clone());
    }
    if let Some(payload) = &row.payload {
        put.payload(payload);
    }
}

/// The collection holds these rows and no others, by every way of asking.
fn check(c: &Collection, state: &State, input: &mut Input<'_>) {
    let snapshot = c.snapshot();
    assert_eq!(snapshot.count(), state.len() as u64);
    let mut found = State::new();
    for item in snapshot.iter() {
        let item = item.expect("iterate");
        let row = Row { vector: item.vector, attributes: item.attributes, payload: item.payload, seq: item.seq };
        assert!(found.insert(item.id, row).is_none(), "an id came twice");
    }
    assert_eq!(&found, state);
    for _ in 0..4 {
        let id = id(input, c.schema().id_kind());
        let item = snapshot.get(id.as_ref()).expect("get");
        assert_eq!(item.map(|item| item.vector), state.get(&id).map(|row| row.vector.clone()));
    }
    let query = row(input).vector;
    let k = 1 + input.below(30);
    let hits = snapshot.search(&query).k(k).include(Include::VECTOR).run().expect("search");
    check_hits(&hits, k);
    assert_eq!(hits.len(), k.min(state.len()));
    if c.schema().metric() == Metric::L2 {
        let distance = |row: &Row| query.iter().zip(&row.vector).map(|(q, v)| (q - v) * (q - v)).sum::<f32>();
        let mut wanted: Vec<(f32, &Id)> = state.iter().map(|(id, row)| (distance(row), id)).collect();
        wanted.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1)));
        wanted.truncate(k);
        assert_eq!(hits.iter().map(|hit| (hit.distance, &hit.id)).collect::<Vec<_>>(), wanted);
    }
}

/// Operations; in between and at the end the collection is compared with the map.
pub fn ops_model(data: &[u8]) {
    let mut input = Input::new(data);
    let mut run = Run::new(&mut input);
    for _ in 0..MOST_STEPS {
        if input.is_empty() {
            break;
        }
        run.step(&mut input);
        if input.u8().is_multiple_of(4) {
            check(run.c(), &run.state(), &mut input);
        }
    }
    check(run.c(), &run.state(), &mut input);
    run.reopen(false);
    check(run.c(), &run.state(), &mut input);
    let report = Collection::verify_in(&run.dir, Verify::Full).expect("verify");
    assert!(report.is_sound(), "{:?}", report.findings);
}

/// The disk at the moment the power went, and what was durable then.
type Cut = (MemDir, u64);

/// Operations, and a power loss at one call with one choice of what survives. What is found is the state after some batch that is no
/// older than the last one acknowledged as durable; and the collection goes on from there.
pub fn ops_crash(data: &[u8]) {
    let mut input = Input::new(data);
    let at = 1 + u64::from(input.u8());
    let bits = input.u64() | u64::from(input.u8()).wrapping_mul(0x0101_0101_0101_0101);
    let fill = [HoleFill::Zeros, HoleFill::Noise(7), HoleFill::Stale][input.below(3)];
    let mut run = Run::new(&mut input);
    let cut: Arc<Mutex<Option<Cut>>> = Arc::default();
    let first = run.dir.calls();
    let (keep, durable) = (cut.clone(), run.durable.clone());
    run.dir.on_call(move |point| {
        if point.index == first + at && point.phase == Phase::After {
            *keep.lock().expect("cut") = Some((point.dir.fork(), *durable.lock().expect("durable")));
        }
    });
    for _ in 0..MOST_STEPS {
        if input.is_empty() || cut.lock().expect("cut").is_some() {
            break;
        }
        run.step(&mut input);
    }
    run.dir.clear_hook();
    let (disk, durable) = match cut.lock().expect("cut").take() {
        Some(cut) => cut,
        None => (run.dir.fork(), *run.durable.lock().expect("durable")),
    };
    let few = CrashOptions { exhaustive_units: 0, random_subsets: 0, seed: 1, fill };
    let image = disk.crash_set(&few).build_mask(&UnitMask::from_bits(bits));
    let states = run.states.lock().expect("states").clone();
    let c = Collection::open_in(Arc::new(image.clone()), options()).expect("open after a power loss");
    let seq = c.last_seq();
    assert!(seq >= durable, "batch {durable} was acknowledged as durable, {seq} batches are there");
    check(&c, states.get(&seq).expect("a state that never was"), &mut input);
    c.upsert(id(&mut input, run.schema.id_kind()).as_ref(), &[1.0, 2.0, 3.0]).expect("write after a power loss");
    let count = c.snapshot().count();
    drop(c);
    let c = Collection::open_in(Arc::new(image.clone()), options()).expect("open again");
    assert_eq!((c.last_seq(), c.snapshot().count()), (seq + 1, count));
    drop(c);
    let report = Collection::verify_in(&image, Verify::Full).expect("verify");
    assert!(report.is_sound(), "{:?}", report.findings);
}
