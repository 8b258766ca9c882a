//! The files on disk: golden directories, and an independent reader that must agree with the engine about them.

mod agreement;
mod golden;
mod reader;
mod scenes;
mod sentences;
mod worked_example;
