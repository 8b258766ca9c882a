//! `stratavec delete`

use serde_json::json;
use stratavec::{Collection, OpenOptions};

use crate::args;
use crate::failure::Failure;
use crate::import::Input;
use crate::import::ids::IdSource;
use crate::screen::Screen;
use crate::words;

/// Ids per batch.
const BATCH: u64 = 10_000;

/// Removes rows by id. Ids that are not there are counted, and are no error.
pub fn delete(args: &args::Delete, screen: &Screen) -> Result<(), Failure> {
    let path = &args.collection;
    let collection = super::open(path, OpenOptions::default(), screen)?;
    let typed = super::parse_ids(args.ids.iter().map(String::as_str), collection.schema().id_kind())?;
    let mut file = match &args.file {
        Some(file) => Some(IdSource::new(Input::open(file)?, collection.schema().id_kind())?),
        None => None,
    };
    let mut typed = typed.into_iter();
    let (mut given, mut deleted) = (0, 0);
    loop {
        let mut batch = collection.batch();
        let mut taken = 0;
        while taken < BATCH {
            let next = match typed.next() {
                Some(id) => Some(id),
                None => file.as_mut().map(IdSource::next_id).transpose()?.flatten(),
            };
            let Some(id) = next else { break };
            batch.delete(&id);
            taken += 1;
        }
        if taken == 0 {
            break;
        }
        deleted += batch.commit().map_err(|e| Failure::engine(&e, path))?.deleted;
        given += taken;
    }
    let seq = collection.last_seq();
    finish(collection, args, screen, given, deleted, seq)
}

fn finish(
    collection: Collection,
    args: &args::Delete,
    screen: &Screen,
    given: u64,
    deleted: u64,
    seq: u64,
) -> Result<(), Failure> {
    super::close(collection, &args.collection)?;
    let absent = given - deleted;
    if screen.json {
        return screen.document(&json!({ "deleted": deleted, "absent": absent, "seq": seq }));
    }
    let mut text = format!("deleted {}", words::counted(deleted, "row"));
    if absent > 0 {
        text += &format!(", {} not there", words::counted(absent, "id"));
    }
    screen.line(text)
}
