//! stub
#![allow(unused, missing_docs)]
use crate::error::{Error, Result};
use crate::format::FileFacts;
use crate::id::*;
use crate::options::Schema;
use crate::metric::*;
use crate::storage::*;
use std::ops::Range;
pub struct RowLayout;
impl From<&Schema> for RowLayout { fn from(_: &Schema) -> Self { RowLayout } }
pub struct RowInput<'a> { pub row: u64, pub seq: u64, pub id: IdRef<'a>, pub vector: &'a [u8], pub norm: f32, pub attributes: &'a [u8], pub payload: &'a [u8] }
pub trait RowSource { fn len(&self) -> usize; fn get(&self, i: usize) -> Result<RowInput<'_>>; }
pub fn write_row_file(storage: &dyn Storage, id: FileId, collection: u128, origin: u128, layout: &RowLayout, rows: &dyn RowSource) -> Result<FileFacts> { todo!() }
pub struct RowFile;
impl RowFile {
 pub fn open(storage: &dyn Storage, id: FileId, collection: u128, origin: u128, layout: &RowLayout, facts: &FileFacts) -> Result<RowFile> { todo!() }
 pub fn len(&self) -> usize { todo!() }
 pub fn name(&self) -> FileName { todo!() }
 pub fn first_row(&self) -> u64 { todo!() }
 pub fn last_row(&self) -> u64 { todo!() }
 pub fn row_number(&self, o: usize) -> Result<u64> { todo!() }
 pub fn ordinal(&self, o: u64) -> Result<Option<usize>> { todo!() }
 pub fn vectors(&self) -> &[u8] { todo!() }
 pub fn stride(&self) -> usize { todo!() }
 pub fn prove_vectors(&self, r: Range<usize>) -> Result<()> { todo!() }
 pub fn record_id_u64(&self, o: usize) -> u64 { todo!() }
 pub fn record_norm(&self, o: usize) -> f32 { todo!() }
 pub fn id(&self, o: usize) -> Result<Id> { todo!() }
 pub fn seq(&self, o: usize) -> Result<u64> { todo!() }
 pub fn attributes(&self, o: usize) -> Result<Vec<u8>> { todo!() }
 pub fn payload(&self, o: usize) -> Result<Vec<u8>> { todo!() }
 pub fn verify(&self, f: &mut dyn FnMut(Error)) { todo!() }
}
pub struct IdEntry { pub key: u64, pub row: u64 }
pub fn write_id_table(storage: &dyn Storage, id: FileId, collection: u128, origin: u128, kind: IdKind, entries: &mut Vec<IdEntry>, min_seq: u64, max_seq: u64) -> Result<FileFacts> { todo!() }
pub struct IdTable;
impl IdTable {
 pub fn open(storage: &dyn Storage, id: FileId, collection: u128, origin: u128, kind: IdKind, facts: &FileFacts) -> Result<IdTable> { todo!() }
 pub fn lookup(&self, key: u64, f: impl Fn(u64) -> Result<bool>) -> Result<Option<u64>> { todo!() }
 pub fn verify(&self, f: &mut dyn FnMut(Error)) { todo!() }
}
pub fn write_tombstones(storage: &dyn Storage, id: FileId, collection: u128, origin: u128, rows: &[u64], lo: u64, hi: u64) -> Result<FileFacts> { todo!() }
pub struct TombstoneFile;
impl TombstoneFile {
 pub fn open(storage: &dyn Storage, id: FileId, collection: u128, origin: u128, facts: &FileFacts) -> Result<TombstoneFile> { todo!() }
 pub fn for_each(&self, f: impl FnMut(u64)) -> Result<()> { todo!() }
 pub fn verify(&self, f: &mut dyn FnMut(Error)) { todo!() }
}
