//! Ids from a file of their own: one per line, or an npy array of integers.

use stratavec::{Id, IdKind};

use super::field::{id_from_number, id_from_text};
use super::npy::Integers;
use super::{ImportError, Input, Place};

/// Ids one after the other.
pub struct IdSource {
    kind: IdKind,
    from: From,
    number: u64,
    line: Vec<u8>,
}

enum From {
    Lines(Input),
    Npy(Integers),
}

impl IdSource {
    /// Reads lines, or an array if the name ends in `.npy`.
    ///
    /// # Errors
    /// [`ImportError`] if the array is not one of integers.
    pub fn new(input: Input, kind: IdKind) -> Result<Self, ImportError> {
        let from = match input.name().ends_with(".npy") {
            true => From::Npy(Integers::new(input)?),
            false => From::Lines(input),
        };
        Ok(IdSource { kind, from, number: 0, line: Vec::new() })
    }

    /// The next id; `None` at the end.
    ///
    /// # Errors
    /// `Value` naming the place of an id that cannot be one.
    pub fn next_id(&mut self) -> Result<Option<Id>, ImportError> {
        self.number += 1;
        let (place, id) = match &mut self.from {
            From::Lines(input) => {
                let place = Place::Line(self.number);
                if !input.line(&mut self.line, place)? {
                    return Ok(None);
                }
                let text = std::str::from_utf8(&self.line);
                let text = text.map_err(|_| ImportError::malformed(input.name(), place, "is not UTF-8 text"))?;
                (place, id_from_text(text, self.kind))
            }
            From::Npy(integers) => match integers.next_integer()? {
                None => return Ok(None),
                Some(n) => (Place::Record { number: self.number - 1, offset: 0 }, id_from_number(n, self.kind)),
            },
        };
        match id {
            Ok(id) => Ok(Some(id)),
            Err(message) => Err(ImportError::value(self.name(), place, message)),
        }
    }

    /// The file's name, for messages.
    pub fn name(&self) -> &str {
        match &self.from {
            From::Lines(input) => input.name(),
            From::Npy(integers) => integers.name(),
        }
    }
}
