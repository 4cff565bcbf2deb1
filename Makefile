# `make help` lists the targets.
BIN     := bin/ostree-ext
# Without the tag, the program cannot judge images by the policy of the container tools, and refuses those that need it.
TAGS    := containers_image_openpgp
GOBUILD := CGO_ENABLED=0 go build -tags $(TAGS) -trimpath -ldflags '-s -w'

.PHONY: build demo test boot-test cosign-test quick fuzz lint fmt man help clean command-image frontend-image playground release publish release-test

build: ## the static program, in bin/
	$(GOBUILD) -o $(BIN) ./cmd/ostree-ext

demo: build ## a tree, a commit, an image, and back
	tools/demo $(BIN)

test: ## every test; installs what they need on Debian
	tools/setup-debian
	tools/test

boot-test: ## install, update and roll back a real system in QEMU; as root
	tools/setup-debian boot
	PATH="$$PATH:/usr/sbin:/sbin" go test -count=1 -timeout 60m -tags boot,$(TAGS) -v ./internal/e2e/boot

cosign-test: ## what the real cosign makes of what we sign, and the reverse; builds it, which takes minutes
	CGO_ENABLED=0 GOBIN='$(CURDIR)/bin' go install github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3
	COSIGN='$(CURDIR)/bin/cosign' go test -count=1 -tags cosign -run Cosign ./container/signer

quick: ## the tests that need neither root nor other programs
	go test ./...
	go test -tags $(TAGS) ./container/trust/...

fuzz: ## each fuzz target for a while: TIME=1h (default 6s), ONLY=PATTERN
	tools/fuzz '$(or $(TIME),6s)' '$(or $(ONLY),.)'

lint: ## gofmt, go vet, staticcheck and others: see .golangci.yml
	go tool -modfile=tools/lint/go.mod golangci-lint run

frontend-image: ## the image of the BuildKit frontend: PUSH=IMAGE, or LAYOUT=DIR
	@go run ./cmd/ostree-ext/image $(if $(PUSH),--push='$(PUSH)') $(if $(LAYOUT),--layout='$(LAYOUT)') $(if $(PLATFORM),--platform='$(PLATFORM)') frontend

command-image: ## the image of the command, which takes the place of chunkah's: PUSH=IMAGE, or LAYOUT=DIR
	@go run ./cmd/ostree-ext/image $(if $(PUSH),--push='$(PUSH)') $(if $(LAYOUT),--layout='$(LAYOUT)') $(if $(PLATFORM),--platform='$(PLATFORM)') command

release: ## a release of the tag of HEAD, or VERSION=v1.2.3, in dist/: ARCH=amd64,arm64 for some architectures
	@go run ./cmd/ostree-ext/release build $(if $(VERSION),--version='$(VERSION)') $(if $(ARCH),--arch='$(ARCH)') $(if $(DIST),--dist='$(DIST)')

publish: ## push the images of dist/: REGISTRY=ghcr.io/NAME, and SIGN=KEYFILE, or SIGN=keyless SIGNING_CONFIG=FILE
	@go run ./cmd/ostree-ext/release publish --registry='$(REGISTRY)' --sign='$(SIGN)' --signing-config='$(SIGNING_CONFIG)' $(if $(DIST),--dist='$(DIST)')

release-test: ## the tests of the release with all architectures, each compiled twice; as root, takes long
	tools/setup-debian
	PATH="$$PATH:/usr/sbin:/sbin" RELEASE_TEST=all go test -count=1 -timeout 120m -tags interop,$(TAGS) -v ./cmd/ostree-ext/release

playground: ## a throw-away BuildKit daemon and a registry, to try the frontend (as root)
	tools/playground

fmt: ## format the sources
	gofmt -w .

man: build ## manual pages, in bin/man
	$(BIN) man --directory bin/man

clean: ## remove what was built
	rm -rf bin dist

help: ## this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/' | sort
