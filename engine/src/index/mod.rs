//! Search structures over borrowed bytes; nothing here sees a file.

pub(crate) mod flat;
pub(crate) mod ivf;
pub(crate) mod stored;
