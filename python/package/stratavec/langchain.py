"""A vector store for LangChain: ``pip install 'stratavec[langchain]'``.

>>> from stratavec.langchain import StratavecVectorStore
>>> store = StratavecVectorStore(embedding=embeddings, path="data/docs")
>>> store.add_documents(documents)
>>> store.similarity_search("durable writes", k=4)
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance

import stratavec
from stratavec._times import number
from stratavec._types import IncludeName, Metric

__all__ = ["StratavecVectorStore"]

#: The attribute that holds what of a document's metadata is no attribute value, as JSON.
_REST = "langchain.json"
_LARGEST = 2**63
#: More bytes than that are not written to the log in one batch but straight to files; they, too, are there as a whole or not at all.
_BATCH_BYTES = 32 << 20
_DELETED_AT_ONCE = 50_000


class StratavecVectorStore(VectorStore):
    """Documents in a collection: text as payload, metadata as attributes, vectors from an embedding.

    The collection is made with the first documents, since the embedding's dimension is not known before. ``options`` are those of
    :func:`stratavec.open`; ``metric`` is that of a collection that is made, cosine if none is said. Instead of a path an open collection with byte
    ids can be given. Text and metadata of a document take at most 64 KiB each.
    """

    def __init__(
        self,
        embedding: Embeddings,
        path: str | Path | None = None,
        *,
        collection: stratavec.Collection | None = None,
        metric: Metric | None = None,
        **options: Any,
    ) -> None:
        if (path is None) == (collection is None):
            raise ValueError("give a path or a collection")
        self._embedding = embedding
        self._path, self._metric, self._options = path, metric, options
        self._collection = collection
        self._opening = threading.Lock()

    @property
    def embeddings(self) -> Embeddings:
        return self._embedding

    @property
    def collection(self) -> stratavec.Collection | None:
        """The collection; ``None`` if there is none yet."""
        return self._open(None)

    def _open(self, dim: int | None) -> stratavec.Collection | None:
        """Opens or makes the collection; ``None`` if there is none and no dimension to make it with."""
        with self._opening:
            if self._collection is None:
                assert self._path is not None
                try:
                    # What is there already keeps its metric.
                    self._collection = stratavec.open(self._path, dim, self._metric, ids="bytes", **self._options)
                except stratavec.NotFoundError:
                    if dim is None:
                        return None
                    self._collection = stratavec.open(self._path, dim, self._metric or "cosine", ids="bytes", **self._options)
            return self._collection

    def close(self) -> None:
        """Closes the collection. The next call opens it again, if it was given as a path."""
        with self._opening:
            if self._collection is not None:
                self._collection.close()
                if self._path is not None:
                    self._collection = None

    def add_texts(
        self, texts: Iterable[str], metadatas: list[dict[str, Any]] | None = None, *, ids: list[str] | None = None, **kwargs: Any
    ) -> list[str]:
        """Embeds texts and writes them, replacing documents that have these ids; the ids, made where none are given."""
        texts = list(texts)
        if metadatas is not None and len(metadatas) != len(texts):
            raise ValueError(f"there are {len(texts)} texts and {len(metadatas)} metadatas")
        if ids is not None and len(ids) != len(texts):
            raise ValueError(f"there are {len(texts)} texts and {len(ids)} ids")
        names = [name or str(uuid.uuid4()) for name in (ids or [""] * len(texts))]
        if not texts:
            return []
        attributes = [_to_attributes(metadata or {}) for metadata in metadatas or [{}] * len(texts)]
        return self._write(names, texts, attributes, self._embedding.embed_documents(texts))

    def add_documents(self, documents: list[Document], **kwargs: Any) -> list[str]:
        """Embeds documents and writes them, replacing those that have these ids. ``ids`` wins over the documents' own."""
        documents = list(documents)
        ids = kwargs.pop("ids", None) or [document.id or "" for document in documents]
        return self.add_texts([document.page_content for document in documents], [document.metadata for document in documents], ids=ids, **kwargs)

    def _write(self, ids: list[str], texts: list[str], attributes: list[dict[str, Any]], vectors: Sequence[Sequence[float]]) -> list[str]:
        rows, payloads = np.asarray(vectors, np.float32), [text.encode() for text in texts]
        collection = self._open(rows.shape[1])
        assert collection is not None
        if rows.nbytes + sum(map(len, payloads)) > _BATCH_BYTES:
            collection.bulk_load(ids, rows, attributes, payloads, progress=False)
            return ids
        try:
            collection.upsert(ids, rows, attributes, payloads)
        except stratavec.BatchTooLargeError:
            # The attributes were large.
            collection.bulk_load(ids, rows, attributes, payloads, progress=False)
        return ids

    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool | None:
        """Deletes documents; all of them if no ids are given. No error for ids that are not there."""
        collection = self._open(None)
        if collection is not None:
            gone = [item.id for item in collection.scan()] if ids is None else list(ids)
            for start in range(0, len(gone), _DELETED_AT_ONCE):
                collection.delete(gone[start : start + _DELETED_AT_ONCE])
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents that there are of these ids."""
        collection = self._open(None)
        if collection is None:
            return []
        return [_document(item.id, item.payload, item.attributes) for item in collection.get_many(ids) if item is not None]

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """The documents nearest to a text."""
        return [document for document, _ in self.similarity_search_with_score(query, k, **kwargs)]

    def similarity_search_with_score(self, query: str, k: int = 4, **kwargs: Any) -> list[tuple[Document, float]]:
        """The documents nearest to a text and their distances: smaller is nearer."""
        return self.similarity_search_with_score_by_vector(self._embedding.embed_query(query), k, **kwargs)

    def similarity_search_by_vector(self, embedding: list[float], k: int = 4, **kwargs: Any) -> list[Document]:
        """The documents nearest to a vector."""
        return [document for document, _ in self.similarity_search_with_score_by_vector(embedding, k, **kwargs)]

    def similarity_search_with_score_by_vector(
        self, embedding: list[float], k: int = 4, *, filter: Callable[[Document], bool] | None = None, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """The documents nearest to a vector and their distances. ``filter``: a callable that is given a document. What else is given goes to
        :meth:`stratavec.Collection.search`."""
        return [(document, distance) for document, distance, _ in self._search(embedding, k, filter, (), **kwargs)]

    def max_marginal_relevance_search(self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any) -> list[Document]:
        """Documents that are near to a text and far from each other."""
        return self.max_marginal_relevance_search_by_vector(self._embedding.embed_query(query), k, fetch_k, lambda_mult, **kwargs)

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        *,
        filter: Callable[[Document], bool] | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """Documents that are near to a vector and far from each other."""
        found = list(self._search(embedding, fetch_k, filter, ("vector",), **kwargs))
        vectors = [vector for _, _, vector in found]
        chosen = maximal_marginal_relevance(np.asarray(embedding, np.float32), vectors, lambda_mult, k) if found else []
        return [found[at][0] for at in chosen]

    def _search(
        self, embedding: Sequence[float], k: int, filter: Callable[[Document], bool] | None, more: tuple[IncludeName, ...], **kwargs: Any
    ) -> Iterator[tuple[Document, float, Any]]:
        if filter is not None and not callable(filter):
            raise TypeError("filter is a callable that is given a document, as in filter=lambda document: document.metadata.get('lang') == 'en'")
        collection = self._open(None)
        if collection is None:
            return
        with collection.snapshot() as snapshot:
            if filter is not None:
                kwargs["filter"] = _by_document(snapshot, filter)
            for hit in snapshot.search(embedding, k, include=("attributes", "payload", *more), **kwargs):
                yield _document(hit.id, hit.payload, hit.attributes or {}), hit.distance, hit.vector

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        collection = self._open(None)
        metric = self._metric or "cosine" if collection is None else collection.metric
        if metric == "cosine":
            return lambda distance: 1.0 - distance / 2.0
        if metric == "l2":
            # Squared distances of vectors of length 1 are between 0 and 4.
            return lambda distance: 1.0 - distance / 4.0
        return lambda distance: (1.0 - distance) / 2.0

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        path: str | Path | None = None,
        **kwargs: Any,
    ) -> StratavecVectorStore:
        """A store of these texts in the collection at ``path``."""
        store = cls(embedding, path, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store


def _by_document(reader: stratavec.Reader, filter: Callable[[Document], bool]) -> Callable[[Any], bool]:
    def keep(id: Any) -> bool:
        item = reader.get(id)
        return item is not None and bool(filter(_document(item.id, item.payload, item.attributes)))

    return keep


def _is_value(value: Any) -> bool:
    """Whether a value is an attribute as it is, and comes back as it was."""
    if value is None or isinstance(value, (bool, float, str)):
        return value == value
    if isinstance(value, datetime):
        # Those without a time zone would come back with one.
        return value.tzinfo is not None
    if isinstance(value, int):
        return -_LARGEST <= value < _LARGEST
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _to_attributes(metadata: dict[str, Any]) -> dict[str, Any]:
    # Numbers of numpy, as tables of data have them, become Python's.
    metadata = {name: value if (plain := number(value)) is None else plain for name, value in metadata.items()}
    if odd := [name for name in metadata if not isinstance(name, str)]:
        raise TypeError(f"names in metadata are str, not {type(odd[0]).__name__}: {odd[0]!r}")
    attributes = {name: value for name, value in metadata.items() if _is_value(value) and 0 < len(name.encode()) < 256 and name != _REST}
    rest = {name: value for name, value in metadata.items() if name not in attributes}
    if rest:
        attributes[_REST] = "{" + ", ".join(f"{json.dumps(name)}: {_to_json(name, value)}" for name, value in rest.items()) + "}"
    return attributes


def _to_json(name: str, value: Any) -> str:
    try:
        return json.dumps(value)
    except TypeError as error:
        raise TypeError(f"metadata {name!r} cannot be stored: {error}; use what JSON has, or a datetime with a time zone") from None


def _document(id: Any, payload: bytes | None, attributes: dict[str, Any]) -> Document:
    metadata = {name: value for name, value in attributes.items() if name != _REST}
    if _REST in attributes:
        metadata.update(json.loads(attributes[_REST]))
    return Document(id=str(id), page_content=(payload or b"").decode(), metadata=metadata)
