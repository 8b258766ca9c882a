"""The environment in which peers run: made once, by package name, under target/ or where STRATAVEC_PEERS says."""

import hashlib
import importlib.metadata as metadata
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
PEERS = Path(os.environ.get("STRATAVEC_PEERS", TARGET / "peers"))
DATA = TARGET / "bench-data"


def enter(*packages):
    """Runs the calling script again in the environment, which is made, and completed, if packages are missing."""
    python = PEERS / "bin" / "python"
    if Path(sys.prefix).resolve() != PEERS.resolve():
        if not python.exists():
            subprocess.run([interpreter(), "-m", "venv", str(PEERS)], check=True)
        os.execv(python, [str(python), *sys.argv])
    missing = [name for name in packages if not installed(name)]
    if missing:
        subprocess.run([str(python), "-m", "pip", "-q", "install", *missing], check=True)


def interpreter():
    """This Python, or the system's if only that one lets SQLite load extensions."""
    able = "import sqlite3, venv, ensurepip; sqlite3.connect(':memory:').enable_load_extension(True)"
    for python in (sys.executable, "/usr/bin/python3"):
        if os.path.exists(python) and subprocess.run([python, "-c", able], capture_output=True).returncode == 0:
            return python
    return sys.executable


def install_ours():
    """Our package, built from the sources here, unless what is installed was built from the same."""
    note, sources = PEERS / "stratavec-sources", digest(OURS)
    if installed("stratavec") and note.exists() and note.read_text() == sources:
        return
    note.unlink(missing_ok=True)
    subprocess.run([sys.executable, "-m", "pip", "-q", "install", "--no-deps", "--force-reinstall", str(ROOT / "python")], check=True)
    note.write_text(sources)


#: What the package is built from.
OURS = ("engine/Cargo.toml", "engine/src", "python/Cargo.toml", "python/Cargo.lock", "python/pyproject.toml", "python/README.md", "python/src", "python/package", "Cargo.toml")


def digest(places, root=ROOT):
    """A hash of the names and contents of all files in some places."""
    whole = hashlib.sha256()
    for place in places:
        for file in sorted([root / place] if (root / place).is_file() else (root / place).rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                content = hashlib.sha256(file.read_bytes()).hexdigest()
                whole.update(f"{file.relative_to(root)} {content}\n".encode())
    return whole.hexdigest()


def installed(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def provenance(seed, *packages):
    """What a result was measured on, and how to measure it again."""
    with open("/proc/cpuinfo") as file:
        cpu = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), platform.machine())
    words = [Path(word).name if os.sep in word else word for word in sys.argv[1:]]
    return {"date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "cpu": cpu, "cores": os.cpu_count(), "seed": seed,
            "command": " ".join([Path(sys.argv[0]).name, *words]), "commit": revision(), "load": load(),
            "peers": {name: metadata.version(name) for name in packages}}


def revision(of="HEAD"):
    return subprocess.run(["git", "rev-parse", "--short", of], cwd=ROOT, capture_output=True, text=True).stdout.strip()


def load():
    return [round(x, 2) for x in os.getloadavg()]


def unpacked(package, path):
    """The folder at `path` of a Debian package: where it is installed, or else unpacked under target/, which needs no root."""
    for top in (Path("/"), DATA / package):
        if (top / path).exists():
            return top / path
    wish = f"install it by hand ('apt-get install {package}') or run this where apt-get can download it"
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        sys.exit(f"{package} is not there: {wish}")
    DATA.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["apt-get", "-q", "download", package], cwd=DATA, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{package} cannot be downloaded: {wish}\n{done.stderr.strip()}")
    archive = max(DATA.glob(f"{package}_*.deb"), key=lambda file: file.stat().st_mtime)
    subprocess.run(["dpkg-deb", "-x", str(archive), str(DATA / package)], check=True)
    archive.unlink()
    return DATA / package / path
