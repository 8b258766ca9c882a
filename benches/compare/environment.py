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


def enter(*packages, perhaps=()):
    """Runs the calling script again in the environment, which is made, and completed, if packages are missing. Those of `perhaps` that cannot be
    installed are what it returns, with the reason: one that is not made for this machine is no reason to measure nothing."""
    python = PEERS / "bin" / "python"
    if Path(sys.prefix).resolve() != PEERS.resolve():
        if not python.exists():
            subprocess.run([interpreter(), "-m", "venv", str(PEERS)], check=True)
        os.execv(python, [str(python), *sys.argv])
    missing = [name for name in (*packages, *perhaps) if not installed(name)]
    if not missing or install(missing) is None:
        return {}
    # All at once could not be had; so one after another.
    for name in packages:
        if not installed(name) and (why := install([name])):
            sys.exit(f"{name} cannot be installed, and nothing works without it: {why}")
    reasons = {name: install([name]) for name in perhaps if not installed(name)}
    return {name: why for name, why in reasons.items() if why}


def install(names):
    """Installs packages by name; the last thing that pip said if it cannot."""
    done = subprocess.run([sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", "install", *names], stderr=subprocess.PIPE, text=True)
    sys.stderr.write(done.stderr)
    words = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith(("[notice]", "WARNING"))]
    return None if done.returncode == 0 else (words[-1] if words else f"pip ended with {done.returncode}")[:200]


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
