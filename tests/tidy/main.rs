//! The rules of ARCHITECTURE.md and CONTRIBUTING.md that can be read off the sources.

mod citations;
mod dependencies;
mod documents;
mod layers;
mod rooms;
mod sizes;
mod sources;
