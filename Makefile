# Everything a newcomer needs is `make demo`; everything a developer needs is `make help`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
STUBS := framemesh/v1 framemesh/oip
PUBLISHED := protos/published.binpb
IMAGES := gateway archiver ingest model-server exporter trainer deployer console
VERSION = $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
BUILDER ?= $(firstword $(foreach one,docker podman buildah,$(shell $(one) info >/dev/null 2>&1 && echo $(one))))
PIP_FLAGS := --quiet --disable-pip-version-check --no-compile -c constraints.txt
PIPELINE := storing outage fanout latency isolation replay tracing

# protoc looks for its plugins on the path.
export PATH := $(abspath $(BIN)):$(PATH)

.DEFAULT_GOAL := help

.PHONY: help
help: ## print this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1\t\2/' | expand -t 12

.PHONY: demo
demo: $(READY) ## run three cameras, the lake and two ImageNet models on this machine, until Ctrl-C
	$(BIN)/framemesh up $(UP)

.PHONY: test
test: $(READY) ## run the tests, against real NATS, S3 and gRPC servers
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(TESTS)

.PHONY: soak
soak: $(READY) ## put 200 random faults on a mesh and 5 on cameras, then count the stores; takes a quarter of an hour
	FRAMEMESH_FAULTS=200 FRAMEMESH_CAMERA_SECONDS=180 $(BIN)/python -m pytest -s tests/faults

.PHONY: rollouts
rollouts: $(READY) ## put 10,000 calls on a model that is scaled and replaced, and kill deployers at every step
	FRAMEMESH_ROLLOUT_CALLS=10000 $(BIN)/python -m pytest -s tests/deployer/test_local.py tests/deployer/test_killed.py \
	  -k 'while_models or killed'

.PHONY: alerts
alerts: $(READY) ## cause the fault of every alert for real, and see that none fires in ten healthy minutes; takes half an hour
	FRAMEMESH_ALERTS=all FRAMEMESH_HEALTHY_SECONDS=600 $(BIN)/python -m pytest -s tests/observability/test_faults.py

.PHONY: train-circle
train-circle: $(READY) ## go from stored frames to a fine-tuned model in service, at full size; takes ten minutes
	FRAMEMESH_CIRCLE=1 $(BIN)/python -m pytest -s tests/deployer/test_circle.py

.PHONY: lint
lint: $(READY) ## check style, types, import rules, the protos, and that the stubs are theirs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint protos
	$(BIN)/buf breaking protos --against $(PUBLISHED)
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && $(call generate,$$fresh) && \
	  for stubs in $(STUBS); do diff -r -x __init__.py -x __pycache__ $$fresh/$$stubs $$stubs || differ=1; done && \
	  test -z "$$differ" || \
	  { echo 'the stubs differ from the protos: run `make protos` and commit'; exit 1; }

.PHONY: protos
protos: $(READY) ## generate the stubs, once the protos are found compatible with what was published
	$(BIN)/buf lint protos
	$(BIN)/buf breaking protos --against $(PUBLISHED)
	$(call generate,.)
	$(BIN)/buf build protos -o $(PUBLISHED)

.PHONY: dashboards
dashboards: $(READY) ## write Grafana's dashboards from k8s/dashboards
	$(BIN)/python -m k8s.dashboards

.PHONY: bench
bench: $(READY) ## measure the pipeline, cameras, datasets and serving beside what others have; takes over an hour
	for part in $(PIPELINE); do $(BIN)/python -m benchmarks.pipeline.$$part || exit; done
	$(BIN)/python -m benchmarks.ingest
	$(BIN)/python -m benchmarks.datasets
	$(BIN)/python -m benchmarks.serving
	$(BIN)/python -m benchmarks.serving.endurance

.PHONY: images
images: ## build every service's image with docker, podman or buildah, whichever works here
	@test -n '$(BUILDER)' || { echo 'no container builder works here: start docker, or install podman or buildah'; exit 1; }
	for image in $(IMAGES); do \
	  $(BUILDER) build --target $$image --tag framemesh-$$image:$(VERSION) --build-arg VERSION=$(VERSION) \
	    --build-arg REVISION=$(shell git rev-parse HEAD) . || exit; done

.PHONY: secrets
secrets: ## make up a mesh's passwords in the cluster that kubectl is set to; SECRETS='--lake external' for your own S3
	$(PYTHON) k8s/make_secrets.py $(SECRETS) | kubectl create -f -

generate = $(BIN)/python -m grpc_tools.protoc -Iprotos --python_out=$(1) --mypy_out=quiet,readable_stubs:$(1) \
	  protos/framemesh/*/*.proto && \
	$(BIN)/python -m grpc_tools.protoc -Iprotos --grpc_python_out=$(1) --mypy_grpc_out=quiet:$(1) \
	  protos/framemesh/*/*_service.proto

# torch first and pinned: left to itself, pip may take a build of several GB for another one. Nothing is compiled ahead:
# what is used is, when it is first imported.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'framemesh needs Python 3.11 or newer: make PYTHON=python3.11 ...'; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install $(PIP_FLAGS) torch
	$(BIN)/pip install $(PIP_FLAGS) -e '.[all,dev]'
	@touch $@
