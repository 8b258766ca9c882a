//! A set of pending units, as it stands in a failure report.

use std::fmt;

/// A set of pending units; bit `i` is the `i`-th oldest. Its text form is hexadecimal, lowest units last.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct UnitMask {
    /// Without zero words at the end, so that equal sets are equal values.
    words: Vec<u64>,
}

impl UnitMask {
    /// The units of `range`.
    pub fn range(range: std::ops::Range<usize>) -> UnitMask {
        range.fold(UnitMask::default(), |mut mask, unit| {
            mask.insert(unit);
            mask
        })
    }

    /// The first 64 units whose bits are set.
    pub fn from_bits(bits: u64) -> UnitMask {
        UnitMask { words: if bits == 0 { Vec::new() } else { vec![bits] } }
    }

    /// Adds a unit.
    pub fn insert(&mut self, unit: usize) {
        if self.words.len() <= unit / 64 {
            self.words.resize(unit / 64 + 1, 0);
        }
        self.words[unit / 64] |= 1 << (unit % 64);
    }

    /// Takes a unit away.
    pub fn remove(&mut self, unit: usize) {
        if let Some(word) = self.words.get_mut(unit / 64) {
            *word &= !(1 << (unit % 64));
        }
        while self.words.last() == Some(&0) {
            self.words.pop();
        }
    }

    /// Whether the unit is in the set.
    pub fn contains(&self, unit: usize) -> bool {
        self.words.get(unit / 64).is_some_and(|word| word >> (unit % 64) & 1 == 1)
    }

    /// The units, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.words.iter().enumerate().flat_map(|(at, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
                rest &= rest - 1;
                Some(at * 64 + bit)
            })
        })
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Option<UnitMask> {
        let mut mask = UnitMask::default();
        for (at, digit) in text.chars().rev().enumerate() {
            let bits = digit.to_digit(16)?;
            (0..4).filter(|bit| bits >> bit & 1 == 1).for_each(|bit| mask.insert(at * 4 + bit));
        }
        (!text.is_empty()).then_some(mask)
    }
}

impl fmt::Display for UnitMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((top, rest)) = self.words.split_last() else { return f.write_str("0") };
        write!(f, "{top:x}")?;
        rest.iter().rev().try_for_each(|word| write!(f, "{word:016x}"))
    }
}

impl fmt::Debug for UnitMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_keep_their_text_form() {
        for units in [vec![], vec![0], vec![3, 64, 200], (0..130).collect::<Vec<_>>()] {
            let mut mask = UnitMask::default();
            units.iter().for_each(|unit| mask.insert(*unit));
            assert_eq!(mask.iter().collect::<Vec<_>>(), units);
            assert_eq!(UnitMask::parse(&mask.to_string()), Some(mask));
        }
        assert_eq!(UnitMask::range(0..9).to_string(), "1ff");
        assert_eq!(UnitMask::parse("xyz"), None);
        assert_eq!(UnitMask::parse(""), None);
    }
}
