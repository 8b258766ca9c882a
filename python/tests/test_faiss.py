"""The classes in the shape of FAISS: its documented examples, against numpy, and against FAISS itself where it is installed."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import stratavec
import stratavec.faiss as ours

try:
    import faiss as theirs
except ImportError:
    theirs = None

D, NB, NQ = 64, 2000, 50


@pytest.fixture(scope="module")
def data():
    """The vectors of FAISS's tutorial, fewer of them."""
    np.random.seed(1234)
    xb = np.random.random((NB, D)).astype("float32")
    xb[:, 0] += np.arange(NB) / 1000.0
    xq = np.random.random((NQ, D)).astype("float32")
    xq[:, 0] += np.arange(NQ) / 1000.0
    return xb, xq


def nearest(xb, xq, k, metric="l2"):
    """Distances and numbers of the nearest, with 64-bit floats."""
    a, b = xq.astype(np.float64), xb.astype(np.float64)
    scores = ((a[:, None, :] - b[None, :, :]) ** 2).sum(2) if metric == "l2" else -(a @ b.T)
    order = np.argsort(scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, 1) * (1 if metric == "l2" else -1), order


def modules():
    return [ours] if theirs is None else [ours, theirs]


def test_the_first_example_of_the_tutorial(data):
    xb, xq = data
    answers = []
    for faiss in modules():
        index = faiss.IndexFlatL2(D)
        assert index.is_trained and index.d == D
        index.add(xb)
        assert index.ntotal == NB
        D5, I5 = index.search(xb[:5], 4)
        assert I5[:, 0].tolist() == [0, 1, 2, 3, 4] and (D5[:, 0] < 1e-6).all()
        answers.append(index.search(xq, 4))
    distances, ids = nearest(xb, xq, 4)
    for found, names in answers:
        assert found.dtype == np.float32 and names.dtype == np.int64
        assert np.array_equal(names, ids) and np.allclose(found, distances, rtol=1e-4, atol=1e-4)


def test_inner_products_are_larger_for_nearer_rows(data):
    xb, xq = data
    for faiss in modules():
        index = faiss.IndexFlatIP(D)
        index.add(xb)
        found, names = index.search(xq, 3)
        distances, ids = nearest(xb, xq, 3, "ip")
        assert np.array_equal(names, ids) and np.allclose(found, distances, rtol=1e-5)
        assert (np.diff(found, axis=1) <= 0).all() and index.metric_type == faiss.METRIC_INNER_PRODUCT


def test_lists_need_training_and_find_all_if_all_are_looked_at(data):
    xb, xq = data
    for faiss in modules():
        quantizer = faiss.IndexFlatL2(D)
        index = faiss.IndexIVFFlat(quantizer, D, 16, faiss.METRIC_L2)
        assert not index.is_trained
        with pytest.raises(RuntimeError, match="is_trained"):
            index.add(xb)
        index.train(xb)
        assert index.is_trained
        index.add(xb)
        assert index.ntotal == NB and index.nprobe == 1 and index.nlist == 16
        few = index.search(xq, 4)[1]
        index.nprobe = 16
        assert np.array_equal(index.search(xq, 4)[1], nearest(xb, xq, 4)[1])
        hits = np.mean([len(set(a) & set(b)) for a, b in zip(few, nearest(xb, xq, 4)[1], strict=True)]) / 4
        assert 0.05 < hits < 1.0
        index.nprobe = 1
        told = faiss.SearchParametersIVF(nprobe=16)
        assert np.array_equal(index.search(xq, 4, params=told)[1], nearest(xb, xq, 4)[1])


def test_rows_of_the_callers_ids(data):
    xb, xq = data
    ids = np.arange(NB, dtype=np.int64) * 3 + 1000
    for faiss in modules():
        index = faiss.IndexIDMap2(faiss.IndexFlatL2(D))
        with pytest.raises(RuntimeError):
            index.add(xb)
        index.add_with_ids(xb, ids)
        assert np.array_equal(index.search(xq, 5)[1], ids[nearest(xb, xq, 5)[1]])
        assert np.array_equal(index.reconstruct(1003), xb[1])
        assert index.remove_ids(np.array([1000, 1003, 7])) == 2 and index.ntotal == NB - 2
        assert np.array_equal(index.search(xb[2:3], 1)[1], [[1006]])
        with pytest.raises(RuntimeError):
            index.reconstruct(1003)
        plain = faiss.IndexFlatL2(D)
        with pytest.raises(RuntimeError):
            plain.add_with_ids(xb, ids)


def test_removing_moves_numbers_up(data):
    xb, xq = data
    for faiss in modules():
        index = faiss.IndexFlatL2(D)
        index.add(xb[:100])
        assert index.remove_ids(np.array([0, 5, 5, 99, 500])) == 3
        rest = np.delete(xb[:100], [0, 5, 99], axis=0)
        assert index.ntotal == 97 and np.array_equal(index.search(xq, 4)[1], nearest(rest, xq, 4)[1])
        assert np.array_equal(index.reconstruct(0), xb[1]) and np.array_equal(index.reconstruct(4), xb[6])
        index.add(xb[200:203])
        rest = np.concatenate([rest, xb[200:203]])
        assert np.array_equal(index.search(xq, 4)[1], nearest(rest, xq, 4)[1])
        assert index.remove_ids(faiss.IDSelectorRange(90, 98)) == 8
        rest = np.delete(rest, np.arange(90, 98), axis=0)
        assert np.array_equal(index.search(xq, 4)[1], nearest(rest, xq, 4)[1])
        assert np.array_equal(index.reconstruct_n(3, 5), rest[3:8]) and np.array_equal(index.reconstruct_n(0, index.ntotal), rest)
        index.reset()
        assert index.ntotal == 0
        index.add(xb[:3])
        assert index.search(xb[2:3], 5)[1].tolist()[0][0] == 2


def test_fewer_rows_than_asked_for(data):
    xb, _ = data
    for faiss in modules():
        for index in (faiss.IndexFlatL2(D), faiss.IndexFlatIP(D)):
            index.add(xb[:2])
            found, names = index.search(xb[:1], 4)
            assert names[0, 2:].tolist() == [-1, -1] and np.abs(found[0, 2:]).min() > 1e38
            assert (found[0, 2] > 0) == (index.metric_type == faiss.METRIC_L2)
            empty, none = index.search(xb[:0], 4)
            assert empty.shape == none.shape == (0, 4)


def test_ranges(data):
    xb, xq = data
    every = nearest(xb[:200], xq, 200)
    threshold = float(np.median(every[0][:, 3]))
    for faiss in modules():
        index = faiss.IndexFlatL2(D)
        index.add(xb[:200])
        lims, found, names = index.range_search(xq, threshold)
        assert lims[0] == 0 and lims[-1] == len(found) == len(names)
        for at in range(NQ):
            inside = set(names[lims[at] : lims[at + 1]].tolist())
            assert inside == set(every[1][at][every[0][at] < threshold].tolist())
            assert (found[lims[at] : lims[at + 1]] < threshold).all()
        products = faiss.IndexFlatIP(D)
        products.add(xb[:200])
        scores, order = nearest(xb[:200], xq[:3], 200, "ip")
        bound = float(np.median(scores))
        lims, found, names = products.range_search(xq[:3], bound)
        for at in range(3):
            assert set(names[lims[at] : lims[at + 1]].tolist()) == set(order[at][scores[at] > bound].tolist())


def test_selectors(data):
    xb, xq = data
    for faiss in modules():
        index = faiss.IndexFlatL2(D)
        index.add(xb)
        few = np.arange(100, 200)
        for sel in (faiss.IDSelectorBatch(few), faiss.IDSelectorRange(100, 200), faiss.IDSelectorNot(faiss.IDSelectorNot(faiss.IDSelectorRange(100, 200)))):
            names = index.search(xq, 3, params=faiss.SearchParameters(sel=sel))[1]
            assert np.array_equal(names, nearest(xb[100:200], xq, 3)[1] + 100)


@pytest.mark.parametrize("description", ["Flat", "IVF16,Flat", "IDMap,Flat", "IDMap2,Flat"])
def test_the_factory_and_files(data, description, tmp_path):
    xb, xq = data
    for faiss in modules():
        index = faiss.index_factory(D, description)
        index.train(xb)
        if description.startswith("IDMap"):
            index.add_with_ids(xb, np.arange(NB) + 5)
        else:
            index.add(xb)
        file = tmp_path / f"index-{faiss.__name__}"
        faiss.write_index(index, str(file))
        faiss.write_index(index, str(file))
        again = faiss.read_index(str(file))
        assert again.ntotal == NB and np.array_equal(again.search(xq, 3)[1], index.search(xq, 3)[1])
        again.add_with_ids(xb[:1], np.array([9999])) if description.startswith("IDMap") else again.add(xb[:1])
        assert again.ntotal == NB + 1 and index.ntotal == NB
    with pytest.raises(RuntimeError):
        ours.index_factory(D, "HNSW32")


def test_normalising_and_ips_of_unit_vectors_are_cosines(data):
    for faiss in modules():
        rows = data[0][:10].copy()
        rows[3] = 0
        faiss.normalize_L2(rows)
        assert np.allclose(np.linalg.norm(rows, axis=1), [1, 1, 1, 0, 1, 1, 1, 1, 1, 1], atol=1e-6)


def test_an_index_that_stays(data, tmp_path):
    xb, xq = data
    index = ours.IndexFlatL2(D, path=tmp_path / "idx")
    index.add(xb[:100])
    index.remove_ids([1])
    index.close()
    again = ours.IndexFlatL2(D, path=tmp_path / "idx")
    assert again.ntotal == 99 and np.array_equal(again.reconstruct(1), xb[2])
    again.close()
    mapped = ours.IndexIDMap(ours.IndexFlatIP(D, path=tmp_path / "mapped"))
    mapped.add_with_ids(xb[:2], [70, 50])
    mapped.close()
    mapped = ours.IndexIDMap(ours.IndexFlatIP(D, path=tmp_path / "mapped"))
    assert mapped.ntotal == 2 and np.array_equal(mapped.reconstruct(50), xb[1])
    other = tmp_path / "not-an-index"
    stratavec.create(other, D, "l2", ids="u64").close()
    with pytest.raises(RuntimeError, match="no index of this module"):
        ours.write_index(mapped, other)


def test_wrong_shapes_are_refused(data):
    index = ours.IndexFlatL2(D)
    for wrong in (np.zeros(D, np.float32), np.zeros((2, D + 1), np.float32)):
        with pytest.raises((ValueError, AssertionError)):
            index.add(wrong)


def test_lists_are_trained_before_they_are_used(data):
    xb, xq = data
    for faiss in modules():
        index = faiss.IndexIVFFlat(faiss.IndexFlatL2(D), D, 8)
        for call in (lambda: index.add(xb), lambda: index.search(xq, 1)):
            with pytest.raises(RuntimeError):
                call()
        index.train(xb)
        index.add(xb)
        index.make_direct_map()
        assert np.array_equal(index.reconstruct(7), xb[7])
        index.nprobe = 8
        assert index.assign(xb[:5], 1).tolist() == [[0], [1], [2], [3], [4]]


@pytest.mark.parametrize("description", ["Flat", "IVF16,Flat", "IDMap,Flat"])
def test_copies_go_their_own_way(data, description):
    xb, xq = data
    for faiss in modules():
        index = faiss.index_factory(D, description)
        index.train(xb)
        index.add_with_ids(xb, np.arange(NB) + 5) if description.startswith("IDMap") else index.add(xb)
        if "IVF" in description:
            index.nprobe = 5
        found = index.search(xq, 3)
        copies = [faiss.clone_index(index), faiss.deserialize_index(faiss.serialize_index(index)), pickle.loads(pickle.dumps(index)), copy.deepcopy(index)]
        for other in copies:
            assert isinstance(other, faiss.Index | faiss.IndexIDMap) and other.ntotal == NB and getattr(other, "nprobe", 5) == 5
            assert np.array_equal(other.search(xq, 3)[1], found[1]) and np.allclose(other.search(xq, 3)[0], found[0])
            assert other.remove_ids(np.arange(100)) > 0 and other.ntotal < NB
        assert index.ntotal == NB and np.array_equal(index.search(xq, 3)[1], found[1])
    if description == "IVF16,Flat":
        untrained = ours.clone_index(ours.index_factory(D, description))
        assert not untrained.is_trained


def test_neighbours_without_an_index(data):
    xb, xq = data
    for faiss in modules():
        for metric, name in ((faiss.METRIC_L2, "l2"), (faiss.METRIC_INNER_PRODUCT, "ip")):
            found, names = faiss.knn(xq, xb, 5, metric=metric)
            distances, ids = nearest(xb, xq, 5, name)
            assert np.array_equal(names, ids) and np.allclose(found, distances, rtol=1e-4, atol=1e-4)


def test_rows_that_are_found_can_be_had(data):
    xb, xq = data
    for faiss in modules():
        index = faiss.IndexFlatL2(D)
        index.add(xb[:3])
        found, names, vectors = index.search_and_reconstruct(xq[:2], 5)
        assert vectors.shape == (2, 5, D) and np.array_equal(vectors[:, :3], xb[names[:, :3]])
        assert (names[:, 3:] == -1).all() and np.isnan(vectors[:, 3:]).all()


def test_more_selectors(data):
    xb, xq = data
    bitmap = np.packbits(np.arange(304) % 3 == 0, bitorder="little")
    for faiss in modules():
        index = faiss.IndexFlatL2(D)
        index.add(xb[:300])
        low, high = faiss.IDSelectorRange(0, 200), faiss.IDSelectorRange(100, 300)
        for sel, chosen in [
            (faiss.IDSelectorAll(), np.arange(300)),
            (faiss.IDSelectorAnd(low, high), np.arange(100, 200)),
            (faiss.IDSelectorOr(faiss.IDSelectorRange(0, 50), faiss.IDSelectorRange(250, 300)), np.r_[0:50, 250:300]),
            (faiss.IDSelectorXOr(low, high), np.r_[0:100, 200:300]),
            (faiss.IDSelectorBitmap(bitmap), np.arange(0, 300, 3)),
        ]:
            assert np.array_equal(index.search(xq, 3, params=faiss.SearchParameters(sel=sel))[1], chosen[nearest(xb[chosen], xq, 3)[1]])
    with pytest.raises(TypeError):
        ours.SearchParameters(quantizer_params=None)


def test_lists_are_updated_merged_and_told_their_probes(data):
    xb, xq = data
    for faiss in modules():
        index = faiss.index_factory(D, "IVF8,Flat")
        index.train(xb)
        index.add(xb[:1000])
        index.make_direct_map()
        index.update_vectors(np.array([3, 5]), xb[1003:1005])
        faiss.ParameterSpace().set_index_parameter(index, "nprobe", 8)
        assert index.nprobe == 8 and faiss.extract_index_ivf(index).nlist == 8 and faiss.downcast_index(index).ntotal == 1000
        now = xb[:1000].copy()
        now[[3, 5]] = xb[1003:1005]
        assert np.array_equal(index.search(xq, 4)[1], nearest(now, xq, 4)[1])
    ours_index = ours.index_factory(D, "IVF8,Flat")
    with pytest.raises(RuntimeError, match="nprobe"):
        ours.ParameterSpace().set_index_parameters(ours_index, "efSearch=8")
    with pytest.raises(RuntimeError, match="no lists"):
        ours.extract_index_ivf(ours.IndexFlatL2(D))


def test_an_index_takes_the_rows_of_another(data):
    xb, xq = data
    for faiss in modules():
        one, two = faiss.IndexFlatL2(D), faiss.IndexFlatL2(D)
        one.add(xb[:100])
        two.add(xb[100:150])
        one.merge_from(two)
        assert (one.ntotal, two.ntotal) == (150, 0) and np.array_equal(one.search(xq, 3)[1], nearest(xb[:150], xq, 3)[1])
        with pytest.raises(RuntimeError):
            one.merge_from(faiss.IndexFlatL2(D + 1))


def test_codes_of_parts_find_what_codes_of_faiss_find_and_more(data):
    xb, xq = data
    true = nearest(xb, xq, 1)[1]
    for faiss in modules():
        index = faiss.IndexIVFPQ(faiss.IndexFlatL2(D), D, 8, 16, 4)
        index.train(xb)
        index.add(xb)
        index.nprobe = 8
        found = index.search(xq, 10)[1]
        assert np.mean([true[at, 0] in found[at] for at in range(NQ)]) > (0.9 if faiss is ours else 0.3)
    again = ours.index_factory(D, "IDMap,IVF8,PQ16x4")
    assert isinstance(again.index, ours.IndexIVFPQ) and again.index.collection.schema["codes"] == "product:16x16"
    with pytest.raises(ValueError, match="codes"):
        ours.IndexIVFPQ(None, D, 8, 7, 8)


def test_ids_in_the_order_of_their_rows(data):
    for faiss in modules():
        index = faiss.IndexIDMap2(faiss.IndexFlatL2(D))
        index.add_with_ids(data[0][:4], np.array([70, 50, 60, 10]))
        assert faiss.vector_to_array(index.id_map).tolist() == [70, 50, 60, 10]


def test_threads_are_as_many_as_were_asked_for(data):
    xb, xq = data
    for faiss in modules():
        before = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(2)
        try:
            assert faiss.omp_get_max_threads() == 2
            index = faiss.IndexFlatL2(D)
            index.add(xb)
            assert np.array_equal(index.search(xq, 4)[1], nearest(xb, xq, 4)[1])
        finally:
            faiss.omp_set_num_threads(before)
    with pytest.raises(ValueError):
        ours.omp_set_num_threads(0)


def test_what_is_not_here_is_refused_by_name():
    for name in ("IndexHNSWFlat", "Kmeans", "StandardGpuResources", "IndexBinaryFlat"):
        assert not hasattr(ours, name)
        with pytest.raises(AttributeError, match=name):
            getattr(ours, name)


def test_an_index_is_read_changed_and_written_where_it_was(data, tmp_path):
    """What programs do with a file: any number of them read it, one changes it and writes it again."""
    xb, xq = data
    for faiss in modules():
        place = str(tmp_path / faiss.__name__)
        index = faiss.IndexFlatL2(D)
        index.add(xb[:100])
        faiss.write_index(index, place)
        one, two = faiss.read_index(place), faiss.read_index(place)
        assert np.array_equal(one.search(xq, 3)[1], two.search(xq, 3)[1])
        one.add(xb[100:150])
        assert (one.ntotal, two.ntotal, index.ntotal) == (150, 100, 100)
        faiss.write_index(one, place)
        assert np.array_equal(one.search(xq, 3)[1], nearest(xb[:150], xq, 3)[1]) and np.array_equal(two.search(xq, 3)[1], nearest(xb[:100], xq, 3)[1])
        again = faiss.read_index(place)
        assert again.ntotal == 150 and np.array_equal(again.search(xq, 3)[1], one.search(xq, 3)[1])
        if faiss is ours:
            first, second, third = one, two, again
    one, two, again = first, second, third
    with pytest.raises(stratavec.LockedError):
        two.add(xb[:1])
    one.close()
    with pytest.raises(RuntimeError, match="changed since"):
        two.add(xb[:1])
    assert two.ntotal == 100 and again.remove_ids([0]) == 1


def test_probes_are_kept_where_an_index_is(data, tmp_path):
    for faiss in modules():
        place = str(tmp_path / faiss.__name__)
        index = faiss.index_factory(D, "IVF8,Flat")
        index.train(data[0])
        index.add(data[0])
        faiss.write_index(index, place)
        again = faiss.read_index(place)
        again.nprobe = 5
        faiss.write_index(again, place)
        assert faiss.read_index(place).nprobe == 5 and index.nprobe == 1


def test_an_index_that_is_only_read(data, tmp_path):
    index = ours.IndexFlatL2(D)
    index.add(data[0][:10])
    ours.write_index(index, tmp_path / "idx")
    for flags in (ours.IO_FLAG_READ_ONLY, ours.IO_FLAG_READ_ONLY | ours.IO_FLAG_MMAP):
        read = ours.read_index(tmp_path / "idx", flags)
        for call in (lambda: read.add(data[0][:1]), lambda: read.remove_ids([1]), lambda: read.reset()):  # noqa: B023
            with pytest.raises(RuntimeError, match="READ_ONLY"):
                call()
        assert read.ntotal == 10 and ours.clone_index(read).ntotal == 10
    assert ours.read_index(tmp_path / "idx", ours.IO_FLAG_MMAP).remove_ids([1]) == 1
    with pytest.raises(RuntimeError, match="io_flags"):
        ours.read_index(tmp_path / "idx", 1)
    if theirs is not None:
        assert (ours.IO_FLAG_READ_ONLY, ours.IO_FLAG_MMAP) == (theirs.IO_FLAG_READ_ONLY, theirs.IO_FLAG_MMAP)
    stratavec.create(tmp_path / "texts", D, "cosine").close()
    with pytest.raises(RuntimeError, match="no class"):
        ours.read_index(tmp_path / "texts")


def test_ids_may_be_negative(data):
    """As hashes are."""
    xb, xq = data
    ids = np.random.default_rng(3).permutation(np.arange(-100, 100))[:150] * 10**16
    ids[ids == 0] = 5
    for faiss in modules():
        for index in (faiss.IndexIDMap2(faiss.IndexFlatL2(D)), faiss.index_factory(D, "IVF4,Flat")):
            index.train(xb)
            index.add_with_ids(xb[:150], ids)
            if not isinstance(index, faiss.IndexIDMap):
                index.nprobe = 4
                index.make_direct_map(True) if faiss is ours else index.set_direct_map_type(faiss.DirectMap.Hashtable)
            found = index.search(xq, 4)[1]
            assert found.dtype == np.int64 and np.array_equal(found, ids[nearest(xb[:150], xq, 4)[1]])
            gone = int(ids.min())
            assert np.array_equal(index.reconstruct(gone), xb[int(ids.argmin())]) and index.remove_ids(np.array([gone])) == 1
            rest = np.flatnonzero(ids != gone)
            assert np.array_equal(index.search(xq, 4)[1], ids[rest][nearest(xb[rest], xq, 4)[1]])
            sel = faiss.SearchParametersIVF(sel=faiss.IDSelectorBatch(ids[rest[:9]]), nprobe=4)
            sel = sel if hasattr(index, "nprobe") else faiss.SearchParameters(sel=faiss.IDSelectorBatch(ids[rest[:9]]))
            assert np.array_equal(index.search(xq, 4, params=sel)[1], ids[rest[:9]][nearest(xb[rest[:9]], xq, 4)[1]])
            again = faiss.deserialize_index(faiss.serialize_index(index))
            assert np.array_equal(again.search(xq, 1)[1], index.search(xq, 1)[1]) and again.ntotal == 149


def test_shapes_and_names_are_those_of_faiss(data):
    for faiss in modules():
        index = faiss.index_factory(D, "IVF4,Flat,IDMap")
        assert type(index) is faiss.IndexIDMap and type(faiss.index_factory(D, "Flat,IDMap2")) is faiss.IndexIDMap2
        flat = faiss.IndexFlatL2(D)
        flat.add(data[0][:10])
        lims, found, names = flat.range_search(data[1][:2], 20.0)
        assert (lims.dtype, found.dtype, names.dtype) == (np.uint64, np.float32, np.int64)
        assert faiss.get_num_gpus() == 0
        with pytest.raises(RuntimeError):
            faiss.deserialize_index(np.zeros(10, np.uint8))
