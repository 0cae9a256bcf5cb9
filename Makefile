# Every command of the project. `make help` lists them.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

CARGO_TARGET_DIR ?= $(CURDIR)/target
export CARGO_TARGET_DIR
CRD := crds/taskqueues.taskqueue.dev.yaml
# What a cluster command needs in its environment: the tools, and the kubeconfig of our cluster
# unless CLUSTER=current names the one of KUBECONFIG.
IN_CLUSTER := eval "$$(hack/cluster/env)" &&
# Tests that need no cluster, and those that do. Both with the features of all crates, so that what they
# depend on is built once.
LOCAL := --workspace --exclude taskqueue-e2e --all-features
STORIES := --workspace --all-features --test stories
# How many of them run side by side: they mostly wait for servers, leases and one another.
THREADS := RUST_TEST_THREADS=$${RUST_TEST_THREADS:-$$((4 * $$(nproc)))}
# The libraries of other queue systems that the sources are tested beside.
SOURCES := $(notdir $(patsubst %/,%,$(wildcard sources/tests/peers/*/)))

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

##@ Everything

.PHONY: demo test
demo: ## Bring up a real cluster, install, run one task a file, watch it scale 0 → N → 0, check every result
	@hack/demo

test: ## Everything, to its end whatever fails: what CI runs; does its own set-up, root or CLUSTER=current needed
	@hack/test

##@ Without a cluster

.PHONY: deps-fast build fmt lint lint-format lint-clippy lint-scripts check-generated generate test-fast test-crates test-servers deny advisories test-chart test-alone
deps-fast:
	@hack/deps fast lint peers

build: ## Build all binaries for this machine
	@hack/deps build
	cargo build --workspace --bins

fmt: ## Format the code
	@hack/deps build
	cargo fmt --all

lint: lint-format lint-clippy lint-scripts ## Formatting, clippy, shellcheck

lint-format:
	@hack/deps lint
	cargo fmt --all --check

lint-clippy:
	@hack/deps lint
	cargo clippy --workspace --all-targets --all-features --locked -- -D warnings

lint-scripts:
	@hack/deps lint
	git ls-files -z hack .ci | xargs -0 grep -lZ '^#!/usr/bin/env bash' | xargs -0 shellcheck -x

generate: ## Write what is generated: the CRD, the chart's copy of it, the chart's value table
	@hack/deps build jq
	cargo run --quiet --locked --bin taskqueue-operator -- crd > $(CRD).new
	mv $(CRD).new $(CRD)
	hack/chart/sync
	hack/chart/docs

check-generated: ## Fail when a generated part of the chart has drifted; a test of the operator looks after the CRD
	@hack/deps jq
	@hack/chart/sync --check
	@hack/chart/docs --check

test-fast: deps-fast lint check-generated test-crates ## Lints, drift checks, unit, property, Redis and mock API server tests: no root, no cluster

# What the tests of sources run beside is installed before them: a test waits for a program, not for a registry.
test-crates:
	@hack/deps fast peers
	@hack/peers sources/tests/peers $(SOURCES) >/dev/null
	$(THREADS) cargo test $(LOCAL) --locked --no-fail-fast

test-servers: ## The tests of engine, sources and worker beside Valkey 9, Redis 8 and 7.2: SERVERS="valkey-9.1.2 redis-7.2.4"
	@$(THREADS) hack/test-servers $(SERVERS)

deny: ## Licences, bans and sources of the dependencies
	@hack/deps build
	$$(hack/cargo-tool cargo-deny 0.20.2) --workspace --all-features check licenses bans sources

advisories: ## Known vulnerabilities of the dependencies (needs a network)
	@hack/deps build
	$$(hack/cargo-tool cargo-deny 0.20.2) --workspace --all-features check advisories

test-chart: ## Lint and template checks of the chart
	@hack/deps chart
	hack/chart/test

test-alone: ## tq, what reads manifests, and the operator's rights beside an API server alone: no root, no cluster
	@hack/deps fast
	hack/tools/build etcd kube-apiserver kubectl helm
	cargo build --locked --workspace --all-features --bin tq --bin taskqueue-operator
	PATH="$$(hack/tools/bin-dir):$$PATH" TQ="$$CARGO_TARGET_DIR/debug/tq" OPERATOR="$$CARGO_TARGET_DIR/debug/taskqueue-operator" \
	  cargo test --workspace --all-features --test alone --locked

# The build to upgrade from: a commit of this repository.
OLD ?= 32c1038
.PHONY: test-upgrade
test-upgrade: ## A build of before (OLD=COMMIT) and this one on the same queues, as in a rolling upgrade, some three minutes
	@hack/deps fast
	@old=$$(hack/build-of $(OLD) tq taskqueue-worker); \
	  cargo build --locked --bin tq --bin taskqueue-worker; \
	  OLD="$$old" NEW="$$CARGO_TARGET_DIR/debug" cargo test --locked --package taskqueue-e2e --test upgrade -- --nocapture

##@ The cluster (CLUSTER=current uses the one of KUBECONFIG)

.PHONY: cluster-up cluster-down images install test-cluster
cluster-up: ## Bring up the real single-node cluster on this machine
	@hack/cluster/up

cluster-down: ## Take it down
	@hack/cluster/down

images: cluster-up ## Build the images and load them into the cluster
	@hack/images

install: images ## Install the chart with the images built here
	@$(IN_CLUSTER) hack/install

test-cluster: images ## Real API server and real pods: the stories and the chart's installation
	@hack/deps peers
	@hack/images peers sigquit
	$(IN_CLUSTER) export TQ=$$(hack/static-build tq) RUST_BACKTRACE=0; \
	  failed=; \
	  if cargo test $(STORIES) --locked --no-run && hack/install --timeout 8m; then \
	    cargo test $(STORIES) --locked -- --test-threads 4 || failed=stories; \
	    hack/chart/test-cluster || failed+=" chart"; \
	  else failed=install; fi; \
	  [[ -z $$failed ]] || { hack/cluster/report; exit 1; }

##@ Measurements

# Knobs of `make bench`: ROUNDS=1 PEERS=ours,bullmq TASKS=10000; the document is written by a whole run.
ROUNDS ?= 3
TASKS ?= 100000
PEERS ?= ours,bare,bullmq,asynq,celery,apalis
comma := ,
RIVALS = $(filter-out ours bare,$(subst $(comma), ,$(PEERS)))
BENCH_OUTPUT ?= $(if $(filter 3/100000/ours$(comma)bare$(comma)bullmq$(comma)asynq$(comma)celery$(comma)apalis,$(ROUNDS)/$(TASKS)/$(PEERS)),docs/bench-queue.md)

.PHONY: bench bench-wake bench-memory bench-failover
bench: ## The queue beside BullMQ, asynq, Celery, apalis and bare Redis: one table, some 15 minutes
	@hack/deps bench
	@cache=$$(hack/peers bench/peers $(RIVALS)); \
	  cargo build --quiet --release --locked --package taskqueue-bench --no-default-features --bins; \
	  cargo build --quiet --release --locked --package taskqueue-worker; \
	  "$$CARGO_TARGET_DIR/release/peers" --worker "$$CARGO_TARGET_DIR/release/taskqueue-worker" --cache "$$cache" \
	    --rounds $(ROUNDS) --peers $(PEERS) --tasks $(TASKS) $(if $(BENCH_OUTPUT),--output $(BENCH_OUTPUT))

.PHONY: bench-before
bench-before: ## This build beside an earlier one (OLD=COMMIT), 15 rounds in pairs, some twenty minutes: docs/bench-before.md
	@hack/deps bench
	@before=$$(hack/build-of $(OLD) --release peer-ours taskqueue-worker); \
	  cargo build --quiet --release --locked --package taskqueue-bench --no-default-features --bins; \
	  cargo build --quiet --release --locked --package taskqueue-worker; \
	  "$$CARGO_TARGET_DIR/release/peers" --worker "$$CARGO_TARGET_DIR/release/taskqueue-worker" --before "$$before" --cache /none \
	    --rounds $(if $(filter file,$(origin ROUNDS)),15,$(ROUNDS)) --peers ours,before --tasks $(TASKS) --output docs/bench-before.md

# An API server alone, no root and no cluster: its tools in PATH, and the operator to measure.
ALONE = hack/deps fast go && hack/tools/build etcd kube-apiserver && \
  cargo build --quiet --release --locked --package taskqueue-operator && \
  PATH="$$(hack/tools/bin-dir):$$PATH" OPERATOR="$$CARGO_TARGET_DIR/release/taskqueue-operator" \
  cargo run --quiet --release --locked --package taskqueue-bench --bin

bench-wake: ## From zero to N in one write, with 1, 100 and 1,000 TaskQueues on an API server alone, some fifteen minutes
	@$(ALONE) wake -- --output docs/bench-wake.md

bench-memory: ## Memory, CPU and writes of the operator with 1, 1,000 and 10,000 TaskQueues, some twelve minutes
	@$(ALONE) memory -- --output docs/bench-memory.md

bench-failover: ## How long tasks wait for workers when the leader is killed, on an API server alone
	@$(ALONE) failover

# Knobs of `make bench-siege`: SIEGE="--seconds 60 --each 0 --alone 30"; the document is written by a whole run.
SIEGE ?=
.PHONY: bench-siege
bench-siege: ## Whether a hostile tenant harms honest queues or the operator: attackers one by one, then all; half an hour
	@$(ALONE) siege -- $(or $(SIEGE),--output docs/bench-siege.md)

.PHONY: bench-scale-in
bench-scale-in: install ## Whether scaling in interrupts tasks: 1,000 scale-ins of 20 queues under load, pods simulated
	@$(IN_CLUSTER) cargo run --quiet --locked --package taskqueue-bench --bin scale-in -- --output docs/bench-scale-in.md

.PHONY: bench-handlers
bench-handlers: ## What each handler costs a task, and an idle worker, some eight minutes
	@hack/deps fast
	@cargo build --quiet --release --locked --package taskqueue-bench --no-default-features --bins
	@cargo build --quiet --release --locked --package taskqueue-worker
	@"$$CARGO_TARGET_DIR/release/handlers" --worker "$$CARGO_TARGET_DIR/release/taskqueue-worker" --output docs/bench-handlers.md

.PHONY: bench-backlog
bench-backlog: ## The same work in front of 10,000 and of 1,000,000 waiting tasks, some two minutes
	@hack/deps fast
	cargo run --quiet --release --locked --package taskqueue-bench --no-default-features --bin backlog -- docs/bench-backlog.md

.PHONY: bench-listing
bench-listing: ## Listings of 1,000,000 tasks by every filter while workers drain them, some three minutes
	@hack/deps fast
	cargo run --quiet --release --locked --package taskqueue-bench --no-default-features --bin listing -- docs/bench-listing.md

.PHONY: bench-traces
bench-traces: ## Traces of demand under our targets and under KEDA with the HPA, played in a model: docs/bench-scaling.md
	@hack/deps build
	cargo run --quiet --locked --package taskqueue-bench --no-default-features --bin traces -- docs/bench-scaling.md
