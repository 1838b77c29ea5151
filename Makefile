# What one does with wabridge. `make` alone says what there is.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
N        ?= 100
FUZZTIME ?= 30s

GOLANGCI_VERSION := v2.15.0
TOOLS    ?= .tools
GOLANGCI := $(TOOLS)/golangci-lint-$(GOLANGCI_VERSION)
NODE_PLUGIN := $(TOOLS)/plugin-node/node_modules/.package-lock.json
# A plugin in Python is tested with the system's.
PYTHON_NEEDS := python3-grpcio python3-protobuf python3-cryptography
PYTHON_READY := /usr/bin/python3 -c 'import grpc, google.protobuf, cryptography'
TSC      := $(TOOLS)/typescript/node_modules/.package-lock.json

.PHONY: help
help: ## say what there is
	@echo "wabridge $(VERSION)"
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F '|' '{ printf "%-18s%s\n", $$1, $$2 }'

.PHONY: build
build: tools ## build bin/wabridge
	$(GO) build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/wabridge ./cmd/wabridge

.PHONY: demo
demo: build ## a bridge, WhatsApp and CRMs imitated, and traffic, in this terminal
	bin/wabridge demo

.PHONY: test
test: tools python $(TSC) $(NODE_PLUGIN) ## all tests
	$(GO) test -timeout 30m ./...

.PHONY: check
check: tools python $(TSC) $(NODE_PLUGIN) fmt-check lint generate-check tidy-check ## all that CI asks of the code, tests with -race among it
	$(GO) test -race -vet=off -timeout 30m ./...

.PHONY: fmt
fmt: ## format the code
	gofmt -w $$(git ls-files -co --exclude-standard '*.go')

.PHONY: fmt-check
fmt-check:
	@bad=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); \
	if [ -n "$$bad" ]; then echo "not formatted (make fmt):"; echo "$$bad"; exit 1; fi

.PHONY: lint
lint: $(GOLANGCI) ## golangci-lint, with the rules of .golangci.yml, go vet's among them
	$(GOLANGCI) run ./...

# The linter is a tool, not a dependency: it stays out of go.mod.
$(GOLANGCI):
	@echo "building golangci-lint $(GOLANGCI_VERSION), once; this takes a few minutes"
	mkdir -p $(TOOLS)
	GOBIN=$$(cd $(TOOLS) && pwd) GOFLAGS= $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)
	mv $(TOOLS)/golangci-lint $@

# So is the TypeScript compiler, by which tests read the types that are generated.
$(TSC): core/declare/typescript/package-lock.json
	@command -v npm >/dev/null || { echo "npm is missing: it comes with Node, https://nodejs.org, 20 or newer"; exit 1; }
	mkdir -p $(TOOLS)/typescript
	cp core/declare/typescript/package.json core/declare/typescript/package-lock.json $(TOOLS)/typescript/
	npm ci --prefix $(TOOLS)/typescript --ignore-scripts --no-audit --no-fund --silent
	touch $@

# And the packages of a plugin in JavaScript.
$(NODE_PLUGIN): cmd/wabridge/starter/plugin/node/package-lock.json
	@command -v npm >/dev/null || { echo "npm is missing: it comes with Node, https://nodejs.org, 20.3 or newer"; exit 1; }
	mkdir -p $(TOOLS)/plugin-node
	cp cmd/wabridge/starter/plugin/node/package.json cmd/wabridge/starter/plugin/node/package-lock.json $(TOOLS)/plugin-node/
	npm ci --prefix $(TOOLS)/plugin-node --ignore-scripts --no-audit --no-fund --silent
	touch $@

.PHONY: node
node: $(NODE_PLUGIN) ## install the packages of plugins in JavaScript into .tools

.PHONY: typescript
typescript: $(TSC) ## install the TypeScript compiler of the tests into .tools

# And so are the vendors' own clients, which the imitations are tested with.
SDK := $(TOOLS)/sdk/node_modules/.package-lock.json
$(SDK): core/app/sdk/package-lock.json
	@command -v npm >/dev/null || { echo "npm is missing: it comes with Node, https://nodejs.org, 20 or newer"; exit 1; }
	mkdir -p $(TOOLS)/sdk
	cp core/app/sdk/package.json core/app/sdk/package-lock.json $(TOOLS)/sdk/
	npm ci --prefix $(TOOLS)/sdk --ignore-scripts --no-audit --no-fund --silent
	touch $@

POCKETBASE := $(TOOLS)/pocketbase
$(POCKETBASE): plugins/custom-http/examples/pocketbase/server/go.mod plugins/custom-http/examples/pocketbase/server/main.go
	cd plugins/custom-http/examples/pocketbase/server && $(GO) build -trimpath -o $(abspath $@) .

.PHONY: sdk
sdk: tools $(SDK) $(POCKETBASE) ## the vendors' own clients against their imitations, custom-http against a real server
	$(GO) test ./core/app/sdk -sdk.clients=$(abspath $(TOOLS)/sdk/node_modules) -count=1 -v
	$(GO) test ./plugins/custom-http -run PocketBase -pocketbase=$(abspath $(POCKETBASE)) -count=1 -v

.PHONY: generate
generate: ## write the generated code anew
	$(GO) generate ./...

.PHONY: generate-check
generate-check:
	@sums() { git ls-files -zco --exclude-standard | xargs -0 sha256sum 2>/dev/null || true; }; \
	before=$$(sums); $(GO) generate ./...; \
	if ! diff <(echo "$$before") <(sums); then echo "generated code was out of date (make generate, then commit)"; exit 1; fi

.PHONY: tidy-check
tidy-check:
	$(GO) mod tidy -diff
	$(GO) mod verify

.PHONY: crash
crash: tools ## kill the whole bridge under load, N=100 times, and count what is lost (nothing) or doubled
	$(GO) test ./core/app/crashtest -run Crash -crash.n=$(N) -count=1 -v -timeout 60m

.PHONY: orphans
orphans: tools python ## kill the bridge N=500 times and count what it started and did not end (nothing)
	$(GO) test ./core/app/crashtest -run KilledBridgeLeavesNoProcess -orphans.n=$(N) -count=1 -v -timeout 60m

.PHONY: swaps
swaps: tools python ## replace a plugin under load, N=200 times, and count what is lost (nothing) or doubled
	$(GO) test ./core/app/crashtest -run SwappedPlugin -swaps.n=$(N) -count=1 -v -timeout 60m

.PHONY: scenario
scenario: tools ## N=500 customers for each CRM while everything misbehaves; then all must be equal
	$(GO) test ./core/app/scenario -run Scenario -scenario.n=$(N) -count=1 -v -timeout 30m

.PHONY: bench
bench: build ## how fast the whole bridge is; BENCH="-only at-83" for one measurement
	$(GO) build -trimpath -o bin/bench ./core/app/bench
	bin/bench -bin bin/wabridge -profile bin/bench.prof $(BENCH)
	$(GO) tool pprof -top -cum -nodecount=40 bin/wabridge bin/bench.prof

.PHONY: bench-diff
bench-diff: build ## how fast recorded traffic is decided again; BENCH="-decisions 100000" for less of it
	$(GO) build -trimpath -o bin/bench ./core/app/bench
	bin/bench -bin bin/wabridge -only script-diff $(BENCH)

.PHONY: microbench
microbench: tools ## how fast its parts are
	$(GO) test -run '^$$' -bench . -benchmem ./...

.PHONY: fuzz
fuzz: tools ## run every fuzz target for FUZZTIME=30s
	@git grep -ohE --untracked '^func Fuzz[A-Za-z0-9_]+' -- '*_test.go' >/dev/null || { echo "no fuzz targets"; exit 0; }; \
	for file in $$(git grep -lE --untracked '^func Fuzz' -- '*_test.go'); do \
	  for target in $$(grep -oE '^func Fuzz[A-Za-z0-9_]+' $$file | cut -d' ' -f2); do \
	    echo "== $$target in $$(dirname $$file)"; \
	    $(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) ./$$(dirname $$file); \
	  done; \
	done

.PHONY: clean
clean: ## remove what was built (not .tools)
	rm -rf bin

# Say what is missing before anything fails for a stranger reason.
.PHONY: tools
tools:
	@command -v git >/dev/null || { echo "git is missing"; exit 1; }
	@command -v $(GO) >/dev/null || { echo "Go is missing: https://go.dev/dl, 1.26 or newer"; exit 1; }
	@$(GO) list -m >/dev/null || { echo "this Go is too old for go.mod"; exit 1; }

.PHONY: python
python: ## see to it that plugins in Python can be tested
	@$(PYTHON_READY) 2>/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && \
	  apt-get install -y --no-install-recommends $(PYTHON_NEEDS) >/dev/null && $(PYTHON_READY); } || \
	  { echo "plugins in Python are tested with Debian's python3 and its packages: install $(PYTHON_NEEDS)"; exit 1; }
