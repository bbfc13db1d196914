# Everything sets itself up: a virtual environment in .venv with the package and its tools.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := runs/demo
WORKERS ?= 2

# TensorFlow's start-up messages hide what matters.
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: demo test check install clean

install: $(VENV)/.installed

$(VENV)/.installed: setup.py keras_sphereface/version.py
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@

# The main job on generated faces: pictures -> records -> training -> SavedModel ->
# verification on people never trained on -> feature spheres.
demo: install
	rm -rf $(DEMO)
	$(BIN)/python tools/generate_faces.py --out $(DEMO)/faces
	$(BIN)/python tools/make_tfrecords.py --source $(DEMO)/faces/images \
	    --landmarks $(DEMO)/faces/landmarks.txt --exclude $(DEMO)/faces/test_people.txt \
	    --out $(DEMO)/records
	$(BIN)/python examples/train_casia.py --data $(DEMO)/records --workdir $(DEMO)/training \
	    --backbone sphereface4 --width 0.5 --batch-size 64 --total-steps 300 \
	    --gamma 0.4 --optimizer adam --learning-rate 0.001 --log-steps 50
	$(BIN)/python tools/evaluate.py --model $(DEMO)/training/export \
	    --images $(DEMO)/faces/images --pairs $(DEMO)/faces/pairs.txt \
	    --landmarks $(DEMO)/faces/landmarks.txt --out $(DEMO)/evaluation
	$(BIN)/python examples/feature_spheres.py --out $(DEMO)/spheres --total-steps 200
	@echo
	@echo "The results lie in $(DEMO):"
	@echo "  training/export                SavedModel"
	@echo "  training/summary.md            what happened in training, with curves.png"
	@echo "  evaluation/report.html         verification of people never trained on"
	@echo "  evaluation/metrics.json, pairs.csv, roc.png and other pictures"
	@echo "  spheres/spheres_2d.png, spheres_3d.png, shrinkage.png, spheres.md, spheres.csv"

test: install check
	$(BIN)/python -m pytest -n $(WORKERS)

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) runs build dist *.egg-info
