# The commands of this project. `make demo` builds and runs the main job; `make test` runs all tests.

GO      ?= go
PYTHON  ?= python3
BIN     := bin/wattshed
ASSETS  ?= assets
FUZZ    ?= 20000x
STRESS  ?= 1000000
CHROMIUM ?= /usr/lib/chromium
CHROME  ?= chromium
CORPUS  := testdata/conformance/onnx-node-1.23.2.tgz
SCORE   := $(GO) run ./internal/conformance/score

# TRAIN are the settings of the built-in model.
TRAIN := --arch lstm --embedding 64 --hidden 128 --pooling max --vocabulary 10000 --max-length 128 --epochs 6 --batch 32 \
  --learning-rate 0.001 --weight-decay 0.01 --word-dropout 0.3 --seed 1

# STATICCHECK is the pinned linter; it is installed into TOOLS where it is missing.
TOOLS       ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/wattshed-tools
STATICCHECK := $(TOOLS)/staticcheck-v0.7.0/staticcheck

# COMMIT is what results are said to be made by: the commit, marked where tracked files differ from it; empty outside a repository.
COMMIT = $(shell rev=$$(git rev-parse HEAD 2>/dev/null) && { git diff --quiet HEAD -- && echo $$rev || echo $$rev+changes; })

# QUANTIZATION is a Python environment with onnxruntime.quantization, to compare with; it is made where it is missing.
QUANTIZATION := $(TOOLS)/quantization-1.32.0

.PHONY: help demo build test test-all test-kill test-arm test-emulated stress webgpu test-quantize accuracy bench-quantize gallery-minilm gallery-pp-lcnet gallery-silero bench bench-engine bench-readme bench-kernels generate generate-check students assets conformance conformance-readme conformance-long fuzz lint testdata gallery calibrate calibrate-real clean
.DEFAULT_GOAL := help

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1 \t\2/p' Makefile | expand -t 30

demo: build ## build, then compress and measure the built-in model (offline, a few minutes)
	$(BIN) demo

build: ## the program, as one file: bin/wattshed
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.commit=$(COMMIT)" -o $(BIN) ./cmd/wattshed

test: ## all tests
	$(GO) test -timeout 20m ./...

test-all: test ## the same twice more, not short: without assembly, and with WATTSHED_ISA=generic (hours)
	$(GO) test -tags noasm -timeout 180m ./...
	WATTSHED_ISA=generic $(GO) test -count=1 -timeout 180m ./...

test-kill: ## kill a run at forty random moments and resume it each time
	WATTSHED_KILLS=40 $(GO) test -count=1 -run 'TestKill' -timeout 60m -v ./cmd/wattshed

test-arm: ## the tests of the kernels for arm64 under qemu-user with all random shapes (hours); RUN=regexp chooses
	ARM_FULL=1 $(if $(RUN),ARM_RUN='$(RUN)|^TestLimitNestsAndRestores$$') .ci/run arm

test-emulated: ## the short tests of the kernels on an emulated CPU with AVX-512, where this one has less (hours); LEVEL and RUN choose
	MINUTES=$${MINUTES:-300} .ci/emulate $(or $(LEVEL),avx512vnni) -test.short -test.v $(if $(RUN),-test.run '$(RUN)')

test-quantize: ## the long forms of the tests of quantize: every weight of MiniLM, a model of 4 GB in 256 MB, twenty kills of each scheme
	WATTSHED_LONG=1 $(GO) test -count=1 -run 'TestLayerErrors|TestStream|TestMiniLMGPTQ' -timeout 60m -v ./quantize
	WATTSHED_LONG=1 WATTSHED_KILLS=20 $(GO) test -count=1 -run 'TestQuantizeMemory|TestQuantizePlanHolds|TestQuantizeKilled' -timeout 60m -v ./cmd/wattshed

accuracy: $(QUANTIZATION)/done ## quantized models on real data in both runtimes, beside onnxruntime.quantization's, as a table; STS names the STS Benchmark's file
	$(GO) run ./internal/bench/accuracy -assets $(ASSETS) -python $(QUANTIZATION)/bin/python $(if $(STS),-sts $(STS)) $(if $(TASKS),-tasks '$(TASKS)')

bench-quantize: build $(QUANTIZATION)/done ## whole processes that quantize, against onnxruntime.quantization in Python and, above 1 GB, cp and sync (5 GB of disk)
	$(GO) run ./internal/bench/quantizing -assets $(ASSETS) -python $(QUANTIZATION)/bin/python $(if $(ROWS),-rows '$(ROWS)')

$(QUANTIZATION)/done:
	$(PYTHON) -m venv $(QUANTIZATION)
	$(QUANTIZATION)/bin/python -m pip install -q onnxruntime==1.32.0 onnx==1.23.2 onnx-ir==1.1.0 numpy==2.4.6 sympy
	touch $@

webgpu: build ## MiniLM on ONNX Runtime's WebGPU provider (npm) and Chromium's SwiftShader, compared with the native runtime
	lib=$$($(BIN) runtime install --provider webgpu --json | sed -n 's/.*"path": *"\([^"]*\)".*/\1/p') && \
	LD_LIBRARY_PATH=$(CHROMIUM) VK_ICD_FILENAMES=$(CHROMIUM)/vk_swiftshader_icd.json WATTSHED_WEBGPU=$$lib \
	  $(GO) test -count=1 -run '^TestAccelerators$$/^webgpu$$' -timeout 30m -v ./engine/ort

stress: ## a million products and convolutions under garbage collection, profiling and other signals; STRESS is their number, RACE=1 the race binary
	WATTSHED_STRESS=$(STRESS) $(if $(RACE),CGO_ENABLED=1) $(GO) test $(if $(RACE),-race) -count=1 -run '^TestStress$$' -timeout 60m -v ./engine/kernel

bench: ## MiniLM on the native engine against ONNX Runtime, interleaved (needs WATTSHED_ASSETS)
	$(GO) run ./internal/bench -rows 'MiniLM .* B1 '

bench-engine: ## the same for all models, with floors and shares of this machine's peak; ROWS=regexp chooses, WATTSHED_TORCH names a Python with PyTorch
	$(GO) run ./internal/bench -rows '$(ROWS)'

bench-readme: ## the table of bench-engine, written into README.md; needs an idle machine and half an hour
	@$(GO) run ./internal/bench -rows '$(ROWS)' > .bench.tmp && $(call between,speed,.bench.tmp); status=$$?; rm -f .bench.tmp; exit $$status

# between,NAME,FILE puts FILE between the lines <!-- NAME --> and <!-- /NAME --> of README.md.
between = awk 'FNR==NR { t = t $$0 "\n"; next } /<!-- $(1) -->/ { print; printf "%s", t; skip=1 } /<!-- \/$(1) -->/ { skip=0 } !skip' \
	$(2) README.md > .readme.tmp && mv .readme.tmp README.md

bench-kernels: ## the benchmarks of the packages
	$(GO) test -run '^$$' -bench . -benchtime 1s ./engine/... ./quantize/... ./internal/tokenize/...

generate: ## the assembly of engine/kernel, by the programs in engine/kernel/_gen
	$(GO) generate ./engine/kernel

generate-check: ## is the assembly in the tree what its generator writes?
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && $(GO) -C engine/kernel/_gen run . -out "$$dir" && \
	for f in "$$dir"/*; do cmp "$$f" engine/kernel/$$(basename "$$f") || bad=1; done; \
	for f in $$(grep -l '^// Code generated by' engine/kernel/*.go engine/kernel/*.s); do \
	  [ -e "$$dir/$$(basename $$f)" ] || { echo "$$f: the generator does not write it"; bad=1; }; done; \
	[ -z "$$bad" ] && echo "generated files are current: $$(ls "$$dir" | wc -l)"

assets: ## fetch real models, data and ONNX Runtime into ASSETS (default: assets); then set WATTSHED_ASSETS to it
	testdata/assets.sh $(ASSETS)

conformance: ## the score of the ONNX operator tests by tier, beside ONNX Runtime's
	@$(SCORE) $(CORPUS)

conformance-readme: ## the same, written into README.md
	@$(SCORE) $(CORPUS) > .conformance.tmp && $(call between,conformance,.conformance.tmp); status=$$?; rm -f .conformance.tmp; exit $$status

conformance-long: ## the tests against ONNX Runtime and against float64 in full: the largest models and batches too (needs WATTSHED_ASSETS, minutes)
	CI=true WATTSHED_LONG=1 $(GO) test -count=1 -timeout 60m -v -run 'ONNXRuntime|Float64|TestAssetModels|TestRaised|TestWrittenModelsLoad' ./internal/conformance

fuzz: ## every fuzz target, FUZZ executions each
	@FUZZ=$(FUZZ) .ci/fuzz

lint: $(STATICCHECK) ## gofmt, go vet, staticcheck
	@out=$$(gofmt -l $$(git ls-files '*.go')) && [ -z "$$out" ] || { echo "not formatted:"; echo "$$out"; exit 1; }
	$(GO) vet ./...
	$(GO) vet testdata/embed.go
	$(STATICCHECK) ./...

$(STATICCHECK):
	GOBIN=$(dir $@) GOFLAGS= $(GO) install honnef.co/go/tools/cmd/staticcheck@v0.7.0

testdata: build ## train the built-in model again; the bytes must be those of testdata/spam/model.onnx
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
	$(BIN) train builtin:spam/train --validation builtin:spam/validation -o "$$dir/model.onnx" $(TRAIN) && \
	if cmp -s "$$dir/model.onnx" testdata/spam/model.onnx; then echo "testdata/spam/model.onnx is reproduced bit for bit"; \
	else echo "testdata/spam/model.onnx DIFFERS from what training gives (sha256 $$(sha256sum < "$$dir/model.onnx" | cut -d' ' -f1))"; exit 1; fi

gallery: demo ## the demo's report into reports/gallery/spam-lstm, with a picture of its first screen where there is a Chromium
	mkdir -p reports/gallery/spam-lstm/plots && rm -f reports/gallery/spam-lstm/plots/*
	cp -r $(addprefix wattshed-demo/,report.html report.md result.json result.csv plots) reports/gallery/spam-lstm/
	@if command -v "$(CHROME)" >/dev/null; then CHROME="$(CHROME)" testdata/gallery/picture.sh reports/gallery/spam-lstm/report.html reports/gallery/spam-lstm/report.png; \
	else echo "no $(CHROME) here: reports/gallery/spam-lstm/report.png is of an older report"; fi

gallery-minilm: build ## the report of MiniLM in all schemes into reports/gallery/minilm (a quarter of an hour; interrupted, it goes on)
	sh testdata/minilm/sentences.sh $(ASSETS)/D12/texts > $(ASSETS)/sentences.txt
	sh testdata/minilm/sentences.sh $(ASSETS)/D12/texts 5 > $(ASSETS)/calibration.txt
	$(call publish,minilm)

gallery-pp-lcnet: build ## the report of PP-LCNet on rendered pages into reports/gallery/pp-lcnet
	$(GO) run ./internal/bench/accuracy -assets $(ASSETS) -data -tasks pages
	$(call publish,pp-lcnet)

gallery-silero: build ## the report of the voice detector on recordings into reports/gallery/silero
	$(GO) run ./internal/bench/accuracy -assets $(ASSETS) -data -tasks silero
	$(call publish,silero)

# publish,NAME runs testdata/NAME/NAME.yaml and copies its report into the gallery.
define publish
$(BIN) run testdata/$(1)/$(1).yaml --out out/gallery-$(1) $$([ -e out/gallery-$(1)/journal.jsonl ] && ! [ -e out/gallery-$(1)/report.html ] && echo --resume) || case $$? in 3|4) ;; *) exit 1 ;; esac
mkdir -p reports/gallery/$(1)/plots && rm -f reports/gallery/$(1)/plots/*
cp -r $(addprefix out/gallery-$(1)/,report.html report.md result.json result.csv plots) reports/gallery/$(1)/
endef

students: build ## distilled students of the built-in model and students of the labels alone, three seeds each, on the test mails
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
	for teacher in baseline none; do for seed in 1 2 3; do \
	  $(BIN) distill testdata/spam/model.onnx -o $$dir/s.onnx --data builtin:spam/train --validation builtin:spam/validation \
	    --embedding 16 --hidden 48 --pooling max --epochs 6 --temperature 1 --alpha 0.5 --teacher $$teacher --seed $$seed --quiet >$$dir/log || exit 1; \
	  echo "teacher $$teacher, seed $$seed: $$($(BIN) eval $$dir/s.onnx --task builtin:spam --quiet)"; \
	done; done

calibrate: ## how often the statistics of measuring are wrong: A/A runs by simulation (minutes)
	WATTSHED_CALIBRATE=2000 $(GO) test -count=1 -timeout 60m -run 'CalibrationAA|TestPower$$|IntervalChoice|AsksForThirty' -v ./measure

calibrate-real: ## the same work measured against itself 20 times on this machine, by time and by energy (five minutes; the machine should be idle)
	WATTSHED_CALIBRATE=2000 $(GO) test -count=1 -timeout 60m -run TestRealAA -v ./measure

clean: ## remove what was built
	rm -rf bin wattshed-demo
