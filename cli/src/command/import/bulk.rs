//! Imports straight to files, in parts, each visible as a whole. With each part the collection keeps how much of which file it
//! holds, in the same step: so an import that was interrupted goes on exactly behind what it has committed.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Instant;

use serde_json::{Value, json};
use stratavec::{BulkItem, BulkOptions, BulkReport, Collection, Error, ErrorKind, Id, IdKind};

use super::progress::Progress;
use super::{Imported, Job};
use crate::args;
use crate::failure::Failure;
use crate::import::{Opened, Record, RecordSource};
use crate::screen::Screen;
use crate::words;

/// The property of the collection that tells how far an import is.
const PROPERTY: &str = "stratavec.import";
/// Records per part if nothing is said.
const PART_RECORDS: u64 = 1_000_000;
/// Records read ahead.
const AHEAD: usize = 256;
/// Bytes at the beginning of a file by which it is known again.
const BEGINNING: u64 = 64 << 10;

/// Imports a file, going on where an earlier import of it ended.
pub fn import(
    collection: &Collection,
    args: &args::Import,
    opened: Opened,
    screen: &Screen,
) -> Result<Imported, Failure> {
    let source = identify(args);
    let before = if args.anew { 0 } else { committed_before(collection, &source) };
    if before > 0 {
        screen.remark(format!("going on: {} of this file are there already", words::counted(before, "record")))?;
    }
    let skip = args.skip + before;
    let progress = Progress::new(screen, opened.source.total(), &skip, args.limit, opened.len);
    let mut job = Bulk {
        collection,
        path: &args.collection,
        source,
        part: args.part.unwrap_or(PART_RECORDS),
        skip: args.skip,
        done: Imported { bulk: true, gone_on_after: before, last_seq: collection.last_seq(), ..Imported::default() },
        left: args.limit.map_or(u64::MAX, |limit| limit.saturating_sub(before)),
        progress,
    };
    let ended = job.run(opened);
    job.progress.finish();
    ended.map(|()| job.done)
}

/// What the file is known by: its name, length and beginning, and how it is read.
fn identify(args: &args::Import) -> String {
    let (fields, extras) = (&args.fields, (&args.ids, &args.records, args.number, args.skip));
    let mut beginning = format!("{fields:?} {extras:?}").into_bytes();
    let length = File::open(&args.file).and_then(|file| {
        let length = file.metadata()?.len();
        file.take(BEGINNING).read_to_end(&mut beginning)?;
        Ok(length)
    });
    let name = args.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name: String = name.chars().take(200).collect();
    format!("{name} {} {:016x}", length.unwrap_or(0), fnv1a(&beginning))
}

/// The hash of Fowler, Noll and Vo, in the variant 1a of 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3))
}

/// How many records of this file an import committed that did not end; 0 if there was none.
fn committed_before(collection: &Collection, source: &str) -> u64 {
    let Some(Ok(mark)) = collection.property(PROPERTY).map(|bytes| serde_json::from_slice::<Value>(&bytes)) else {
        return 0;
    };
    let same = mark["source"] == source && mark["ended"] == false && !source.starts_with('-');
    if same { mark["records"].as_u64().unwrap_or(0) } else { 0 }
}

struct Bulk<'b> {
    collection: &'b Collection,
    path: &'b Path,
    source: String,
    part: u64,
    skip: u64,
    done: Imported,
    left: u64,
    progress: Progress,
}

impl Bulk<'_> {
    fn run(&mut self, mut opened: Opened) -> Result<(), Failure> {
        Job::check_dim_of(self.collection, &*opened.source)?;
        let start = Instant::now();
        let mut record = Record::default();
        for number in 0..self.skip + self.done.gone_on_after {
            if !opened.source.read(&mut record)? {
                // The last part was committed, the mark of its end was not.
                if number >= self.skip && self.done.gone_on_after > 0 {
                    self.done.gone_on_after = number - self.skip;
                    return self.mark_ended();
                }
                let problem = format!("there are no more than {} to leave out", words::counted(number, "record"));
                return Err(Failure::usage(problem));
            }
        }
        let mut more = self.left > 0;
        while more {
            more = self.one_part(&mut opened, &mut record).map_err(|failure| self.to_go_on(failure))?;
        }
        self.done.bytes = opened.meter.bytes();
        self.done.time = start.elapsed();
        Ok(())
    }

    /// Reads and loads one part; whether there may be more.
    fn one_part(&mut self, opened: &mut Opened, record: &mut Record) -> Result<bool, Failure> {
        let first = self.skip + self.done.gone_on_after + self.done.records;
        let most = self.part.min(self.left);
        let mut waiting = read(&mut *opened.source, record)?.then(|| self.item(record, first));
        if waiting.is_none() {
            self.mark_ended()?;
            return Ok(false);
        }
        let (send, receive) = sync_channel(AHEAD);
        let after = self.done.gone_on_after + self.done.records + most;
        // Whether the file ends with this part is not known yet: an empty one says so.
        let load = self.collection.bulk_load_with(receive, self.mark(after, false));
        let load = load.map_err(|e| Failure::engine(&e, self.path))?;
        let mut taken = 0;
        let mut broken = None;
        while let Some(item) = waiting.take() {
            taken += 1;
            if send.send(Ok(item)).is_err() || taken == most {
                break;
            }
            match read(&mut *opened.source, record) {
                Ok(true) => waiting = Some(self.item(record, first + taken)),
                Ok(false) => break,
                Err(failure) => {
                    give_up(&send);
                    broken = Some(failure);
                }
            }
            self.progress.at(self.done.records + taken, opened.meter.bytes());
        }
        drop(send);
        let loaded = load.wait();
        if let Some(failure) = broken {
            return Err(failure);
        }
        let report = loaded.map_err(|error| self.refused(&error, first, &*opened.source))?;
        self.count(&report);
        self.left -= taken;
        if taken < most || self.left == 0 {
            self.mark_ended()?;
            return Ok(false);
        }
        Ok(true)
    }

    fn count(&mut self, report: &BulkReport) {
        self.done.records += report.items;
        self.done.inserted += report.inserted;
        self.done.replaced += report.replaced;
        self.done.batches += 1;
        self.done.last_seq = report.seq;
    }

    /// What the collection keeps of this import.
    fn mark(&self, records: u64, ended: bool) -> BulkOptions {
        let value = json!({ "source": self.source, "records": records, "ended": ended });
        BulkOptions::new().property(PROPERTY, value.to_string())
    }

    /// Makes the next import of this file begin at its beginning.
    fn mark_ended(&mut self) -> Result<(), Failure> {
        let records = self.done.gone_on_after + self.done.records;
        let nothing = std::iter::empty::<BulkItem>();
        let load = self.collection.bulk_load_with(nothing, self.mark(records, true));
        let report = load.and_then(|load| load.wait()).map_err(|e| Failure::engine(&e, self.path))?;
        self.done.last_seq = report.seq;
        Ok(())
    }

    fn item(&self, record: &mut Record, number: u64) -> BulkItem {
        let id = record.id.take().unwrap_or_else(|| match self.collection.schema().id_kind() {
            IdKind::U64 => Id::U64(number),
            _ => Id::from(number.to_string()),
        });
        let item = BulkItem::new(id, std::mem::take(&mut record.vector));
        item.attributes(std::mem::take(&mut record.attributes)).payload(record.payload.take().unwrap_or_default())
    }

    /// A record that the engine does not take, by its number in the file.
    fn refused(&self, error: &Error, first: u64, source: &dyn RecordSource) -> Failure {
        let said = error.to_string();
        let inside = said.strip_prefix("item ").and_then(|rest| rest.split_once(": "));
        let Some((Ok(number), why)) = inside.map(|(number, why)| (number.parse::<u64>(), why)) else {
            return Failure::engine(error, self.path);
        };
        let mut failure = Failure::failed(format!("cannot take record {} of {}", first + number, source.name()));
        failure.kind = "record_refused";
        failure.hint = error.hint().map(str::to_owned);
        failure.because(why)
    }

    fn to_go_on(&self, failure: Failure) -> Failure {
        let there = self.done.gone_on_after + self.done.records;
        if there == 0 {
            return failure;
        }
        let committed = words::counted(there, "record");
        let mut failure = failure.because(format!("{committed} before this part are committed and stay"));
        if failure.hint.is_none() {
            failure = failure.hint(format!("once it is put right, go on with --skip {}", self.skip + there));
        }
        failure
    }
}

fn read(source: &mut dyn RecordSource, record: &mut Record) -> Result<bool, Failure> {
    Ok(source.read(record)?)
}

/// Ends the load without a row of it becoming visible.
fn give_up(send: &SyncSender<stratavec::Result<BulkItem>>) {
    let _ = send.send(Err(Error::new(ErrorKind::Cancelled, "the file could not be read to its end")));
}
