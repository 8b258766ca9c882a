//! Immutable files: rows, id tables, tombstones, models, list segments.
//!
//! Each is written once in bounded memory, synced, opened again and checked through the read path before anybody names it. Readers
//! prove what they touch when they first touch it, and survive any content: a false byte is an error with a place, never a
//! panic, a wild read or an allocation that the file's real length does not cover.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod blob;
mod content;
mod file_check;
mod file_writer;
mod id_filter;
mod id_table;
mod id_table_verify;
mod id_table_writer;
mod layout;
mod list_file;
mod list_load;
mod list_verify;
mod list_view;
mod list_writer;
mod mapped_file;
mod model_file;
mod model_writer;
mod narrowest;
mod pages;
mod payload_reader;
mod payload_writer;
mod records;
mod row_file;
mod row_salvage;
mod row_source;
mod row_verify;
mod row_writer;
mod tombstone_writer;
mod tombstones;
mod unit_section;

#[cfg(test)]
mod tests;

pub(crate) use id_table::{IdEntry, IdTable};
pub(crate) use id_table_writer::{IdSource, write_id_table, write_sorted_ids};
pub(crate) use layout::RowLayout;
pub(crate) use list_file::ListFile;
pub(crate) use list_load::LoadedList;
pub(crate) use list_view::{ListBytes, ListView};
pub(crate) use list_writer::{ListFileHead, ListInput, ListSource, write_lists};
pub(crate) use mapped_file::stated_facts;
pub(crate) use model_file::{CodebookFacts, ModelFile};
pub(crate) use model_writer::{ModelContent, write_model};
pub(crate) use records::Records;
pub(crate) use row_file::RowFile;
pub(crate) use row_source::{RowInput, RowSource};
pub(crate) use row_writer::{WrittenRows, write_row_file};
pub(crate) use tombstone_writer::write_tombstones;
pub(crate) use tombstones::TombstoneFile;
