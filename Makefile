# Everything a contributor types. Needs Python >= 3.11 (with venv and headers), gcc and a package index; no more.
#   make PYTHON=/path/to/python3.12 ...   another interpreter        make VENV=dir ...   another environment
#   make test PYTEST_ARGS="-k conv2d"     arguments for pytest

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

VENV ?= .venv
PYTEST_ARGS ?=
BENCH_ARGS ?=
OUT ?= out

BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)

# The interpreter of machines with a GPU, as their PyTorch images have it; make gpu-rehearse and gpu-pack want it.
PYTHON312 ?= $(shell for p in python3.12 "$$HOME"/.pyenv/versions/3.12.*/bin/python3.12; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2>/dev/null && { echo $$p; break; }; done)
REHEARSAL := .venv-gpu
# The NVRTC that PyTorch 2.11 pins, and so what a machine with a GPU is likely to compile with.
GPU_NVRTC := 13.0.88
BUDGET ?= 540
SECONDS ?= 600
INTEROP := .venv-interop

METADATA := pyproject.toml setup.py
C_SOURCES := $(shell find kernels/cython -name '*.pyx' -o -name '*.pxi' -o -name '*.h' -o -path '*/c/*' -name '*.c')
FORMATTED_C := $(shell git ls-files 'kernels/*.c' 'kernels/*.h' 'kernels/*.cu' 'kernels/*.cuh' 2>/dev/null)

# cupy can only run where an NVIDIA driver is, so the demo does not fetch it elsewhere.
comma := ,
DEMO_EXTRAS := demo$(if $(wildcard /dev/nvidiactl),$(comma)cupy)
# An environment that has the dev extra has everything that the demo needs.
DEMO_ENV := $(if $(wildcard $(STAMPS)/dev),$(STAMPS)/dev,$(STAMPS)/demo)


.PHONY: help
help: ## this text
	@echo "make targets:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' $(firstword $(MAKEFILE_LIST)) | while IFS='|' read -r name text; do \
		printf '  %-21s%s\n' "$$name" "$$text"; done

.PHONY: demo
demo: $(DEMO_ENV) $(STAMPS)/built ## classify a photograph on every backend; writes a picture and results into out/
	$(BIN)/python -m kigraph.demo --out $(OUT)

.PHONY: test
test: $(STAMPS)/dev $(STAMPS)/nvrtc $(STAMPS)/built ## the whole test suite, from nothing
	$(BIN)/python -m pytest $(PYTEST_ARGS)

.PHONY: quick
quick: $(STAMPS)/dev $(STAMPS)/built ## a part of the tests, drawn anew each time, for work in progress: under 90 s
	$(BIN)/python -m pytest --quick -q $(PYTEST_ARGS)

.PHONY: conformance
conformance: $(STAMPS)/dev $(STAMPS)/built ## onnx's own conformance tests: passed, failed and unsupported for every op
	$(BIN)/python tests/conformance/onnx_nodes.py $(PYTEST_ARGS)

.PHONY: fuzz
fuzz: $(STAMPS)/dev $(STAMPS)/built ## damaged and hostile files of every family for SECONDS=600; guided by coverage with the extra fuzz
	$(BIN)/python tests/loaders/fuzz_all.py $$(( $(SECONDS) / 2 ))
	$(BIN)/python tests/loaders/fuzz_guided.py $$(( $(SECONDS) / 2 ))

.PHONY: bench
bench: $(STAMPS)/dev $(STAMPS)/built ## Inception v3 and its ops, table and plot; BENCH_ARGS="-k OP" any op, --every-op all
	@mkdir -p $(OUT)
	$(BIN)/python -m pytest benchmarks --benchmark-only --benchmark-json=$(OUT)/bench.json $(BENCH_ARGS)
	$(BIN)/python -m benchmarks.plot $(OUT)/bench.json $(OUT)/bench.png

.PHONY: bench-check
bench-check: $(STAMPS)/dev $(STAMPS)/built ## fails where a convolution misses its share of the peak, measured in the same run
	$(BIN)/python -m benchmarks.tile_check $(BENCH_ARGS)

.PHONY: bench-numpy
bench-numpy: $(STAMPS)/dev $(STAMPS)/built ## every op of frozen graphs next to the plain NumPy program for it, one thread
	@mkdir -p $(OUT)
	$(BIN)/python -m benchmarks.against_numpy --json $(OUT)/against_numpy.json $(BENCH_ARGS)

.PHONY: bench-peers
bench-peers: $(STAMPS)/peers $(STAMPS)/built ## Inception v3 in fp32, bf16 and int8 next to other runtimes, in turn; JSON and PNG
	$(BIN)/python -m benchmarks.peers $(BENCH_ARGS)

.PHONY: bench-peers-layers
bench-peers-layers: $(STAMPS)/peers $(STAMPS)/built ## each of its convolutions next to ONNX Runtime and the roofline
	$(BIN)/python -m benchmarks.peers --layers $(BENCH_ARGS)

.PHONY: bench-nets
bench-nets: $(STAMPS)/peers $(STAMPS)/built ## twelve networks in fp32 next to other runtimes, in turn; JSON and PNG
	$(BIN)/python -m benchmarks.nets $(BENCH_ARGS)

.PHONY: bench-ops
bench-ops: $(STAMPS)/peers $(STAMPS)/built ## every op at sizes of networks next to other libraries, the worst ratio first; JSON and PNG
	$(BIN)/python -m benchmarks.ops $(BENCH_ARGS)

# An environment of its own: TensorFlow pins much of what it brings.
.PHONY: interop-facts
interop-facts: $(INTEROP)/ready ## write down what TensorFlow says of the ops' attributes (tests/interop/tensorflow_ops.json)
	$(INTEROP)/bin/python tests/interop/tensorflow_facts.py

.PHONY: interop
interop: $(INTEROP)/ready ## compare with the real TensorFlow, op by op: attributes, shapes, values
	$(INTEROP)/bin/python -m pytest $(PYTEST_ARGS) --ignore=tests/interop/files tests/interop

.PHONY: test-interop
test-interop: $(INTEROP)/ready ## load files that the other libraries write, and compare with what these compute
	for file in tests/interop/files/test_*.py; do $(INTEROP)/bin/python -m pytest $(PYTEST_ARGS) $$file || [ $$? = 5 ] || exit 1; done

$(INTEROP)/ready: $(METADATA) $(C_SOURCES) Makefile
	$(PYTHON) -m venv --clear $(INTEROP)
	$(INTEROP)/bin/python -m pip install --quiet --editable '.[interop]'
	@touch $@

.PHONY: gpu-pack
gpu-pack: $(STAMPS)/dev $(STAMPS)/built $(if $(PYTHON312),$(REHEARSAL)/ready) ## .gpu/: all that a bare machine with a GPU needs beside the checkout
	$(BIN)/python -m benchmarks.gpu_prepare --python $(if $(PYTHON312),$(REHEARSAL),$(VENV))/bin/python

.PHONY: gpu-check
gpu-check: ## prove and measure the cupy backend on this machine's GPU; BUDGET=540 seconds, results in out/gpu
	bash benchmarks/gpu_check.sh $(BUDGET)

# No C build: machines with a GPU run the checkout as it is, with the numpy backend as reference.
.PHONY: gpu-rehearse
gpu-rehearse: $(REHEARSAL)/ready ## the same without a GPU, with the versions that such machines have: Python 3.12, NVRTC 13.0
	PYTHONPATH=. $(REHEARSAL)/bin/python -m pytest -q -p no:cacheprovider $(PYTEST_ARGS) tests/gpu \
		tests/kernels/test_cupy_backend.py tests/kernels/test_cupy_compile.py tests/kernels/test_cupy_failures.py \
		tests/kernels/test_cupy_gpu.py tests/kernels/test_cupy_precision.py tests/kernels/test_cupy_sessions.py \
		tests/kernels/test_cupy_standin.py
	PYTHON=$(REHEARSAL)/bin/python bash benchmarks/gpu_check.sh --dry

.PHONY: python312
python312: # prints it, or nothing
	@echo $(PYTHON312)

$(REHEARSAL)/ready: Makefile
	@test -n "$(PYTHON312)" || { echo "The rehearsal needs Python 3.12, which was not found." \
		"Install it, or say where it is: make gpu-rehearse PYTHON312=/path/to/python3.12" >&2; exit 1; }
	$(PYTHON312) -m venv --clear $(REHEARSAL)
	$(REHEARSAL)/bin/python -m pip install --quiet 'numpy==2.5.*' 'cupy-cuda13x==14.2.*' \
		nvidia-cuda-nvrtc==$(GPU_NVRTC) 'cuda-core>=1,<2' 'nvidia-cuda-nvdisasm>=13,<14' 'pillow>=11,<14' 'rich>=13.7,<16' \
		'simplejpeg>=1.8,<2' 'pytest>=9,<10' 'pytest-xdist>=3.6,<4' 'hypothesis>=6.100,<7' 'h5py>=3.11,<4'
	@touch $@

.PHONY: lint
lint: $(STAMPS)/dev ## ruff, cython-lint, clang-format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH="$(abspath $(BIN)):$$PATH" cython-lint kernels/cython
	$(if $(FORMATTED_C),$(BIN)/clang-format --dry-run -Werror $(FORMATTED_C))

.PHONY: format
format: $(STAMPS)/dev ## put Python, C and CUDA sources into the one format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(if $(FORMATTED_C),$(BIN)/clang-format -i $(FORMATTED_C))

.PHONY: types
types: $(STAMPS)/dev ## mypy --strict
	$(BIN)/mypy

.PHONY: layers
layers: $(STAMPS)/dev ## import-linter: arrows point down only
	$(BIN)/lint-imports

.PHONY: docs-table
docs-table: $(STAMPS)/dev $(STAMPS)/built ## write docs/support-table.md, the op x backend table
	$(BIN)/python docs/support_table.py

.PHONY: docs-map
docs-map: $(STAMPS)/dev ## write docs/module-map.svg, the layers and what imports what
	$(BIN)/python docs/module_map.py

.PHONY: sanitize
sanitize: $(STAMPS)/dev ## the C kernels under AddressSanitizer and UBSan: a build of its own, the kernel tests
	.ci/sanitize $(BIN)/python $(PYTEST_ARGS)

.PHONY: package
package: $(STAMPS)/dev ## sdist, and the wheel that is built from it, into dist/
	rm -rf dist
	$(BIN)/python -m build --outdir dist .

.PHONY: clean
clean: ## remove everything that was built, but for the environment
	rm -rf build dist $(OUT) *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .benchmarks .hypothesis
	find kernels -name '*.so' -delete
	find kernels/cython -maxdepth 1 -name '*.c' -delete
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +
	rm -f $(STAMPS)/built

.PHONY: distclean
distclean: clean ## clean, and remove the environment
	rm -rf $(VENV)

# -- the environment ------------------------------------------------------------------------------------------------

# An environment made here is made anew after its interpreter went away, or after the checkout was moved or copied:
# it must not run the code of the place it came from. Only targets that need an environment do so.
ifneq ($(wildcard $(STAMPS)/place),)
ifneq ($(shell $(BIN)/python -c '' 2>/dev/null && cat $(STAMPS)/place),$(abspath $(VENV)))
$(VENV)/pyvenv.cfg $(STAMPS)/dev $(STAMPS)/demo $(STAMPS)/peers $(STAMPS)/built: stale-environment
.PHONY: stale-environment
stale-environment:
	rm -rf $(VENV)
endif
endif

$(VENV)/pyvenv.cfg:
	@test -n "$(PYTHON)" || { echo "kigraph needs Python 3.11 or newer; found: $$(python3 --version 2>&1)." \
		"Install one, or say where it is: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@command -v $${CC:-gcc} >/dev/null || { echo "kigraph needs a C compiler to build its kernels, and found no" \
		"'$${CC:-gcc}'. Install gcc (Debian, Ubuntu: apt install gcc)." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "This Python has no venv module." \
		"Install it (Debian, Ubuntu: apt install python3-venv)." >&2; exit 1; }
	@$(PYTHON) -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' \
		|| { echo "This Python has no C headers (Python.h)." \
		"Install them (Debian, Ubuntu: apt install python3-dev)." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(STAMPS)/dev: $(METADATA) | $(VENV)/pyvenv.cfg
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@mkdir -p $(STAMPS) && echo $(abspath $(VENV)) >$(STAMPS)/place && touch $(STAMPS)/built $@

# A second NVRTC, which the tests of the CUDA sources compile with, too; they say so where it is not to be had.
$(STAMPS)/nvrtc: $(STAMPS)/dev
	-$(BIN)/python -m pip install --quiet --no-deps --upgrade --target $(VENV)/nvrtc-$(GPU_NVRTC) \
		nvidia-cuda-nvrtc==$(GPU_NVRTC) && touch $@

$(STAMPS)/demo: $(METADATA) | $(VENV)/pyvenv.cfg
	$(BIN)/python -m pip install --quiet --editable '.[$(DEMO_EXTRAS)]'
	@mkdir -p $(STAMPS) && echo $(abspath $(VENV)) >$(STAMPS)/place && touch $(STAMPS)/built $@

$(STAMPS)/peers: $(METADATA) | $(VENV)/pyvenv.cfg
	$(BIN)/python -m pip install --quiet --editable '.[numba,peers,plot]'
	@mkdir -p $(STAMPS) && echo $(abspath $(VENV)) >$(STAMPS)/place && touch $(STAMPS)/built $@

# After a change of a C or Cython source. With the dev extra only what changed is compiled.
$(STAMPS)/built: $(C_SOURCES) | $(VENV)/pyvenv.cfg
	@mkdir -p $(STAMPS)
	@if $(BIN)/python -c 'import Cython, setuptools' 2>/dev/null; then \
		echo "building the C kernels"; $(BIN)/python setup.py --quiet build_ext --inplace; \
	else $(BIN)/python -m pip install --quiet --no-deps --editable .; fi
	@touch $@
