//! An open model: the frame of the codes, and centroids with codes of their own.

use std::sync::Arc;

use zerocopy::FromBytes;
use zerocopy::little_endian::F32;

use super::mapped_file::MappedFile;
use crate::error::{Error, Result};
use crate::format::code::Code;
use crate::format::facts::FileFacts;
use crate::format::kind::{ContainerKind, SectionKind};
use crate::format::list::{product_of, product_parameter};
use crate::format::model::{
    BLOCK_ENTRIES, COMPONENT_STEP, CentroidTail, CodebookHead, FrameHead, ROTATION_ROUNDS, centroid_stride,
    code_block_bytes, is_scale,
};
use crate::format::section::{Scheme, Section};
use crate::format::sha256::Sha256;
use crate::metric::Metric;
use crate::options::MAX_DIM;
use crate::storage::{FileId, Storage};

/// Most lists of a model.
pub(super) const MAX_LISTS: u64 = 1 << 28;
/// The sections of a model, in the order of the file and of the hash. The last is there if lists have product codes.
pub(super) const SECTIONS: [SectionKind; 4] = [
    SectionKind::MODEL_FRAME,
    SectionKind::MODEL_CENTROIDS,
    SectionKind::MODEL_CENTROID_CODES,
    SectionKind::MODEL_CODEBOOKS,
];

/// The codewords of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CodebookFacts {
    /// Numbers in a code.
    pub(crate) parts: usize,
    /// Codewords per part.
    pub(crate) size: usize,
}

/// Everything in it was proven when it was opened: a query reads all of it anyway.
pub(crate) struct ModelFile {
    file: Arc<MappedFile>,
    head: FrameHead,
    metric: Metric,
    mean: Vec<f32>,
    centroids: Section,
    codes: Section,
    codebooks: Option<(Section, CodebookFacts)>,
}

impl ModelFile {
    /// Maps the model and proves that it is the one `facts` states, checksums included; not its hash, see
    /// [`ModelFile::verify`].
    ///
    /// # Errors
    /// `Corrupt`, `UnsupportedVersion` or `Io`.
    pub(crate) fn open(
        storage: &dyn Storage,
        id: FileId,
        collection: u128,
        origin: u128,
        facts: &FileFacts,
    ) -> Result<ModelFile> {
        let file = MappedFile::open(storage, ContainerKind::Model, id, collection, origin, facts, &SECTIONS)?;
        let frame = file
            .section(SectionKind::MODEL_FRAME, Scheme::Whole, 4)?
            .ok_or_else(|| file.container().missing(SectionKind::MODEL_FRAME))?;
        file.whole(&frame)?;
        let (head, metric, mean) = read_frame(&file, &frame)?;
        let padded = head.padded.get() as usize;
        let lists = file.container().footer().rows;
        let stated = file.container().footer().parameters;
        let book = stated_book(stated, padded);
        if !(1..=MAX_LISTS).contains(&lists)
            || book.is_none()
            || book.is_some_and(|book| stated != parameters(lists, padded, metric, book))
        {
            return Err(file
                .container()
                .corrupt_footer("its number of lists or its parameters are not those of a model"));
        }
        let stride = centroid_stride(padded);
        let centroids = file.require(SectionKind::MODEL_CENTROIDS, Scheme::Whole, stride, lists)?;
        file.whole(&centroids)?;
        let blocks = lists.div_ceil(BLOCK_ENTRIES as u64);
        let codes = file.require(SectionKind::MODEL_CENTROID_CODES, Scheme::Whole, code_block_bytes(padded), blocks)?;
        file.whole(&codes)?;
        let codebooks = open_codebooks(&file, padded, book.flatten())?;
        let model = ModelFile { file, head, metric, mean, centroids, codes, codebooks };
        model.check_centroids()?;
        Ok(model)
    }

    /// What a manifest states about this file.
    pub(crate) fn facts(&self) -> FileFacts {
        self.file.container().facts()
    }

    /// Its id, which names it.
    pub(crate) fn id_of_file(&self) -> FileId {
        self.file.id()
    }

    /// The hash of the content: the model's name wherever codes depend on it.
    pub(crate) fn hash(&self) -> &[u8; 32] {
        self.file.container().frame_hash()
    }

    /// Bytes of memory that it holds because it is not mapped.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.file.resident_bytes()
    }

    /// Name and bytes of each section.
    pub(crate) fn sections(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.file.container().sections().iter().map(|section| (section.kind.name(), section.len))
    }

    /// Number of lists, at least one.
    pub(crate) fn lists(&self) -> usize {
        self.file.container().footer().rows as usize
    }

    /// Components after padding, a multiple of 64.
    pub(crate) fn padded(&self) -> usize {
        self.head.padded.get() as usize
    }

    /// The metric.
    pub(crate) fn metric(&self) -> Metric {
        self.metric
    }

    /// Seed of the rotation.
    pub(crate) fn seed(&self) -> u64 {
        self.head.seed.get()
    }

    /// Unit of first-stage factors.
    pub(crate) fn scale(&self) -> f32 {
        self.head.scale.get()
    }

    /// What is taken off every vector; as long as the dimension.
    pub(crate) fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// Centroid records, [`centroid_stride`] bytes each.
    pub(crate) fn centroids(&self) -> &[u8] {
        self.file.section_bytes(&self.centroids)
    }

    /// Sign blocks of the centroids, and the factors of the blocks.
    pub(crate) fn codes(&self) -> (&[u8], &[u8]) {
        let blocks = self.lists().div_ceil(BLOCK_ENTRIES);
        let bytes = self.file.section_bytes(&self.codes);
        bytes.split_at_checked(blocks.saturating_mul(self.padded() * 4)).unwrap_or_default()
    }

    /// What codewords there are, if lists have product codes.
    pub(crate) fn codebook(&self) -> Option<CodebookFacts> {
        self.codebooks.map(|(_, facts)| facts)
    }

    /// The numbers of the codewords: part after part, component after component, codewords side by side. Empty if there are none.
    pub(crate) fn codewords(&self) -> Vec<f32> {
        let bytes = self.codebooks.as_ref().map_or(&[][..], |(section, _)| self.file.section_bytes(section));
        numbers(bytes.get(size_of::<CodebookHead>()..).unwrap_or_default()).map(|x| x.get()).collect()
    }

    /// Centroids are numbers, and what follows them is zero.
    fn check_centroids(&self) -> Result<()> {
        let padded = self.padded();
        for (list, record) in self.centroids().chunks_exact(centroid_stride(padded).max(1)).enumerate() {
            let tail = record.get(padded..).and_then(|rest| CentroidTail::read_from_prefix(rest).ok());
            let right = tail.is_some_and(|(tail, rest)| {
                let (norm, step) = (tail.norm_squared.get(), tail.step.get());
                let numbers = norm.is_finite() && step.is_finite() && norm >= 0.0 && step >= 0.0;
                numbers && rest.iter().all(|byte| *byte == 0)
            });
            if !right {
                let what = format!("centroid {list} is not made of finite numbers, or its padding is not zero");
                return Err(self.file.container().corrupt_section(&self.centroids, what));
            }
        }
        Ok(())
    }

    /// Reads every byte at a pace and compares it with its checksum.
    ///
    /// # Errors
    /// What `pace` says.
    pub(crate) fn scrub(&self, pace: &mut dyn FnMut(u64) -> Result<()>, report: &mut dyn FnMut(Error)) -> Result<()> {
        self.file.verify_bytes_at(pace, report)
    }

    /// Checks every byte, and that the content has the hash that the footer states.
    pub(crate) fn verify(&self, report: &mut dyn FnMut(Error)) {
        let mut damaged = false;
        self.file.verify_bytes(&mut |error| {
            damaged = true;
            report(error);
        });
        let sections = SECTIONS.iter().filter_map(|kind| self.file.container().section(*kind));
        let hash = content_hash(sections.map(|section| self.file.section_bytes(section)));
        if !damaged && hash != *self.hash() {
            report(self.file.container().corrupt_footer("its content does not have the hash it states"));
        }
    }
}

/// The hash of a model: over the length of each section as u64 and its bytes.
pub(super) fn content_hash<'a>(sections: impl Iterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut hash = Sha256::new();
    for section in sections {
        hash.update(&(section.len() as u64).to_le_bytes());
        hash.update(section);
    }
    hash.finish()
}

/// How a footer states a model.
pub(super) fn parameters(lists: u64, padded: usize, metric: Metric, book: Option<CodebookFacts>) -> [u64; 4] {
    let book = book.map_or(0, |book| product_parameter(book.parts as u32, book.size as u32));
    [lists, padded as u64, metric.code().into(), book.into()]
}

/// The codewords that a footer states, if any; `None` if they are of no book.
fn stated_book(parameters: [u64; 4], padded: usize) -> Option<Option<CodebookFacts>> {
    let [.., book] = parameters;
    if book == 0 {
        return Some(None);
    }
    let (parts, size) = product_of(u32::try_from(book).ok()?, padded)?;
    Some(Some(CodebookFacts { parts: parts as usize, size: size as usize }))
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = &F32> {
    <[F32]>::ref_from_bytes(bytes).unwrap_or_default().iter()
}

/// Finds the codewords that the footer states, and proves that they are finite numbers and as many as they must be.
fn open_codebooks(
    file: &MappedFile,
    padded: usize,
    book: Option<CodebookFacts>,
) -> Result<Option<(Section, CodebookFacts)>> {
    let kind = SectionKind::MODEL_CODEBOOKS;
    let Some(book) = book else { return file.forbid(&[kind]).map(|()| None) };
    // At most 2^17 components of 1,024 words.
    let entries = (size_of::<CodebookHead>() / 4 + padded * book.size) as u64;
    let section = file.require(kind, Scheme::Whole, 4, entries)?;
    file.whole(&section)?;
    let bytes = file.section_bytes(&section);
    let right = CodebookHead::read_from_prefix(bytes).is_ok_and(|(head, words)| {
        let stated = head.parts.get() as usize == book.parts && head.size.get() as usize == book.size;
        stated && head.reserved == [0; 56] && numbers(words).all(|x| x.get().is_finite())
    });
    match right {
        true => Ok(Some((section, book))),
        false => {
            let what =
                "its codewords are not those the footer states, or not finite numbers, or reserved bytes are set";
            Err(file.container().corrupt_section(&section, what))
        }
    }
}

fn read_frame(file: &MappedFile, section: &Section) -> Result<(FrameHead, Metric, Vec<f32>)> {
    let corrupt = |what: &str| file.container().corrupt_section(section, what);
    let (head, mean) =
        FrameHead::read_from_prefix(file.section_bytes(section)).map_err(|_| corrupt("it is too short"))?;
    let (dim, padded) = (head.dim.get() as usize, head.padded.get() as usize);
    if !(1..=MAX_DIM).contains(&dim) || padded != dim.next_multiple_of(COMPONENT_STEP) || mean.len() != 4 * dim {
        return Err(corrupt("its dimension, padding and mean do not fit"));
    }
    let metric = Metric::from_code(head.metric.get().into()).ok_or_else(|| corrupt("its metric is unknown"))?;
    if head.rounds.get() != ROTATION_ROUNDS || !is_scale(head.scale.get()) || head.reserved != [0; 36] {
        return Err(corrupt("its rotation or scale is none of ours, or reserved bytes are set"));
    }
    let mean: Vec<f32> = <[F32]>::ref_from_bytes(mean).unwrap_or_default().iter().map(|x| x.get()).collect();
    match mean.iter().all(|x| x.is_finite()) {
        true => Ok((head, metric, mean)),
        false => Err(corrupt("its mean is not finite")),
    }
}
