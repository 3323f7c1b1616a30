# make demo   train a small network with these kernels and with torch's, then a short benchmark
# make language-model  a small transformer on Shakespeare: memory and time with and without logits
# make docs   the documentation site, into build/docs
# make figures  the lecture's figures and their numbers, into docs/ (a quarter of an hour)
# make test   the whole test suite
# make quick  the part of it that needs no compiler, no torch.compile and no patience
# make fuzz   10^5 random calls of each function and operator, the kernels under sanitizers (hours)
# make bench  the full benchmarks and the table of accuracy, into benchmarks/results/
# make wheel  a wheel for this Python that knows several versions of torch, and the sdist, into dist/
# make wheel-check  install that wheel beside each of them, without a compiler, and test it
# make cuda-build  compile, link and import the CUDA part with PyPI's torch; needs nvcc, but no GPU
# make cuda-check  all that a GPU can say (takes PYTHON's torch), or in three steps of eight minutes:
#   cuda-check-build, cuda-check-test (with compute-sanitizer) and cuda-check-bench
# make lint   ruff, mypy and clang-format
# make clean  remove what was built; make distclean: the virtual environment as well
#
# The first of them makes a virtual environment, installs torch and the tools, and compiles.
# Variables, to be given behind `make`:
#   PYTHON=python3.12     the interpreter to start from
#   TORCH=torch==2.14.1   another torch; on Linux, PyPI's brings some gigabytes of CUDA, and
#                         PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu TORCH=torch==2.13.0+cpu
#                         takes the build without
#   DATA=directory        images for the demo: MNIST's file format, or CIFAR-10's Python batches
#   PYTEST="-k elu -x"    options for pytest

PYTHON ?= python3
VENV ?= .venv
TORCH ?= $(shell sed -n '/^torch==/p' requirements-dev.txt)
BIN := $(VENV)/bin
SOURCES := $(shell find csrc -name '*.h' -o -name '*.cpp' -o -name '*.cuh' -o -name '*.cu')
CXX_OR_DEFAULT := $(if $(filter default undefined,$(origin CXX)),c++,$(CXX))

.PHONY: demo language-model figures test quick docs fuzz bench wheel wheel-check cuda-build cuda-check \
    cuda-check-build cuda-check-test cuda-check-bench lint tools \
    build clean distclean

demo: build
	$(BIN)/python examples/train_images.py --plot build/demo/losses.png $(if $(DATA),--data "$(DATA)")
	$(BIN)/python -m benchmarks.speed --short

language-model: build
	$(BIN)/python examples/language_model.py --plot build/language_model/losses.png

FIGURES := activation_gallery relu_against_tanh vanishing_gradients dying_relu \
    activation_comparison mixture_density
figures: build
	set -e; for name in $(FIGURES); do \
	    $(BIN)/python examples/$$name.py --plot docs/$$name.png --json docs/$$name.json; done

# A process for each processor, and a file's tests in one of them, which may share what they make.
# Threads of OpenMP that wait for work would take the other process's processor.
SUITE := OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder
test: build
	$(SUITE) $(PYTEST)
quick: build
	$(SUITE) -m "not (compiler or slow or other_capability)" $(PYTEST)

# Warnings are errors; links within the site are checked.
docs: build
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs
	$(BIN)/python -m sphinx -W --keep-going -q -b linkcheck docs build/docs-links

# CALLS=1000 makes it minutes; FUZZ="cross_entropy hooks" takes some.
CALLS ?= 100000
fuzz: build
	$(BIN)/python tests/fuzz.py $(FUZZ) --calls $(CALLS)
	PYTHONPATH=tests $(BIN)/python tests/fuzz_kernels.py

bench: build
	$(BIN)/python -m benchmarks.speed
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 $(BIN)/python -m benchmarks.speed \
	    --sizes 1M --dtypes float32 --out benchmarks/results/avx2
	$(BIN)/python -m benchmarks.losses
	$(BIN)/python -m benchmarks.compiled
	$(BIN)/python -m benchmarks.accuracy
	ATEN_CPU_CAPABILITY=avx2 $(BIN)/python -m benchmarks.accuracy --out benchmarks/results/avx2

# The kernels are compiled once, the operators for each version of torch, in an environment of its
# own (PyPI's torch brings some gigabytes of CUDA; nothing of it is used). auditwheel finds the oldest
# glibc that will do; torch brings its own libraries and OpenMP's.
WHEEL_TORCHES ?= 2.13.0 2.14.1
WHEEL_VENVS := $(WHEEL_TORCHES:%=build/wheel/torch-%)
wheel: $(WHEEL_VENVS:%=%/ready) tools
	rm -rf build/wheel/lib build/wheel/dist dist
	set -e; for venv in $(WHEEL_VENVS); do \
	    ACTIVATIONS_EXT_CUDA=0 $$venv/bin/python setup.py -q build --build-lib build/wheel/lib \
	        bdist_wheel --dist-dir build/wheel/dist; done
	PATH="$(abspath $(BIN)):$$PATH" auditwheel repair --strip --exclude 'libtorch*' \
	    --exclude 'libc10*' --exclude 'libgomp*' --wheel-dir dist build/wheel/dist/*.whl
	$(BIN)/python setup.py -q sdist --dist-dir dist

build/wheel/torch-%/ready:
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --disable-pip-version-check torch==$* numpy "setuptools>=77" ninja
	touch $@

# As a user has it: a fresh environment with torch, another directory, no compiler on the PATH.
wheel-check: $(WHEEL_TORCHES:%=build/wheel/check-%)
build/wheel/check-%: FORCE
	rm -rf $@
	$(PYTHON) -m venv $@
	$@/bin/python -m pip install --disable-pip-version-check -q torch==$* numpy
	$@/bin/python -m pip install --disable-pip-version-check -q dist/*.whl
	cd $@ && env PATH=$(abspath $@)/bin /bin/sh -c '! command -v c++ && ! command -v gcc \
	    && python -m activations_ext info && python -m activations_ext check'

FORCE:

# A virtual environment of its own, some 6 GB. Not in place: the sources may hold another build.
CUDA_VENV := build/cuda-venv
cuda-build:
	$(PYTHON) -m venv $(CUDA_VENV)
	$(CUDA_VENV)/bin/python -m pip install --disable-pip-version-check torch==2.14.1 numpy setuptools ninja pytest
	$(CUDA_VENV)/bin/python -m pip install --disable-pip-version-check --no-build-isolation --no-deps --force-reinstall .
	cd tests && ../$(CUDA_VENV)/bin/python -m pytest -c /dev/null --rootdir . -p no:cacheprovider test_cuda.py
	cd tests && ../$(CUDA_VENV)/bin/python -c 'import activations_ext._C as c; assert c.devices() == ["cpu", "cuda"]'

# Each takes eight minutes at most. Results are in benchmarks/results/cuda/.
cuda-check: cuda-check-build
	$(MAKE) --keep-going cuda-check-test cuda-check-bench
cuda-check-build:
	TORCH_CUDA_ARCH_LIST="$${TORCH_CUDA_ARCH_LIST:-native}" $(PYTHON) setup.py -q build_ext --inplace
cuda-check-test:
	$(PYTHON) -m benchmarks.cuda_check test
cuda-check-bench:
	$(PYTHON) -m benchmarks.cuda_check bench

# mypy wants the environment's torch; the extension itself need not be built.
lint: tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(SOURCES)

build: $(VENV)/built
tools: $(VENV)/tools

# What is missing should show before torch has been downloaded.
$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found; PYTHON=… names another."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	    echo "Python 3.10 or newer is needed; make PYTHON=… names another than $(PYTHON)."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "$(PYTHON) cannot make virtual environments (Debian, Ubuntu: apt install python3-venv)."; exit 1; }
	@command -v $(firstword $(CXX_OR_DEFAULT)) >/dev/null || { \
	    echo "There is no C++ compiler (Debian, Ubuntu: apt install g++); CXX=… names another."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/tools: requirements-dev.txt | $(BIN)/python
	sed 's|^torch==.*|$(TORCH)|' requirements-dev.txt > $(VENV)/requirements.txt
	$(BIN)/python -m pip install --disable-pip-version-check -r $(VENV)/requirements.txt
	touch $@

$(VENV)/built: setup.py pyproject.toml $(SOURCES) $(VENV)/tools
	@echo "Compiling the extension; the first time takes some minutes."
	$(BIN)/python -m pip install --disable-pip-version-check --no-build-isolation --no-deps --editable .
	touch $@

clean:
	rm -rf build dist *.egg-info activations_ext/*.so $(VENV)/built
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis

distclean: clean
	rm -rf $(VENV)
