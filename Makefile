# What people type here. `make` alone lists it.

CARGO ?= cargo
IMAGE ?= busybox:1.36
JOBDOCK = $(or $(CARGO_TARGET_DIR),target)/debug/jobdock

.PHONY: help demo test lint parity clients engines fuzz build bench image need-docker need-kubectl

help:
	@echo 'make demo    run examples/hello.yaml with Docker, from a fresh clone to its end'
	@echo 'make test    everything: formatting, lints, documentation, all tests (needs Docker and kubectl)'
	@echo 'make build   the optimised binary: target/release/jobdock'
	@echo 'make lint    formatting, lints and documentation only'
	@echo 'make parity  compare with the answers of a real API server and Job controller in tests/samples'
	@echo 'make clients run workflow engines, unmodified, against it: Airflow, Dagster, Prefect, Snakemake (some minutes)'
	@echo 'make fuzz    cargo-fuzz on all that reads what strangers send, FUZZ_SECONDS (60) each (needs cargo-fuzz)'
	@echo 'make engines run the tests that need an engine against newer Docker and podman (root, debootstrap; 15 minutes)'
	@echo 'make bench   measure against the bare engine, docker run and plain SQLite'
	@echo 'make image   make sure that the engine has the image of the examples ($(IMAGE))'

demo: need-docker image
	$(CARGO) build
	$(JOBDOCK) run --replace examples/hello.yaml

test: need-docker need-kubectl image lint
	$(CARGO) test

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --no-deps --document-private-items

parity:
	$(CARGO) test --test it -- --nocapture every_sample every_policy_sample

clients: need-docker
	$(CARGO) build
	tests/clients/engines

fuzz:
	tests/fuzz/run

engines:
	docker/engines/run

build:
	$(CARGO) build --release

bench: need-docker image
	$(CARGO) bench --bench peers

image: need-docker
	@docker/busybox/build $(IMAGE)

need-docker:
	@command -v docker >/dev/null || { \
		echo 'error: the docker command is missing: install it (Debian: apt-get install docker.io)' >&2; exit 1; }
	@docker version >/dev/null 2>&1 || { \
		echo 'error: the Docker engine does not answer: start it (systemctl start docker), or point DOCKER_HOST' >&2; \
		echo '       or a docker context at one that runs; `docker version` says what is wrong' >&2; exit 1; }

need-kubectl:
	@command -v kubectl >/dev/null || { \
		echo 'error: kubectl is missing: install it (Debian: apt-get install kubernetes-client)' >&2; exit 1; }
