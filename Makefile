# demo and test set up everything themselves; the second time they are quick.

# the first Python of 3.12 or newer: python3 as pyenv picks it by .python-version, then by name
PYTHON := $(shell for p in python3 python3.14 python3.13 python3.12; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && { command -v "$$p"; break; }; done)
BIN := .venv/bin

.PHONY: demo serve test test-jobs test-pages test-sign-in test-compose test-convert convert-env test-openvino chaos siege fuzz soak check bench bench-growth bench-remote gpu-check audit lock openapi clean test-qgis qgis-plugin test-clients test-generators test-wheel bench-peers bench-layers bench-map bench-start test-servers

demo: .venv/ready
	$(BIN)/python examples/storm/demo.py

serve: .venv/ready
	$(BIN)/classify-objects serve

test: .venv/ready-dev
	$(BIN)/python -m pytest --numprocesses logical --dist worksteal --durations=25

# whole jobs, and what they survive: each row of the table of faults, with real processes; needs PostgreSQL's programs
test-jobs: .venv/ready-dev
	$(BIN)/python -m pytest -m "jobs and not timed" --numprocesses logical --dist loadfile --durations=25
	$(BIN)/python -m pytest -m "jobs and timed" --durations=25

# a person at the pages: fills in, uploads, runs, watches, cancels; needs Chromium
test-pages: .venv/ready-dev
	$(BIN)/python -m pytest -m pages --durations=5

# people who sign in at a real provider of OpenID Connect; needs Chromium and Node.js
test-sign-in: .venv/ready-dev .venv/sign-in/ready
	$(BIN)/python -m pytest -m sign_in --durations=5

# tiles of a real titiler, in an environment of its own: 400 MB
test-servers: .venv/ready-dev .venv/servers/ready
	$(BIN)/python -m pytest -m tile_server --durations=5

# the plugin in a real QGIS: its dialogs, qgis_process, this service and others; needs QGIS with its Python, and xvfb
test-qgis: .venv/ready-dev
	$(BIN)/python -m pytest -m qgis --durations=5

# the plugin as QGIS installs it
qgis-plugin:
	"$(PYTHON)" clients/qgis/package.py build/ogcapi_processes.zip

# clients against a running service: clients/python with its notebook, and two that programs make of the OpenAPI
# document; the plugin of QGIS against the types of Qt 6; needs Node.js
test-clients: .venv/ready-dev .venv/clients/ready
	$(BIN)/python -m pytest -m clients --durations=10

# the two that openapi-generator makes of it, with its Java
test-generators: .venv/ready-dev .venv/clients/ready .venv/generators/ready
	$(BIN)/python -m pytest -m generators --durations=5

# the faults of clusters once more, on the cluster of docker/compose.yml: its commands and settings, with an object store
test-compose: .venv/ready-dev
	$(BIN)/python -m pytest -m jobs --cluster compose --durations=25 \
		-k "compose or cluster or dask or gpu or takes_over or database_down" tests/jobs/test_faults.py tests/jobs/test_compose.py

# the wheel, installed with all that it needs for each Python from 3.12 on that is here; 1 GB each, from the package index
test-wheel: .venv/ready-dev
	PYTHONPATH=. $(BIN)/python tests/wheel.py

# what `classify-objects convert` opens networks of Keras and PyTorch with: 4.7 GB, apart from the service
convert-env: .venv/convert/ready

# real networks of both, converted and compared with what their frameworks give; a quarter of an hour
test-convert: .venv/ready-dev .venv/convert/ready
	$(BIN)/python -m pytest -m convert --timeout=1800

# the tests of networks in bf16 and int8 once more, in an environment with OpenVINO: 200 MB, apart from the service
test-openvino: .venv/openvino/ready
	PYTHONPATH=. .venv/openvino/bin/python -m pytest tests/model/test_precision.py tests/model/test_openvino.py tests/programs/optimisation

# a hundred faults at random while jobs run; needs PostgreSQL's programs
chaos: .venv/ready-dev
	PYTHONPATH=. $(BIN)/python tests/chaos.py

# slow and greedy clients, hosts and subscribers, all at once, and what another client notices
siege: .venv/ready-dev
	PYTHONPATH=. $(BIN)/python tests/siege.py

# five thousand requests made from the OpenAPI document
fuzz: .venv/ready-dev
	PYTHONPATH=. $(BIN)/python tests/fuzz.py

check: .venv/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd clients/python && ../../$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_architecture.py

bench: .venv/ready-dev
	$(BIN)/python bench/run.py

# a remote image beside the same one on this machine, and beside a read for each object; a quarter of an hour
bench-remote: .venv/ready-dev
	$(BIN)/python bench/remote.py

# how cost grows with objects, images and jobs, with the plot of docs/performance.md; five minutes
bench-growth: .venv/ready-dev .venv/plots/ready
	$(BIN)/python bench/growth.py
	.venv/plots/bin/python bench/plot.py bench/data/growth.json docs/growth.svg

# a million polygons in each format, with BESIDE=CHECKOUT beside 0.3.0; twenty minutes
bench-layers: .venv/ready-dev
	$(BIN)/python bench/formats.py $(BESIDE)

# a run of one object, and an idle service, with BESIDE=CHECKOUT beside 0.3.0; six minutes
bench-start: .venv/ready-dev
	$(BIN)/python bench/start.py $(BESIDE)

# TorchGeo, Raster Vision, DeepForest and a plain script on the same objects and weights; half an hour, 5 GB of libraries
bench-peers: .venv/ready-dev .venv/openvino/ready .venv/peers/ready
	PYTHONPATH=. .venv/openvino/bin/python bench/peers.py .venv/peers/bin/python

# the map of a result with a million objects, beside an empty map; needs Chromium; some minutes
bench-map: .venv/ready-dev
	PYTHONPATH=.:tests $(BIN)/python bench/map_view.py

# a GPU: labels, speed, options, memory; stops with the reason where there is none, before 2 GB of libraries are installed
gpu-check: .venv/ready
	$(BIN)/python bench/gpu_check.py --driver
	$(MAKE) .venv/ready-gpu
	$(BIN)/python bench/gpu_check.py

# ten thousand small jobs through one service: memory and the job list
soak: .venv/ready-dev
	$(BIN)/python bench/soak.py

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.12 or newer is needed and was not found: install python3.12 with its venv module (Debian: apt install python3-venv)"; exit 1; }
	"$(PYTHON)" -m venv .venv || { rm -rf .venv; echo "Python has no venv module: install it (Debian: apt install python3-venv)"; exit 1; }

.venv/ready: requirements.lock pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/ready-dev: requirements-dev.lock requirements-readers.lock requirements-objects.lock .venv/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --upgrade --target .venv/readers -r requirements-readers.lock
	$(BIN)/python -m venv .venv/objects
	.venv/objects/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-objects.lock
	@touch $@

# NVIDIA's libraries for ONNX Runtime, beside what is there
.venv/ready-gpu: requirements-gpu.lock .venv/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-gpu.lock
	@touch $@

.venv/openvino/ready: requirements-openvino.lock requirements-dev.lock | .venv/bin/python
	$(BIN)/python -m venv .venv/openvino
	.venv/openvino/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-openvino.lock -r requirements-dev.lock
	@touch $@

.venv/convert/ready: requirements-convert.lock | .venv/bin/python
	$(BIN)/python -m venv .venv/convert
	.venv/convert/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-convert.lock
	@touch $@

.venv/peers/ready: requirements-peers.lock | .venv/bin/python
	$(BIN)/python -m venv .venv/peers
	.venv/peers/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-peers.lock
	@touch $@

.venv/servers/ready: requirements-servers.lock | .venv/bin/python
	$(BIN)/python -m venv .venv/servers
	.venv/servers/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-servers.lock
	@touch $@

.venv/clients/ready: requirements-clients.lock tests/clients/package.json tests/clients/package-lock.json | .venv/bin/python
	$(BIN)/python -m venv .venv/clients
	.venv/clients/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-clients.lock
	mkdir -p .venv/clients/npm && cp tests/clients/package.json tests/clients/package-lock.json .venv/clients/npm
	npm ci --silent --no-audit --no-fund --prefix .venv/clients/npm
	@touch $@

.venv/sign-in/ready: tests/sign_in/package.json tests/sign_in/package-lock.json | .venv/bin/python
	mkdir -p .venv/sign-in/npm && cp tests/sign_in/package.json tests/sign_in/package-lock.json .venv/sign-in/npm
	npm ci --silent --no-audit --no-fund --prefix .venv/sign-in/npm
	@touch $@

.venv/generators/ready: requirements-generators.lock | .venv/bin/python
	$(BIN)/python -m venv .venv/generators
	.venv/generators/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-generators.lock
	@touch $@

# known vulnerabilities of all that is pinned; without an answer it fails, as it does for a package that is not known
audit: .venv/inventory/ready
	for lock in requirements*.lock; do echo "$$lock"; \
		.venv/inventory/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off -r "$$lock" || exit 1; done

# writes the OpenAPI document and its examples anew
openapi: .venv/ready-dev
	$(BIN)/python openapi/write.py

.venv/inventory/ready: requirements-inventory.lock | .venv/bin/python
	$(BIN)/python -m venv .venv/inventory
	.venv/inventory/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-inventory.lock
	@touch $@

# pins anew what pyproject.toml allows; needs uv
.venv/plots/ready: requirements-plots.lock | .venv/bin/python
	$(BIN)/python -m venv .venv/plots
	.venv/plots/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-plots.lock
	@touch $@

lock:
	uv pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml requirements-build.in -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --overrides docker/cpu-overrides.txt -c requirements.lock pyproject.toml requirements-build.in -o requirements-cpu.lock
	uv pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --extra gpu -c requirements.lock pyproject.toml requirements-build.in -o requirements-gpu.lock
	uv pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --extra openvino -c requirements.lock pyproject.toml requirements-build.in -o requirements-openvino.lock
	uv pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --group dev -c requirements.lock pyproject.toml requirements-build.in -o requirements-dev.lock
	uv pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --no-deps --group readers -o requirements-readers.lock
	uv pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --group objects -o requirements-objects.lock
	uv pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --group convert -o requirements-convert.lock
	uv pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --group clients --no-emit-package pyqt6-qt6 -o requirements-clients.lock
	uv pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --group generators -o requirements-generators.lock
	uv pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --group plots -o requirements-plots.lock
	uv pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --group peers -o requirements-peers.lock
	uv pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --group servers -o requirements-servers.lock
	uv pip compile --quiet --universal --python-version 3.12 --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links --group inventory -o requirements-inventory.lock

clean:
	rm -rf .venv demo state build
