//! How vectors are searched, as the head of a manifest states it.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic))]

use crate::options::{Anchors, Codes, IndexKind, IvfOptions, Spill};

/// The numbers of a kind. Of a kind without options all but the first are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexCode {
    /// 1 flat, 2 lists, 3 flat while small, then lists.
    pub kind: u8,
    /// 0 by the dimension, 1 `bits` per component, 2 `parts` numbers of `bits` bits, 3 none.
    pub codes: u8,
    /// Bits per component or part, if that was said.
    pub bits: u8,
    /// 0 by the dimension, 1 on, 2 off.
    pub spill: u8,
    /// Number of lists; 0 by the number of rows.
    pub nlist: u32,
    /// Parts of product codes, else 0.
    pub parts: u32,
    /// What lists are gathered around: 0 k-means, 1 random rows, 2 rows far apart, 3 k-means within groups.
    pub anchors: u8,
    /// Of 2: thousandths that they are apart; of 3: fewest lists of a group; else 0.
    pub anchor_limit: u32,
}

impl IndexCode {
    /// The numbers of a kind.
    pub fn of(kind: IndexKind) -> IndexCode {
        let plain =
            |kind| IndexCode { kind, codes: 0, bits: 0, spill: 0, nlist: 0, parts: 0, anchors: 0, anchor_limit: 0 };
        let options = match kind {
            IndexKind::Flat => return plain(1),
            IndexKind::Auto => return plain(3),
            IndexKind::Ivf(options) => options,
        };
        let (codes, bits, parts) = match options.wanted_codes() {
            Codes::Auto => (0, 0, 0),
            Codes::Bits(bits) => (1, bits, 0),
            // Sizes are powers of two.
            Codes::Product { m, codebook_size } => (2, codebook_size.trailing_zeros() as u8, m),
            Codes::None => (3, 0, 0),
        };
        let spill = match options.wanted_spill() {
            Spill::Auto => 0,
            Spill::On => 1,
            Spill::Off => 2,
        };
        let (anchors, anchor_limit) = match options.wanted_anchors() {
            Anchors::KMeans => (0, 0),
            Anchors::Random => (1, 0),
            Anchors::MaxCoverage { apart } => (2, u32::from(apart)),
            Anchors::Stratified { least } => (3, least),
        };
        let nlist = options.wanted_nlist().unwrap_or(0);
        IndexCode { codes, bits, spill, nlist, parts, anchors, anchor_limit, ..plain(2) }
    }

    /// The kind that these numbers state; `None` if this build knows none. Limits are left to the schema's check.
    pub fn decode(self) -> Option<IndexKind> {
        let codes = match (self.codes, self.bits, self.parts) {
            (0, 0, 0) => Codes::Auto,
            (1, bits, 0) => Codes::Bits(bits),
            (2, bits, m) => Codes::Product { m, codebook_size: 1u32.checked_shl(bits.into())? },
            (3, 0, 0) => Codes::None,
            _ => return None,
        };
        let spill = match self.spill {
            0 => Spill::Auto,
            1 => Spill::On,
            2 => Spill::Off,
            _ => return None,
        };
        let anchors = match (self.anchors, self.anchor_limit) {
            (0, 0) => Anchors::KMeans,
            (1, 0) => Anchors::Random,
            (2, apart) => Anchors::MaxCoverage { apart: u16::try_from(apart).ok()? },
            (3, least) => Anchors::Stratified { least },
            _ => return None,
        };
        let options = IvfOptions::auto().codes(codes).spill(spill).anchors(anchors);
        let options = if self.nlist == 0 { options } else { options.nlist(self.nlist) };
        match self.kind {
            1 | 3 if options != IvfOptions::auto() => None,
            1 => Some(IndexKind::Flat),
            2 => Some(IndexKind::Ivf(options)),
            3 => Some(IndexKind::Auto),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_come_back_and_what_is_none_is_refused() {
        let options = IvfOptions::auto();
        let mut kinds = vec![IndexKind::Flat, IndexKind::Auto, IndexKind::Ivf(options)];
        for spill in [Spill::Auto, Spill::On, Spill::Off] {
            kinds.push(IndexKind::Ivf(options.spill(spill).nlist(12).codes(Codes::Bits(3))));
        }
        kinds.push(IndexKind::Ivf(options.codes(Codes::Product { m: 48, codebook_size: 1024 })));
        kinds.push(IndexKind::Ivf(options.codes(Codes::None)));
        for anchors in [Anchors::Random, Anchors::MaxCoverage { apart: 300 }, Anchors::Stratified { least: 1 << 20 }] {
            kinds.push(IndexKind::Ivf(options.anchors(anchors)));
        }
        for kind in kinds {
            assert_eq!(IndexCode::of(kind).decode(), Some(kind));
        }
        let flat = IndexCode::of(IndexKind::Flat);
        let lists = IndexCode::of(IndexKind::Ivf(options));
        let wrong = [
            IndexCode { kind: 0, ..flat },
            IndexCode { kind: 4, ..flat },
            IndexCode { nlist: 1, ..flat },
            IndexCode { spill: 1, ..IndexCode::of(IndexKind::Auto) },
            IndexCode { codes: 4, ..lists },
            IndexCode { bits: 2, ..lists },
            IndexCode { parts: 2, ..lists },
            IndexCode { codes: 3, bits: 1, ..lists },
            IndexCode { codes: 2, bits: 32, parts: 4, ..lists },
            IndexCode { spill: 3, ..lists },
            IndexCode { anchors: 1, ..flat },
            IndexCode { anchors: 4, ..lists },
            IndexCode { anchor_limit: 1, ..lists },
            IndexCode { anchors: 1, anchor_limit: 1, ..lists },
            IndexCode { anchors: 2, anchor_limit: 1 << 16, ..lists },
        ];
        for code in wrong {
            assert_eq!(code.decode(), None, "{code:?}");
        }
    }
}
