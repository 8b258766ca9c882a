"""How many exact rows a query needs, by bits of the list code, on real embeddings.

    python gate.py base.npy query.npy truth.npy out/

Trains lists (k-means with a second assignment after SOAR), codes every row in its two lists, probes the nearest 96 lists, takes
the best T rows by estimate and counts how many of the true ten are among them. Also prints the mean and standard deviation of
the error in units of sigma. Writes what it used to `out/`, so that the engine's codes can be put through the same
(`cargo run --release -p stratavec-benches --bin code_gate -- out/`).
"""

import pathlib
import sys

import numpy as np

import codes

QUERIES, PROBES, ROUNDS, SEED = 150, 96, 8, 11
TAKE = [10, 16, 24, 32, 48, 64, 96, 192]
SIGMA = [None, 0.3014, 0.323, 0.320, 0.310, 0.301, 0.295, 0.292, 0.290]


def rotate_all(x, seed):
    """The rotation of every row, as the product with the rotated unit vectors."""
    padded = -(-x.shape[1] // 64) * 64
    basis = np.stack([codes.rotate(unit, seed) for unit in np.eye(padded, dtype=np.float32)])
    return np.pad(x, ((0, 0), (0, padded - x.shape[1]))).astype(np.float32) @ basis


def distances(x, c):
    return (x * x).sum(1)[:, None] - 2 * (x @ c.T) + (c * c).sum(1)


def train(x, count, generator):
    centroids = x[generator.choice(len(x), count, replace=False)].copy()
    for _ in range(ROUNDS):
        nearest = np.concatenate([distances(part, centroids).argmin(1) for part in np.array_split(x, 20)])
        sums = np.zeros_like(centroids)
        np.add.at(sums, nearest, x)
        sizes = np.bincount(nearest, minlength=count)
        filled = sizes > 0
        centroids[filled] = sums[filled] / sizes[filled, None]
    return centroids.astype(np.float16).astype(np.float32)


def assign(x, centroids):
    """Nearest list, and the best second one by SOAR with lambda = 1 among the 16 nearest."""
    first, second = [], []
    for part in np.array_split(x, 20):
        d = distances(part, centroids)
        near = np.argpartition(d, 16, axis=1)[:, :16]
        near = np.take_along_axis(near, np.take_along_axis(d, near, 1).argsort(1), 1)
        residual = part - centroids[near[:, 0]]
        direction = residual / np.maximum(np.linalg.norm(residual, axis=1, keepdims=True), 1e-20)
        others = part[:, None] - centroids[near[:, 1:]]
        loss = (others**2).sum(2) + (others * direction[:, None]).sum(2) ** 2
        first.append(near[:, 0])
        second.append(near[np.arange(len(part)), 1 + loss.argmin(1)])
    return np.concatenate(first).astype(np.int32), np.concatenate(second).astype(np.int32)


def encode(r, bits):
    """Directions `g` and factors `fr` of residuals, row by row."""
    size, energy = np.abs(r), (r * r).sum(1)
    if bits == 1:
        best = np.full_like(size, 0.5)
    else:
        largest = 2 ** (bits - 1) - 1
        unit = float(codes.STEP[bits]) * np.sqrt(energy / r.shape[1])[:, None] / 16
        best, score = np.zeros_like(size), np.full(len(r), -np.inf)
        for trial in codes.TRIALS:
            g = np.minimum(np.floor(size / np.maximum(unit * float(trial), 1e-30)), largest) + 0.5
            cosine = (size * g).sum(1) / np.sqrt((g * g).sum(1))
            better = cosine > score
            best[better], score[better] = g[better], cosine[better]
    inner = (size * best).sum(1)
    return np.where(r >= 0, best, -best), np.where(energy > 0, energy / np.maximum(inner, 1e-30), 0)


def main():
    base, query, truth = (np.load(path) for path in sys.argv[1:4])
    out = pathlib.Path(sys.argv[4])
    out.mkdir(parents=True, exist_ok=True)
    cosine = len(sys.argv) < 6 or sys.argv[5] != "l2"
    base, query = base.astype(np.float32), query[:QUERIES].astype(np.float32)
    if cosine:
        base /= np.linalg.norm(base, axis=1, keepdims=True)
        query /= np.linalg.norm(query, axis=1, keepdims=True)
    mean = base.mean(0)
    x, q = rotate_all(base - mean, SEED), rotate_all(query - mean, SEED)
    truth = truth[:QUERIES, :10]
    count = int(8 * np.sqrt(len(x)))
    centroids = train(x, count, np.random.default_rng(SEED))
    first, second = assign(x, centroids)
    for name, array in [("base", x), ("query", q), ("centroids", centroids), ("mean", rotate_all(mean[None], SEED))]:
        array.astype("<f4").tofile(out / f"{name}.f32")
    for name, array in [("first", first), ("second", second), ("truth", truth)]:
        array.astype("<i4").tofile(out / f"{name}.i32")
    (out / "dim").write_text(f"{x.shape[1]}\n")

    members = [np.concatenate([np.flatnonzero(first == c), np.flatnonzero((second == c) & (first != c))]) for c in range(count)]
    probes = np.argsort(distances(q, centroids), axis=1)[:, :PROBES]
    print("limit", end="")
    rows = [np.unique(np.concatenate([members[c] for c in probe])) for probe in probes]
    print(f" {np.mean([np.isin(t, r).mean() for t, r in zip(truth, rows)]):.3f}")
    for bits in (1, 2, 3, 4, 5):
        coded = {}
        hits = np.zeros(len(TAKE))
        z = []
        for query_at, probe in enumerate(probes):
            best = {}
            for c in probe:
                if c not in coded:
                    g, rescale = encode(x[members[c]] - centroids[c], bits)
                    energy = ((x[members[c]] - centroids[c]) ** 2).sum(1)
                    coded[c] = (g, rescale, energy + 2 * rescale * (g @ centroids[c]))
                g, rescale, add = coded[c]
                reach = ((q[query_at] - centroids[c]) ** 2).sum()
                estimates = add + reach - 2 * rescale * (g @ q[query_at])
                exact = ((x[members[c]] - q[query_at]) ** 2).sum(1)
                sigma = 2 * rescale * SIGMA[bits] * np.sqrt(reach)
                z.append(((estimates - exact) / np.maximum(sigma, 1e-30))[sigma > 0])
                for row, estimate in zip(members[c], estimates):
                    best[row] = min(best.get(row, np.inf), estimate)
            order = sorted(best, key=best.get)
            for at, take in enumerate(TAKE):
                hits[at] += np.isin(truth[query_at], order[:take]).mean()
        z = np.concatenate(z)
        table = " ".join(f"{h / len(probes):.3f}" for h in hits)
        print(f"{bits} bits: {table}   z mean {z.mean():+.3f} deviation {z.std():.3f}", flush=True)


if __name__ == "__main__":
    main()
