"""Ask the service what its OpenAPI document allows, and what it does not, and see whether every answer is in it.

    python tests/fuzz.py [--cases 5000] [--seed N]

No answer may be a fault of the server, or have a status, a media type, a header or a body that the document lacks.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
from pathlib import Path

from jobs_service import Service, make_town, running

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
_MORE = 1.2
METHODS = ("get", "head", "post", "delete")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--seed", default="1")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "service").mkdir()
        crowd = {"max_waiting_jobs": 10_000, "max_waiting_jobs_per_client": 10_000}
        with running(Service(make_town(home / "town"), home / "service", limits=crowd)) as service:
            document = f"{service.url}/openapi?f=json"
            paths = service.get("/openapi?f=json").json["paths"]
            operations = sum(method in path for path in paths.values() for method in METHODS)
            command = [Path(sys.executable).with_name("schemathesis"), "run", document, "--url", service.url]
            asked = {
                "--phases": "fuzzing",
                "--checks": ",".join(CHECKS),
                # of some operations there are not so many different requests
                "--max-examples": math.ceil(_MORE * options.cases / operations),
                "--seed": options.seed,
                "--request-timeout": 60,
            }
            arguments = [part for option in asked.items() for part in option]
            fuzzed = subprocess.run([*map(str, [*command, *arguments])], cwd=home, check=False)
            log = service.log()
    failed = [line for line in log.splitlines() if "level=error" in line and "logger=processes" in line]
    print("\n".join(failed[:50]))
    return fuzzed.returncode or bool(failed)


if __name__ == "__main__":
    sys.exit(main())
