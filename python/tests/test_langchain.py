"""LangChain's own tests for vector stores, without a network, and what they leave out."""

from __future__ import annotations

from collections.abc import Generator
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("langchain_core")
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests.vectorstores import VectorStoreIntegrationTests

import stratavec
from stratavec.langchain import StratavecVectorStore


class TestStratavec(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Generator[VectorStore, None, None]:
        store = StratavecVectorStore(self.get_embeddings(), tmp_path / "store")
        yield store
        store.close()


@pytest.fixture
def store(tmp_path: Path):
    store = StratavecVectorStore(DeterministicFakeEmbedding(size=16), tmp_path / "store")
    yield store
    store.close()


def test_metadata_comes_back_as_it_was(store):
    metadata = {"n": 3, "x": 0.5, "yes": True, "none": None, "tags": ["a", "b"], "nested": {"deep": [1, 2]}, "big": 2**70, "mixed": [1, "a"]}
    [name] = store.add_documents([Document("text", metadata=metadata)])
    assert store.get_by_ids([name])[0].metadata == metadata
    attributes = store.collection.get(name).attributes
    assert attributes["n"] == 3 and attributes["tags"] == ["a", "b"]


def test_numbers_of_numpy_are_metadata_and_filters_are_callables(store):
    store.add_texts(["text"], [{"n": np.int64(3), "x": np.float32(0.5), "yes": np.True_, "word": np.str_("a")}], ids=["1"])
    assert store.get_by_ids(["1"])[0].metadata == {"n": 3, "x": 0.5, "yes": True, "word": "a"}
    with pytest.raises(TypeError, match="callable"):
        store.similarity_search("text", filter={"n": 3})


def test_a_store_opens_again(store, tmp_path):
    store.add_texts(["one", "two"], [{"n": 1}, {"n": 2}], ids=["1", "2"])
    store.close()
    again = StratavecVectorStore(DeterministicFakeEmbedding(size=16), tmp_path / "store")
    assert [document.page_content for document in again.get_by_ids(["2", "3", "1"])] == ["two", "one"]
    assert again.similarity_search("one", k=1)[0].id == "1"
    again.close()


def test_an_empty_store_answers(store):
    assert store.similarity_search("anything") == [] and store.get_by_ids(["a"]) == [] and store.collection is None
    assert store.delete(["a"]) is True and store.add_texts([]) == []


def test_filters_scores_and_diversity(store):
    store.add_texts([f"text {n}" for n in range(30)], [{"n": n} for n in range(30)], ids=[str(n) for n in range(30)])
    found = store.similarity_search_with_score("text 7", k=3, filter=lambda document: document.metadata["n"] >= 10)
    assert len(found) == 3 and all(document.metadata["n"] >= 10 for document, _ in found)
    assert store.similarity_search_with_score("text 7", k=1)[0][1] == pytest.approx(0, abs=1e-6)
    assert store.similarity_search_with_relevance_scores("text 7", k=1)[0][1] == pytest.approx(1, abs=1e-6)
    assert store.max_marginal_relevance_search("text 7", k=4, fetch_k=10)[0].id == "7"
    assert store.delete() is True and len(store.collection) == 0


def test_a_collection_of_the_callers(tmp_path):
    with stratavec.create(tmp_path / "idx", 16, "ip") as collection:
        store = StratavecVectorStore(DeterministicFakeEmbedding(size=16), collection=collection)
        store.add_texts(["one"], ids=["1"])
        assert len(collection) == 1
    with pytest.raises(ValueError):
        StratavecVectorStore(DeterministicFakeEmbedding(size=16))


def test_texts_make_a_store(tmp_path):
    store = StratavecVectorStore.from_texts(["a", "b"], DeterministicFakeEmbedding(size=8), [{"n": 1}, {"n": 2}], ids=["x", "y"], path=tmp_path / "s", index="auto")
    assert store.similarity_search("b", k=1)[0].metadata == {"n": 2} and store.collection.schema["index"] == "auto"
    store.close()


def test_many_documents_at_once_are_there_as_a_whole(store):
    """More than a batch of the log takes."""
    texts = [f"{n} " + "x" * 4000 for n in range(20_000)]
    assert len(store.add_texts(texts, ids=[str(n) for n in range(20_000)])) == 20_000 == len(store.collection)
    assert store.get_by_ids(["19999"])[0].page_content == texts[-1]
    large = [{"note": "y" * 40_000}] * 2000
    assert len(store.add_texts(["a"] * 2000, large)) == 2000 and len(store.collection) == 22_000
    assert store.delete() and len(store.collection) == 0


def test_a_store_has_the_metric_that_it_was_made_with(tmp_path):
    embedding = DeterministicFakeEmbedding(size=16)
    made = StratavecVectorStore(embedding, tmp_path / "s", metric="l2")
    made.add_texts(["one", "two"], ids=["1", "2"])
    made.close()
    again = StratavecVectorStore(embedding, tmp_path / "s")
    relevance = again._select_relevance_score_fn()  # Before anything is searched.
    assert relevance(4.0) == 0 and again.similarity_search_with_relevance_scores("one", k=1)[0][1] == pytest.approx(1)
    assert again.add_texts(["three"], ids=["3"]) == ["3"] and again.collection.metric == "l2"
    again.close()
    with pytest.raises(stratavec.SchemaMismatchError):
        StratavecVectorStore(embedding, tmp_path / "s", metric="ip").add_texts(["four"])


def test_moments_are_metadata_and_what_is_none_is_refused_by_name(store):
    at = datetime(2026, 11, 22, 1, 2, 3, tzinfo=timezone.utc)
    store.add_texts(["a", "b"], [{"at": at}, None], ids=["1", "2"])
    assert [document.metadata for document in store.get_by_ids(["1", "2"])] == [{"at": at}, {}]
    assert store.collection.get("1").attributes == {"at": at}
    for wrong in (at.replace(tzinfo=None), at.date(), {1, 2}, b"x", np.arange(3), np.datetime64("2026-01-01T00:00:00.000000001")):
        with pytest.raises(TypeError, match="'when'"):
            store.add_texts(["c"], [{"when": wrong}])
    with pytest.raises(TypeError, match="5"):
        store.add_texts(["c"], [{5: 1}])
    assert len(store.collection) == 2


def test_documents_may_come_one_by_one(store):
    assert store.add_documents(Document(f"text {n}", id=str(n)) for n in range(3)) == ["0", "1", "2"]
