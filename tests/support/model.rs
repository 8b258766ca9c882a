//! The oracle: what a collection must hold, as a map and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use stratavec::{Attributes, Id, Metric};

/// What was stored under an id.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// As given; the row formats hold it exactly.
    pub vector: Vec<f32>,
    /// As given.
    pub attributes: Attributes,
    /// Empty stands for none.
    pub payload: Vec<u8>,
    /// The batch that wrote it.
    pub seq: u64,
}

/// One change of a batch.
#[derive(Clone, Debug)]
pub enum Change {
    /// Write a row; with `insert` the id must be absent.
    Put {
        /// The id.
        id: Id,
        /// Asked for with `insert` instead of `upsert`.
        insert: bool,
        /// The row; its `seq` is set when the batch is applied.
        row: Row,
    },
    /// Remove a row, if there is one.
    Delete {
        /// The id.
        id: Id,
    },
}

impl Change {
    /// The id it is about.
    pub fn id(&self) -> &Id {
        match self {
            Change::Put { id, .. } | Change::Delete { id } => id,
        }
    }
}

/// The content of a collection after some number of batches. Clones share rows.
#[derive(Clone, Debug, Default)]
pub struct Model {
    rows: BTreeMap<Id, Arc<Row>>,
}

impl Model {
    /// The live rows in the order of their ids.
    pub fn rows(&self) -> &BTreeMap<Id, Arc<Row>> {
        &self.rows
    }

    /// Applies a batch in the order of its changes. Returns how many ids were inserted, replaced and deleted by the batch
    /// as a whole.
    pub fn apply(&mut self, changes: &[Change], seq: u64) -> (u64, u64, u64) {
        let before = self.rows.clone();
        for change in changes {
            match change {
                Change::Put { id, row, .. } => {
                    self.rows.insert(id.clone(), Arc::new(Row { seq, ..row.clone() }));
                }
                Change::Delete { id } => {
                    self.rows.remove(id);
                }
            }
        }
        let mut ids: Vec<&Id> = changes.iter().map(Change::id).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut counts = (0, 0, 0);
        for id in ids {
            match (before.contains_key(id), self.rows.contains_key(id)) {
                (false, true) => counts.0 += 1,
                (true, true) => counts.1 += 1,
                (true, false) => counts.2 += 1,
                (false, false) => {}
            }
        }
        counts
    }

    /// All live rows by distance, then by id: brute force in f64.
    pub fn search(&self, query: &[f32], metric: Metric) -> Vec<(Id, f64)> {
        let mut hits: Vec<(Id, f64)> =
            self.rows.iter().map(|(id, row)| (id.clone(), distance(query, &row.vector, metric))).collect();
        hits.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
        hits
    }
}

fn distance(a: &[f32], b: &[f32], metric: Metric) -> f64 {
    let sum = |f: &dyn Fn(f64, f64) -> f64| a.iter().zip(b).map(|(a, b)| f(f64::from(*a), f64::from(*b))).sum::<f64>();
    let product = sum(&|a, b| a * b);
    match metric {
        Metric::InnerProduct => -product,
        Metric::Cosine => 1.0 - product / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt(),
        _ => sum(&|a, b| (a - b) * (a - b)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(id: u64, x: f32) -> Change {
        let row = Row { vector: vec![x, 0.0], attributes: Attributes::new(), payload: Vec::new(), seq: 0 };
        Change::Put { id: Id::U64(id), insert: false, row }
    }

    #[test]
    fn a_batch_counts_as_a_whole_and_equal_distances_go_by_id() {
        let mut model = Model::default();
        let gone = Change::Delete { id: Id::U64(9) };
        assert_eq!(model.apply(&[put(2, 1.0), put(1, 3.0), put(9, 1.0), gone.clone(), gone], 1), (2, 0, 0));
        assert_eq!(model.apply(&[put(2, 1.0), Change::Delete { id: Id::U64(2) }, put(3, 5.0)], 2), (1, 0, 1));
        assert_eq!(model.apply(&[put(3, 1.0)], 3), (0, 1, 0));
        let hits = model.search(&[2.0, 0.0], Metric::L2);
        assert_eq!(hits, [(Id::U64(1), 1.0), (Id::U64(3), 1.0)]);
    }
}
