# Two commands for a fresh machine: `make reproduce-table1` and `make test`. Each target makes .venv by itself.
PYTHON ?= python3
BIN := .venv/bin
SEEDS ?= 1
QUICK ?=
OPTIONS ?=
MEMBERS ?=
EDITION ?=
QUICK_RATES := "rule=mean,rule=brsgd,rule=brsgd code,problem=least squares" \
  "point=m20 n100 d5 a0,point=m80 n100 d5 a0,point=m320 n100 d5 a0,point=m40 n50 d5 a0.2,point=m40 n400 d5 a0.2"
QUICK_ATTACKS := delayed label_flip variance bursts
VERSIONS ?= $(or $(TMPDIR),/tmp)/byzsim-versions
PYTHONS ?= python3.11 python3.12 python3.13

.PHONY: setup links reproduce-table1 reproduce-saddle reproduce-theory reproduce-safeguard reproduce-detection reproduce-aksel report-table1 smoke bench bench-quick test test-fast test-faults test-versions check fmt notebook docs test-docs clean

setup: .venv/ready

.venv/ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "byzsim needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.txt --editable '.[dev]'
	@$(MAKE) --no-print-directory links
	@touch $@

# The folders sim and experiments are the packages byzsim and byzsim.experiments. Python finds them by a hook of the editable
# install, which type checkers and editors do not follow: these links show them the same (pyproject.toml names the folder).
links:
	@rm -rf .venv/links && mkdir -p .venv/links/byzsim
	@ln -s $(addprefix ../../../,$(wildcard sim/*) experiments) .venv/links/byzsim

reproduce-table1: setup
	$(BIN)/byzsim run brsgd_table1 $(if $(QUICK),--quick) --seeds $(shell seq 0 $$(($(SEEDS) - 1))) $(OPTIONS)

reproduce-saddle: setup
	$(BIN)/byzsim run theory_saddle $(if $(QUICK),--quick --seeds 2) $(OPTIONS)

# QUICK=1 has three rules and few sizes, since each compiles anew.
reproduce-theory: setup reproduce-saddle
	$(BIN)/byzsim run theory_rates $(if $(QUICK),--quick --only $(QUICK_RATES)) $(OPTIONS)

# EDITION=full is ResNet-20 for 200 epochs, on an accelerator. QUICK=1 has four of the attacks, since each compiles anew.
reproduce-safeguard: setup
	$(BIN)/byzsim run safeguard_table$(if $(EDITION),_$(EDITION)) --seeds $(shell seq 0 $$(($(SEEDS) - 1))) $(OPTIONS) \
	  $(if $(QUICK),--quick --only $(QUICK_ATTACKS:%=attack=%))

reproduce-detection: setup
	$(BIN)/byzsim run safeguard_detection $(if $(QUICK),--quick) $(OPTIONS)

reproduce-aksel: setup
	$(BIN)/byzsim angles $(if $(QUICK),--quick --draws 2 --rules aksel krum median)
	$(BIN)/byzsim run aksel_servers $(if $(QUICK),--quick --seeds 5)
	$(BIN)/byzsim run aksel_few $(if $(QUICK),--quick --seeds 0 --attacks alie) $(OPTIONS)

report-table1: setup
	$(BIN)/byzsim report brsgd_table1 --inject README.md

smoke: setup
	$(BIN)/byzsim run smoke

bench: setup
	$(BIN)/byzsim bench $(OPTIONS)

bench-quick: setup
	$(BIN)/byzsim bench --quick $(OPTIONS)

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder

test-fast: setup
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder -m "not slow and not faults"

test-faults: setup
	$(BIN)/python -m pytest -n 2 -rP -m "" tests/test_faults.py tests/test_distributed.py

# With the oldest and the newest packages that pyproject.toml allows, in environments outside of the checkout.
test-versions:
	$(PYTHON) tests/versions.py $(VERSIONS) $(PYTHONS)

check: setup links
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/ty check sim experiments
	BYZSIM_TYPES=1 $(BIN)/python -m pytest -m types tests/test_aggregators.py tests/test_attacks.py
	$(BIN)/nbstripout --verify notebooks/*.ipynb

fmt: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/nbstripout notebooks/*.ipynb

notebook: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.txt jupyterlab
	$(BIN)/jupyter lab notebooks

# The site, from docs/, the registries and the records, without a network, into site/: open site/index.html. MEMBERS="my_rule.py" adds
# pages for members of your own. Executed notebooks and compiled programs are kept in build/site.
docs: setup links
	NO_MKDOCS_2_WARNING=1 BYZSIM_MEMBERS="$(MEMBERS)" $(BIN)/mkdocs build --strict --quiet

test-docs: docs
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.txt --editable '.[dev,browser]'
	$(BIN)/python -m pytest -rA -m browser tests/test_site_in_browser.py

clean:
	rm -rf .venv .bench-env build site *.egg-info .pytest_cache .ruff_cache .hypothesis
