# make demo        set everything up, run the tool on sample_data/ and explain what it did
# make test        set everything up, run the tests
# make test-deep   the same ones with all repeats of those that take long
# make test-torch  those of tensors too, which download torch
# make test-oldest  with the oldest versions that the tool works with (Python 3.10 or 3.11)
# make lint        style and types
# make bench       speed, size and memory, as ratios taken in one run
# make readme      write the help texts into the page of the command line

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT := demo_out
OLDEST := $(VENV)-oldest
TORCH ?= torch==2.13.0

.PHONY: demo test test-deep test-torch test-oldest lint bench readme sample_data help clean

help:
	@sed -n -e '/^#/!q' -e 's/^# //p' Makefile

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

# moshi asks for older versions of torch and numpy than there are; its model runs with these.
$(VENV)/installed-torch: $(VENV)/installed-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH) torchdata einops safetensors sphn \
		transformers==5.24.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps moshi==0.2.13
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,torch]'
	@touch $@

$(VENV)/installed-bench: $(VENV)/installed-torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@

# Without datasets, Ray, moto and other readers of Parquet, which ask for newer versions.
$(OLDEST)/installed: pyproject.toml tests/oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(OLDEST)/bin/python -m pip install --quiet --disable-pip-version-check --editable . \
		--constraint tests/oldest.txt aiohttp fsspec hypothesis matplotlib pandas pytest \
		pytest-xdist pyyaml sentencepiece
	@touch $@

demo: $(VENV)/installed
	@BIN=$(BIN) OUT=$(OUT) sh sample_data/demo.sh

# One more than the cores of a small machine: some tests wait for a cluster, or for a signal.
test: $(VENV)/installed-test
	$(BIN)/python -m pytest --numprocesses 3 --dist loadgroup

test-deep: $(VENV)/installed-test
	$(BIN)/python -m pytest --numprocesses 2 --dist loadgroup --deep

test-torch: $(VENV)/installed-torch
	$(BIN)/python -m pytest tests/tensors tests/test_torch.py tests/recipes/test_transformers.py

test-oldest: $(OLDEST)/installed
	$(OLDEST)/bin/python -m pytest --numprocesses 2 --dist loadgroup --ignore tests/run/test_on_ray.py

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/installed-bench
	$(BIN)/python tests/benchmarks/bench.py $(J_MOSHI)

readme: $(VENV)/installed-test
	$(BIN)/python tests/pages.py

sample_data: $(VENV)/installed-test
	$(BIN)/python sample_data/make_sample_data.py
	$(BIN)/python sample_data/draw_windows.py

clean:
	rm -rf $(VENV) $(OLDEST) $(OUT) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
