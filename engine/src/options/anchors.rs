//! What lists are gathered around.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// Most thousandths: no two directions have a larger cosine distance.
const MOST_APART: u16 = 2_000;

/// What lists are gathered around. Whatever rows begin them, the centre of a list is the mean of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Anchors {
    /// K-means on a sample, whose far too large lists are halved: the best known way, and the default.
    #[default]
    KMeans,
    /// Rows drawn at random. Made in a fraction of the time; lists are less even, so that a search looks at more rows.
    Random,
    /// Rows of a sample that are as far from each other as can be, so that rare kinds of rows get lists of their own. Each list costs a pass over the
    /// sample, forty rows for each list: minutes of a processor for a million rows. Fewer lists than asked for if
    /// rows are not far enough apart.
    MaxCoverage {
        /// Least distance between two of them in thousandths, 0 to 2,000: of the cosine distance under cosine, else of the mean squared
        /// distance of rows from their mean.
        apart: u16,
    },
    /// K-means within each group of rows, lists shared out in proportion to the rows of groups. The group of a row is what its id has before the
    /// last `/` (a folder, where ids are paths), or the upper half of an id that is a number.
    Stratified {
        /// Fewest lists of a group, or as many as it has rows; fewer if there are not so many lists for each. With more groups than lists the
        /// smallest get none. The first 2^20 groups are told apart.
        least: u32,
    },
}

impl fmt::Display for Anchors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Anchors::KMeans => f.write_str("k-means"),
            Anchors::Random => f.write_str("random"),
            Anchors::MaxCoverage { apart } => write!(f, "max-coverage:{apart}"),
            Anchors::Stratified { least } => write!(f, "stratified:{least}"),
        }
    }
}

/// From a word: `k-means`, `random`, `max-coverage` (200 thousandths apart) or `max-coverage:300`, `stratified` (at least 10 lists for each
/// group) or `stratified:3`. Ranges are checked with the schema.
impl FromStr for Anchors {
    type Err = Error;

    fn from_str(text: &str) -> Result<Anchors> {
        let (kind, value) = text.split_once(':').map_or((text, None), |(kind, value)| (kind, Some(value)));
        match (kind, value) {
            ("k-means", None) => Some(Anchors::KMeans),
            ("random", None) => Some(Anchors::Random),
            ("max-coverage", value) => value.unwrap_or("200").parse().ok().map(|apart| Anchors::MaxCoverage { apart }),
            ("stratified", value) => value.unwrap_or("10").parse().ok().map(|least| Anchors::Stratified { least }),
            _ => None,
        }
        .ok_or_else(|| {
            let use_one = "use k-means, random, max-coverage:200 (thousandths) or stratified:10 (lists for each group)";
            Error::argument("anchors", format!("is {text:?}; {use_one}"))
        })
    }
}

impl Anchors {
    /// # Errors
    /// `InvalidArgument` naming `anchors`.
    pub(super) fn check(self) -> Result<()> {
        match self {
            Anchors::MaxCoverage { apart } if apart > MOST_APART => {
                Err(Error::argument("anchors", format!("are {apart} thousandths apart; use 0..={MOST_APART}")))
            }
            Anchors::Stratified { least: 0 } => {
                Err(Error::argument("anchors", "give each group at least 0 lists; use 1 or more"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_are_said_in_a_word_and_said_back() {
        let ways = [
            Anchors::KMeans,
            Anchors::Random,
            Anchors::MaxCoverage { apart: 200 },
            Anchors::MaxCoverage { apart: 2_000 },
            Anchors::Stratified { least: 10 },
        ];
        for way in ways {
            assert_eq!(way.to_string().parse::<Anchors>().ok(), Some(way));
            assert!(way.check().is_ok());
        }
        assert_eq!("stratified".parse::<Anchors>().ok(), Some(Anchors::Stratified { least: 10 }));
        assert_eq!("max-coverage".parse::<Anchors>().ok(), Some(Anchors::MaxCoverage { apart: 200 }));
        for wrong in ["", "kmeans:3", "random:1", "max-coverage:x", "stratified:-1", "rows"] {
            assert_eq!(wrong.parse::<Anchors>().unwrap_err().argument_name(), Some("anchors"), "{wrong}");
        }
        for wrong in [Anchors::MaxCoverage { apart: 2_001 }, Anchors::Stratified { least: 0 }] {
            assert_eq!(wrong.check().unwrap_err().argument_name(), Some("anchors"));
        }
    }
}
