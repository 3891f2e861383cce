# One environment in .venv, made from this project's own files. Every target does only what is out of date.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
OUT    ?= demo-results
# clips per table of the demo: enough for intervals, little enough for ten minutes on two cores
LIMIT  ?= 18
SYSTEMS := ground-truth,anchor,shuffled,espeak,still-face,hierspeech,wav2lip,talker,hicodit
# canonical metrics with weights by rule: a store of its own, whose numbers are regression and no quality.
# One task has both streams; face tracks need the clips of more than 100 frames.
SEEDED  := $(OUT)/seeded-weights-store
TWINS   := $(BIN)/bench run --plugin metrics/seeded.py --system anchor --dataset demo --task t2av --out $(SEEDED)

.PHONY: demo seeded env embedded test test-all lint conformance speed gate baseline docs report clean
.DEFAULT_GOAL := help

help:
	@echo "make demo         environment, demo corpus, systems, metrics, leaderboard (results in $(OUT)/)"
	@echo "make test         lint, types, tests with coverage, conformance"
	@echo "make test-all     the same with the long trials"
	@echo "make gate         hold the demo, and the canonical metrics with weights by rule, against results/baselines"
	@echo "make report       pages over the demo's results ($(OUT)/report/index.html)"
	@echo "make docs         the documentation site (build/site), its links checked"
	@echo "make embedded     train the small checkpoints anew and put them into systems/*/embedded (hours)"
	@echo "make lint | conformance | speed | seeded | clean"

# torch first: with it in place no other package can pull another build. 2.13.0 is what the recorded
# numbers were made with; where it is not offered any release from 2.6 on will do.
$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "setuptools<81" wheel
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 \
	  || $(BIN)/python -m pip install --quiet --disable-pip-version-check "torch>=2.6"
	@touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[demo]"
	@touch $@

# pyiqa is only held against our own SSIM and PSNR. It lies apart, since its other dependencies would bring another
# torch, and its torchvision is no match for a CPU build of torch
$(VENV)/.dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[demo,dev]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(VENV)/iqa \
	  torchvision==0.28.0 pyiqa timm einops addict yapf platformdirs pandas python-dateutil six \
	  || echo "pyiqa or its torchvision is not offered here: its tests will be skipped"
	@touch $@

env: $(VENV)/.installed

demo: env
	$(BIN)/bench data make demo --splits test
	$(BIN)/bench run --system $(SYSTEMS) --dataset demo --limit $(LIMIT) --out $(OUT)/store
	@for pair in csv:csv md:md latex:tex html:html json:json; do \
	  $(BIN)/bench leaderboard --out $(OUT)/store --format $${pair%%:*} --save $(OUT)/leaderboard.$${pair##*:} || exit $$?; done
	@echo "written: $(OUT)/leaderboard.{csv,md,tex,html,json}"

seeded: env
	$(BIN)/bench data make demo --splits test,test-long
	$(TWINS) --limit 4 --metrics seeded
	$(TWINS) --split test-long --limit 1 --metrics seeded-tracks

gate: demo seeded
	$(BIN)/bench gate --baseline results/baselines/demo.json --out $(OUT)/store
	$(BIN)/bench gate --baseline results/baselines/seeded.json --plugin metrics/seeded.py --out $(SEEDED)

# The shipped checkpoints, each by the command in its header, in an order in which every stage finds what it needs among
# those that are shipped before it. One thread: sums come in one order, so the curves are those beside the files. A training
# that was stopped goes on.
TRAINED := bench-train/embedded
ALONE   := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 BENCH_CACHE=$(TRAINED)/cache $(BIN)/bench
TINY    := --config tiny --dataset demo --split train --val-split val --seed 0 --device cpu
# system, stage, network, name of the file, steps and settings
define ship
	$(ALONE) train $(1) --stage $(2) $(TINY) --steps $(5) --out $(TRAINED)/$(1)-$(4)
	$(BIN)/python -m bench.embedded $(TRAINED)/$(1)-$(4) $(3) systems/$(1)/embedded/$(4).safetensors
endef

embedded: env
	$(ALONE) data make demo --size 480
	$(call ship,hierspeech,features,features,features,800)
	$(call ship,hierspeech,ttv,ttv,ttv,1500)
	$(call ship,hierspeech,synthesizer,synthesizer,synthesizer,1500)
	$(call ship,wav2lip,expert,expert,expert,8000 --limit 160)
	$(call ship,wav2lip,generator,generator,generator,1500 --limit 160 --every 25)
	$(call ship,hierspeech,0,face,silent_face,450 --limit 160)
	$(call ship,hierspeech,1,face,face_stage1,1500 --limit 160)
	$(BIN)/python -m bench.embedded $(TRAINED)/hierspeech-face_stage1 discriminator \
	  systems/hierspeech/embedded/face_stage1_discriminator.safetensors
	$(call ship,hierspeech,2,face,face,300 --limit 160)
	$(call ship,hierspeech,2,face,face_no_sync,300 --limit 160 --set sync=none)
	$(call ship,hicodit,codec,codec,codec,48)
	$(call ship,hicodit,dit,hicodit,hicodit,3700 --set schedule=3700)
	$(call ship,hicodit,expression,expression,expression,900 --limit 160 --set schedule=900)
	$(ALONE) data make demo --size 960
	$(call ship,talker,vae,vae,vae,1000)
	$(call ship,talker,motion-encoder,encoder,motion_encoder,2000)
	$(call ship,talker,motion64,motion,motion64,824 --limit 216)
	$(call ship,talker,motion,motion,motion,900 --limit 216)
	$(call ship,talker,joint,joint,joint,3800 --set schedule=3000)

# after a change that moves numbers on purpose: say why in the commit
baseline: demo seeded
	$(BIN)/bench gate --baseline results/baselines/demo.json --out $(OUT)/store --write
	$(BIN)/bench gate --baseline results/baselines/seeded.json --plugin metrics/seeded.py --out $(SEEDED) --write

# pages over the demo's results, and the documentation site, whose internal links are checked
report: demo
	$(BIN)/bench report --out $(OUT)/store --folder $(OUT)/report

docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet --site-dir build/site
	$(BIN)/python docs/check_links.py build/site

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

conformance: $(VENV)/.dev
	$(BIN)/bench conformance

test: lint conformance
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not slow" --cov --cov-report=term:skip-covered --cov-fail-under=85

test-all: lint conformance
	$(BIN)/python -m pytest -q -n 2 --dist worksteal --cov --cov-report=term:skip-covered --cov-fail-under=85

speed: $(VENV)/.dev
	$(BIN)/python tests/speed/run.py
	$(BIN)/python tests/speed/run.py canonical --quick

clean:
	rm -rf $(VENV) $(OUT) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .coverage .coverage.*
