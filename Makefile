# Everything a newcomer needs is `make demo` and `make test`. Needed: a Rust toolchain (1.90 or later), Python 3.10 or later, gcc, make.

CARGO   ?= cargo
# Seconds for each fuzz target.
SECONDS ?= 60
# Where `make demo` puts its collection.
DEMO    ?= demo-collection

.PHONY: help demo test lint fmt bench bench-compare fuzz sanitize soak doc clean

help:
	@echo "make demo    the main job on real input: durable import, search, kill -9, verify (under 3 minutes with the build)"
	@echo "make test    all tests, the documentation's programs, the format's independent reader and the Python package"
	@echo "make lint    formatting, clippy and rustdoc, warnings are errors"
	@echo "make fmt     formats the sources"
	@echo "make bench   benchmarks; results as JSON in benches/results/"
	@echo "make bench-compare  beside eleven other libraries, which it installs: searches, streams, ingest, kill -9 (an hour)"
	@echo "make fuzz    every fuzz target for SECONDS seconds each (default 60; needs a nightly toolchain)"
	@echo "make sanitize  kernels, formats, indexes and files under AddressSanitizer (needs a nightly toolchain)"
	@echo "make soak    the long durability runs: 10,000 kills and the rest"
	@echo "make doc     the API documentation, in target/doc/stratavec/"

demo:
	$(CARGO) run --release --locked -p stratavec-cli --bin stratavec -- demo --dir $(DEMO)

test:
	@tests/run

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --workspace --no-deps --lib
	$(CARGO) fmt --manifest-path python/Cargo.toml --check
	CARGO_TARGET_DIR=$${CARGO_TARGET_DIR:-target/python} $(CARGO) clippy --locked --manifest-path python/Cargo.toml --all-targets -- -D warnings

fmt:
	$(CARGO) fmt --all
	$(CARGO) fmt --manifest-path python/Cargo.toml

bench:
	@benches/run

bench-compare:
	python3 benches/compare/static_peers.py
	python3 benches/compare/stream_peers.py
	python3 benches/compare/ingest_peers.py
	python3 benches/compare/runbook_peers.py
	python3 benches/compare/kill_peers.py
	python3 benches/compare/losses.py README.md

fuzz:
	@fuzz/run $(SECONDS)

# Target directory of its own: everything is compiled with checks. The standard library is not, but what it allocates is watched.
sanitize:
	RUSTFLAGS=-Zsanitizer=address CARGO_TARGET_DIR=target/sanitize $(CARGO) +nightly test --locked -p stratavec --lib \
		--target $$(rustc -vV | sed -n 's/^host: //p') -- kernel:: format:: index:: segment:: storage::

soak:
	@tests/run soak

doc:
	$(CARGO) doc --locked --no-deps -p stratavec
	@echo "open target/doc/stratavec/index.html"

clean:
	$(CARGO) clean
	rm -rf .venv python/.venv
