"""Show the whole way: make a scene, start the service, classify its houses, compare with the truth, draw a picture.

    .venv/bin/python examples/storm/demo.py

Everything it makes is in `demo/`, or in the folder that --output names. The exit status is not 0 if anything fails.
"""

import argparse
import json
import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from client import DemoError, Service, running_service
from picture import Rgb, Verdict, draw_picture
from scene import make_scene, write_scene

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ".venv/bin/classify-objects" if (ROOT / ".venv").exists() else "classify-objects"
SEED = 7
MODEL = "roof-damage"
GEOPACKAGE = "application/geopackage+sqlite3"
GEOPACKAGE_START = b"SQLite format 3\x00"
COLOURS: dict[str, Rgb] = {"intact": (76, 175, 80), "damaged": (230, 40, 40)}
SAMPLE_ROWS = 6
CHECK_LIMIT_S = 120
OWN_IMAGERY = (
    f"{PROGRAM} run --image my.tif --features my-objects.gpkg --model urban-tree-naip --output classified.gpkg"
)


@dataclass(frozen=True)
class Files:
    """What the demonstration makes."""

    folder: Path

    @property
    def scene(self) -> Path:
        return self.folder / "scene.tif"

    @property
    def houses(self) -> Path:
        return self.folder / "houses.geojson"

    def classified(self, ending: str) -> Path:
        """Return the result of a form: `.geojson`, `.gpkg`, and the picture `.png`."""
        return self.folder / f"houses-classified{ending}"


def main() -> int:
    """Run the demonstration and return the exit status."""
    parser = argparse.ArgumentParser(description="Classify the houses of a synthetic scene over HTTP.")
    parser.add_argument("--output", type=Path, default=ROOT / "demo", help="a folder that is there")
    files = Files(parser.parse_args().output.absolute())
    signal.signal(signal.SIGTERM, _leave)
    try:
        prepare_scene(files)
        with running_service(ROOT, files.folder) as service:
            introduce(service)
            verdicts = classify(service, files)
            colours = class_colours(service)
            fetch_layer(service, files)
            page = result_page(service)
        compare(verdicts)
        draw_picture(files.scene, verdicts, colours, files.classified(".png"))
        conclude(files, page)
    except DemoError as err:
        print(f"\nThe demonstration failed: {err}", file=sys.stderr)
        return 1
    return 0


def _leave(number: int, frame: FrameType | None) -> None:
    """End as after an exception, so that the service is stopped."""
    raise SystemExit(128 + number)


def prepare_scene(files: Files) -> None:
    """Write the scene unless it is there: the houses are written last, so they are the sign that it is complete."""
    scene, houses = shown(files.scene), shown(files.houses)
    if files.scene.exists() and files.houses.exists():
        print(f"Scene: {scene} and {houses} are there already (synthetic, seed {SEED}).")
        return
    print("Scene: drawing a SYNTHETIC suburb after a storm, no real imagery ...", flush=True)
    started = time.monotonic()
    write_scene(make_scene(SEED), files.folder)
    print(f"Scene: {scene} and {houses} in {time.monotonic() - started:.1f} s.")


def introduce(service: Service) -> None:
    """Print which process is going to be used, when the service has checked the model.

    Raises:
        DemoError: the model cannot be used.
    """
    end_s = time.monotonic() + CHECK_LIMIT_S
    description = service.get("/processes/classify-objects")
    while MODEL not in description["inputs"]["model"]["schema"].get("enum", ()):
        if time.monotonic() > end_s:
            raise DemoError(f"the service has not checked the model {MODEL} within {CHECK_LIMIT_S} s")
        time.sleep(0.2)
        description = service.get("/processes/classify-objects")
    print(
        f"\nService: {service.url}\nProcess: {description['title']}\n         {service.url}/processes/classify-objects"
    )


def execute_request(files: Files) -> dict[str, Any]:
    """Return the body of the request."""
    links = {"image": {"href": files.scene.as_uri()}, "features": {"href": files.houses.as_uri()}}
    return {"inputs": {**links, "model": MODEL}}


def classify(service: Service, files: Files) -> list[Verdict]:
    """Classify the houses, keep the result as GeoJSON and print what was done."""
    body = execute_request(files)
    print("\nRequest, the same with curl while a service runs:\n" + curl_command(service.url, body), flush=True)
    started = time.monotonic()
    answer = service.execute("classify-objects", body)
    taken_s = time.monotonic() - started
    files.classified(".geojson").write_bytes(answer)
    features = json.loads(answer)["features"]
    print(f"\nAnswer: {len(features)} houses in {taken_s:.2f} s, {len(features) / taken_s:.0f} objects/s.")
    return [read_verdict(feature) for feature in features]


def curl_command(url: str, body: Mapping[str, Any]) -> str:
    """Return the command line that sends the request."""
    address = f"{url}/processes/classify-objects/execution"
    return f"  curl -s {address} \\\n    -H 'Content-Type: application/json' \\\n    -d {shlex.quote(json.dumps(body))}"


def read_verdict(feature: Mapping[str, Any]) -> Verdict:
    """Return a house of the result.

    Raises:
        DemoError: the house has no label, though every house lies on the image.
    """
    properties = feature["properties"]
    if properties["ClassStatus"] != "ok":
        raise DemoError(f"house {properties['house']} was not classified: {properties['ClassStatus']}")
    return Verdict(
        properties["house"],
        properties["truth"],
        properties["ClassLabel"],
        properties["Confidence"],
        feature["geometry"],
    )


def class_colours(service: Service) -> dict[str, Rgb]:
    """Return the colour of each class from the model's description, or the usual ones where it has none."""
    description = json.loads(service.execute("describe-model", {"inputs": {"model": MODEL}}))
    classes = description.get("classes", [])
    return COLOURS | {entry["Name"]: tuple(entry["Color"]) for entry in classes if entry.get("Color")}


def fetch_layer(service: Service, files: Files) -> None:
    """Ask for the same as a GeoPackage."""
    wanted = {"classifiedObjects": {"format": {"mediaType": GEOPACKAGE}}}
    answer = service.execute("classify-objects", execute_request(files) | {"outputs": wanted})
    if not answer.startswith(GEOPACKAGE_START):
        raise DemoError(f"asked for a GeoPackage, got {answer[:60]!r}")
    files.classified(".gpkg").write_bytes(answer)


def result_page(service: Service) -> str:
    """Return the path of the page of the last job's result, and print its address."""
    (job,) = service.get("/jobs?status=successful&limit=1")["jobs"]
    page = f"/jobs/{job['jobID']}/results?f=html"
    print(f"\nResult on a map: {service.url}{page}")
    return page


def compare(verdicts: Sequence[Verdict]) -> None:
    """Print the labels beside the truth."""
    counts = Counter((verdict.truth, verdict.label) for verdict in verdicts)
    names = sorted({name for pair in counts for name in pair}, reverse=True)
    print("\ntruth \\ label" + "".join(f"{name:>10}" for name in names) + f"{'recall':>10}")
    recalls = []
    for truth in names:
        row = [counts[truth, label] for label in names]
        recalls.append(counts[truth, truth] / max(1, sum(row)))
        print(f"{truth:<13}" + "".join(f"{count:>10}" for count in row) + f"{recalls[-1]:>10.3f}")
    accuracy = sum(verdict.right for verdict in verdicts) / len(verdicts)
    print(f"accuracy {accuracy:.3f}, balanced accuracy {sum(recalls) / len(recalls):.3f}")
    print("\nhouse  label     confidence  truth")
    wrong = [verdict for verdict in verdicts if not verdict.right]
    for verdict in [*verdicts[:SAMPLE_ROWS], *wrong[:2]]:
        mark = "" if verdict.right else "  <- wrong"
        print(f"{verdict.house:>5}  {verdict.label:<9} {verdict.confidence:>10.3f}  {verdict.truth}{mark}")


def conclude(files: Files, page: str) -> None:
    """Print where everything is and what to do next.

    Args:
        files: what was made.
        page: path of the result's page.
    """
    print("\nFiles:")
    for path in (files.scene, files.houses, *map(files.classified, (".geojson", ".gpkg", ".png"))):
        print(f"  {shown(path)}")
    settings = (
        f"CLASSIFY_STATE={shlex.quote(shown(files.folder / 'state'))} CLASSIFY_IMAGERY={shlex.quote(str(files.folder))}"
    )
    print("\nThe service of the demonstration has ended. To start it again, and keep it running:")
    print(f"  {settings} {PROGRAM} serve")
    print(f"The result on a map is then at http://127.0.0.1:5000{page}")
    print("\nThe scene is synthetic, and so are these figures: the model is no tool for real damage assessment.")
    print(f"The same with your own imagery and objects:\n  {OWN_IMAGERY}")


def shown(path: Path) -> str:
    """Return a path as seen from the repository, or whole where it is elsewhere."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


if __name__ == "__main__":
    sys.exit(main())
