"""Prints the standard error of each code in units of `fr |q - c|`, for Gaussian residuals (the table SIGMA of the engine)."""

import numpy as np

import codes

COUNT = 4000


def ratio(bits, padded, generator):
    x = generator.standard_normal((COUNT, padded))
    size, energy = np.abs(x), (x * x).sum(1)
    if bits == 1:
        best = np.full_like(size, 0.5)
    else:
        largest = 2 ** (bits - 1) - 1
        unit = float(codes.STEP[bits]) * np.sqrt(energy / padded)[:, None] / 16
        best, score = np.zeros_like(size), np.full(COUNT, -np.inf)
        for trial in codes.TRIALS:
            g = np.minimum(np.floor(size / (unit * float(trial))), largest) + 0.5
            cosine = (size * g).sum(1) / np.sqrt((g * g).sum(1))
            better = cosine > score
            best[better], score[better] = g[better], cosine[better]
    inner, square = (size * best).sum(1), (best * best).sum(1)
    rescale = energy / inner
    error = np.sqrt(np.maximum(energy * (energy * square / inner**2 - 1), 0) / (padded - 1))
    return np.sqrt(np.mean((error / rescale) ** 2))


def main():
    generator = np.random.default_rng(0)
    for bits in range(1, 9):
        print(bits, *(f"{padded}: {ratio(bits, padded, generator):.4f}" for padded in (128, 384, 768)))


if __name__ == "__main__":
    main()
