//! Lists that may have to be read from the disk, behind the faces that a search sees.

use super::lists::CodedLists;
use crate::error::Result;
use crate::format::list::ListCode;
use crate::index::ivf::{ColdLists, ListPieces, Lists};
use crate::segment::{ListFile, LoadedList};

/// The lists of a segment that [`CodedLists::new`] accepted when it was opened.
#[derive(Clone, Copy)]
pub(super) enum ColdFile<'a> {
    /// In a map: pages come when they are touched, or when they were asked for.
    Mapped(&'a ListFile, CodedLists<'a>),
    /// To be read.
    Read(&'a ListFile),
}

impl<'a> ColdFile<'a> {
    pub(super) fn new(file: &'a ListFile) -> Self {
        match file.is_mapped() {
            true => ColdFile::Mapped(file, CodedLists::of(file)),
            false => ColdFile::Read(file),
        }
    }

    fn file(&self) -> &'a ListFile {
        match self {
            ColdFile::Mapped(file, _) | ColdFile::Read(file) => file,
        }
    }
}

impl ColdLists for ColdFile<'_> {
    type Here<'h>
        = HereLists<'h>
    where
        Self: 'h;

    fn ask(&self, list: u32) {
        self.file().ask(list as usize);
    }

    fn bytes(&self, list: u32) -> usize {
        self.file().list_bytes(list as usize, *self.file().shape())
    }

    fn bring<'h>(&'h self, lists: &mut dyn Iterator<Item = u32>) -> Result<HereLists<'h>> {
        match self {
            ColdFile::Mapped(_, lists) => Ok(HereLists::Mapped(*lists)),
            ColdFile::Read(file) => {
                let loaded = lists.map(|list| Ok((list, file.load(list as usize)?))).collect::<Result<_>>()?;
                Ok(HereLists::Read(file, loaded))
            }
        }
    }
}

/// Lists in memory.
pub(super) enum HereLists<'a> {
    Mapped(CodedLists<'a>),
    /// Those of one wave.
    Read(&'a ListFile, Vec<(u32, LoadedList<'a>)>),
}

impl Lists for HereLists<'_> {
    fn bits(&self) -> usize {
        match self {
            HereLists::Mapped(lists) => lists.bits(),
            HereLists::Read(file, _) => match file.shape().code() {
                ListCode::Bits(bits) => bits as usize,
                _ => 0,
            },
        }
    }

    fn stride(&self) -> usize {
        match self {
            HereLists::Mapped(lists) => lists.stride(),
            HereLists::Read(file, _) => file.shape().stride(),
        }
    }

    fn list(&self, list: u32) -> Result<ListPieces<'_>> {
        match self {
            HereLists::Mapped(lists) => lists.list(list),
            HereLists::Read(file, loaded) => match loaded.iter().find(|(here, _)| *here == list) {
                Some((_, loaded)) => {
                    let bytes = loaded.bytes();
                    let (signs, factors, rows, records) = (bytes.signs, bytes.factors, bytes.rows, bytes.records);
                    Ok(ListPieces { count: bytes.count, signs, factors, rows, records })
                }
                None => Err(file.no_list(list as usize)),
            },
        }
    }

    fn header(&self, list: u32) -> &[u8] {
        match self {
            HereLists::Mapped(lists) => lists.header(list),
            HereLists::Read(..) => &[],
        }
    }

    fn ahead(&self, list: u32) -> &[u8] {
        match self {
            HereLists::Mapped(lists) => lists.ahead(list),
            HereLists::Read(..) => &[],
        }
    }

    fn prove_record(&self, list: u32, position: u32) -> Result<()> {
        match self {
            HereLists::Mapped(lists) => lists.prove_record(list, position),
            HereLists::Read(..) => Ok(()),
        }
    }

    fn prove_records(&self, list: u32) -> Result<bool> {
        match self {
            HereLists::Mapped(lists) => lists.prove_records(list),
            // All that was read is proven.
            HereLists::Read(..) => Ok(true),
        }
    }

    fn row(&self, word: u32) -> Result<u64> {
        match self {
            HereLists::Mapped(lists) => lists.row(word),
            HereLists::Read(file, _) => file.row(word),
        }
    }
}
