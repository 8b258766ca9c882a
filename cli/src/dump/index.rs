//! How vectors are searched, in the header of a dump.

use serde::{Deserialize, Serialize};
use stratavec::{Anchors, Codes, IndexKind, IvfOptions, Spill};

/// The kind of index and what was asked of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// The kind by its name.
    pub index: String,
    /// Bits of code per component, if that was said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub bits: Option<u8>,
    /// Parts and codewords of product codes, if those were asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub product: Option<[u32; 2]>,
    /// `false` if lists are to be without codes.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub codes: Option<bool>,
    /// Number of lists, if that was said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub nlist: Option<u32>,
    /// Whether rows stand in second lists, if that was said.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub spill: Option<bool>,
    /// What lists are gathered around, in a word, if not the means of k-means.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub anchors: Option<String>,
}

impl From<IndexKind> for Index {
    fn from(kind: IndexKind) -> Index {
        let options = match kind {
            IndexKind::Ivf(options) => options,
            _ => IvfOptions::auto(),
        };
        let bits = match options.wanted_codes() {
            Codes::Bits(bits) => Some(bits),
            _ => None,
        };
        let (product, codes) = match options.wanted_codes() {
            Codes::Product { m, codebook_size } => (Some([m, codebook_size]), None),
            Codes::None => (None, Some(false)),
            _ => (None, None),
        };
        let spill = match options.wanted_spill() {
            Spill::On => Some(true),
            Spill::Off => Some(false),
            _ => None,
        };
        let anchors = match options.wanted_anchors() {
            Anchors::KMeans => None,
            other => Some(other.to_string()),
        };
        let nlist = options.wanted_nlist();
        Index { index: kind.name().to_owned(), bits, product, codes, nlist, spill, anchors }
    }
}

impl Index {
    /// The kind; `None` if it is not known here, or has options that it cannot have.
    pub fn kind(&self) -> Option<IndexKind> {
        let mut options = IvfOptions::auto();
        options = match (self.bits, self.product, self.codes) {
            (None, None, None) => options,
            (Some(bits), None, None) => options.codes(Codes::Bits(bits)),
            (None, Some([m, codebook_size]), None) => options.codes(Codes::Product { m, codebook_size }),
            (None, None, Some(false)) => options.codes(Codes::None),
            _ => return None,
        };
        if let Some(lists) = self.nlist {
            options = options.nlist(lists);
        }
        if let Some(spill) = self.spill {
            options = options.spill(if spill { Spill::On } else { Spill::Off });
        }
        if let Some(anchors) = &self.anchors {
            options = options.anchors(anchors.parse().ok()?);
        }
        match self.index.as_str() {
            "ivf" => Some(IndexKind::Ivf(options)),
            _ if options != IvfOptions::auto() => None,
            "flat" => Some(IndexKind::Flat),
            "auto" => Some(IndexKind::Auto),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_come_back_with_their_options() {
        let some = IvfOptions::auto().codes(Codes::Bits(3)).nlist(17).spill(Spill::Off);
        let product = some.codes(Codes::Product { m: 48, codebook_size: 256 });
        let spread = some.anchors(Anchors::MaxCoverage { apart: 150 });
        let ivf = [IvfOptions::auto(), some, product, some.codes(Codes::None), spread].map(IndexKind::Ivf);
        for kind in ivf.into_iter().chain([IndexKind::Flat, IndexKind::Auto]) {
            let text = serde_json::to_string(&Index::from(kind)).unwrap();
            let back: Index = serde_json::from_str(&text).unwrap();
            assert_eq!(back.kind(), Some(kind), "{text}");
        }
        let flat = Index { nlist: Some(3), ..Index::from(IndexKind::Flat) };
        assert_eq!(flat.kind(), None);
        let both = Index { bits: Some(3), ..Index::from(IndexKind::Ivf(some.codes(Codes::None))) };
        assert_eq!(both.kind(), None);
    }
}
