//! Everything that can be asked of a directory, and what must hold of the answers, whatever its files are.

use std::sync::Arc;

use stratavec::storage::testing::MemDir;
use stratavec::{
    Attributes, Collection, Compaction, Effort, Error, ErrorKind, Filter, Hits, Id, IdKind, IdRef, Include, Item,
    Repair, Snapshot, Value, Verify,
};

use crate::fixture::options;

/// An answer, as a number that tells it from others; or the kind of the error.
pub type Answer = Result<u64, ErrorKind>;

/// A fixed list of searches and look-ups.
pub struct Questions {
    searches: Vec<(Vec<f32>, usize, u8)>,
    ids: Vec<Id>,
}

/// Searches in a list of questions.
const SEARCHES: usize = 20;
/// Look-ups in it.
const GETS: usize = 30;

impl Questions {
    /// 20 searches of many shapes and 30 look-ups, for a collection of this dimension.
    pub fn new(dim: usize, ids: &[Id]) -> Questions {
        let component = |i: usize, j: usize| ((i * 29 + j * 17) % 53) as f32 / 3.0 - 8.0;
        let searches = (0..SEARCHES)
            .map(|i| ((0..dim).map(|j| component(i, j)).collect(), [1, 3, 10, 40][i % 4], i as u8 % 5))
            .collect();
        let step = (ids.len() / GETS).max(1);
        Questions { searches, ids: ids.iter().step_by(step).take(GETS).cloned().collect() }
    }

    /// Asks all of them, then for the number of rows and for all rows.
    pub fn ask(&self, snapshot: &Snapshot) -> Vec<Answer> {
        let mut answers: Vec<Answer> = Vec::with_capacity(SEARCHES + GETS + 2);
        for (query, k, shape) in &self.searches {
            answers.push(self.search(snapshot, query, *k, *shape).map(|hits| sum_hits(&hits)).map_err(kind));
        }
        for id in &self.ids {
            answers.push(snapshot.get(id.as_ref()).map(|item| item.map_or(1, |item| sum_item(&item))).map_err(kind));
        }
        answers.push(Ok(snapshot.count()));
        let mut all = Sum(7);
        let whole = snapshot.iter().try_for_each(|item| item.map(|item| all.add(sum_item(&item))));
        answers.push(whole.map(|()| all.0).map_err(kind));
        answers
    }

    fn search(&self, snapshot: &Snapshot, query: &[f32], k: usize, shape: u8) -> stratavec::Result<Hits> {
        let search = snapshot.search(query).k(k);
        let hits = match shape {
            0 => search.include(Include::VECTOR | Include::PAYLOAD | Include::ATTRIBUTES).run(),
            1 => search.filter(Filter::ids(self.ids.iter().take(3).cloned())).run(),
            2 => search.filter(Filter::by(|id| !sum_id(id).is_multiple_of(3))).run(),
            3 => search.filter(!Filter::ids(self.ids.iter().skip(5).cloned())).max_distance(40.0).run(),
            _ => search.include(Include::PAYLOAD).effort(Effort::Probe { nprobe: 3, patience: usize::MAX }).run(),
        }?;
        check_hits(&hits, k);
        Ok(hits)
    }
}

/// What must hold of the result of any search.
pub fn check_hits(hits: &Hits, k: usize) {
    assert!(hits.len() <= k, "{} results for k = {k}", hits.len());
    assert!(hits.iter().all(|hit| !hit.distance.is_nan()), "a distance that is no number");
    let ordered = hits.windows(2).all(|pair| match pair[0].distance.total_cmp(&pair[1].distance) {
        std::cmp::Ordering::Less => true,
        std::cmp::Ordering::Equal => pair[0].id <= pair[1].id,
        std::cmp::Ordering::Greater => false,
    });
    assert!(ordered, "results out of order: {:?}", hits.iter().map(|h| (h.distance, h.id.clone())).collect::<Vec<_>>());
}

fn kind(error: Error) -> ErrorKind {
    error.kind()
}

/// What reading a directory in every way came to.
#[derive(Debug, Default)]
pub struct Reading {
    /// `verify` found nothing.
    pub sound: bool,
    /// It could be opened.
    pub opened: bool,
    /// Reads that were refused.
    pub refused: usize,
    /// Reads that were answered.
    pub answered: usize,
}

/// Verifies, opens read-only and for writing, searches, looks up and reads everything. Whatever the files are, each call returns;
/// errors are about damage or newer formats; where `verify` found nothing, no read meets damage; and what opens for writing
/// was shown to a reader before, with the same rows.
///
/// # Panics
/// If any of that does not hold.
pub fn read_everything(dir: &MemDir, ids: &[Id]) -> Reading {
    let mut reading = Reading::default();
    match Collection::verify_in(dir, Verify::Full) {
        Ok(report) => {
            report.findings.iter().for_each(check_kind);
            reading.sound = report.is_sound();
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}"),
    }
    check_repair(dir, reading.sound);
    let shown = follow(dir, ids);
    // The write at the end is flushed, and the flush is followed by a compaction of whatever there is.
    let eager = options().compaction(Compaction::Auto { dead_ratio: 0.01, fanout: 2 });
    let c = match Collection::open_in(Arc::new(dir.clone()), eager) {
        Ok(c) => c,
        Err(error) => {
            if error.kind() != ErrorKind::NotFound {
                check_kind(&error);
            }
            return reading;
        }
    };
    reading.opened = true;
    let questions = Questions::new(c.schema().dim(), ids);
    let answers = questions.ask(&c.snapshot());
    let shown = shown.expect("what opens for writing opens for reading");
    // A forged log may give two rows one id; which of them is found then depends on where they lie. Which rows there are does not.
    let differ = |(one, two): (&Answer, &Answer)| matches!((one, two), (Ok(one), Ok(two)) if one != two);
    let rows = answers.len() - 2;
    let differ = answers[rows..].iter().zip(&shown[rows..]).any(differ);
    assert!(!differ, "a reader saw {:?}, the writer {:?}", &shown[rows..], &answers[rows..]);
    for answer in answers {
        match answer {
            Ok(_) => reading.answered += 1,
            // The ids of the questions may be of the wrong kind for a forged schema.
            Err(ErrorKind::InvalidArgument) => reading.refused += 1,
            Err(kind) => {
                assert!(is_damage(kind), "a read failed with {kind:?}");
                assert!(!reading.sound, "verify found nothing, but a read says {kind:?}");
                reading.refused += 1;
            }
        }
    }
    let _ = c.stats();
    write_something(&c, reading.sound);
    reading
}

/// A repair ends, and what it makes is sound; of a sound collection it keeps everything.
fn check_repair(dir: &MemDir, sound: bool) {
    let to = MemDir::new(3);
    match Collection::repair_in(dir, &to, Repair::KeepProven) {
        Ok(report) => {
            assert!(!sound || report.is_complete(), "verify found nothing, but a repair lost something: {report:?}");
            let c = Collection::open_in(Arc::new(to), options()).expect("what a repair made opens");
            assert_eq!(c.snapshot().count(), report.rows);
        }
        Err(error) => {
            let known = is_damage(error.kind()) || error.kind() == ErrorKind::NotFound;
            let end = error.message().contains("counted as far");
            assert!(known && (!sound || end) && !error.message().contains("read back"), "a repair says {error:?}");
        }
    }
}

/// What a reader that changes nothing sees; `None` if it is refused.
fn follow(dir: &MemDir, ids: &[Id]) -> Option<Vec<Answer>> {
    let before = dir.image_hash();
    let follower = match Collection::open_read_only_in(Arc::new(dir.clone())) {
        Ok(follower) => follower,
        Err(error) => {
            if error.kind() != ErrorKind::NotFound {
                check_kind(&error);
            }
            return None;
        }
    };
    let seq = follower.last_seq();
    assert_eq!(follower.refresh().expect("a second look at the same files"), seq);
    let _ = follower.stats();
    let answers = Questions::new(follower.schema().dim(), ids).ask(&follower.snapshot());
    assert!(dir.image_hash() == before, "a reader has changed something");
    Some(answers)
}

/// A collection that opened takes a write, or says why not.
fn write_something(c: &Collection, sound: bool) {
    let vector = vec![0.5; c.schema().dim()];
    let written = match c.schema().id_kind() {
        IdKind::U64 => c.upsert(4u64, &vector),
        _ => c.upsert("a new one", &vector),
    };
    for outcome in [written.map(drop), c.flush()] {
        if let Err(error) = outcome {
            check_kind(&error);
            assert!(!sound, "verify found nothing, but a write says {error:?}");
        }
    }
}

fn is_damage(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Corrupt | ErrorKind::UnsupportedVersion)
}

fn check_kind(error: &Error) {
    assert!(is_damage(error.kind()), "an error about something else than damage: {error:?}");
}

/// A running sum in which order and content count.
#[derive(Clone, Copy)]
struct Sum(u64);

impl Sum {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 ^= self.0 >> 29;
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.add(bytes.len() as u64);
        for part in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.add(u64::from_le_bytes(word));
        }
    }

    fn id(&mut self, id: IdRef<'_>) {
        match id {
            IdRef::U64(number) => self.add(number),
            IdRef::Bytes(bytes) => self.bytes(bytes),
        }
    }

    fn attributes(&mut self, attributes: &Attributes) {
        for (name, value) in attributes {
            self.bytes(name.as_bytes());
            match value {
                Value::Null => self.add(1),
                Value::Bool(b) => self.add(2 + u64::from(*b)),
                Value::I64(n) => self.number(4, *n),
                Value::F64(x) => self.number(5, x.to_bits().cast_signed()),
                Value::Timestamp(n) => self.number(6, *n),
                Value::String(text) => self.bytes(text.as_bytes()),
                other => self.bytes(format!("{other:?}").as_bytes()),
            }
        }
    }

    fn number(&mut self, tag: u64, number: i64) {
        self.add(tag);
        self.add(number.cast_unsigned());
    }

    fn vector(&mut self, vector: &[f32]) {
        vector.iter().for_each(|x| self.add(x.to_bits().into()));
    }
}

fn sum_id(id: IdRef<'_>) -> u64 {
    let mut sum = Sum(1);
    sum.id(id);
    sum.0
}

fn sum_hits(hits: &Hits) -> u64 {
    let mut sum = Sum(hits.len() as u64);
    for hit in hits.iter() {
        sum.id(hit.id.as_ref());
        sum.add(hit.distance.to_bits().into());
        sum.vector(hit.vector.as_deref().unwrap_or_default());
        sum.bytes(hit.payload.as_deref().unwrap_or_default());
        if let Some(attributes) = &hit.attributes {
            sum.attributes(attributes);
        }
    }
    sum.0
}

/// A number that tells rows apart by everything that is stored of them.
pub fn sum_item(item: &Item) -> u64 {
    let mut sum = Sum(item.seq);
    sum.id(item.id.as_ref());
    sum.vector(&item.vector);
    sum.bytes(item.payload.as_deref().unwrap_or_default());
    sum.attributes(&item.attributes);
    sum.0
}
