//! Figures, as dictionaries.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use stratavec::{Codes, Schema, Spill, Stats};

use crate::error::object;

/// What a collection is.
pub fn schema_dict<'py>(py: Python<'py>, schema: &Schema) -> PyResult<Bound<'py, PyDict>> {
    let names = PyDict::new(py);
    names.set_item("dim", schema.dim())?;
    names.set_item("metric", schema.metric().name())?;
    names.set_item("ids", schema.id_kind().name())?;
    names.set_item("rows", schema.row_format().name())?;
    names.set_item("index", schema.index_kind().name())?;
    if let stratavec::IndexKind::Ivf(lists) = schema.index_kind() {
        let bits = match lists.wanted_codes() {
            Codes::Bits(bits) => Some(bits),
            _ => None,
        };
        let spill = match lists.wanted_spill() {
            Spill::On => Some(true),
            Spill::Off => Some(false),
            _ => None,
        };
        let codes = match lists.wanted_codes() {
            Codes::Product { m, codebook_size } => Some(format!("product:{m}x{codebook_size}")),
            Codes::None => Some("none".to_owned()),
            _ => None,
        };
        names.set_item("bits", bits)?;
        names.set_item("codes", codes)?;
        names.set_item("nlist", lists.wanted_nlist())?;
        names.set_item("spill", spill)?;
        names.set_item("anchors", lists.wanted_anchors().to_string())?;
    }
    names.set_item("seed", schema.random_seed())?;
    Ok(names)
}

fn seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// The figures as a `stratavec.Stats`.
pub fn stats_object(py: Python<'_>, stats: &Stats, path: &Path) -> PyResult<Py<PyAny>> {
    let all = PyDict::new(py);
    all.set_item("path", path.as_os_str())?;
    all.set_item("schema", schema_dict(py, &stats.schema)?)?;
    macro_rules! figures {
        ($($name:ident),* $(,)?) => { $(all.set_item(stringify!($name), stats.$name)?;)* };
    }
    figures!(
        rows,
        dead_rows,
        delta_rows,
        delta_bytes,
        wal_bytes,
        flush_bytes,
        file_bytes,
        row_files,
        id_tables,
        tombstone_files,
        list_segments,
        models,
        rows_to_convert,
        retrains,
        conversions,
        lists,
        rows_in_lists,
        generation,
        last_seq,
        durable_seq,
        batches,
        log_syncs,
        log_bytes,
        flushes,
        flush_bytes_written,
        merges,
        merge_bytes_written,
        filings,
        list_merges,
        list_bytes_written,
        bulk_loads,
        bulk_load_bytes_written,
        compaction_debt,
        dead_rows_to_compaction,
        files_to_compaction,
        scrub_passes,
        scrub_bytes,
    );
    let sections = PyDict::new(py);
    for (name, bytes) in &stats.sections {
        sections.set_item(name, bytes)?;
    }
    all.set_item("sections", sections)?;
    let parts = PyDict::new(py);
    for (name, bytes) in stats.bytes_by_part() {
        parts.set_item(name, bytes)?;
    }
    all.set_item("parts", parts)?;
    all.set_item("merged_at", stats.merged_at.map(seconds))?;
    all.set_item("scrubbed_at", stats.scrubbed_at.map(seconds))?;
    all.set_item("at", seconds(stats.at))?;
    all.set_item("flush_error", stats.flush_error.as_ref().map(|error| object(py, error)))?;
    all.set_item("compaction_error", stats.compaction_error.as_ref().map(|(_, error)| object(py, error)))?;
    all.set_item("compaction_failures", stats.compaction_error.as_ref().map_or(0, |(times, _)| *times))?;
    all.set_item("poisoned", stats.poisoned.as_ref().map(|error| object(py, error)))?;
    let findings: Vec<Py<PyAny>> = stats.scrub_findings.iter().map(|error| object(py, error)).collect();
    all.set_item("scrub_findings", findings)?;
    all.set_item("memory", memory(py, stats)?)?;
    Ok(py.import("stratavec._stats")?.getattr("Stats")?.call1((all,))?.unbind())
}

fn memory<'py>(py: Python<'py>, stats: &Stats) -> PyResult<Bound<'py, PyDict>> {
    let memory = &stats.memory;
    let held = PyDict::new(py);
    held.set_item("budget", memory.budget)?;
    macro_rules! shares {
        ($($name:ident),*) => { $(held.set_item(stringify!($name), memory.$name)?;)* };
    }
    shares!(used, peak, delta, batches, files, flush, compaction, bulk_load, search);
    Ok(held)
}
