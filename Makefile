# The one door to the project: `make help` lists what it opens.

PYTHON ?= python3
CARGO ?= cargo
SERVERS := $(PYTHON) deploy/dev/servers.py
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
RELEASE := $(TARGET_DIR)/release/tripsage
MODEL_DIR := $(CURDIR)/.dev/models/wordllama-256
# The embedding model that needs no key and no network at run time; what the environment says comes first.
EMBEDDER := TRIPSAGE_MEM0_EMBEDDER=$${TRIPSAGE_MEM0_EMBEDDER:-local} \
	TRIPSAGE_MEM0_LOCAL_MODEL_PATH=$${TRIPSAGE_MEM0_LOCAL_MODEL_PATH:-$(MODEL_DIR)}

.DEFAULT_GOAL := help
.PHONY: help demo up down status test chaos lint bench fmt docs clients model release clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: release model ## jobs of all three kinds on real data, from submission to completion; stops what it started
	@$(EMBEDDER) $(SERVERS) run -- sh -c '"$(RELEASE)" migrate && exec "$(RELEASE)" demo'

up: release model ## servers, database and two workers, left running
	@$(SERVERS) up
	@$(EMBEDDER) $(SERVERS) run -- "$(RELEASE)" migrate
	@for n in 1 2; do $(EMBEDDER) $(SERVERS) spawn worker-$$n -- "$(RELEASE)" worker --port '{port}' || exit 1; done
	@echo 'Addresses for your shell: eval "$$($(SERVERS) env)"; stop with `make down`.'

down: ## stop what `make up` started: the workers drain first
	@$(SERVERS) down

status: ## what `make up` left running
	@$(SERVERS) status

test: model clients ## every test, against servers brought up for it
	$(PYTHON) -m unittest discover -q -s deploy/dev
	$(CARGO) build --workspace --all-targets --locked
	@TRIPSAGE_TEST_MODEL_DIR="$(MODEL_DIR)" $(SERVERS) run --redis-cluster -- \
		sh -c '$(CARGO) test --workspace --locked --doc && $(CARGO) test --workspace --locked --tests'

chaos: ## every fault under load, counting what is lost or doubled; RUNS=n repeats, QUICK=1 is short, ARGS="name …" picks
	$(CARGO) build --release --locked -p tripsage-tests --bins
	@$(SERVERS) run -- "$(TARGET_DIR)/release/chaos" $(if $(RUNS),--runs $(RUNS)) $(if $(QUICK),--quick) $(ARGS)

lint: ## format, clippy, documentation, dependencies, scripts; warnings are errors
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked
	$(PYTHON) -m py_compile deploy/dev/*.py
	$(PYTHON) deploy/dev/deny.py
	@if docker compose version >/dev/null 2>&1; then docker compose -f docker-compose.yml -f deploy/dev/compose.ports.yml config --quiet; \
	else echo "· docker-compose.yml not checked: no Docker compose on this machine"; fi

bench: ## jobs per second with a committed result each, beside the servers' own limits and other job systems
	$(CARGO) build --profile dist --locked -p tripsage-benches --bin throughput
	@TRIPSAGE_BENCH_PEERS="$$($(PYTHON) deploy/dev/peers.py $(NAMES))" $(SERVERS) run -- \
		$(CARGO) run --profile dist --locked -p tripsage-benches --bin throughput -- $(NAMES) $(if $(WRITE_DOCS),--write-docs)

fmt: ## format the code
	$(CARGO) fmt --all

docs: ## write anew what is made from the code: schemas, tables, the code map
	UPDATE=1 $(CARGO) test --quiet --locked -p tripsage-tests --test it docs::generated

clients: ## install what the README's examples need, for the tests that run them
	@$(PYTHON) deploy/dev/clients.py >/dev/null

model: ## fetch the local embedding model into .dev
	@$(PYTHON) deploy/dev/model.py >/dev/null

release: ## the release build of the service
	$(CARGO) build --release --locked -p tripsage-workers --bin tripsage

clean: ## stop everything; remove .dev and the build
	@$(SERVERS) clean
	$(CARGO) clean
