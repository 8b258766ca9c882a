//! The demo's files: rows, queries, and the exact answers.

use std::env;
use std::path::{Path, PathBuf};

use stratavec::{Attributes, Id, IdKind};

use crate::failure::{Exit, Failure};
use crate::import::npy::Integers;
use crate::import::{self, AttributeField, Extras, Fields, Input, Record, RecordSource};

/// One WordNet entry.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its identifier in WordNet.
    pub id: Id,
    /// Its embedding.
    pub vector: Vec<f32>,
    /// Part of speech and lexicographer file.
    pub attributes: Attributes,
    /// Lemmas and gloss.
    pub text: String,
}

/// Everything the demo works on.
pub struct Data {
    /// The rows of the collection.
    pub rows: Vec<Entry>,
    /// Entries that are not among the rows.
    pub queries: Vec<Entry>,
    /// For each query the positions of the nearest rows, nearest first.
    pub truth: Vec<Vec<usize>>,
}

/// The folder with the data: as named, or beside the current directory or the program.
///
/// # Errors
/// `Missing` saying where it was looked for.
pub fn find(named: Option<&Path>) -> Result<PathBuf, Failure> {
    let mut places = Vec::new();
    match named {
        Some(folder) => places.push(folder.to_owned()),
        None => {
            places.push(PathBuf::from("demo/data"));
            let program = env::current_exe().unwrap_or_default();
            places.extend(program.ancestors().skip(1).take(4).map(|folder| folder.join("demo/data")));
        }
    }
    if let Some(folder) = places.iter().find(|folder| folder.join("base.f16.npy").is_file()) {
        return Ok(folder.clone());
    }
    let looked: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    Err(Failure::new(Exit::Missing, "file_missing", "the demo's data is not here")
        .because(format!("looked for base.f16.npy in {}", looked.join(", ")))
        .hint("run it from the repository, or name the folder: stratavec demo --data DIR"))
}

/// The rows as an import reads them: vectors and texts side by side.
///
/// # Errors
/// What is wrong with the files.
pub fn base(folder: &Path) -> Result<Box<dyn RecordSource>, Failure> {
    open(folder, "base")
}

fn open(folder: &Path, name: &str) -> Result<Box<dyn RecordSource>, Failure> {
    let fields = Fields {
        ids: IdKind::Bytes,
        id: Some("id".into()),
        vector: None,
        attributes: ["pos", "lex:i64"].iter().filter_map(|field| field.parse::<AttributeField>().ok()).collect(),
        payload: Some("text".into()),
    };
    let texts = folder.join(format!("{name}.jsonl"));
    let extras = Extras { ids: None, records: Some(&texts) };
    Ok(import::open(&folder.join(format!("{name}.f16.npy")), None, &fields, extras)?.source)
}

impl Data {
    /// Reads the folder.
    ///
    /// # Errors
    /// What is wrong with the files.
    pub fn load(folder: &Path) -> Result<Data, Failure> {
        let data = Data {
            rows: entries(open(folder, "base")?)?,
            queries: entries(open(folder, "query")?)?,
            truth: truth(&folder.join("truth.i32.npy"))?,
        };
        let fits = data.truth.len() == data.queries.len()
            && data.truth.iter().flatten().all(|row| *row < data.rows.len())
            && !data.rows.is_empty();
        match fits {
            true => Ok(data),
            false => Err(Failure::new(Exit::Missing, "file_malformed", "the demo's files do not fit each other")
                .hint("make them again: python3 demo/make-data.py FOLDER")),
        }
    }
}

fn entries(mut source: Box<dyn RecordSource>) -> Result<Vec<Entry>, Failure> {
    let (mut record, mut entries) = (Record::default(), Vec::new());
    while source.read(&mut record)? {
        let Record { id: Some(id), vector, attributes, payload } = std::mem::take(&mut record) else { continue };
        let text = String::from_utf8_lossy(&payload.unwrap_or_default()).into_owned();
        entries.push(Entry { id, vector, attributes, text });
    }
    Ok(entries)
}

fn truth(path: &Path) -> Result<Vec<Vec<usize>>, Failure> {
    let mut integers = Integers::new(Input::open(path)?)?;
    let width = match integers.shape[..] {
        [_, width] => usize::try_from(width).unwrap_or(usize::MAX).max(1),
        _ => 1,
    };
    let mut all = Vec::new();
    while let Some(n) = integers.next_integer()? {
        all.push(usize::try_from(n).unwrap_or(usize::MAX));
    }
    Ok(all.chunks(width).map(<[usize]>::to_vec).collect())
}
