"""Lists of faiss: whole vectors in them, or product codes that are scanned fast."""

from . import Engine, lists_for


class Flat(Engine):
    """Whole vectors in lists."""

    package, module, durable, changes = "faiss-cpu", "faiss", "file", True
    knobs = (2, 4, 8, 16, 32, 64, 128, 256)
    factory = "IVF{lists},Flat"

    def _made(self, rows):
        import faiss

        faiss.omp_set_num_threads(1)
        self.faiss = faiss
        self.index = faiss.index_factory(rows.shape[1], self.factory.format(lists=lists_for(len(rows)), parts=rows.shape[1] // 4))
        self.index.train(rows)

    def build(self, rows, folder):
        self._made(rows)
        self.index.add(rows)
        self.save(f"{folder}/index")

    def open(self, folder, dim):
        import faiss

        faiss.omp_set_num_threads(1)
        self.faiss, self.index, self.folder = faiss, faiss.read_index(f"{folder}/index"), folder

    def one(self, query, k, knob):
        return self.index.search(query[None], k, params=self.faiss.SearchParametersIVF(nprobe=knob))[1][0]

    def start(self, ids, rows, folder, room):
        self.folder = folder
        self._made(rows)
        self.insert(ids, rows)

    def resume(self, folder, dim, room):
        self.open(folder, dim)

    def insert(self, ids, rows):
        self.index.add_with_ids(rows, ids)

    def delete(self, ids):
        self.index.remove_ids(self.faiss.IDSelectorBatch(ids))

    def holds(self, ids):
        lists = self.index.invlists
        there = set()
        for at in range(self.index.nlist):
            if size := lists.list_size(at):
                there.update(self.faiss.rev_swig_ptr(lists.get_ids(at), size).tolist())
        return [number in there for number in ids.tolist()]

    def save(self, path):
        self.faiss.write_index(self.index, path)


class FastScan(Flat):
    """Product codes scanned fast, the best measured again with whole vectors."""

    changes, factory = False, "IVF{lists},PQ{parts}x4fs,RFlat"
    durable, why_not = "nothing", "the part that measures whole vectors again takes no ids and no deletes"

    def one(self, query, k, knob):
        terms = self.faiss.SearchParametersIVF(nprobe=knob)
        refine = self.faiss.IndexRefineSearchParameters(k_factor=8, base_index_params=terms)
        return self.index.search(query[None], k, params=refine)[1][0]
