//! Distances from vectors that somebody else keeps: the last step of a search that ends with estimates.

use std::error::Error as StdError;

use super::Snapshot;
use super::hit::{Hit, Hits, Include};
use super::spot::{Spot, sort};
use super::terms::Terms;
use crate::error::{Error, Result};
use crate::format::id_key;
use crate::id::Id;
use crate::index::flat::{FlatQuery, check_vector};
use crate::index::stored::Stored;
use crate::metric::{Element, Metric};

/// What a [`VectorSource`] says when it fails.
pub type SourceError = Box<dyn StdError + Send + Sync>;

/// Vectors by id, from wherever they can be had: another store, or the model that made them, run again.
///
/// Closures are sources too:
///
/// ```
/// # use stratavec::{Collection, Id, Metric, OpenOptions, RowFormat, Schema};
/// # let dir = tempfile::tempdir()?;
/// let schema = Schema::new(2, Metric::L2).rows(RowFormat::I8);
/// let c = Collection::create(dir.path().join("idx"), schema, OpenOptions::default())?;
/// c.upsert("a", &[0.3, 1.0])?;
/// let mut kept = |ids: &[Id]| Ok::<_, std::io::Error>(ids.iter().map(|_| vec![0.3, 1.0]).collect::<Vec<_>>());
/// let snapshot = c.snapshot();
/// let hits = snapshot.search(&[0.3, 0.0]).rerank_with(&mut kept).run()?;
/// assert!(hits[0].exact && hits[0].distance == 1.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait VectorSource {
    /// The vectors of rows, one for each id and in the order of the ids. An empty one: this source does not have it, and the row keeps its
    /// estimate. Called at most once for each query.
    ///
    /// # Errors
    /// Whatever keeps it from answering; the search then fails with [`ErrorKind::Source`](crate::ErrorKind::Source), and this error is the cause of that one.
    fn vectors(&mut self, ids: &[Id]) -> std::result::Result<Vec<Vec<f32>>, SourceError>;
}

impl<F, E> VectorSource for F
where
    F: FnMut(&[Id]) -> std::result::Result<Vec<Vec<f32>>, E>,
    E: Into<SourceError>,
{
    fn vectors(&mut self, ids: &[Id]) -> std::result::Result<Vec<Vec<f32>>, SourceError> {
        self(ids).map_err(Into::into)
    }
}

/// Measures `found`, the best candidates by estimate, with the vectors of `source`; the best that `terms` ask for.
///
/// # Errors
/// `Source` if the source fails; `InvalidArgument` naming `rerank_with` if what it gives are not the vectors of this collection; `Corrupt`.
pub(crate) fn rerank(
    snapshot: &Snapshot,
    query: &[f32],
    terms: &Terms,
    mut found: Hits,
    source: &mut dyn VectorSource,
) -> Result<Hits> {
    if !found.hits.is_empty() {
        let ids: Vec<Id> = found.hits.iter().map(|hit| hit.id.clone()).collect();
        let vectors = source.vectors(&ids).map_err(Error::of_source)?;
        if vectors.len() != ids.len() {
            let what = format!("gave {} vectors for {} ids; one for each is wanted", vectors.len(), ids.len());
            return Err(Error::argument("rerank_with", what));
        }
        found.explain.reranked = ids.len() as u64;
        measure(snapshot, query, &vectors, &mut found.hits)?;
    }
    sort(&mut found.hits);
    let bound = terms.bound();
    found.hits.retain(|hit| hit.distance <= bound);
    found.hits.truncate(terms.k);
    complete(snapshot, terms, &mut found.hits)?;
    Ok(found)
}

/// Exact distances in place of estimates, where there is a vector.
fn measure(snapshot: &Snapshot, query: &[f32], vectors: &[Vec<f32>], hits: &mut [Hit]) -> Result<()> {
    let schema = snapshot.schema();
    let ready = FlatQuery::new(query, schema)?;
    for (hit, vector) in hits.iter_mut().zip(vectors).filter(|(_, vector)| !vector.is_empty()) {
        let squared = check_vector("rerank_with", vector, schema)
            .map_err(|error| error.with_hint(format!("it is the vector that was given for id {:?}", hit.id)))?;
        let length = if schema.metric() == Metric::Cosine { squared.sqrt() as f32 } else { 0.0 };
        let bytes: &[u8] = bytemuck::cast_slice(vector);
        hit.distance = ready.score_one(&Stored { bytes, element: Element::F32, length });
        hit.exact = true;
    }
    Ok(())
}

/// Reads what was asked for of the rows that are left.
fn complete(snapshot: &Snapshot, terms: &Terms, hits: &mut [Hit]) -> Result<()> {
    if terms.include == Include::NONE {
        return Ok(());
    }
    let view = snapshot.view();
    for hit in hits {
        let key = id_key(hit.id.as_ref(), view.version.manifest.collection);
        if let Some((source, at)) = view.find_live(key, hit.id.as_ref())? {
            Spot { source, at }.fill(snapshot, terms.include, hit)?;
        }
    }
    Ok(())
}
