# Two commands do everything from a bare checkout (Debian, Python 3.11, gcc): `make compare` and `make test`.
# Each sets up its own virtual environment first; that step is skipped when nothing changed.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
FILES  ?=
SOURCES := $(shell find CMakeLists.txt csrc csmri_ext baselines -type f -not -name '*.pyc')

.PHONY: compare test bench lint clean
compare: $(VENV)/built
	$(BIN)/python -m baselines.compare $(FILES) $(if $(shell command -v bart),--bart) --out comparison

test: $(VENV)/built
	$(BIN)/python -m pytest

bench: $(VENV)/built
	$(BIN)/python -m benchmarks.ops_speed

lint: $(VENV)/linted
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/clang-format --dry-run --Werror $(shell find csrc tests -name '*.[ch]pp' -o -name '*.cu' -o -name '*.cuh' -o -name '*.h')

clean:
	rm -rf $(VENV) build

# Dependencies: the pinned CPU or CUDA build of torch that pip finds, everything else at its tested version.
$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch numpy h5py scipy scikit-image pillow matplotlib jinja2 rich safetensors lightning tensorboard pytest hypothesis nibabel selenium \
	       scikit-build-core pybind11 cmake ninja
	touch $@

# The package itself. Without build isolation, so that a second build compiles only what changed.
$(VENV)/built: $(VENV)/installed $(SOURCES) README.md LICENSE
	$(PIP) --no-deps --no-build-isolation --force-reinstall .
	touch $@

$(VENV)/linted: $(VENV)/built
	$(PIP) ruff mypy clang-format
	touch $@
