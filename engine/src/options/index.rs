//! How vectors are searched, and how inverted lists are made.

use std::fmt;
use std::str::FromStr;

use super::anchors::Anchors;
use crate::error::{Error, Result};

/// Most bits of code per component.
const MAX_CODE_BITS: u8 = 8;

/// Codewords of a codebook.
const CODEBOOK_SIZES: std::ops::RangeInclusive<u32> = 16..=1024;

/// Vectors are padded to a multiple of so many components before they are coded.
const COMPONENT_STEP: usize = 64;

/// Most lists that can be asked for.
pub(crate) const MAX_NLIST: u32 = 1 << 24;

/// How vectors are searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum IndexKind {
    /// Every row is scored: exact, linear in the number of rows.
    #[default]
    Flat,
    /// Rows are kept in lists of neighbours, each with a short code; a search looks at a few lists. Searched as flat until there
    /// are a thousand rows in files (eight for each list if their number was said); then lists are trained. They are trained anew, in the
    /// background, when there are twice as many rows (four times if they were fewer than twenty thousand), when an eighth of the rows or
    /// more came since and lie further from their centroids than rows used to, or some lists have become far longer than the others. See
    /// [`Compact::Retrain`](crate::Compact::Retrain).
    Ivf(IvfOptions),
    /// Flat while it is small, lists (as [`IndexKind::Ivf`]) from twenty thousand rows in files on.
    Auto,
}

impl IndexKind {
    /// The name used in JSON, on the command line and in error texts.
    pub fn name(self) -> &'static str {
        match self {
            IndexKind::Flat => "flat",
            IndexKind::Ivf(_) => "ivf",
            IndexKind::Auto => "auto",
        }
    }

    /// How lists are made, if this kind has any.
    pub fn lists(self) -> Option<IvfOptions> {
        match self {
            IndexKind::Flat => None,
            IndexKind::Ivf(options) => Some(options),
            IndexKind::Auto => Some(IvfOptions::auto()),
        }
    }
}

impl fmt::Display for IndexKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            IndexKind::Ivf(options) if *options != IvfOptions::auto() => write!(f, "({options})"),
            _ => Ok(()),
        }
    }
}

/// How rows are coded in their lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Codes {
    /// So many bits per component as suit the dimension: 4 up to 384, 3 up to 832, then 2.
    #[default]
    Auto,
    /// So many bits per component, 1 to 8. More: better estimates, fewer rows measured exactly, larger files.
    Bits(u8),
    /// Product quantisation (Jegou, Douze, Schmid, *Product quantization for nearest neighbor search*, 2011): what a row differs by from the
    /// centre of its list is cut into `m` parts, and each is named by the nearest of `codebook_size` codewords. Codewords are learned
    /// from the rows when lists are. Smaller than [`Codes::Bits`] where `m` is less than the dimension divided by eight; of equal size
    /// [`Codes::Bits`] are the faster and mostly the better.
    Product {
        /// Parts: divides the dimension rounded up to a multiple of 64.
        m: u32,
        /// Codewords of each part, a power of two from 16 to 1,024. Sixteen take half a byte, up to 256 one byte, more two bytes.
        codebook_size: u32,
    },
    /// No codes: every row of the lists that are looked at is measured. The smallest lists and the slowest searches.
    None,
}

impl fmt::Display for Codes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Codes::Auto => f.write_str("bits auto"),
            Codes::Bits(bits) => write!(f, "bits {bits}"),
            Codes::Product { m, codebook_size } => write!(f, "product {m}x{codebook_size}"),
            Codes::None => f.write_str("codes none"),
        }
    }
}

/// From a word: `auto`, `none`, `bits:4`, `product:48x256` (48 parts of 256 codewords each). Ranges are checked with the schema.
impl FromStr for Codes {
    type Err = Error;

    fn from_str(text: &str) -> Result<Codes> {
        let (kind, value) = text.split_once(':').unwrap_or((text, ""));
        let number = |text: &str| text.parse::<u32>().ok();
        match (kind, value.split_once('x')) {
            ("auto", None) if text == "auto" => Some(Codes::Auto),
            ("none", None) if text == "none" => Some(Codes::None),
            ("bits", None) => value.parse().ok().map(Codes::Bits),
            ("product", Some((m, size))) => {
                number(m).zip(number(size)).map(|(m, codebook_size)| Codes::Product { m, codebook_size })
            }
            _ => None,
        }
        .ok_or_else(|| {
            let use_one = "use bits:4, product:48x256 (48 parts, 256 codewords each), none or auto";
            Error::argument("codes", format!("is {text:?}; {use_one}"))
        })
    }
}

/// Whether a row stands in a second list too, in which other queries find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Spill {
    /// Up to 511 components yes, above no.
    #[default]
    Auto,
    /// Yes: fewer lists have to be looked at, each is larger; twice the bytes.
    On,
    /// No.
    Off,
}

/// How inverted lists are made. Fixed when the collection is created.
///
/// ```
/// use stratavec::{Codes, IndexKind, IvfOptions, Metric, Schema, Spill};
/// let options = IvfOptions::auto().codes(Codes::Bits(4)).spill(Spill::On);
/// let schema = Schema::new(384, Metric::Cosine).index(IndexKind::Ivf(options));
/// assert_eq!(schema.index_kind().lists(), Some(options));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct IvfOptions {
    codes: Codes,
    nlist: Option<u32>,
    spill: Spill,
    anchors: Anchors,
}

impl IvfOptions {
    /// Everything by the number of rows and the dimension.
    pub fn auto() -> Self {
        Self::default()
    }

    /// Sets how rows are coded.
    #[must_use]
    pub fn codes(mut self, codes: Codes) -> Self {
        self.codes = codes;
        self
    }

    /// Sets the number of lists, 1 to 2^24. There will be fewer if there are fewer than eight rows for each when they are made, and up to a
    /// quarter more if some would be far larger than the others. Default: eight times the square root of the rows there are then.
    #[must_use]
    pub fn nlist(mut self, lists: u32) -> Self {
        self.nlist = Some(lists);
        self
    }

    /// Sets whether rows stand in second lists too.
    #[must_use]
    pub fn spill(mut self, spill: Spill) -> Self {
        self.spill = spill;
        self
    }

    /// Sets what lists are gathered around.
    #[must_use]
    pub fn anchors(mut self, anchors: Anchors) -> Self {
        self.anchors = anchors;
        self
    }

    /// How rows are coded.
    pub fn wanted_codes(&self) -> Codes {
        self.codes
    }

    /// Number of lists, if it was said.
    pub fn wanted_nlist(&self) -> Option<u32> {
        self.nlist
    }

    /// Whether rows stand in second lists.
    pub fn wanted_spill(&self) -> Spill {
        self.spill
    }

    /// What lists are gathered around.
    pub fn wanted_anchors(&self) -> Anchors {
        self.anchors
    }

    /// The codes of vectors of `dim` components: anything but [`Codes::Auto`].
    pub(crate) fn codes_for(&self, dim: usize) -> Codes {
        match self.codes {
            Codes::Auto if dim <= 384 => Codes::Bits(4),
            Codes::Auto if dim <= 832 => Codes::Bits(3),
            Codes::Auto => Codes::Bits(2),
            said => said,
        }
    }

    /// Whether vectors of `dim` components get second lists.
    pub(crate) fn spills(&self, dim: usize) -> bool {
        match self.spill {
            Spill::Auto => dim < 512,
            Spill::On => true,
            Spill::Off => false,
        }
    }

    /// Lists for so many rows: enough that few rows are looked at, few enough that centroids cost less than rows.
    pub(crate) fn lists_for(&self, rows: u64) -> usize {
        const ROWS_PER_LIST: u64 = 8;
        let wanted = self.nlist.map_or_else(|| (8.0 * (rows as f64).sqrt()) as u64, u64::from);
        wanted.min(rows / ROWS_PER_LIST).clamp(1, MAX_NLIST.into()) as usize
    }

    /// Checks the limits.
    ///
    /// # Errors
    /// `InvalidArgument` naming `codes`, `nlist` or `anchors`.
    pub fn check(&self) -> Result<()> {
        match self.codes {
            Codes::Bits(bits) if !(1..=MAX_CODE_BITS).contains(&bits) => {
                let what = format!("have {bits} bits per component; use 1..={MAX_CODE_BITS}");
                return Err(Error::argument("codes", what));
            }
            Codes::Product { codebook_size: size, .. }
                if !(size.is_power_of_two() && CODEBOOK_SIZES.contains(&size)) =>
            {
                return Err(Error::argument(
                    "codes",
                    format!("have {size} codewords; use 16, 32, 64, 128, 256, 512 or 1024"),
                ));
            }
            Codes::Product { m: 0, .. } => return Err(Error::argument("codes", "have 0 parts; use 1 or more")),
            _ => {}
        }
        self.anchors.check()?;
        match self.nlist {
            Some(lists) if !(1..=MAX_NLIST).contains(&lists) => {
                Err(Error::argument("nlist", format!("is {lists}; use 1..={MAX_NLIST}")))
            }
            _ => Ok(()),
        }
    }

    /// Checks the limits for vectors of `dim` components.
    ///
    /// # Errors
    /// As [`IvfOptions::check`], and naming `codes` if their parts do not divide the dimension.
    pub(crate) fn check_for(&self, dim: usize) -> Result<()> {
        self.check()?;
        let padded = dim.next_multiple_of(COMPONENT_STEP);
        match self.codes {
            Codes::Product { m, .. } if !padded.is_multiple_of(m as usize) => {
                let least = (m as usize..=padded).find(|parts| padded.is_multiple_of(*parts)).unwrap_or(padded);
                let most = (1..m as usize).rev().find(|parts| padded.is_multiple_of(*parts)).unwrap_or(1);
                let what = format!(
                    "have {m} parts, which do not divide {padded} ({dim} components, rounded up to a multiple of \
                     {COMPONENT_STEP}); the nearest that do are {most} and {least}"
                );
                Err(Error::argument("codes", what))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for IvfOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.codes.fmt(f)?;
        match self.nlist {
            None => f.write_str(", nlist auto")?,
            Some(lists) => write!(f, ", nlist {lists}")?,
        }
        f.write_str(match self.spill {
            Spill::Auto => ", spill auto",
            Spill::On => ", spill on",
            Spill::Off => ", spill off",
        })?;
        match self.anchors {
            Anchors::KMeans => Ok(()),
            other => write!(f, ", anchors {other}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_grow_with_the_root_of_the_rows_and_are_few_for_few_rows() {
        let auto = IvfOptions::auto();
        let expect = [(0, 1), (1, 1), (6, 1), (99, 12), (100, 12), (4_096, 512), (50_000, 1_788), (1_000_000, 8_000)];
        for (rows, lists) in expect {
            assert_eq!(auto.lists_for(rows), lists, "{rows} rows");
        }
        assert_eq!(IvfOptions::auto().nlist(100).lists_for(50_000), 100);
        assert_eq!(IvfOptions::auto().nlist(100).lists_for(80), 10);
    }

    #[test]
    fn limits_are_named() {
        for wrong in [IvfOptions::auto().codes(Codes::Bits(0)), IvfOptions::auto().codes(Codes::Bits(9))] {
            assert!(wrong.check().unwrap_err().to_string().contains("codes"));
        }
        let product = |m, codebook_size| IvfOptions::auto().codes(Codes::Product { m, codebook_size });
        for wrong in [product(0, 16), product(8, 8), product(8, 48), product(8, 2048)] {
            assert!(wrong.check().unwrap_err().to_string().contains("codes"));
        }
        assert!(product(48, 256).check_for(384).is_ok() && product(64, 16).check_for(24).is_ok());
        let error = product(50, 256).check_for(384).unwrap_err().to_string();
        assert!(error.contains("48") && error.contains("64"), "{error}");
        assert!(product(1_000, 256).check_for(384).is_err());
        for wrong in [0, MAX_NLIST + 1] {
            assert!(IvfOptions::auto().nlist(wrong).check().unwrap_err().to_string().contains("nlist"));
        }
        assert!(IvfOptions::auto().nlist(1).codes(Codes::Bits(8)).check().is_ok());
    }

    #[test]
    fn a_kind_is_written_with_what_was_asked_for() {
        assert_eq!(IndexKind::Ivf(IvfOptions::auto()).to_string(), "ivf");
        let some = IndexKind::Ivf(IvfOptions::auto().codes(Codes::Bits(2)).nlist(7).spill(Spill::Off));
        assert_eq!(some.to_string(), "ivf(bits 2, nlist 7, spill off)");
        let product = IvfOptions::auto().codes(Codes::Product { m: 48, codebook_size: 256 });
        assert_eq!(IndexKind::Ivf(product).to_string(), "ivf(product 48x256, nlist auto, spill auto)");
        let random = IvfOptions::auto().anchors(Anchors::Random);
        assert_eq!(IndexKind::Ivf(random).to_string(), "ivf(bits auto, nlist auto, spill auto, anchors random)");
        assert_eq!(IndexKind::Ivf(product.codes(Codes::None)).to_string(), "ivf(codes none, nlist auto, spill auto)");
    }
}
