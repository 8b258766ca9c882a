"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import stratavec

DIM = 8


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where a collection can be made."""
    return tmp_path / "idx"


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture
def filled(place: Path, rng: np.random.Generator):
    """A collection of a hundred rows with number ids, and their vectors."""
    vectors = rng.standard_normal((100, DIM), np.float32)
    with stratavec.open(place, DIM, "l2", ids="u64", durability="os") as c:
        c.upsert(np.arange(100), vectors)
        yield c, vectors
