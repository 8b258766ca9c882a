//! Formats by name, and opening a file in one of them.

use std::path::Path;

use super::bin::BinSource;
use super::csv::CsvSource;
use super::ids::IdSource;
use super::jsonl::JsonlSource;
use super::npy::NpySource;
use super::vecs::{Component, VecsSource};
use super::{Fields, ImportError, ImportErrorKind, Input, Meter, Paired, Place, RecordSource};

/// The formats that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// NumPy array (records, dim) of f16, f32, f64, u8 or i8
    Npy,
    /// Dimension and f32 components per record
    Fvecs,
    /// Dimension and u8 components per record
    Bvecs,
    /// Count and dimension, then f32 components
    Fbin,
    /// Count and dimension, then u8 components
    U8bin,
    /// Count and dimension, then i8 components
    I8bin,
    /// One JSON object per line
    Jsonl,
    /// Comma-separated with a header line
    Csv,
    /// Tab-separated with a header line
    Tsv,
}

impl Format {
    /// The format that a file's name ends in.
    pub fn of(path: &Path) -> Option<Format> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        Some(match extension.as_str() {
            "npy" => Format::Npy,
            "fvecs" => Format::Fvecs,
            "bvecs" => Format::Bvecs,
            "fbin" => Format::Fbin,
            "u8bin" => Format::U8bin,
            "i8bin" => Format::I8bin,
            "jsonl" | "ndjson" => Format::Jsonl,
            "csv" => Format::Csv,
            "tsv" => Format::Tsv,
            _ => return None,
        })
    }

    /// Whether records carry ids, attributes and payloads themselves.
    pub fn is_text(self) -> bool {
        matches!(self, Format::Jsonl | Format::Csv | Format::Tsv)
    }

    /// A source that reads this format from `input`. `fields` matter to text formats only.
    ///
    /// # Errors
    /// What is wrong with the beginning of the file.
    pub fn source(self, input: Input, fields: Fields) -> Result<Box<dyn RecordSource>, ImportError> {
        Ok(match self {
            Format::Npy => Box::new(NpySource::new(input)?),
            Format::Fvecs => Box::new(VecsSource::new(input, Component::F32)?),
            Format::Bvecs => Box::new(VecsSource::new(input, Component::U8)?),
            Format::Fbin => Box::new(BinSource::new(input, Component::F32)?),
            Format::U8bin => Box::new(BinSource::new(input, Component::U8)?),
            Format::I8bin => Box::new(BinSource::new(input, Component::I8)?),
            Format::Jsonl => Box::new(JsonlSource::new(input, fields)),
            Format::Csv => Box::new(CsvSource::new(input, b',', fields)?),
            Format::Tsv => Box::new(CsvSource::new(input, b'\t', fields)?),
        })
    }
}

/// Files beside a file of vectors.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extras<'a> {
    /// Ids, one per line or an npy array of integers.
    pub ids: Option<&'a Path>,
    /// JSON lines with ids, attributes and payloads.
    pub records: Option<&'a Path>,
}

/// An open file: its records, its bytes read so far, its length if known.
pub struct Opened {
    /// The records.
    pub source: Box<dyn RecordSource>,
    /// Bytes read of the main file.
    pub meter: Meter,
    /// Bytes of the main file, if known.
    pub len: Option<u64>,
}

/// Opens `path` (`-`: standard input) in `format`, or in the one its name ends in.
///
/// # Errors
/// `Options` if the format is not known or an extra file does not fit it; what is wrong with a file.
pub fn open(path: &Path, format: Option<Format>, fields: &Fields, extras: Extras<'_>) -> Result<Opened, ImportError> {
    let name = path.display().to_string();
    let options = |message: &str| ImportError::new(ImportErrorKind::Options, &name, Place::File, message);
    let format = format.or_else(|| Format::of(path)).ok_or_else(|| {
        options("the format is not clear from the name")
            .with_hint("name it: --format npy|fvecs|bvecs|fbin|u8bin|i8bin|jsonl|csv|tsv")
    })?;
    if format.is_text() && (extras.ids.is_some() || extras.records.is_some()) {
        let error = options("--ids and --records go with a file of vectors only; this one has its own fields");
        return Err(error.with_hint("use --id-field, --attributes and --payload-field"));
    }
    let input = Input::open(path)?;
    let (meter, len) = (input.meter(), input.len());
    let source = format.source(input, fields.clone())?;
    if extras.ids.is_none() && extras.records.is_none() {
        return Ok(Opened { source, meter, len });
    }
    let ids = extras.ids.map(|path| IdSource::new(Input::open(path)?, fields.ids)).transpose()?;
    let beside = Fields { vector: None, id: fields.id.clone().filter(|_| ids.is_none()), ..fields.clone() };
    let records = extras.records.map(|path| Format::Jsonl.source(Input::open(path)?, beside)).transpose()?;
    Ok(Opened { source: Box::new(Paired::new(source, ids, records)), meter, len })
}
