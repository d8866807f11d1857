# `make help` lists the commands. Two of them do everything from a bare checkout (Debian, Python 3.11, gcc): `make compare` and `make test`.
# Each sets up its own virtual environment first; that step is skipped when nothing changed.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
FILES  ?=
SOURCES := $(shell find CMakeLists.txt csrc csmri_ext baselines -type f -not -name '*.pyc')

.PHONY: help compare test floors mutants bench lint docs notebooks clean
help:  # this list
	@sed -n 's/^\([a-z]*\):[^#]*# /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

compare: $(VENV)/built  # compare methods on drawn anatomy, or on FILES="a.h5 b.cfl"; writes comparison/report.html
	$(BIN)/python -m baselines.compare $(FILES) $(if $(shell command -v bart),--bart) --out comparison

test: $(VENV)/built  # the tests, one process a core; SLOW=1 with those that take more than a few seconds
	$(BIN)/python -m pytest -n $(shell nproc) --dist loadfile $(if $(SLOW),,-m "not slow")

FLOORS := $(CURDIR)/build/floors
ON_FLOORS := tests/ops/test_data_consistency.py tests/ops/test_sense_normal.py tests/test_metrics.py \
             tests/physics/test_masks.py tests/bridge/test_images.py tests/bridge/test_fastmri.py \
             tests/report/test_table.py tests/iterative/test_tv.py tests/models/test_load.py
floors: $(VENV)/built  # tests of the installed package with numpy, scipy, h5py ... at their oldest declared versions
	rm -rf $(FLOORS)
	$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps --target $(FLOORS) -r constraints-floors.txt
	PYTHONPATH=$(FLOORS) $(BIN)/python -m pytest -q -m "not slow" -n $(shell nproc) --dist loadfile $(ON_FLOORS)

mutants: $(VENV)/built  # plant faults in a copy of the tree, one at a time: do their tests fail? WORDS="physics csrc" for some
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tests/mutants/run.py $(WORDS)

bench: $(VENV)/built  # time every operator
	$(BIN)/python -m benchmarks.ops_speed

lint: $(VENV)/linted  # ruff, mypy, typos, clang-format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/typos
	$(BIN)/clang-format --dry-run --Werror $(shell find csrc tests -name '*.[ch]pp' -o -name '*.cu' -o -name '*.cuh' -o -name '*.h')

clean:  # remove the environment and what was built
	rm -rf $(VENV) build

docs: $(VENV)/documented  # the site, into build/docs; a warning is an error
	rm -rf docs/api/generated
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/docs

notebooks: $(VENV)/documented  # examples/*.py as Jupyter notebooks, into build/notebooks
	mkdir -p build/notebooks
	for script in examples/*.py; do \
	  $(BIN)/python -m jupytext --quiet --to ipynb --output build/notebooks/$$(basename $$script .py).ipynb $$script; done

# Dependencies: the pinned CPU or CUDA build of torch that pip finds, everything else at its tested version.
$(VENV)/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) torch numpy h5py scipy scikit-image pillow matplotlib jinja2 rich safetensors lightning tensorboard \
	       pytest pytest-xdist hypothesis nibabel ismrmrd selenium jupytext shtab \
	       scikit-build-core pybind11 cmake ninja
	touch $@

# The package itself. Without build isolation, so that a second build compiles only what changed.
$(VENV)/built: $(VENV)/installed $(SOURCES) README.md LICENSE
	$(PIP) --no-deps --no-build-isolation --force-reinstall .
	touch $@

$(VENV)/linted: $(VENV)/built
	$(PIP) ruff mypy clang-format typos
	touch $@

$(VENV)/documented: $(VENV)/built
	$(PIP) sphinx myst-parser furo jupytext
	touch $@
