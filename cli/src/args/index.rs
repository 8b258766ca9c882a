//! How vectors are searched, as the command line says it.

use clap::{Args, ValueEnum};
use stratavec::{Anchors, Codes, IndexKind, IvfOptions, Spill};

/// `--index` and what belongs to it.
#[derive(Clone, Copy, Debug, Args)]
pub struct Index {
    /// How vectors are searched: all of them, or by lists of neighbours (ivf), or by lists once there are many (auto)
    #[arg(long, default_value = "flat")]
    pub index: IndexName,
    /// Bits of code per component, 1 to 8; by the dimension if not given
    #[arg(long)]
    pub bits: Option<u8>,
    /// How lists code rows: bits:B (as --bits B), product:MxK (M parts, K codewords each), none, auto
    #[arg(long, value_name = "CODES", value_parser = codes, conflicts_with = "bits")]
    pub codes: Option<Codes>,
    /// Number of lists; by the number of rows if not given
    #[arg(long, value_name = "N")]
    pub nlist: Option<u32>,
    /// Whether a row stands in a second list too; by the dimension if not given
    #[arg(long)]
    pub spill: Option<SpillName>,
    /// What lists are gathered around: k-means, random, max-coverage:T (rows T thousandths apart), stratified:N (k-means in each group of ids, N lists
    /// at least)
    #[arg(long, value_name = "ANCHORS", value_parser = anchors)]
    pub anchors: Option<Anchors>,
}

/// The name of a kind of index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum IndexName {
    /// All vectors are scored
    Flat,
    /// Lists of neighbours
    Ivf,
    /// Flat while small, then lists
    Auto,
}

/// Whether there are second copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SpillName {
    /// Yes
    On,
    /// No
    Off,
}

impl Index {
    /// The kind of index that is asked for.
    ///
    /// # Errors
    /// The option that the kind does not have.
    pub fn kind(&self) -> Result<IndexKind, String> {
        let codes = ("codes", self.codes.is_some());
        let (nlist, spill) = (("nlist", self.nlist.is_some()), ("spill", self.spill.is_some()));
        let given = [("bits", self.bits.is_some()), codes, nlist, spill, ("anchors", self.anchors.is_some())];
        match (self.index, given.iter().find(|(_, given)| *given)) {
            (IndexName::Flat | IndexName::Auto, Some((option, _))) => Err(format!("--{option} is for --index ivf")),
            (IndexName::Flat, None) => Ok(IndexKind::Flat),
            (IndexName::Auto, None) => Ok(IndexKind::Auto),
            (IndexName::Ivf, _) => Ok(IndexKind::Ivf(self.options())),
        }
    }

    fn options(&self) -> IvfOptions {
        let mut options = IvfOptions::auto();
        if let Some(bits) = self.bits {
            options = options.codes(Codes::Bits(bits));
        }
        if let Some(codes) = self.codes {
            options = options.codes(codes);
        }
        if let Some(lists) = self.nlist {
            options = options.nlist(lists);
        }
        if let Some(anchors) = self.anchors {
            options = options.anchors(anchors);
        }
        match self.spill {
            Some(SpillName::On) => options.spill(Spill::On),
            Some(SpillName::Off) => options.spill(Spill::Off),
            None => options,
        }
    }
}

/// Codes as the command line says them.
fn codes(text: &str) -> Result<Codes, String> {
    text.parse().map_err(|error: stratavec::Error| error.message().to_owned())
}

/// Anchors as the command line says them.
fn anchors(text: &str) -> Result<Anchors, String> {
    text.parse().map_err(|error: stratavec::Error| error.message().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_said_in_a_word() {
        assert_eq!(codes("bits:4"), Ok(Codes::Bits(4)));
        assert_eq!(codes("product:48x256"), Ok(Codes::Product { m: 48, codebook_size: 256 }));
        assert_eq!((codes("none"), codes("auto")), (Ok(Codes::None), Ok(Codes::Auto)));
        for wrong in ["", "bits", "bits:x", "bits:300", "product:48", "product:x256", "none:1", "pq"] {
            assert!(codes(wrong).unwrap_err().contains("product:48x256"), "{wrong}");
        }
    }
}
