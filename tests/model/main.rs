//! The engine against an oracle: random operations on a collection and on a map, compared call by call.
//!
//! `operation` says what is done, `space` what ids and vectors are and which distances they have, `oracle` judges answers,
//! `session` does the operations to both sides, `place` is where the collection lives, `proof` finds and shrinks failures.
//! A failure prints the shortest case found; put it into `replay.rs` to keep it.
//!
//! `STRATAVEC_MODEL_CASES=100` multiplies the number of cases, `STRATAVEC_MODEL_SEED=7` draws other ones.

mod metamorphic;
mod operation;
mod oracle;
mod place;
mod proof;
mod random_operations;
mod replay;
mod search_laws;
mod session;
mod space;
