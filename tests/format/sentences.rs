//! Sentences of the pages about bytes, checked on golden bytes.
