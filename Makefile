# make tables        everything on the embedded default, from nothing
# make test          the tests
# make test-cluster  the tests that take long, or start a Slurm on this machine
# make figures       the figures of score maps
# make heatmaps      a sheet of heat maps for each category
# make viewers       a page for each category, on which its scans can be turned
# make report        what a run of the embedded default has made, as one file to hand on: report.zip
# make pictures      the README's pictures, from the embedded default
# make shipped_prompts  the prompts that come with the package, and their reference scores, from the embedded default
# make pocket_clip   the small CLIP of the embedded default, trained anew (minutes)
# make lint          formatting, types, workflow
# make benchmark     what the speed and memory claims rest on
#
# PYTHON is the interpreter that .venv is made from; CORES is what the workflow may use.

PYTHON ?= python3
CORES ?= all

BIN := .venv/bin
SETUP := .venv/setup.stamp
SETUP_DEV := .venv/setup-dev.stamp
SETUP_CLUSTER := .venv/setup-cluster.stamp
# The one pin that is installed by itself, see below.
TORCH = $(shell grep '^torch==' envs/requirements.txt)

.PHONY: tables figures heatmaps viewers report pictures shipped_prompts pocket_clip test test-cluster lint benchmark \
	setup setup-dev setup-cluster

tables: setup
	$(BIN)/snakemake --cores $(CORES) all_tables

figures: setup
	$(BIN)/snakemake --cores $(CORES) all_figures

heatmaps: setup
	$(BIN)/snakemake --cores $(CORES) all_heatmaps

viewers: setup
	$(BIN)/snakemake --cores $(CORES) all_viewers

REPORT := all_report all_figures all_viewers

report: setup
	$(BIN)/snakemake --cores $(CORES) $(REPORT)
	$(BIN)/snakemake --cores 1 $(REPORT) --report report.zip

pictures: setup-dev
	$(BIN)/snakemake --cores $(CORES) results/figures/methods.png results/viewers/mvtec3d/cable_gland.html
	mkdir -p docs
	cp results/figures/methods.png docs/heatmaps.png
	$(BIN)/python tests/viewer_figure.py results/viewers/mvtec3d/cable_gland.html cut/000 docs/viewer.png

PROMPTS := results/prompts/pointad_plus

shipped_prompts: setup
	$(BIN)/snakemake --cores $(CORES) $(PROMPTS)/mvtec3d/carrot/111.safetensors $(PROMPTS)/real3d/shell/111.safetensors
	$(BIN)/python -m pretraining.shipped_prompts $(PROMPTS)

pocket_clip: setup
	$(BIN)/python -m pip install --quiet -r envs/requirements-pretraining.txt
	$(BIN)/snakemake --snakefile pretraining/Snakefile --cores $(CORES)

test: setup-dev
	$(BIN)/python -m pytest -q

test-cluster: setup-cluster
	$(BIN)/python -m pytest -q -m cluster --durations=0

lint: setup-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/snakefmt --check Snakefile workflow pretraining
	$(BIN)/snakemake --lint
	$(BIN)/snakemake --lint --snakefile pretraining/Snakefile

benchmark: setup-dev
	set -e; for file in tests/benchmarks/*.py; do echo "== $$file"; $(BIN)/python $$file; done

setup: $(SETUP)

setup-dev: $(SETUP_DEV)

setup-cluster: $(SETUP_CLUSTER)

# A stamp, so that a second run starts at once. torch comes first and by itself: pip then takes a build for the CPU
# where one is at hand, and torchvision and open_clip find it installed.
$(SETUP): envs/requirements.txt pyproject.toml envs/system.py
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python envs/system.py
	$(BIN)/python -m pip install --quiet '$(TORCH)'
	$(BIN)/python -m pip install --quiet -r envs/requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps -e .
	$(BIN)/python -c 'import open3d' || { echo 'Open3D cannot be imported: install the libraries named above.'; exit 1; }
	touch $@

$(SETUP_DEV): $(SETUP) envs/requirements-dev.txt envs/requirements-pretraining.txt envs/requirements-e57.txt envs/requirements-las.txt
	$(BIN)/python envs/system.py --latex --browser
	$(BIN)/python -m pip install --quiet -r envs/requirements-dev.txt -r envs/requirements-pretraining.txt \
		-r envs/requirements-e57.txt -r envs/requirements-las.txt
	touch $@

$(SETUP_CLUSTER): $(SETUP_DEV) envs/requirements-slurm.txt
	$(BIN)/python envs/system.py --slurm
	$(BIN)/python -m pip install --quiet -r envs/requirements-slurm.txt
	touch $@
