//! `format-spec/worked-example.md` is what the engine writes.
