//! Writing models.

use std::sync::Arc;

use zerocopy::IntoBytes;

use super::file_writer::{FileWriter, settle};
use super::model_file::{CodebookFacts, MAX_LISTS, ModelFile, content_hash, parameters};
use crate::error::{Error, Result};
use crate::format::code::Code;
use crate::format::container::FooterFacts;
use crate::format::facts::FileFacts;
use crate::format::kind::{ContainerKind, SectionKind};
use crate::format::list::{product_of, product_parameter};
use crate::format::model::{
    BLOCK_ENTRIES, COMPONENT_STEP, CodebookHead, FrameHead, ROTATION_ROUNDS, centroid_stride, code_block_bytes,
    is_scale,
};
use crate::metric::Metric;
use crate::storage::{FileId, FileKind, FileName, Storage, StorageFile};

/// What a model consists of.
pub(crate) struct ModelContent<'a> {
    /// The metric.
    pub(crate) metric: Metric,
    /// Seed of the rotation.
    pub(crate) seed: u64,
    /// Unit of first-stage factors, a power of two.
    pub(crate) scale: f32,
    /// What is taken off every vector; as long as the dimension.
    pub(crate) mean: &'a [f32],
    /// Centroid records, [`centroid_stride`] bytes each.
    pub(crate) centroids: &'a [u8],
    /// Sign blocks of the centroids, then the factors of the blocks.
    pub(crate) codes: &'a [u8],
    /// Codewords, if lists have product codes: what they are, and their numbers as [`ModelFile::codewords`] gives them.
    pub(crate) codebook: Option<(CodebookFacts, &'a [f32])>,
}

/// Writes a model, syncs it, opens it again and checks every byte. The name is durable only after a `sync_dir` by the caller.
///
/// # Errors
/// `InvalidArgument` if the parts do not fit each other; otherwise what the storage says. A file that was begun is removed, as
/// far as possible.
pub(crate) fn write_model(
    storage: &dyn Storage,
    id: FileId,
    collection: u128,
    origin: u128,
    content: &ModelContent<'_>,
) -> Result<FileFacts> {
    let padded = content.mean.len().next_multiple_of(COMPONENT_STEP);
    let lists = (content.centroids.len() / centroid_stride(padded)) as u64;
    let blocks = lists.div_ceil(BLOCK_ENTRIES as u64) as usize;
    let fits = content.centroids.len() as u64 == lists * centroid_stride(padded) as u64
        && content.codes.len() == blocks * code_block_bytes(padded)
        && (1..=MAX_LISTS).contains(&lists)
        && is_scale(content.scale)
        && !content.mean.is_empty()
        && content.codebook.is_none_or(|(book, words)| book_fits(book, words, padded));
    if !fits {
        return Err(Error::argument(
            "model",
            "has parts that do not fit each other, or a scale that is no power of two",
        ));
    }
    let name = FileName::File(FileKind::Model, id);
    let writer = FileWriter::create(storage, name, ContainerKind::Model, collection)?;
    let footer = FooterFacts {
        rows: lists,
        first_row: 0,
        last_row: 0,
        min_seq: 0,
        max_seq: 0,
        origin,
        parameters: parameters(lists, padded, content.metric, content.codebook.map(|(book, _)| book)),
    };
    settle(storage, name, write(writer, content, padded, &footer), |facts| {
        let model = ModelFile::open(storage, id, collection, origin, facts)?;
        let mut first = None;
        model.verify(&mut |error| {
            first.get_or_insert(error);
        });
        first.map_or(Ok(*facts), Err)
    })
}

fn book_fits(book: CodebookFacts, words: &[f32], padded: usize) -> bool {
    let CodebookFacts { parts, size } = book;
    let stated = product_of(product_parameter(parts as u32, size as u32), padded);
    stated == Some((parts as u32, size as u32))
        && padded.checked_mul(size) == Some(words.len())
        && words.iter().all(|x| x.is_finite())
}

fn write(
    mut file: FileWriter,
    content: &ModelContent<'_>,
    padded: usize,
    footer: &FooterFacts,
) -> Result<(FileFacts, Arc<dyn StorageFile>)> {
    let head = FrameHead {
        dim: (content.mean.len() as u32).into(),
        padded: (padded as u32).into(),
        seed: content.seed.into(),
        rounds: ROTATION_ROUNDS.into(),
        metric: u32::from(content.metric.code()).into(),
        scale: content.scale.into(),
        reserved: [0; 36],
    };
    let mut frame = head.as_bytes().to_vec();
    content.mean.iter().for_each(|x| frame.extend_from_slice(&x.to_le_bytes()));
    file.whole(SectionKind::MODEL_FRAME, 4, &frame)?;
    file.whole(SectionKind::MODEL_CENTROIDS, centroid_stride(padded), content.centroids)?;
    file.whole(SectionKind::MODEL_CENTROID_CODES, code_block_bytes(padded), content.codes)?;
    let mut book = Vec::new();
    if let Some((CodebookFacts { parts, size }, words)) = content.codebook {
        let head = CodebookHead { parts: (parts as u32).into(), size: (size as u32).into(), reserved: [0; 56] };
        book.extend_from_slice(head.as_bytes());
        words.iter().for_each(|x| book.extend_from_slice(&x.to_le_bytes()));
        file.whole(SectionKind::MODEL_CODEBOOKS, 4, &book)?;
    }
    let sections = [&frame[..], content.centroids, content.codes, &book[..]];
    let hash = content_hash(sections.into_iter().take(if book.is_empty() { 3 } else { 4 }));
    file.finish_under(footer, &hash)
}
