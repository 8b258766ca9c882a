//! Checking lists against rows: every live row of a file that says so is the first copy in one place, no other row is in a list, and codes are
//! those of the rows, where those have vectors: a code that is all there is of a row is believed if its checksum is right.

use super::verify::VerifyReport;
use crate::error::{Error, Result};
use crate::format::list::ListCode;
use crate::index::ivf::{Coder, EncodedList, EntryEncoder, EntryLayout, take_entry};
use crate::kernel::kernels;
use crate::segment::{ListBytes, ListFile};
use crate::snapshot::{LiveRows, OpenModel, Version, layout_of};
use crate::storage::{FileKind, FileName};

/// Of so many rows one is coded again.
const CODED_AGAIN: u64 = 61;

/// Reports what does not hold between the rows and the lists of a version whose files are sound. Memory: a bit per row.
pub(super) fn check_lists(version: &Version, report: &mut VerifyReport) {
    let mut seen: Vec<Vec<u64>> = version.rows.iter().map(|rows| vec![0; rows.file.len().div_ceil(64)]).collect();
    for (i, file) in version.lists.iter().enumerate() {
        let Some(model) = version.list_model(i) else { continue };
        let mut check = SegmentCheck { version, file, seen: &mut seen, again: Again::new(version, model, file) };
        for list in 0..file.lists() {
            if let Err(error) = check.list(list, &mut |error| report.find(error)) {
                report.find(error);
            }
        }
    }
    for (rows, seen) in version.rows.iter().zip(&seen).filter(|(rows, _)| rows.in_lists()) {
        for (word, seen) in seen.iter().enumerate() {
            let missing = rows.live_word(word) & !seen;
            if missing != 0 {
                report.find(missing_row(rows, word * 64 + missing.trailing_zeros() as usize));
            }
        }
    }
}

fn missing_row(rows: &LiveRows, ordinal: usize) -> Error {
    match rows.file.row_number(ordinal) {
        Ok(row) => {
            let what = format!("live row {row} is in no list, though the manifest says that all of this file are");
            Error::corrupt(rows.file.name(), "rows", 0, what)
        }
        Err(error) => error,
    }
}

/// One segment at work.
struct SegmentCheck<'a> {
    version: &'a Version,
    file: &'a ListFile,
    seen: &'a mut [Vec<u64>],
    again: Again<'a>,
}

impl SegmentCheck<'_> {
    fn list(&mut self, list: usize, find: &mut dyn FnMut(Error)) -> Result<()> {
        let loaded = self.file.load(list)?;
        let bytes = loaded.bytes();
        self.again.begun = false;
        for (at, word) in bytes.rows.as_chunks::<4>().0.iter().enumerate().take(bytes.count as usize) {
            let row = self.file.row(u32::from_le_bytes(*word))?;
            let Some((index, ordinal)) = self.version.locate(row)? else { continue };
            let Some(rows) = self.version.rows.get(index) else { continue };
            if at < bytes.primary as usize {
                self.note_first(list, row, index, ordinal, rows, find);
            }
            if row.is_multiple_of(CODED_AGAIN)
                && rows.file.has_vectors()
                && let Err(error) = self.again.check(list, &bytes, at, row, rows, ordinal)
            {
                find(error);
            }
        }
        Ok(())
    }

    fn note_first(
        &mut self,
        list: usize,
        row: u64,
        index: usize,
        ordinal: usize,
        rows: &LiveRows,
        find: &mut dyn FnMut(Error),
    ) {
        let Some(word) = self.seen.get_mut(index).and_then(|words| words.get_mut(ordinal / 64)) else { return };
        let bit = 1 << (ordinal % 64);
        if !rows.in_lists() {
            find(wrong(self.file, list, format!("row {row} is of a file that is not in lists")));
        } else if *word & bit != 0 {
            find(wrong(self.file, list, format!("row {row} is the first copy in another place too")));
        }
        *word |= bit;
    }
}

fn wrong(file: &ListFile, list: usize, what: String) -> Error {
    let name = FileName::File(FileKind::List, file.id_of_file());
    Error::corrupt(name, "list-scan", 0, format!("list {list}: {what}"))
}

/// Codes rows again.
struct Again<'a> {
    file: &'a ListFile,
    encoder: EntryEncoder<'a>,
    begun: bool,
    row: Vec<f32>,
    coded: EncodedList,
    signs: (Vec<u8>, Vec<u8>),
}

impl<'a> Again<'a> {
    fn new(version: &'a Version, model: &'a OpenModel, file: &'a ListFile) -> Again<'a> {
        let coder = match (file.shape().code(), model.coder()) {
            // Lists may have been made with another number of bits.
            (ListCode::Bits(bits), _) => Coder::Bits(bits as usize),
            (_, coder) => coder,
        };
        let encoder = EntryEncoder::new(kernels(), &model.frame, model.centroids(), coder);
        let row = vec![0.0; version.manifest.schema.dim()];
        let coded = EncodedList::new(layout_of(file.shape()));
        Again { file, encoder, begun: false, row, coded, signs: Default::default() }
    }

    fn check(
        &mut self,
        list: usize,
        bytes: &ListBytes<'_>,
        at: usize,
        row: u64,
        rows: &LiveRows,
        ordinal: usize,
    ) -> Result<()> {
        if layout_of(self.file.shape()) == EntryLayout::Bare {
            return Ok(());
        }
        if !std::mem::replace(&mut self.begun, true) {
            self.encoder.begin(list);
        }
        rows.file.records(ordinal..ordinal + 1)?.vector(0).decode(&mut self.row);
        let length = self.row.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt() as f32;
        self.coded.clear();
        self.encoder.push(row, &self.row, length, &mut self.coded);
        let (layout, stride) = (layout_of(self.file.shape()), self.file.shape().stride());
        let stored = take_entry(layout, bytes.signs, bytes.factors, at, &mut self.signs.0);
        let coded = take_entry(layout, &self.coded.signs, &self.coded.factors, 0, &mut self.signs.1);
        let mut same = stored == coded && self.signs.0 == self.signs.1;
        if stride > 0 {
            self.file.prove_record(list, at as u32)?;
            let length = self.file.shape().record_len();
            let record = at.checked_mul(stride).and_then(|start| bytes.records.get(start..start.checked_add(length)?));
            same &= record == Some(&self.coded.records);
        }
        match same {
            true => Ok(()),
            false => Err(wrong(self.file, list, format!("entry {at} is not the code of row {row}"))),
        }
    }
}
