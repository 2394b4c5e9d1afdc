# make check is what CI runs. Everything is an ordinary go command; this file names them.
GO ?= go
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
# Packages that do not import the embedded servers: their tests run under the race detector in minutes.
RACE = $(shell $(GO) list -f '{{if not (or (eq .ImportPath "github.com/grouse-rl/grouse/cmd/grouse") (eq .ImportPath "github.com/grouse-rl/grouse/internal/devserver") (eq .ImportPath "github.com/grouse-rl/grouse/internal/e2e"))}}{{.ImportPath}}{{end}}' ./...)

.PHONY: check fmt vet staticcheck workflowcheck test race emu asan build cuda cuda-headers cuda-check ptx gpu-check release golden bench fuzz clean

check: fmt vet staticcheck workflowcheck test race emu

fmt:
	@out=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "not gofmt-ed: $$out"; exit 1; }
vet:
	$(GO) vet ./...
staticcheck:
	$(GO) run $(STATICCHECK) ./...
workflowcheck:
	$(GO) tool workflowcheck ./workflows/...
test:
	$(GO) test ./...
race:
	$(GO) test -race $(RACE)

# The CUDA device on the processor: needs g++, no GPU. asan: the same under AddressSanitizer.
emu:
	CGO_ENABLED=1 $(GO) vet -tags emu ./internal/tensor/cuda/...
	CGO_ENABLED=1 $(GO) run $(STATICCHECK) -tags emu ./internal/tensor/cuda/...
	CGO_ENABLED=1 $(GO) test -tags emu ./internal/tensor/cuda/...
asan:
	scripts/cuda/asan.sh

build:
	CGO_ENABLED=0 $(GO) build -o grouse ./cmd/grouse

# One binary for processor and GPU (linux/amd64, gcc; no CUDA toolkit): docs/cuda.md.
CUDA_ENV = CGO_ENABLED=1 CGO_CFLAGS="-O2 -I$(CURDIR)/build/include"
CUDA_PACKAGES = ./internal/cudashim/... ./internal/tensor/cuda/... ./internal/tensor/devices ./internal/worker
cuda: cuda-headers
	$(CUDA_ENV) $(GO) build -tags cuda -o grouse ./cmd/grouse
cuda-headers:
	GO=$(GO) scripts/cuda/headers.sh
# What can be checked of it without a GPU.
cuda-check: cuda-headers
	$(CUDA_ENV) $(GO) vet -tags cuda $(CUDA_PACKAGES) ./cmd/grouse
	$(CUDA_ENV) $(GO) test -tags cuda $(CUDA_PACKAGES)
	$(CUDA_ENV) $(GO) test -tags cuda -run Doctor ./cmd/grouse
ptx:
	$(GO) generate ./internal/tensor/cuda/kernels/ptx
# Packs .gpu/, to be taken to a machine with a GPU: .gpu/check.sh there.
gpu-check: cuda-headers
	mkdir -p .gpu
	$(CUDA_ENV) $(GO) build -tags cuda -trimpath -ldflags "-s -w" -o .gpu/grouse ./cmd/grouse
	$(CUDA_ENV) $(GO) build -tags cuda -trimpath -ldflags "-s -w" -o .gpu/gpucheck ./scripts/cuda/gpucheck
	$(CUDA_ENV) $(GO) test -c -tags cuda -trimpath -ldflags "-s -w" -o .gpu/suite ./internal/tensor/devices
	gzip -nf9 .gpu/grouse .gpu/gpucheck .gpu/suite
	cp scripts/cuda/check.sh scripts/cuda/gpucheck/gpucheck.py .gpu/
	du -sh .gpu

# Static binaries and a Python wheel, in dist/.
VERSION ?= 0.1.0
release:
	scripts/release.sh $(VERSION)

# Golden numbers from torch, transformers, TRL, tokenizers: see scripts/golden.
PYTHON ?= python3
golden:
	for f in scripts/golden/*.py; do $(PYTHON) $$f || exit 1; done

bench:
	$(GO) test -run xxx -bench . ./internal/tensor/cpu
fuzz:
	scripts/fuzz.sh
clean:
	rm -rf dist grouse build .gpu
