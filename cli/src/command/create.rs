//! `stratavec create`

use std::path::Path;

use serde_json::json;
use stratavec::{Collection, Error, ErrorKind, IndexKind, OpenOptions, Schema};

use crate::args;
use crate::failure::Failure;
use crate::screen::Screen;

/// Makes an empty collection.
pub fn create(args: &args::Create, screen: &Screen) -> Result<(), Failure> {
    let index = args.index.kind().map_err(Failure::usage)?;
    let schema = Schema::new(args.dim, args.metric.into()).ids(args.ids.into()).rows(args.rows.into()).seed(args.seed);
    let schema = schema.index(index);
    let path = &args.collection;
    let made = Collection::create(path, schema.clone(), OpenOptions::default());
    let made = made.map_err(|e| refused(&e, path))?;
    super::close(made, path)?;
    if screen.json {
        return screen.document(&json!({
            "created": path.to_string_lossy(),
            "dim": schema.dim(),
            "metric": schema.metric().name(),
            "ids": schema.id_kind().name(),
            "rows": schema.row_format().name(),
            "index": schema.index_kind().name(),
        }));
    }
    let path = path.display();
    screen.line(format!(
        "created {path}: {}-d {}, {} ids, {} rows{}",
        schema.dim(),
        schema.metric().name(),
        schema.id_kind().name(),
        schema.row_format().name(),
        match schema.index_kind() {
            IndexKind::Flat => String::new(),
            kind => format!(", {kind} index"),
        }
    ))?;
    screen.remark(format!("next: stratavec import {path} FILE"))
}

/// Why there is no new collection. What is missing then is never the collection but the folder it was to stand in.
fn refused(error: &Error, path: &Path) -> Failure {
    let failure = Failure::engine(error, path);
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    match (error.kind(), parent) {
        (ErrorKind::NotFound, Some(parent)) => {
            failure.hint(format!("make the folder first: mkdir -p {}", parent.display()))
        }
        _ => failure,
    }
}
