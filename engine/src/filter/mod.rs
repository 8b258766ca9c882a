//! Which rows a search may return.

mod set;

use std::fmt;
use std::ops::{BitAnd, BitOr, Not};
use std::sync::Arc;

use crate::error::Result;
use crate::id::{Id, IdKind, IdRef};
pub(crate) use set::IdSet;

type Predicate = dyn Fn(IdRef<'_>) -> bool + Send + Sync;

/// A condition on rows, combined with `&`, `|` and `!`. Cheap to clone.
///
/// A filter never makes a search approximate: the k nearest of the rows that match are returned.
///
/// ```
/// use stratavec::Filter;
/// let chosen = Filter::ids(["a", "b", "c"]) & !Filter::by(|id| id == "b".into());
/// # let _ = chosen;
/// ```
#[derive(Clone)]
pub struct Filter(Arc<Node>);

enum Node {
    Ids(IdSet),
    By(Box<Predicate>),
    And(Filter, Filter),
    Or(Filter, Filter),
    Not(Filter),
}

impl Filter {
    /// Rows whose id is in the set. Cost: when the set is small against the collection, the rows are looked up by id and
    /// nothing else is read.
    pub fn ids<I>(ids: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<Id>,
    {
        Filter(Arc::new(Node::Ids(IdSet::from_ids(ids.into_iter().map(Into::into)))))
    }

    /// Rows for whose id the callback says yes. It is called from the searching thread, only for rows near enough to be
    /// a result, at most once per row and search.
    pub fn by(predicate: impl Fn(IdRef<'_>) -> bool + Send + Sync + 'static) -> Self {
        Filter(Arc::new(Node::By(Box::new(predicate))))
    }

    /// Whether a row with this id may be returned.
    pub fn matches(&self, id: IdRef<'_>) -> bool {
        match &*self.0 {
            Node::Ids(set) => set.contains(id),
            Node::By(predicate) => predicate(id),
            Node::And(a, b) => a.matches(id) && b.matches(id),
            Node::Or(a, b) => a.matches(id) || b.matches(id),
            Node::Not(a) => !a.matches(id),
        }
    }

    /// The smallest known set outside of which nothing matches.
    pub(crate) fn only_within(&self) -> Option<&IdSet> {
        match &*self.0 {
            Node::Ids(set) => Some(set),
            Node::And(a, b) => match (a.only_within(), b.only_within()) {
                (Some(a), Some(b)) => Some(if a.len() <= b.len() { a } else { b }),
                (one, other) => one.or(other),
            },
            Node::By(_) | Node::Or(..) | Node::Not(_) => None,
        }
    }

    /// Checks every id in the filter against the collection's kind of ids.
    pub(crate) fn check(&self, kind: IdKind) -> Result<()> {
        match &*self.0 {
            Node::Ids(set) => set.check(kind),
            Node::By(_) => Ok(()),
            Node::And(a, b) | Node::Or(a, b) => a.check(kind).and_then(|()| b.check(kind)),
            Node::Not(a) => a.check(kind),
        }
    }
}

impl BitAnd for Filter {
    type Output = Filter;
    fn bitand(self, other: Filter) -> Filter {
        Filter(Arc::new(Node::And(self, other)))
    }
}

impl BitOr for Filter {
    type Output = Filter;
    fn bitor(self, other: Filter) -> Filter {
        Filter(Arc::new(Node::Or(self, other)))
    }
}

impl Not for Filter {
    type Output = Filter;
    fn not(self) -> Filter {
        Filter(Arc::new(Node::Not(self)))
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Node::Ids(set) => write!(f, "ids({} of them)", set.len()),
            Node::By(_) => f.write_str("by(..)"),
            Node::And(a, b) => write!(f, "({a:?} & {b:?})"),
            Node::Or(a, b) => write!(f, "({a:?} | {b:?})"),
            Node::Not(a) => write!(f, "!{a:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn combinations_mean_what_logic_says() {
        let few = Filter::ids([1u64, 2, 3]);
        let even = Filter::by(|id| matches!(id, IdRef::U64(n) if n % 2 == 0));
        let cases: [(Filter, [bool; 5]); 4] = [
            (few.clone() & even.clone(), [false, false, true, false, false]),
            (few.clone() | even.clone(), [true, true, true, true, true]),
            (!few.clone(), [true, false, false, false, true]),
            (few.clone() & !even.clone(), [false, true, false, true, false]),
        ];
        for (filter, expected) in cases {
            for (n, want) in expected.into_iter().enumerate() {
                assert_eq!(filter.matches(IdRef::U64(n as u64)), want, "{filter:?} at {n}");
            }
        }
    }

    #[test]
    fn a_conjunction_is_bounded_by_its_smallest_set_and_a_disjunction_by_none() {
        let (few, many) = (Filter::ids([1u64, 2]), Filter::ids(0u64..100));
        assert_eq!((few.clone() & many.clone()).only_within().map(IdSet::len), Some(2));
        assert_eq!((many.clone() & Filter::by(|_| true)).only_within().map(IdSet::len), Some(100));
        assert!((few | many).only_within().is_none());
    }

    #[test]
    fn an_id_of_the_other_kind_is_refused_by_name() {
        let error = Filter::ids(["a"]).check(IdKind::U64).unwrap_err();
        assert_eq!(error.argument_name(), Some("filter"));
    }
}
