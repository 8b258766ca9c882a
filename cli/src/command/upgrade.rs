//! `stratavec upgrade`

use serde_json::json;
use stratavec::Collection;

use crate::args;
use crate::failure::Failure;
use crate::screen::Screen;

/// Brings the files to the newest format that this release writes.
pub fn upgrade(args: &args::Upgrade, screen: &Screen) -> Result<(), Failure> {
    let path = &args.collection;
    let done = Collection::upgrade(path).map_err(|e| Failure::engine(&e, path))?;
    if screen.json {
        return screen.document(&json!({ "from": done.from, "to": done.to, "files_rewritten": done.files_rewritten }));
    }
    let path = path.display();
    match done.from == done.to {
        true => screen.line(format!("{path} is at format version {} already; nothing was changed", done.to)),
        false => screen.line(format!("{path}: format version {} became {}", done.from, done.to)),
    }
}
