//! `stratavec import`

mod bulk;
pub(super) mod progress;

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use stratavec::kernel::{decode_row, encode_row};
use stratavec::{Collection, Durability, ErrorKind, Id, IdKind, Item, OpenOptions, RowFormat};

use self::progress::Progress;
use crate::args;
use crate::failure::Failure;
use crate::import::{self, Extras, Fields, Meter, Place, Record, RecordSource};
use crate::screen::Screen;
use crate::words;

/// Encoded bytes at which a batch is committed, however few records it has: half of what one batch may take.
const BATCH_BYTES: usize = 32 << 20;

/// Records per batch if nothing is said.
const BATCH_RECORDS: u64 = 1000;

/// Bytes of a file from which on it is imported in bulk if nothing is said.
const BULK_FROM: u64 = 256 << 20;

/// The field that ids are taken from if none is named.
const ID_FIELD: &str = "id";

/// Writes the records of a file.
pub fn import(args: &args::Import, screen: &Screen) -> Result<(), Failure> {
    let path = &args.collection;
    let mut options = OpenOptions::default().durability(args.durability.into());
    if let Some(mib) = args.memory {
        options = options.memory_budget(u64::from(mib) << 20);
    }
    let collection = super::open(path, options, screen)?;
    let kind = collection.schema().id_kind();
    let extras = Extras { ids: args.ids.as_deref(), records: args.records.as_deref() };
    let opened = import::open(&args.file, args.fields.format, &fields(args, kind), extras)?;
    let large = args.batch.is_none() && opened.len.is_some_and(|len| len >= BULK_FROM);
    if args.bulk || args.part.is_some() || large {
        let done = bulk::import(&collection, args, opened, screen)?;
        super::close(collection, path)?;
        return tell(&done, path, screen);
    }
    let mut job = Job {
        collection: &collection,
        path,
        batch: args.batch.map_or(BATCH_RECORDS, u64::from),
        durability: args.durability.into(),
        skip: args.skip,
        limit: args.limit.unwrap_or(u64::MAX),
        anew: args.anew,
        progress: Progress::new(screen, opened.source.total(), &args.skip, args.limit, opened.len),
        meter: opened.meter,
    };
    let done = job.run(&mut *{ opened.source });
    job.progress.finish();
    let done = done?;
    super::close(collection, path)?;
    if done.gone_on_after > 0 {
        let there = words::counted(done.gone_on_after, "record");
        screen.remark(format!("the first {there} were there already, as they are"))?;
    }
    tell(&done, path, screen)
}

fn fields(args: &args::Import, ids: IdKind) -> Fields {
    let named = args.fields.id_field.clone().unwrap_or_else(|| ID_FIELD.to_owned());
    Fields {
        ids,
        id: (!args.number).then_some(named),
        vector: Some(args.fields.vector_field.clone()),
        attributes: args.fields.attributes.clone(),
        payload: args.fields.payload_field.clone(),
    }
}

fn tell(done: &Imported, path: &Path, screen: &Screen) -> Result<(), Failure> {
    if screen.json {
        return screen.document(&json!({
            "imported": done.records,
            "inserted": done.inserted,
            "replaced": done.replaced,
            "repeated": done.repeated(),
            "gone_on_after": done.gone_on_after,
            "batches": done.batches,
            "bytes": done.bytes,
            "seq": done.last_seq,
            "durable": true,
            "seconds": done.time.as_secs_f64(),
        }));
    }
    let mut parts = vec![format!("{} new", words::count(done.inserted))];
    if done.replaced > 0 {
        parts.push(format!("{} replaced", words::count(done.replaced)));
    }
    if done.repeated() > 0 {
        let whole = if done.bulk { "part" } else { "batch" };
        parts.push(format!("{} with an id given again in the same {whole}", words::count(done.repeated())));
    }
    parts.push("synced".into());
    screen.line(format!(
        "imported {} into {}: {}",
        words::counted(done.records, "record"),
        path.display(),
        parts.join(", ")
    ))?;
    screen.remark(format!(
        "{} in {}, {} in {}, {}",
        words::bytes(done.bytes),
        words::time(done.time),
        words::counted(done.records, "record"),
        words::counted(done.batches, if done.bulk { "part" } else { "batch" }),
        words::rate(done.records, done.time)
    ))
}

/// Records on their way into a collection.
pub struct Job<'c> {
    /// Where they go.
    pub collection: &'c Collection,
    /// Its path, for messages.
    pub path: &'c Path,
    /// Records per batch.
    pub batch: u64,
    /// When a batch counts as committed.
    pub durability: Durability,
    /// Records to leave out at the beginning.
    pub skip: u64,
    /// Most records to take.
    pub limit: u64,
    /// Write also what is there already.
    pub anew: bool,
    /// Shows how far it is.
    pub progress: Progress,
    /// Bytes read of the file.
    pub meter: Meter,
}

/// What an import did.
#[derive(Clone, Debug, Default)]
pub struct Imported {
    /// Records written.
    pub records: u64,
    /// Ids that were new.
    pub inserted: u64,
    /// Ids whose row was replaced.
    pub replaced: u64,
    /// Batches committed.
    pub batches: u64,
    /// Bytes read of the file.
    pub bytes: u64,
    /// Sequence number of the last batch.
    pub last_seq: u64,
    /// How long it took, reading included.
    pub time: Duration,
    /// Straight to files.
    pub bulk: bool,
    /// Records at the beginning of the file that were there already: an earlier import had committed them.
    pub gone_on_after: u64,
}

impl Imported {
    /// Records whose id came again in the same batch; the last one counts.
    pub fn repeated(&self) -> u64 {
        self.records - self.inserted - self.replaced
    }
}

impl<'c> Job<'c> {
    /// An import of everything, without progress.
    pub fn quiet(collection: &'c Collection, path: &'c Path, batch: u64, meter: Meter) -> Self {
        let (durability, progress) = (Durability::Group, Progress::hidden());
        Job { collection, path, batch, durability, skip: 0, limit: u64::MAX, anew: true, progress, meter }
    }

    /// Reads and commits batch by batch. An error names the record; the batches before it stay.
    ///
    /// # Errors
    /// What is wrong with the file or a record, or what the engine refused.
    pub fn run(&mut self, source: &mut dyn RecordSource) -> Result<Imported, Failure> {
        self.check_dim(source)?;
        let start = Instant::now();
        let mut done = Imported { last_seq: self.collection.last_seq(), ..Imported::default() };
        let mut record = Record::default();
        let there = |done: &Imported| done.gone_on_after + done.records;
        let stopped = |e: Failure, done: &Imported| if there(done) > 0 { self.to_go_on(e, done) } else { e };
        for number in 0..self.skip {
            if !source.read(&mut record)? {
                let problem = format!("--skip leaves out more records than there are ({})", words::count(number));
                return Err(Failure::usage(problem));
            }
        }
        let mut waiting = match self.anew {
            true => false,
            false => self.go_over(source, &mut record, &mut done).map_err(|e| stopped(e, &done))?,
        };
        while self.one_batch(source, &mut record, &mut waiting, &mut done).map_err(|e| stopped(e, &done))? {
            self.progress.at(there(&done), self.meter.bytes());
        }
        done.bytes = self.meter.bytes();
        done.time = start.elapsed();
        Ok(done)
    }

    /// Reads to the first record that is not there as it is in the file, and whether there is one. An import that was interrupted
    /// has committed some first part of the file, and nothing of it is written again. Behind that record all are written, because a
    /// later record of an id counts more than an earlier one.
    fn go_over(
        &self,
        source: &mut dyn RecordSource,
        record: &mut Record,
        done: &mut Imported,
    ) -> Result<bool, Failure> {
        let snapshot = self.collection.snapshot();
        while done.gone_on_after < self.limit {
            if !source.read(record)? {
                return Ok(false);
            }
            let id = record.id.clone().unwrap_or_else(|| self.number(self.skip + done.gone_on_after));
            let item = match snapshot.get(&id) {
                Ok(item) => item,
                // An id that no collection can hold is for the batch to refuse.
                Err(error) if error.kind() == ErrorKind::InvalidArgument => None,
                Err(error) => return Err(Failure::engine(&error, self.path)),
            };
            if !item.is_some_and(|item| holds(&item, record, self.collection.schema().row_format())) {
                return Ok(true);
            }
            done.gone_on_after += 1;
            self.progress.at(done.gone_on_after, self.meter.bytes());
        }
        Ok(false)
    }

    /// Whether there may be more. If one is `waiting`, the first is in `record` already.
    fn one_batch(
        &self,
        source: &mut dyn RecordSource,
        record: &mut Record,
        waiting: &mut bool,
        done: &mut Imported,
    ) -> Result<bool, Failure> {
        let mut batch = self.collection.batch();
        let (mut taken, mut more) = (0, true);
        while taken < self.batch && batch.encoded_bytes() < BATCH_BYTES {
            let before = done.gone_on_after + done.records + taken;
            more = before < self.limit && (std::mem::take(waiting) || source.read(record)?);
            if !more {
                break;
            }
            let id = record.id.take().unwrap_or_else(|| self.number(self.skip + before));
            let put = batch.upsert(&id, &record.vector).attributes(std::mem::take(&mut record.attributes));
            put.payload(record.payload.as_deref().unwrap_or_default());
            if let Some(error) = batch.refused() {
                return Err(refuse(error, &id, source));
            }
            taken += 1;
        }
        if taken > 0 {
            let receipt = batch.commit_with(self.durability).map_err(|e| Failure::engine(&e, self.path))?;
            done.records += taken;
            done.inserted += receipt.inserted;
            done.replaced += receipt.replaced;
            done.batches += 1;
            done.last_seq = receipt.seq;
        }
        Ok(more)
    }

    fn number(&self, number: u64) -> Id {
        match self.collection.schema().id_kind() {
            IdKind::U64 => Id::U64(number),
            _ => Id::from(number.to_string()),
        }
    }

    fn check_dim(&self, source: &dyn RecordSource) -> Result<(), Failure> {
        Self::check_dim_of(self.collection, source)
    }

    fn check_dim_of(collection: &Collection, source: &dyn RecordSource) -> Result<(), Failure> {
        let want = collection.schema().dim();
        match source.dim() {
            Some(found) if found != want => {
                let problem = format!("{} does not fit the collection", source.name());
                Err(Failure::failed(problem)
                    .because(format!("its vectors have {found} components, the collection's {want}")))
            }
            _ => Ok(()),
        }
    }

    fn to_go_on(&self, failure: Failure, done: &Imported) -> Failure {
        let there = done.gone_on_after + done.records;
        let next = self.skip + there;
        let committed = words::counted(there, "record");
        let mut failure = failure.because(format!("{committed} before it are committed and stay"));
        if failure.hint.is_none() {
            failure = failure.hint(format!("once it is put right, go on with --skip {next}"));
        }
        failure
    }
}

/// Whether a row is what the record would make of it.
pub(super) fn holds(item: &Item, record: &Record, format: RowFormat) -> bool {
    let (mut stored, mut rounded) = (Vec::new(), vec![0.0; record.vector.len()]);
    encode_row(format.element(), &record.vector, &mut stored);
    decode_row(format.element(), &stored, &mut rounded);
    // Where no vector is kept, the rest has to tell.
    let kept = format.keeps_vectors();
    (!kept || item.vector.len() == rounded.len())
        && item.vector.iter().zip(&rounded).all(|(there, given)| there.to_bits() == given.to_bits())
        && item.attributes == record.attributes
        && item.payload.as_deref().unwrap_or_default() == record.payload.as_deref().unwrap_or_default()
}

/// A record that the engine does not take, by its place in the file and its id.
fn refuse(error: &stratavec::Error, id: &Id, source: &dyn RecordSource) -> Failure {
    let place = match source.place() {
        Place::File => String::new(),
        place => format!(" {place}"),
    };
    let mut failure = Failure::failed(format!("cannot take{place} of {} (id {})", source.name(), words::id(id)));
    failure.kind = "record_refused";
    failure.hint = error.hint().map(str::to_owned);
    failure.because(error.message())
}
