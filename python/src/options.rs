//! What `open` and `create` are told: the schema, and how the handle is to treat the collection.

use std::borrow::Cow;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use stratavec::{
    Access, Anchors, Background, Codes, Compaction, Durability, IdKind, IndexKind, IvfOptions, MAX_DIM,
    MIN_MEMORY_BUDGET, Metric, OpenOptions, RowFormat, Schema, Scrub, SearchMode, Spill,
};

use crate::arguments::{self, number, whole};
use crate::error::{OrRaise, refuse};
use crate::reports::RecoveryReport;

/// One of some names.
pub fn named<T: Copy>(py: Python<'_>, argument: &str, given: &str, known: &[(&str, T)]) -> PyResult<T> {
    match known.iter().find(|(name, _)| *name == given) {
        Some((_, value)) => Ok(*value),
        None => {
            let names: Vec<String> = known.iter().map(|(name, _)| format!("{name:?}")).collect();
            Err(refuse(py, argument, format!("is {given:?}; use {}", names.join(", "))))
        }
    }
}

/// One argument, if it was said, as `read` takes it.
fn said<'py, T>(
    given: &Bound<'py, PyDict>,
    name: &str,
    read: impl FnOnce(&Bound<'py, PyAny>) -> PyResult<T>,
) -> PyResult<Option<T>> {
    let Some(value) = given.get_item(name)?.filter(|value| !value.is_none()) else { return Ok(None) };
    read(&value).map(Some)
}

/// A whole number in a range.
fn count(given: &Bound<'_, PyDict>, name: &str, least: u64, most: u64) -> PyResult<Option<u64>> {
    said(given, name, |value| whole(value, name, least, most))
}

/// A name.
fn word(given: &Bound<'_, PyDict>, name: &str) -> PyResult<Option<String>> {
    said(given, name, |value| arguments::word(value, name).map(Cow::into_owned))
}

/// Yes or no.
fn flag(given: &Bound<'_, PyDict>, name: &str) -> PyResult<Option<bool>> {
    said(given, name, |value| arguments::flag(value, name))
}

/// When a commit is acknowledged.
pub fn durability(py: Python<'_>, given: &str) -> PyResult<Durability> {
    let known = [("sync", Durability::Sync), ("group", Durability::Group), ("os", Durability::Os)];
    named(py, "durability", given, &known)
}

/// What of the schema was said. What was not is as the collection has it, or the default of a new one.
#[derive(Default)]
pub struct Wanted {
    dim: Option<usize>,
    metric: Option<String>,
    ids: Option<String>,
    rows: Option<String>,
    index: Option<String>,
    nlist: Option<u32>,
    bits: Option<u8>,
    codes: Option<String>,
    spill: Option<bool>,
    anchors: Option<String>,
    seed: Option<u64>,
}

impl Wanted {
    /// Reads what `stratavec/__init__.py` has sorted.
    pub fn read(given: &Bound<'_, PyDict>) -> PyResult<Self> {
        Ok(Wanted {
            dim: count(given, "dim", 1, MAX_DIM as u64)?.map(|dim| dim as usize),
            metric: word(given, "metric")?,
            ids: word(given, "ids")?,
            rows: word(given, "rows")?,
            index: word(given, "index")?,
            nlist: count(given, "nlist", 1, 1 << 24)?.map(|nlist| nlist as u32),
            bits: count(given, "bits", 1, 8)?.map(|bits| bits as u8),
            codes: word(given, "codes")?,
            spill: flag(given, "spill")?,
            anchors: word(given, "anchors")?,
            seed: count(given, "seed", 0, u64::MAX)?,
        })
    }

    fn metric(&self, py: Python<'_>) -> PyResult<Option<Metric>> {
        let known = [("l2", Metric::L2), ("cosine", Metric::Cosine), ("ip", Metric::InnerProduct)];
        self.metric.as_deref().map(|name| named(py, "metric", name, &known)).transpose()
    }

    fn ids(&self, py: Python<'_>) -> PyResult<Option<IdKind>> {
        let known = [("bytes", IdKind::Bytes), ("u64", IdKind::U64)];
        self.ids.as_deref().map(|name| named(py, "ids", name, &known)).transpose()
    }

    fn rows(&self, py: Python<'_>) -> PyResult<Option<RowFormat>> {
        let known = [RowFormat::F32, RowFormat::F16, RowFormat::Bf16, RowFormat::I8, RowFormat::None]
            .map(|format| (format.name(), format));
        self.rows.as_deref().map(|name| named(py, "rows", name, &known)).transpose()
    }

    /// How lists are to code rows, if it was said.
    fn codes(&self, py: Python<'_>) -> PyResult<Option<Codes>> {
        match (self.bits, self.codes.as_deref()) {
            (Some(_), Some(_)) => Err(refuse(py, "codes", "is said twice; use one of bits and codes")),
            (Some(bits), None) => Ok(Some(Codes::Bits(bits))),
            (None, said) => said.map(|text| text.parse::<Codes>().or_raise(py)).transpose(),
        }
    }

    /// The options of lists, changed by what was said.
    fn lists(&self, py: Python<'_>, mut options: IvfOptions) -> PyResult<IvfOptions> {
        if let Some(codes) = self.codes(py)? {
            options = options.codes(codes);
        }
        if let Some(nlist) = self.nlist {
            options = options.nlist(nlist);
        }
        if let Some(spill) = self.spill {
            options = options.spill(if spill { Spill::On } else { Spill::Off });
        }
        if let Some(anchors) = &self.anchors {
            options = options.anchors(anchors.parse::<Anchors>().or_raise(py)?);
        }
        Ok(options)
    }

    /// Whether something was said that only lists have.
    fn says_lists(&self) -> bool {
        let said = [self.nlist.is_some(), self.bits.is_some(), self.codes.is_some(), self.spill.is_some()];
        said.contains(&true) || self.anchors.is_some()
    }

    /// The kind of index, `other` being what counts where nothing was said.
    fn index(&self, py: Python<'_>, other: IndexKind) -> PyResult<IndexKind> {
        let lists = self.says_lists();
        let known = ["flat", "ivf", "auto"].map(|name| (name, name));
        let name = self.index.as_deref().map(|name| named(py, "index", name, &known)).transpose()?;
        let kind = match (name, other) {
            (Some("flat"), _) => IndexKind::Flat,
            (Some("auto"), _) => IndexKind::Auto,
            // Of lists that there are already, what is not said is not asked.
            (Some(_), IndexKind::Ivf(options)) => IndexKind::Ivf(self.lists(py, options)?),
            (Some(_), _) => IndexKind::Ivf(self.lists(py, IvfOptions::auto())?),
            (None, IndexKind::Ivf(options)) => IndexKind::Ivf(self.lists(py, options)?),
            (None, other) => other,
        };
        match kind {
            IndexKind::Flat | IndexKind::Auto if lists => Err(refuse(
                py,
                "index",
                format!("is {:?}; nlist, bits, codes, spill and anchors go with \"ivf\"", kind.name()),
            )),
            kind => Ok(kind),
        }
    }

    /// The schema of a new collection; `None` if not enough was said.
    pub fn schema(&self, py: Python<'_>) -> PyResult<Option<Schema>> {
        let (Some(dim), Some(metric)) = (self.dim, self.metric(py)?) else { return Ok(None) };
        let schema = Schema::new(dim, metric)
            .ids(self.ids(py)?.unwrap_or_default())
            .rows(self.rows(py)?.unwrap_or_default())
            .index(self.index(py, IndexKind::default())?)
            .seed(self.seed.unwrap_or(0));
        schema.check().or_raise(py)?;
        Ok(Some(schema))
    }

    /// Checks that every name is one, before anything is opened.
    pub fn check(&self, py: Python<'_>) -> PyResult<()> {
        self.metric(py)?;
        self.ids(py)?;
        self.rows(py)?;
        let lists = self.says_lists();
        match self.index.as_deref() {
            None if lists => self.lists(py, IvfOptions::auto()).map(drop),
            _ => self.index(py, IndexKind::default()).map(drop),
        }
    }

    /// Checks that what was said is what the collection is.
    pub fn check_same(&self, py: Python<'_>, have: &Schema) -> PyResult<()> {
        let wanted = Schema::new(self.dim.unwrap_or(have.dim()), self.metric(py)?.unwrap_or(have.metric()))
            .ids(self.ids(py)?.unwrap_or(have.id_kind()))
            .rows(self.rows(py)?.unwrap_or(have.row_format()))
            .index(self.index(py, have.index_kind())?);
        have.check_same(&wanted).or_raise(py)
    }
}

/// How a handle is to treat the collection.
#[derive(Default)]
pub struct Treatment {
    durability: Option<String>,
    memory_budget: Option<u64>,
    flush_bytes: Option<u64>,
    flush_rows: Option<u64>,
    compaction: Option<String>,
    dead_ratio: Option<f64>,
    fanout: Option<u32>,
    scrub_bytes_per_second: Option<u64>,
    delete_reserve: Option<u64>,
    background: Option<bool>,
    access: Option<String>,
    on_recovery: Option<Py<PyAny>>,
}

impl Treatment {
    /// Reads what `stratavec/__init__.py` has sorted.
    pub fn read(given: &Bound<'_, PyDict>) -> PyResult<Self> {
        Ok(Treatment {
            durability: word(given, "durability")?,
            memory_budget: count(given, "memory_budget", MIN_MEMORY_BUDGET, 1 << 46)?,
            flush_bytes: count(given, "flush_bytes", 1 << 10, 4 << 30)?,
            flush_rows: count(given, "flush_rows", 1, u64::MAX)?,
            compaction: word(given, "compaction")?,
            dead_ratio: said(given, "dead_ratio", |value| number(value, "dead_ratio"))?,
            fanout: count(given, "fanout", 2, 64)?.map(|fanout| fanout as u32),
            scrub_bytes_per_second: count(given, "scrub_bytes_per_second", 1 << 16, u64::MAX)?,
            delete_reserve: count(given, "delete_reserve", 0, 1 << 30)?,
            background: flag(given, "background")?,
            access: word(given, "access")?,
            on_recovery: said(given, "on_recovery", |callback| match callback.is_callable() {
                true => Ok(callback.clone().unbind()),
                false => Err(arguments::wrong_type(callback, "on_recovery", "a callable of a RecoveryReport")),
            })?,
        })
    }

    /// Whether calls do the upkeep that they make due.
    pub fn does_upkeep(&self) -> bool {
        self.background == Some(false)
    }

    /// The engine's options.
    pub fn options(&self, py: Python<'_>) -> PyResult<OpenOptions> {
        let mut options = OpenOptions::new();
        if let Some(name) = &self.durability {
            options = options.durability(durability(py, name)?);
        }
        if let Some(bytes) = self.memory_budget {
            options = options.memory_budget(bytes);
        }
        if let Some(bytes) = self.flush_bytes {
            options = options.flush_bytes(bytes);
        }
        if let Some(rows) = self.flush_rows {
            options = options.flush_rows(rows);
        }
        if let Some(rate) = self.scrub_bytes_per_second {
            options = options.scrub(Scrub::Rate(rate));
        }
        if let Some(bytes) = self.delete_reserve {
            options = options.delete_reserve(bytes);
        }
        if self.background == Some(false) {
            options = options.background(Background::Inline);
        }
        if let Some(name) = &self.access {
            options = options.access(access(py, name)?);
        }
        if let Some(callback) = &self.on_recovery {
            let callback = callback.clone_ref(py);
            options = options.on_recovery(move |report| tell(&callback, report));
        }
        options = options.compaction(self.compaction(py)?);
        options.check().or_raise(py)?;
        Ok(options)
    }

    fn compaction(&self, py: Python<'_>) -> PyResult<Compaction> {
        let known = [("auto", true), ("manual", false)];
        let auto = self.compaction.as_deref().map(|name| named(py, "compaction", name, &known)).transpose()?;
        if auto == Some(false) {
            return match self.dead_ratio.is_some() || self.fanout.is_some() {
                true => Err(refuse(py, "compaction", "is \"manual\"; dead_ratio and fanout go with \"auto\"")),
                false => Ok(Compaction::Manual),
            };
        }
        let mut when = Compaction::default();
        if let Compaction::Auto { dead_ratio, fanout } = &mut when {
            *dead_ratio = self.dead_ratio.unwrap_or(*dead_ratio);
            *fanout = self.fanout.unwrap_or(*fanout);
        }
        Ok(when)
    }
}

/// Tells a callback what an open found. What it raises has nobody to go to: the open goes on.
fn tell(callback: &Py<PyAny>, report: &stratavec::RecoveryReport) {
    Python::attach(|py| {
        let told = Bound::new(py, RecoveryReport::from(report)).and_then(|report| callback.bind(py).call1((report,)));
        if let Err(error) = told {
            error.write_unraisable(py, Some(callback.bind(py)));
        }
    });
}

/// How files are read, by its name.
pub fn access(py: Python<'_>, name: &str) -> PyResult<Access> {
    named(py, "access", name, &[("mmap", Access::Mmap), ("pread", Access::Pread)])
}

/// Whether a search takes lists and rows to be in memory, by its name.
pub fn search_mode(py: Python<'_>, name: &str) -> PyResult<SearchMode> {
    named(py, "mode", name, &[("auto", SearchMode::Auto), ("hot", SearchMode::Hot), ("cold", SearchMode::Cold)])
}
