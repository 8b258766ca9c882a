//! What calls tell: frozen classes whose fields are those of the engine's reports.

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::pickling::{Fields, Reduced, reduced};

/// A class with the fields of an engine's report, made from it by `From`.
macro_rules! report {
    ($(#[$about:meta])* $name:ident($python:literal) from $source:ty { $($(#[$doc:meta])* $field:ident: $kind:ty = $value:expr;)* }) => {
        report! { $(#[$about])* $name($python) from $source { $($(#[$doc])* $field: $kind = $value;)* } and {
            fn __repr__(&self) -> String {
                let fields: Vec<String> = vec![$(format!("{}={}", stringify!($field), shown(&format!("{:?}", self.$field)))),*];
                format!("{}({})", $python, fields.join(", "))
            }
        } }
    };
    ($(#[$about:meta])* $name:ident($python:literal) from $source:ty { $($(#[$doc:meta])* $field:ident: $kind:ty = $value:expr;)* } and { $($more:tt)* }) => {
        $(#[$about])*
        #[pyclass(frozen, get_all, name = $python, module = "stratavec")]
        #[derive(Clone, Debug)]
        pub struct $name { $($(#[$doc])* pub $field: $kind,)* }

        impl From<&$source> for $name {
            fn from(report: &$source) -> Self {
                $name { $($field: $value(report),)* }
            }
        }

        #[pymethods]
        impl $name {
            $($more)*

            fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
                let fields: Vec<Bound<'py, PyAny>> = vec![$(self.$field.clone().into_bound_py_any(py)?),*];
                reduced::<Self>(py, PyTuple::new(py, fields)?)
            }

            #[staticmethod]
            fn _restore(fields: &Bound<'_, PyTuple>) -> PyResult<Self> {
                let mut fields = Fields::new(fields);
                Ok($name { $($field: fields.next::<$kind>()?,)* })
            }
        }
    };
}

/// Rust's way to write a value as Python's.
fn shown(debug: &str) -> &str {
    match debug {
        "true" => "True",
        "false" => "False",
        "None" => "None",
        other => other.strip_prefix("Some(").and_then(|rest| rest.strip_suffix(')')).unwrap_or(other),
    }
}

report! {
    /// What a committed batch did.
    Receipt("Receipt") from stratavec::Receipt {
        seq: u64 = |r: &stratavec::Receipt| r.seq;
        durable: bool = |r: &stratavec::Receipt| r.durable;
        inserted: u64 = |r: &stratavec::Receipt| r.inserted;
        replaced: u64 = |r: &stratavec::Receipt| r.replaced;
        deleted: u64 = |r: &stratavec::Receipt| r.deleted;
    }
}

report! {
    /// What a bulk load did.
    BulkReport("BulkReport") from stratavec::BulkReport {
        seq: u64 = |r: &stratavec::BulkReport| r.seq;
        items: u64 = |r: &stratavec::BulkReport| r.items;
        inserted: u64 = |r: &stratavec::BulkReport| r.inserted;
        replaced: u64 = |r: &stratavec::BulkReport| r.replaced;
        repeated: u64 = |r: &stratavec::BulkReport| r.repeated;
        bytes_written: u64 = |r: &stratavec::BulkReport| r.bytes_written;
    }
}

report! {
    /// What a compaction did, or would do.
    CompactReport("CompactReport") from stratavec::CompactReport {
        merges: u64 = |r: &stratavec::CompactReport| r.merges;
        files_read: u64 = |r: &stratavec::CompactReport| r.files_read;
        rows: u64 = |r: &stratavec::CompactReport| r.rows;
        dropped: u64 = |r: &stratavec::CompactReport| r.dropped;
        bytes_read: u64 = |r: &stratavec::CompactReport| r.bytes_read;
        bytes_written: u64 = |r: &stratavec::CompactReport| r.bytes_written;
        filed: u64 = |r: &stratavec::CompactReport| r.filed;
        list_merges: u64 = |r: &stratavec::CompactReport| r.list_merges;
        retrains: u64 = |r: &stratavec::CompactReport| r.retrains;
        refiled: u64 = |r: &stratavec::CompactReport| r.refiled;
    }
}

report! {
    /// How good the lists are.
    Health("Health") from stratavec::Health {
        score: Option<f64> = |h: &stratavec::Health| h.score;
        coverage: Option<f64> = |h: &stratavec::Health| h.coverage;
        quantization_error: Option<f64> = |h: &stratavec::Health| h.quantization_error;
        bias: Option<f64> = |h: &stratavec::Health| h.bias;
        balance: Option<f64> = |h: &stratavec::Health| h.balance;
        connectivity: Option<f64> = |h: &stratavec::Health| h.connectivity;
        delta_ratio: Option<f64> = |h: &stratavec::Health| h.delta_ratio;
        latency_ratio: Option<f64> = |h: &stratavec::Health| h.latency_ratio;
        entries_scanned: Option<f64> = |h: &stratavec::Health| h.entries_scanned;
        recall: Option<f64> = |h: &stratavec::Health| h.recall;
        sampled: u64 = |h: &stratavec::Health| h.sampled;
        lists: u64 = |h: &stratavec::Health| h.lists;
        skew: Option<f64> = |h: &stratavec::Health| h.skew;
        growth: Option<f64> = |h: &stratavec::Health| h.growth;
        drift: Option<f64> = |h: &stratavec::Health| h.drift;
        retrain: Option<String> = |h: &stratavec::Health| h.retrain.map(|why| why.name().to_owned());
    } and {
        fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
            Self::told(slf, "as_text")
        }

        fn _repr_html_(slf: &Bound<'_, Self>) -> PyResult<String> {
            Self::told(slf, "as_html")
        }
    }
}

impl Health {
    /// As a table, by `stratavec/_health.py`.
    fn told(slf: &Bound<'_, Self>, how: &str) -> PyResult<String> {
        slf.py().import("stratavec._health")?.getattr(how)?.call1((slf,))?.extract()
    }
}

report! {
    /// What a checkpoint made.
    CheckpointReport("CheckpointReport") from stratavec::CheckpointReport {
        seq: u64 = |r: &stratavec::CheckpointReport| r.seq;
        files_linked: u64 = |r: &stratavec::CheckpointReport| r.files_linked;
        bytes_linked: u64 = |r: &stratavec::CheckpointReport| r.bytes_linked;
        files_copied: u64 = |r: &stratavec::CheckpointReport| r.files_copied;
        bytes_copied: u64 = |r: &stratavec::CheckpointReport| r.bytes_copied;
    }
}

report! {
    /// What an upgrade found and did.
    UpgradeReport("UpgradeReport") from stratavec::UpgradeReport {
        from_version: u32 = |r: &stratavec::UpgradeReport| r.from;
        to_version: u32 = |r: &stratavec::UpgradeReport| r.to;
        files_rewritten: u64 = |r: &stratavec::UpgradeReport| r.files_rewritten;
    }
}

report! {
    /// What an open found and did.
    RecoveryReport("RecoveryReport") from stratavec::RecoveryReport {
        is_clean: bool = |r: &stratavec::RecoveryReport| r.is_clean();
        batches_replayed: u64 = |r: &stratavec::RecoveryReport| r.batches_replayed;
        bytes_replayed: u64 = |r: &stratavec::RecoveryReport| r.bytes_replayed;
        tail_bytes_dropped: u64 = |r: &stratavec::RecoveryReport| r.tail_bytes_dropped;
        orphans_removed: u64 = |r: &stratavec::RecoveryReport| r.orphans_removed;
        manifest_copy_used: bool = |r: &stratavec::RecoveryReport| r.manifest_copy_used;
    }
}

report! {
    /// How an answer came about.
    Explain("Explain") from stratavec::Explain {
        seq: u64 = |r: &stratavec::Explain| r.seq;
        rows_scored: u64 = |r: &stratavec::Explain| r.rows_scored;
        sources_scanned: u64 = |r: &stratavec::Explain| r.sources_scanned;
        bytes_read: u64 = |r: &stratavec::Explain| r.bytes_read;
        cold: bool = |r: &stratavec::Explain| r.cold;
        reads: u64 = |r: &stratavec::Explain| r.reads;
        lists_probed: u64 = |r: &stratavec::Explain| r.lists_probed;
        entries_scanned: u64 = |r: &stratavec::Explain| r.entries_scanned;
        fresh_scanned: u64 = |r: &stratavec::Explain| r.fresh_scanned;
        records_read: u64 = |r: &stratavec::Explain| r.records_read;
        reranked: u64 = |r: &stratavec::Explain| r.reranked;
        by_lookup: bool = |r: &stratavec::Explain| r.by_lookup;
        rows_skipped: u64 = |r: &stratavec::Explain| r.rows_skipped;
        cut_short: bool = |r: &stratavec::Explain| r.cut_short;
    }
}

impl Explain {
    /// For the engine.
    pub fn to_engine(&self) -> stratavec::Explain {
        let mut explain = stratavec::Explain::default();
        macro_rules! set {
            ($($field:ident),*) => { $(explain.$field = self.$field;)* };
        }
        set!(seq, rows_scored, sources_scanned, bytes_read, cold, reads, lists_probed);
        set!(entries_scanned, fresh_scanned, records_read, reranked, by_lookup, rows_skipped, cut_short);
        explain
    }
}

/// What `__reduce__` gives of a report that holds Python's objects.
macro_rules! stored {
    ($self:ident, $py:ident: $($field:ident),*) => {{
        let fields: Vec<Bound<'py, PyAny>> = vec![$((&$self.$field).into_bound_py_any($py)?),*];
        reduced::<Self>($py, PyTuple::new($py, fields)?)
    }};
}

/// Such a report of its fields.
macro_rules! restored {
    ($fields:ident: $($field:ident),*) => {{
        let mut fields = Fields::new($fields);
        Ok(Self { $($field: fields.next()?,)* })
    }};
}

/// What a check found.
#[pyclass(frozen, get_all, name = "VerifyReport", module = "stratavec")]
pub struct VerifyReport {
    is_sound: bool,
    findings: Vec<Py<PyAny>>,
    notes: Vec<String>,
    files: u64,
    bytes: u64,
    rows: u64,
    log: Py<RecoveryReport>,
}

impl VerifyReport {
    /// For Python.
    pub fn new(py: Python<'_>, report: &stratavec::VerifyReport) -> PyResult<Self> {
        Ok(VerifyReport {
            is_sound: report.is_sound(),
            findings: report.findings.iter().map(|error| crate::error::object(py, error)).collect(),
            notes: report.notes.clone(),
            files: report.files,
            bytes: report.bytes,
            rows: report.rows,
            log: Py::new(py, RecoveryReport::from(&report.log))?,
        })
    }
}

#[pymethods]
impl VerifyReport {
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        stored!(self, py: is_sound, findings, notes, files, bytes, rows, log)
    }

    #[staticmethod]
    fn _restore(fields: &Bound<'_, PyTuple>) -> PyResult<Self> {
        restored!(fields: is_sound, findings, notes, files, bytes, rows, log)
    }

    fn __repr__(&self) -> String {
        let (sound, found) = (if self.is_sound { "True" } else { "False" }, self.findings.len());
        format!(
            "VerifyReport(is_sound={sound}, {found} findings, files={}, bytes={}, rows={})",
            self.files, self.bytes, self.rows
        )
    }

    fn __bool__(&self) -> bool {
        self.is_sound
    }
}

/// What a scrub found.
#[pyclass(frozen, get_all, name = "ScrubReport", module = "stratavec")]
pub struct ScrubReport {
    files: u64,
    bytes: u64,
    findings: Vec<Py<PyAny>>,
}

impl ScrubReport {
    /// For Python.
    pub fn new(py: Python<'_>, report: &stratavec::ScrubReport) -> Self {
        let findings = report.findings.iter().map(|error| crate::error::object(py, error)).collect();
        ScrubReport { files: report.files, bytes: report.bytes, findings }
    }
}

#[pymethods]
impl ScrubReport {
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        stored!(self, py: files, bytes, findings)
    }

    #[staticmethod]
    fn _restore(fields: &Bound<'_, PyTuple>) -> PyResult<Self> {
        restored!(fields: files, bytes, findings)
    }

    fn __repr__(&self) -> String {
        format!("ScrubReport(files={}, bytes={}, {} findings)", self.files, self.bytes, self.findings.len())
    }
}

/// What a repair kept and lost.
#[pyclass(frozen, get_all, name = "RepairReport", module = "stratavec")]
pub struct RepairReport {
    is_complete: bool,
    generation: u64,
    rows: u64,
    last_seq: u64,
    losses: Vec<Py<PyString>>,
    rows_lost: u64,
    ids_lost: Vec<Py<PyAny>>,
    stale_rows: u64,
    notes: Vec<String>,
}

impl RepairReport {
    /// For Python.
    pub fn new(py: Python<'_>, report: &stratavec::RepairReport) -> PyResult<Self> {
        Ok(RepairReport {
            is_complete: report.is_complete(),
            generation: report.generation,
            rows: report.rows,
            last_seq: report.last_seq,
            losses: report.losses.iter().map(|loss| PyString::new(py, &loss.to_string()).unbind()).collect(),
            rows_lost: report.rows_lost,
            ids_lost: report.ids_lost.iter().map(|id| crate::ids::id_to(py, id.as_ref())).collect::<PyResult<_>>()?,
            stale_rows: report.stale_rows,
            notes: report.notes.clone(),
        })
    }
}

#[pymethods]
impl RepairReport {
    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<Reduced<'py>> {
        stored!(self, py: is_complete, generation, rows, last_seq, losses, rows_lost, ids_lost, stale_rows, notes)
    }

    #[staticmethod]
    fn _restore(fields: &Bound<'_, PyTuple>) -> PyResult<Self> {
        restored!(fields: is_complete, generation, rows, last_seq, losses, rows_lost, ids_lost, stale_rows, notes)
    }

    fn __repr__(&self) -> String {
        let complete = if self.is_complete { "True" } else { "False" };
        format!(
            "RepairReport(is_complete={complete}, rows={}, {} losses, rows_lost={})",
            self.rows,
            self.losses.len(),
            self.rows_lost
        )
    }
}
