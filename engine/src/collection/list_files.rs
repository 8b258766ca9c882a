//! Opening the models and list segments that a manifest names.

use std::sync::Arc;

use crate::compaction::check_coding;
use crate::error::{Error, Result};
use crate::manifest::{HashedEntry, Manifest};
use crate::segment::{ListFile, ModelFile};
use crate::snapshot::{CodedLists, OpenModel, Version};
use crate::storage::{FileId, FileKind, FileName, Storage};

/// Opens the models of a manifest, or takes them over from an older version. Where no vectors are kept codes of one must mean something to the other.
pub(super) fn open_models(
    storage: &dyn Storage,
    manifest: &Manifest,
    old: Option<&Version>,
) -> Result<Vec<Arc<OpenModel>>> {
    let open = old.map_or(&[][..], |old| &old.models);
    let one = |entry: &HashedEntry| {
        let same = |model: &&Arc<OpenModel>| {
            model.id == entry.file.id && model.file.facts() == entry.file.facts && *model.file.hash() == entry.hash
        };
        match open.iter().find(same) {
            Some(model) => Ok(model.clone()),
            None => open_model(storage, manifest, entry).map(Arc::new),
        }
    };
    let models: Vec<Arc<OpenModel>> = manifest.models.iter().map(one).collect::<Result<_>>()?;
    if let ([older, newest], false) = (&models[..], manifest.schema.row_format().keeps_vectors()) {
        check_coding(older, newest)?;
    }
    Ok(models)
}

/// Opens a model and proves that it is the one that is named, of vectors like those of the collection.
pub(super) fn open_model(storage: &dyn Storage, manifest: &Manifest, entry: &HashedEntry) -> Result<OpenModel> {
    let (collection, origin, id) = (manifest.collection, manifest.own_origin(), entry.file.id);
    let file = ModelFile::open(storage, id, collection, origin, &entry.file.facts)?;
    let schema = &manifest.schema;
    let fits = *file.hash() == entry.hash && file.metric() == schema.metric() && file.mean().len() == schema.dim();
    match fits {
        true => OpenModel::new(file, schema.list_codes().unwrap_or_default()),
        false => {
            let what = "it is not the model that the manifest names, or of vectors that are not the collection's";
            Err(Error::corrupt(FileName::File(FileKind::Model, id), "footer", 0, what))
        }
    }
}

/// Opens the list segments of a manifest, or takes them over from an older version.
pub(super) fn open_lists(
    storage: &dyn Storage,
    manifest: &Manifest,
    models: &[Arc<OpenModel>],
    old: Option<&Version>,
) -> Result<Vec<Arc<ListFile>>> {
    let open = old.map_or(&[][..], |old| &old.lists);
    let one = |entry: &HashedEntry| {
        let same = |file: &&Arc<ListFile>| {
            file.id_of_file() == entry.file.id && file.facts() == entry.file.facts && *file.model() == entry.hash
        };
        match open.iter().find(same) {
            Some(file) => Ok(file.clone()),
            None => open_list(storage, manifest, models, entry).map(Arc::new),
        }
    };
    manifest.lists.iter().map(one).collect()
}

/// Opens a list segment and proves that it has the lists of its model, as codes.
pub(super) fn open_list(
    storage: &dyn Storage,
    manifest: &Manifest,
    models: &[Arc<OpenModel>],
    entry: &HashedEntry,
) -> Result<ListFile> {
    let (collection, origin, id) = (manifest.collection, manifest.own_origin(), entry.file.id);
    let file = ListFile::open(storage, id, collection, origin, &entry.hash, &entry.file.facts)?;
    let model = models.iter().find(|model| *model.file.hash() == entry.hash);
    match model.is_some_and(|model| CodedLists::new(&file, model).is_ok()) {
        true => Ok(file),
        false => {
            let what = "it does not have the lists, the dimension or the codes of its model";
            Err(Error::corrupt(FileName::File(FileKind::List, id), "footer", 0, what))
        }
    }
}

/// A model or a list segment that the manifest names, opened, and in a full check read to the last byte.
pub(super) fn check_list_file(
    storage: &dyn Storage,
    manifest: &Manifest,
    kind: FileKind,
    id: FileId,
    full: bool,
    finding: &mut dyn FnMut(Error),
) -> Result<()> {
    let table = if kind == FileKind::Model { &manifest.models } else { &manifest.lists };
    let Some(entry) = table.iter().find(|entry| entry.file.id == id) else { return Ok(()) };
    if kind == FileKind::Model {
        let model = open_model(storage, manifest, entry)?;
        if full {
            model.file.verify(finding);
        }
        return Ok(());
    }
    let (collection, origin) = (manifest.collection, manifest.own_origin());
    let file = ListFile::open(storage, id, collection, origin, &entry.hash, &entry.file.facts)?;
    if full {
        file.verify(finding);
    }
    Ok(())
}
