//! What a case does: operations in small numbers, which shrink well.

use proptest::collection::vec;
use proptest::prelude::*;
use stratavec::{Attributes, Background, Compaction, Durability, Filter, Id, IdRef, Include, OpenOptions, Value};

use crate::space::{MOST_COMPONENTS, Space};

/// One call, or a few that belong together.
#[derive(Clone, Debug)]
pub enum Operation {
    Commit(Level, Vec<Write>),
    /// Upserts of `rows` ids from `first` on: enough to fill several blocks of rows.
    Bulk {
        first: u8,
        rows: u8,
    },
    /// A bulk load of these rows; with `fails` its source gives an error behind them.
    Load {
        items: Vec<(u8, Vec<i8>, Extras)>,
        fails: bool,
    },
    Flush,
    Sync,
    WaitDurable,
    Compact {
        what: Scope,
        then: Meanwhile,
    },
    /// `close()` and open.
    Close,
    /// Drop the handle and open.
    Drop,
    /// Open what a killed process leaves behind.
    Kill,
    /// Keep a snapshot until the end.
    Keep,
    /// Ask the newest state.
    Search(Question),
    /// Ask a kept snapshot.
    SearchKept(u8, Question),
    Get(u8),
    Iterate,
}

/// How much a compaction is to do.
#[derive(Clone, Copy, Debug)]
pub enum Scope {
    Auto,
    Full,
    Retrain,
}

/// What happens to a compaction after it was begun.
#[derive(Clone, Copy, Debug)]
pub enum Meanwhile {
    Wait,
    /// The next operations go on beside it.
    GoOn,
    Cancel,
}

#[derive(Clone, Copy, Debug)]
pub enum Level {
    Default,
    Sync,
    Group,
    Os,
}

/// One change of a batch.
#[derive(Clone, Debug)]
pub enum Write {
    Upsert(u8, Vec<i8>, Extras),
    Insert(u8, Vec<i8>, Extras),
    Delete(u8),
    /// An argument that has to be refused, and the batch with it.
    Refused(Refusal),
}

#[derive(Clone, Copy, Debug)]
pub enum Refusal {
    Dimension,
    NotANumber,
    Infinite,
    KindOfId,
    Payload,
    Attribute,
}

/// What a row carries: nothing for 0.
#[derive(Clone, Copy, Debug)]
pub struct Extras {
    pub attributes: u8,
    pub payload: u8,
}

/// A search.
#[derive(Clone, Debug)]
pub struct Question {
    pub query: Vec<i8>,
    pub k: usize,
    pub filter: Option<Condition>,
    /// In quarters.
    pub max_distance: Option<i16>,
    /// The bits of [`Include`].
    pub include: u8,
}

#[derive(Clone, Debug)]
pub enum Condition {
    Ids(Vec<u8>),
    /// The bytes of the id add up to a multiple of this.
    By(u8),
    Not(Box<Condition>),
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
}

/// How the handle is opened.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub flush_rows: u64,
    pub flush_bytes: u64,
    pub thread: bool,
    /// Merge this many files by themselves; 0: only when asked.
    pub fanout: u32,
    pub durability: Level,
}

impl Level {
    pub fn durability(self) -> Option<Durability> {
        match self {
            Level::Default => None,
            Level::Sync => Some(Durability::Sync),
            Level::Group => Some(Durability::Group),
            Level::Os => Some(Durability::Os),
        }
    }
}

impl Settings {
    pub fn options(&self) -> OpenOptions {
        let options = OpenOptions::new()
            .background(if self.thread { Background::Thread } else { Background::Inline })
            .flush_rows(self.flush_rows)
            .flush_bytes(self.flush_bytes)
            .compaction(match self.fanout {
                0 => Compaction::Manual,
                fanout => Compaction::Auto { dead_ratio: 0.2, fanout },
            });
        match self.durability.durability() {
            Some(level) => options.durability(level),
            None => options,
        }
    }
}

impl Extras {
    pub fn attributes(self) -> Attributes {
        let n = self.attributes;
        let value = match n % 8 {
            0 => return Attributes::new(),
            1 => Value::Null,
            2 => Value::Bool(n > 100),
            3 => Value::I64(-i64::from(n)),
            4 => Value::F64(f64::from(n) / 3.0),
            5 => Value::String("ü".repeat(n.into())),
            6 => Value::StringList(vec![String::new(), n.to_string()]),
            _ => Value::Timestamp(i64::MIN + i64::from(n)),
        };
        Attributes::from([("a".to_owned(), value), ("n".to_owned(), Value::from(i64::from(n)))])
    }

    pub fn payload(self) -> Vec<u8> {
        // Some larger than a unit of 4 KiB.
        (0..usize::from(self.payload) * 40).map(|i| (i % 251) as u8 ^ self.payload).collect()
    }
}

impl Condition {
    pub fn filter(&self, space: &Space) -> Filter {
        match self {
            Condition::Ids(numbers) => Filter::ids(numbers.iter().map(|n| space.id(*n))),
            Condition::By(modulus) => {
                let modulus = u64::from(*modulus);
                Filter::by(move |id| sum(id).is_multiple_of(modulus))
            }
            Condition::Not(a) => !a.filter(space),
            Condition::And(a, b) => a.filter(space) & b.filter(space),
            Condition::Or(a, b) => a.filter(space) | b.filter(space),
        }
    }

    pub fn holds(&self, id: &Id, space: &Space) -> bool {
        match self {
            Condition::Ids(numbers) => numbers.iter().any(|n| space.id(*n) == *id),
            Condition::By(modulus) => sum(id.as_ref()).is_multiple_of(u64::from(*modulus)),
            Condition::Not(a) => !a.holds(id, space),
            Condition::And(a, b) => a.holds(id, space) && b.holds(id, space),
            Condition::Or(a, b) => a.holds(id, space) || b.holds(id, space),
        }
    }
}

impl Question {
    pub fn include(&self) -> Include {
        let bits = [(1, Include::VECTOR), (2, Include::PAYLOAD), (4, Include::ATTRIBUTES)];
        bits.iter().filter(|(bit, _)| self.include & bit != 0).fold(Include::NONE, |all, (_, one)| all | *one)
    }

    pub fn max_distance(&self) -> Option<f32> {
        self.max_distance.map(|quarters| f32::from(quarters) / 4.0)
    }
}

fn sum(id: IdRef<'_>) -> u64 {
    match id {
        IdRef::U64(n) => n % 251,
        IdRef::Bytes(bytes) => bytes.iter().map(|b| u64::from(*b)).sum(),
    }
}

/// Few ids, so that most operations meet rows that are there.
pub fn ids() -> impl Strategy<Value = u8> {
    0..16u8
}

pub fn components() -> impl Strategy<Value = Vec<i8>> {
    vec(-8..=8i8, MOST_COMPONENTS)
}

fn extras() -> impl Strategy<Value = Extras> {
    let nothing = Just(Extras { attributes: 0, payload: 0 });
    let something = (any::<u8>(), prop_oneof![4 => Just(1u8), 1 => any::<u8>()])
        .prop_map(|(attributes, payload)| Extras { attributes, payload });
    prop_oneof![2 => nothing, 1 => something]
}

/// Changes that are never refused.
pub fn harmless_write() -> impl Strategy<Value = Write> {
    prop_oneof![
        5 => (ids(), components(), extras()).prop_map(|(id, vector, extras)| Write::Upsert(id, vector, extras)),
        2 => ids().prop_map(Write::Delete),
    ]
}

fn write() -> impl Strategy<Value = Write> {
    let refusals = prop_oneof![
        Just(Refusal::Dimension),
        Just(Refusal::NotANumber),
        Just(Refusal::Infinite),
        Just(Refusal::KindOfId),
        Just(Refusal::Payload),
        Just(Refusal::Attribute),
    ];
    prop_oneof![
        40 => harmless_write(),
        8 => (ids(), components(), extras()).prop_map(|(id, vector, extras)| Write::Insert(id, vector, extras)),
        1 => refusals.prop_map(Write::Refused),
    ]
}

pub fn level() -> impl Strategy<Value = Level> {
    prop_oneof![3 => Just(Level::Default), 1 => Just(Level::Sync), 1 => Just(Level::Group), 2 => Just(Level::Os)]
}

pub fn condition() -> impl Strategy<Value = Condition> {
    let leaf = prop_oneof![
        3 => vec(prop_oneof![3 => ids(), 1 => any::<u8>()], 0..6).prop_map(Condition::Ids),
        1 => (2..5u8).prop_map(Condition::By),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|a| Condition::Not(Box::new(a))),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Condition::And(Box::new(a), Box::new(b))),
            (inner.clone(), inner).prop_map(|(a, b)| Condition::Or(Box::new(a), Box::new(b))),
        ]
    })
}

pub fn question() -> impl Strategy<Value = Question> {
    let k = prop_oneof![6 => 1..12usize, 1 => Just(0), 1 => Just(usize::MAX)];
    let max_distance = proptest::option::weighted(0.3, -40..400i16);
    let filter = proptest::option::weighted(0.5, condition());
    (components(), k, filter, max_distance, 0..8u8).prop_map(|(query, k, filter, max_distance, include)| Question {
        query,
        k,
        filter,
        max_distance,
        include,
    })
}

pub fn operation() -> impl Strategy<Value = Operation> {
    let meanwhile = prop_oneof![2 => Just(Meanwhile::Wait), 2 => Just(Meanwhile::GoOn), 1 => Just(Meanwhile::Cancel)];
    let what = prop_oneof![3 => Just(Scope::Auto), 3 => Just(Scope::Full), 2 => Just(Scope::Retrain)];
    let compact = (what, meanwhile).prop_map(|(what, then)| Operation::Compact { what, then });
    let bulk = (any::<u8>(), 1..=150u8).prop_map(|(first, rows)| Operation::Bulk { first, rows });
    let load = (vec((ids(), components(), extras()), 0..40), proptest::bool::weighted(0.1))
        .prop_map(|(items, fails)| Operation::Load { items, fails });
    prop_oneof![
        2 => load,
        12 => (level(), vec(write(), 0..6)).prop_map(|(level, writes)| Operation::Commit(level, writes)),
        2 => bulk,
        3 => Just(Operation::Flush),
        2 => compact,
        1 => Just(Operation::Sync),
        1 => Just(Operation::WaitDurable),
        2 => Just(Operation::Close),
        2 => Just(Operation::Drop),
        1 => Just(Operation::Kill),
        2 => Just(Operation::Keep),
        6 => question().prop_map(Operation::Search),
        2 => (any::<u8>(), question()).prop_map(|(kept, question)| Operation::SearchKept(kept, question)),
        2 => ids().prop_map(Operation::Get),
        1 => Just(Operation::Iterate),
    ]
}

pub fn settings() -> impl Strategy<Value = Settings> {
    let flush_rows = prop_oneof![Just(u64::MAX), Just(1u64), 2..20u64, 20..200u64];
    let flush_bytes = prop_oneof![Just(64u64 << 20), Just(1024u64), 1024..20_000u64];
    let fanout = prop_oneof![Just(0u32), 2..5u32];
    (flush_rows, flush_bytes, any::<bool>(), fanout, level()).prop_map(
        |(flush_rows, flush_bytes, thread, fanout, durability)| Settings {
            flush_rows,
            flush_bytes,
            thread,
            fanout,
            durability,
        },
    )
}
