"""What the comparisons with other libraries rest on: the truth they measure recall against, and our own adapter."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

COMPARE = Path(__file__).resolve().parents[2] / "benches" / "compare"


@pytest.fixture(autouse=True)
def path(monkeypatch):
    monkeypatch.syspath_prepend(str(COMPARE))
    yield
    for name in ("engines", "engines.faiss", "engines.graphs", "engines.stores", "environment", "inputs", "losses", "plot", "run", "workers"):
        sys.modules.pop(name, None)


@pytest.fixture
def rows():
    return np.random.default_rng(7).standard_normal((400, 16)).astype(np.float32)


def nearest(rows, query, tags, k=10):
    places = np.array(sorted(tags))
    return places[np.argsort(((rows[places] - query) ** 2).sum(1), kind="stable")[:k]].tolist()


def test_recall_is_of_the_rows_that_are_there_now(rows):
    from inputs import Live

    live = Live(rows, rows[:5] + 0.1)
    live.insert(range(200), range(200))
    best = [nearest(rows, query, range(200)) for query in live.queries]
    assert live.recall(best) == 1.0
    assert live.recall([found[:5] for found in best]) == pytest.approx(0.5)
    assert live.recall([[found[0]] * 10 for found in best]) == pytest.approx(0.1)  # Saying one ten times does not count.
    live.delete([found[0] for found in best])
    assert live.recall(best) < 1.0
    live.insert([9_999], [best[0][0]])  # Another tag has the row.
    assert 9_999 in nearest_tags(live, rows)


def nearest_tags(live, rows):
    tags = list(live.at)
    places = np.array([live.at[tag] for tag in tags])
    order = np.argsort(((rows[places] - live.queries[0]) ** 2).sum(1))
    assert live.recall([[tags[at] for at in order[:10]]]) == 1.0
    return [tags[at] for at in order[:10]]


def test_what_is_as_near_as_the_tenth_is_a_hit():
    from inputs import Live

    same = np.ones((40, 8), np.float32)
    live = Live(same, same[:2])
    live.insert(range(40), range(40))
    assert live.recall([list(range(10)), list(range(30, 40))]) == 1.0


def test_the_rate_at_a_recall_lies_between_its_neighbours():
    from losses import rate_at

    curve = [{"recall": 0.9, "qps": 1000.0}, {"recall": 0.8, "qps": 4000.0}, {"recall": 0.85, "qps": 500.0}]
    assert rate_at(curve, 0.85) == pytest.approx(1 / ((1 / 4000 + 1 / 1000) / 2))  # The point that another one beats is left out.
    assert rate_at(curve, 0.8) == 4000.0 and rate_at(curve, 0.9) == 1000.0
    assert rate_at(curve, 0.95) is None


def test_our_adapter_writes_searches_and_opens_again(rows, tmp_path):
    from engines import ENGINES
    from inputs import Live

    engine = ENGINES["stratavec"]()
    engine.start(np.arange(300), rows[:300], str(tmp_path), 400)
    engine.insert(np.arange(300, 350), rows[300:350])
    engine.replace(np.arange(10), rows[350:360])
    engine.delete(np.arange(50, 60))
    engine.commit()
    live = Live(rows, rows[:20])
    live.insert(range(350), range(350))
    live.insert(range(10), range(350, 360))
    live.delete(range(50, 60))
    assert live.recall([engine.one(query, 10, 256) for query in live.queries]) > 0.99
    engine.index.close()
    engine.resume(str(tmp_path), 16, 400)
    assert engine.holds(np.arange(45, 65)) == [not 50 <= number < 60 for number in range(45, 65)]
    engine.index.close()


def test_our_package_is_built_once_for_the_same_sources(tmp_path, monkeypatch):
    import environment

    built = []
    monkeypatch.setattr(environment, "PEERS", tmp_path)
    monkeypatch.setattr(environment.subprocess, "run", lambda command, **options: built.append(command))
    environment.install_ours()
    environment.install_ours()
    assert len(built) == 1 and "install" in built[0]
    monkeypatch.setattr(environment, "installed", lambda name: None)
    environment.install_ours()
    assert len(built) == 2, "the environment has none"
    monkeypatch.undo()


def test_a_digest_is_of_names_and_contents(tmp_path):
    import environment

    def now():
        return environment.digest(("src", "Cargo.toml"), tmp_path)

    (tmp_path / "src" / "deep").mkdir(parents=True)
    (tmp_path / "Cargo.toml").write_text("one")
    file = tmp_path / "src" / "deep" / "a.rs"
    seen = {now()}
    file.write_text("x")
    seen.add(now())
    file.write_text("y")
    seen.add(now())
    file.rename(file.with_name("b.rs"))
    seen.add(now())
    (tmp_path / "Cargo.toml").write_text("two")
    seen.add(now())
    assert len(seen) == 5
    (tmp_path / "src" / "__pycache__").mkdir()
    (tmp_path / "src" / "__pycache__" / "a.pyc").write_text("z")
    (tmp_path / "unrelated").write_text("z")
    assert now() in seen
    for place in environment.OURS:
        assert (environment.ROOT / place).exists(), place


def test_the_tables_of_the_readme_are_those_of_the_results():
    import losses

    results, text = losses.ROOT / "benches" / "results", (losses.ROOT / "README.md").read_text()
    tables = {"losses": losses.losses(results), "kills": losses.kills(results), "stream": losses.stream(results), "loads": losses.loads(results)}
    for name, lines in tables.items():
        assert f"<!-- {name} -->\n" + "\n".join(lines) + "\n<!-- end -->" in text, f"benches/compare/losses.py README.md: {name}"


def test_the_pictures_are_those_of_the_results():
    import json

    import losses
    import plot

    drawn = 0
    for file in sorted((losses.ROOT / "benches" / "results").glob("*.json")):
        result = json.loads(file.read_text())
        if drawing := plot.DRAWINGS.get(result.get("benchmark")):
            picture = file.with_suffix(".svg").read_text()
            assert picture == drawing(result), f"benches/compare/plot.py {file.name}"
            source, drawn = result["provenance"], drawn + 1
            assert source.get("date", "")[:10] in picture and source["cpu"] in picture and source["commit"] in picture
            assert all(f"{name} {version}" in picture for name, version in source.get("peers", {}).items())
    assert drawn >= 6


def test_a_library_that_cannot_be_installed_is_left_out(tmp_path, monkeypatch):
    import environment

    asked = []

    def install(names):
        asked.append(names)
        return "no such package" if "usearch" in names else None

    monkeypatch.setattr(environment, "PEERS", Path(sys.prefix))
    monkeypatch.setattr(environment, "installed", lambda name: None)
    monkeypatch.setattr(environment, "install", install)
    assert environment.enter("numpy", perhaps=["hnswlib", "usearch"]) == {"usearch": "no such package"}
    assert asked == [["numpy", "hnswlib", "usearch"], ["numpy"], ["hnswlib"], ["usearch"]]
    with pytest.raises(SystemExit, match="usearch cannot be installed"):
        environment.enter("usearch")

    import run

    monkeypatch.setattr(run, "enter", lambda *packages, perhaps: {"usearch": "no such package"})
    monkeypatch.setattr(run, "install_ours", lambda: None)
    monkeypatch.setattr(run, "DATA", tmp_path)
    monkeypatch.setattr(run, "subprocess", SimpleNamespace(run=lambda *arguments, **options: None))
    monkeypatch.setattr(sys, "argv", ["compare", "--engines", "stratavec,usearch-bf16", "--results", str(tmp_path)])
    compared = []

    def compare(given, names):
        compared.append(names)
        run.keep(given, "peers", "static_peers", {"data": "words"}, {"stratavec": {}}, [0, 0, 0])

    run.each(run.arguments("about", "words"), compare, ["stratavec", "usearch-bf16"])
    assert compared == [["stratavec"]]
    assert json.loads((tmp_path / "peers-words.json").read_text())["engines"]["usearch-bf16"] == {"failed": "it cannot be installed: no such package"}


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux does it")
def test_a_process_that_is_held_still_ends_with_its_parent(rows, tmp_path):
    np.save(tmp_path / "rows.npy", rows)
    np.save(tmp_path / "queries.npy", rows[:5])
    program = """
import os, signal, sys, environment, pathlib
environment.DATA = pathlib.Path(sys.argv[1])
import workers
workers.DATA = environment.DATA
worker = workers.Worker("stratavec", sys.argv[1], sys.argv[1] + "/idx")
assert worker.ask("start", tags=[0, 100], room=100), worker.failure
print(worker.process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": str(COMPARE)})
    assert done.returncode == -signal.SIGKILL, done.stderr
    held = Path(f"/proc/{int(done.stdout)}/stat")
    for _ in range(100):
        try:
            ended = held.read_text().rsplit(")", 1)[1].split()[0] == "Z"
        except OSError:
            ended = True
        if ended:
            return
        time.sleep(0.05)
    os.kill(int(done.stdout), signal.SIGKILL)
    raise AssertionError("it is still there")


def test_fewer_rows_than_are_asked_for_can_be_found_as_well(rows):
    from inputs import Live

    live = Live(rows, rows[:3])
    live.insert(range(4), range(4))
    assert live.recall([[0, 1, 2, 3]] * 3) == 1.0 and live.recall([[0, 1]] * 3) == pytest.approx(0.5)


@pytest.mark.parametrize("script", sorted(file.name for file in COMPARE.glob("*.py") if "main()" in file.read_text()))
def test_scripts_tell_what_they_are_for(script):
    done = subprocess.run([sys.executable, str(COMPARE / script), "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.startswith("usage:") and not done.stderr, done.stderr


def test_an_interrupt_ends_a_comparison_at_once(rows, tmp_path):
    np.save(tmp_path / "rows.npy", rows)
    np.save(tmp_path / "queries.npy", rows[:5])
    program = """
import os, pathlib, signal, sys, threading
import run, workers
folder = sys.argv.pop(1)
run.DATA = workers.DATA = pathlib.Path(folder)
run.enter, run.install_ours = lambda *packages, perhaps: {}, lambda: None

def compare(given, names):
    worker = workers.Worker("stratavec", folder, folder + "/idx")
    assert worker.ask("start", tags=[0, 100], room=100), worker.failure
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    worker.answer()  # It is held still and was asked nothing.

run.each(run.arguments("about", "words"), compare, ["stratavec"])
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=30, env={**os.environ, "PYTHONPATH": str(COMPARE)})
    assert done.returncode == 1 and done.stderr.strip() == "words: interrupted, nothing of it was written", done.stderr
