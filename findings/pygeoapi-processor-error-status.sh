#!/usr/bin/env bash
# pygeoapi 0.24.0 (PyPI), Python 3.12 or newer.
#
# A process that refuses a request raises ProcessorExecuteError. The class has the attribute http_status_code, as all of
# pygeoapi's errors have, and pygeoapi's view of executions answers with err.http_status_code. So one would set it to 403
# or 413 and expect that status. But pygeoapi's own managers catch every exception of a process before the view sees it:
# the answer is always 400 with the code InvalidParameterValue. With a manager that raises the error itself the view
# does use the status.
#
# Output seen:
#   Dummy manager, error with status 403: 400 InvalidParameterValue
#   Dummy manager, error with status 413: 400 InvalidParameterValue
#   manager that lets the error through, status 413: 413
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$(dirname "$0")" # whose Python is 3.12 or newer
python3 -m venv "$folder/venv"
cd "$folder"
venv/bin/python -m pip install --quiet --disable-pip-version-check "pygeoapi==0.24.0" "setuptools>=80"
cat > refusing.py <<'PY'
from http import HTTPStatus

from pygeoapi.process.base import BaseProcessor, ProcessorExecuteError
from pygeoapi.process.manager.dummy import DummyManager

METADATA = {
    "version": "1.0.0",
    "id": "refuse",
    "title": "Refuse",
    "description": "Refuses each request with the status that it is asked for",
    "jobControlOptions": ["sync-execute"],
    "keywords": [],
    "links": [],
    "inputs": {"status": {"title": "Status", "schema": {"type": "integer"}, "minOccurs": 1, "maxOccurs": 1}},
    "outputs": {"nothing": {"title": "Nothing", "schema": {"type": "object"}}},
    "example": {"inputs": {"status": 403}},
}


class Refuse(BaseProcessor):
    def __init__(self, processor_def):
        super().__init__(processor_def, METADATA)

    def execute(self, data, outputs=None):
        error = ProcessorExecuteError("refused", user_msg="refused")
        error.http_status_code = HTTPStatus(data["status"])
        raise error


class LettingThrough(DummyManager):
    def execute_process(self, process_id, data_dict, execution_mode=None, **_):
        return self.get_processor(process_id).execute(data_dict)
PY
cat > ask.py <<'PY'
import os
import sys

import yaml

manager = sys.argv[1]
text = {"en": "x"}
contact = dict.fromkeys(
    ("name", "position", "address", "city", "stateorprovince", "postalcode", "country", "phone", "fax", "email", "hours", "instructions"), "x"
)
configuration = {
    "server": {
        "bind": {"host": "127.0.0.1", "port": 5000},
        "url": "http://localhost",
        "mimetype": "application/json",
        "encoding": "utf-8",
        "languages": ["en-US"],
        "limits": {"default_items": 10, "max_items": 10},
        "map": {"url": "http://localhost/tiles", "attribution": "x"},
    }
    | ({"manager": {"name": manager}} if manager != "none" else {}),
    "logging": {"level": "CRITICAL"},
    "metadata": {
        "identification": {
            "title": "x", "description": "x", "keywords": ["x"], "keywords_type": "theme",
            "terms_of_service": "http://localhost", "url": "http://localhost",
        },
        "license": {"name": "x"},
        "provider": {"name": "x", "url": "http://localhost"},
        "contact": {**contact, "url": "http://localhost", "role": "pointOfContact"},
    },
    "resources": {"refuse": {"type": "process", "processor": {"name": "refusing.Refuse"}}},
}
with open("config.yml", "w") as file:
    yaml.safe_dump(configuration, file)
with open("openapi.yml", "w") as file:
    yaml.safe_dump({"openapi": "3.0.3", "info": {"title": "x", "version": "1"}, "paths": {}}, file)
os.environ |= {"PYGEOAPI_CONFIG": "config.yml", "PYGEOAPI_OPENAPI": "openapi.yml"}
from flask import url_for
from pygeoapi.flask_app import APP

with APP.test_request_context():
    path = url_for("pygeoapi.execute_process_jobs", process_id="refuse")
answer = APP.test_client().post(path, json={"inputs": {"status": int(sys.argv[2])}})
print(answer.status_code, answer.json.get("code") if manager == "none" else "", sep=" ")
PY
export PYTHONPATH="$folder" PYTHONWARNINGS=ignore
first=$(venv/bin/python ask.py none 403)
second=$(venv/bin/python ask.py none 413)
third=$(venv/bin/python ask.py refusing.LettingThrough 413)
echo "Dummy manager, error with status 403: $first"
echo "Dummy manager, error with status 413: $second"
echo "manager that lets the error through, status 413: $third"
[ "$first" = "400 InvalidParameterValue" ] && [ "$second" = "400 InvalidParameterValue" ] && [ "${third% }" = "413" ]
