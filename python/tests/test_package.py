"""What is shipped: types, documentation, the README's programs."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

import stratavec

ROOT = Path(__file__).resolve().parents[2]


def test_the_stubs_are_what_the_module_is():
    allowed = Path(__file__).with_name("stubtest-allowlist.txt")
    command = [sys.executable, "-m", "mypy.stubtest", "stratavec", "--allowlist", str(allowed), "--ignore-unused-allowlist"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT / "python" / "tests", timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_typed_program_is_checked(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import numpy as np, stratavec\n"
        "c = stratavec.open('a', 3, 'l2')\n"
        "c.upsert(['a'], np.zeros((1, 3)), [{'n': 1}])\n"
        "hits = c.search([1, 2, 3], recall=0.9, include='vector')\n"
        "x: float = hits[0].distance\n"
        "stratavec.open('a', read_only=True).refresh()\n"
        "stratavec.open('a', read_only=True).upsert\n"
        "c.search([1, 2, 3], where={})\n"
        "stratavec.open('a', 3, 'hamming')\n"
        "stratavec.create('a', 3, 'l2', rows='f8')\n"
        "stratavec.create('a', 3, 'l2', colour='red')\n"
        "stratavec.create('a', 3, 'l2', rows='f16', memory_budget=1 << 30)\n"
    )
    done = subprocess.run([sys.executable, "-m", "mypy", "--strict", str(program)], capture_output=True, text=True, cwd=tmp_path, timeout=300)
    wrong = sorted(int(line.split(":")[1]) for line in done.stdout.splitlines() if "error:" in line)
    assert wrong == [7, 8, 9, 10, 11], done.stdout + done.stderr


def test_create_takes_what_open_takes():
    """Names are written three times: where they are sorted, for ``open`` and for ``create``."""
    import inspect

    from stratavec._types import Options

    named = set(inspect.signature(stratavec.open).parameters) - {"path", "read_only"}
    assert named == set(stratavec._SCHEMA + stratavec._TREATMENT) == set(Options.__annotations__) | {"dim", "metric"}


def test_numpy_is_all_that_is_needed():
    needed = [need for need in importlib.metadata.requires("stratavec") or [] if "extra ==" not in need]
    assert [re.split("[<>=~ ]", need)[0] for need in needed] == ["numpy"]
    code = "import sys, stratavec; print([m for m in ('langchain_core', 'faiss', 'pytest', 'mypy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60).stdout.strip() == "[]"


def test_the_package_is_small():
    folder = Path(stratavec.__file__).parent
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    assert size < 16 << 20, f"{size} bytes unpacked, checks included"
    assert (folder / "py.typed").exists()


def test_everything_public_is_documented():
    for name in stratavec.__all__:
        thing = getattr(stratavec, name)
        assert name == "__version__" or thing.__doc__, name


@pytest.mark.parametrize("page", ["README.md", "python/README.md"])
def test_programs_in_the_documents_run(page, tmp_path):
    programs = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.S | re.M)
    assert programs, f"{page} shows no program"
    for program in programs:
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=120)
        assert done.returncode == 0, program + done.stderr
