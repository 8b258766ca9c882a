//! Which rows a search may return.

mod set;

use std::fmt;
use std::ops::{BitAnd, BitOr, Not};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::id::{Id, IdKind, IdRef};
pub(crate) use set::{IdSet, Note};

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
///
/// Chains of one operator may be of any length; alternating ones may be nested 64 deep, and a search refuses deeper ones.
#[derive(Clone)]
pub struct Filter {
    node: Arc<Node>,
    depth: u32,
}

/// How deep `&`, `|` and `!` may be nested: what reads a filter calls itself for each level.
const MOST_DEPTH: u32 = 64;

enum Node {
    Ids(IdSet),
    By(Box<Predicate>),
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Not(Filter),
    /// Nested deeper than allowed; what was inside is gone. No search runs with it.
    TooDeep,
}

impl Filter {
    fn new(node: Node, depth: u32) -> Filter {
        match depth > MOST_DEPTH {
            true => Filter { node: Arc::new(Node::TooDeep), depth: MOST_DEPTH },
            false => Filter { node: Arc::new(node), depth },
        }
    }

    /// Rows whose id is in the set. Cost: when the set is small against the collection, the rows are looked up by id and
    /// nothing else is read.
    pub fn ids<I>(ids: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<Id>,
    {
        Filter::new(Node::Ids(IdSet::from_ids(ids.into_iter().map(Into::into))), 0)
    }

    /// Rows for whose id the callback says yes. It is called from the searching thread, only for rows near enough to be
    /// a result, at most once per row and search.
    pub fn by(predicate: impl Fn(IdRef<'_>) -> bool + Send + Sync + 'static) -> Self {
        Filter::new(Node::By(Box::new(predicate)), 0)
    }

    /// Whether a row with this id may be returned.
    pub fn matches(&self, id: IdRef<'_>) -> bool {
        match &*self.node {
            Node::Ids(set) => set.contains(id),
            Node::By(predicate) => predicate(id),
            Node::And(all) => all.iter().all(|one| one.matches(id)),
            Node::Or(any) => any.iter().any(|one| one.matches(id)),
            Node::Not(a) => !a.matches(id),
            Node::TooDeep => false,
        }
    }

    /// The smallest known set outside of which nothing matches.
    pub(crate) fn only_within(&self) -> Option<&IdSet> {
        match &*self.node {
            Node::Ids(set) => Some(set),
            Node::And(all) => all.iter().filter_map(Filter::only_within).min_by_key(|set| set.len()),
            Node::By(_) | Node::Or(_) | Node::Not(_) | Node::TooDeep => None,
        }
    }

    /// The set, if the filter is one set of ids and nothing else.
    pub(crate) fn as_ids(&self) -> Option<&IdSet> {
        match &*self.node {
            Node::Ids(set) => Some(set),
            _ => None,
        }
    }

    /// Checks every id in the filter against the collection's kind of ids.
    pub(crate) fn check(&self, kind: IdKind) -> Result<()> {
        match &*self.node {
            Node::Ids(set) => set.check(kind),
            Node::By(_) => Ok(()),
            Node::And(all) | Node::Or(all) => all.iter().try_for_each(|one| one.check(kind)),
            Node::Not(a) => a.check(kind),
            Node::TooDeep => Err(Error::argument(
                "filter",
                format!("is nested more than {MOST_DEPTH} deep; chains of one operator do not count"),
            )),
        }
    }
}

/// The operator of a chain.
#[derive(Clone, Copy)]
enum Operator {
    And,
    Or,
}

impl Node {
    /// The members of a chain of this operator.
    fn members(&self, operator: Operator) -> Option<&Vec<Filter>> {
        match (self, operator) {
            (Node::And(all), Operator::And) | (Node::Or(all), Operator::Or) => Some(all),
            _ => None,
        }
    }
}

/// A chain that goes on with another filter; its members are moved if nobody else has them.
fn chain(first: Filter, other: Filter, operator: Operator) -> Filter {
    let mut depth = 0;
    let mut members = Vec::new();
    for part in [first, other] {
        if part.node.members(operator).is_none() {
            depth = depth.max(part.depth + 1);
            members.push(part);
            continue;
        }
        depth = depth.max(part.depth);
        let more = match Arc::try_unwrap(part.node) {
            Ok(Node::And(all) | Node::Or(all)) => all,
            Ok(_) => Vec::new(),
            Err(shared) => shared.members(operator).cloned().unwrap_or_default(),
        };
        match members.is_empty() {
            true => members = more,
            false => members.extend(more),
        }
    }
    let node = match operator {
        Operator::And => Node::And(members),
        Operator::Or => Node::Or(members),
    };
    Filter::new(node, depth)
}

impl BitAnd for Filter {
    type Output = Filter;
    fn bitand(self, other: Filter) -> Filter {
        chain(self, other, Operator::And)
    }
}

impl BitOr for Filter {
    type Output = Filter;
    fn bitor(self, other: Filter) -> Filter {
        chain(self, other, Operator::Or)
    }
}

impl Not for Filter {
    type Output = Filter;
    fn not(self) -> Filter {
        let depth = self.depth + 1;
        Filter::new(Node::Not(self), depth)
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.node {
            Node::Ids(set) => write!(f, "ids({} of them)", set.len()),
            Node::By(_) => f.write_str("by(..)"),
            Node::And(all) => write_chain(f, all, " & "),
            Node::Or(any) => write_chain(f, any, " | "),
            Node::Not(a) => write!(f, "!{a:?}"),
            Node::TooDeep => f.write_str("nested too deep"),
        }
    }
}

fn write_chain(f: &mut fmt::Formatter<'_>, members: &[Filter], between: &str) -> fmt::Result {
    for (i, member) in members.iter().enumerate() {
        write!(f, "{}{member:?}", if i == 0 { "(" } else { between })?;
    }
    f.write_str(")")
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

    #[test]
    fn long_chains_are_fine_and_deep_nests_are_refused() {
        let long = (0..200_000u64).map(|n| Filter::ids([n])).reduce(|all, one| all | one).unwrap();
        assert!(long.matches(IdRef::U64(199_999)) && !long.matches(IdRef::U64(200_000)));
        long.check(IdKind::U64).unwrap();
        let kept = long.clone();
        let longer = long | Filter::ids([200_000u64]);
        assert!(longer.matches(IdRef::U64(200_000)) && !kept.matches(IdRef::U64(200_000)), "a clone stays as it was");
        let nested = |levels: u64| {
            (0..levels).fold(Filter::ids([0u64]), |inside, n| match n % 2 {
                0 => inside | Filter::ids([n]),
                _ => inside & Filter::by(|_| true),
            })
        };
        assert!(nested(64).check(IdKind::U64).is_ok() && nested(64).matches(IdRef::U64(0)));
        assert_eq!(nested(65).check(IdKind::U64).unwrap_err().argument_name(), Some("filter"));
        assert_eq!(nested(100_000).check(IdKind::U64).unwrap_err().argument_name(), Some("filter"));
        let not = (0..100_000).fold(Filter::ids([0u64]), |inside, _| !inside);
        assert!(not.check(IdKind::U64).is_err());
    }
}
