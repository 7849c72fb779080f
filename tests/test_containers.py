"""The files of docker/: what they name exists, they are what their schemas say, and they are as shut as they promise."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from compose import COMPOSE, read_services
from processes.programs.cli import main
from service import ROOT

DOCKER = ROOT / "docker"
MANIFESTS = sorted((DOCKER / "kubernetes").rglob("*.yaml"))
VARIABLES = set(re.findall(r"\$\{(CLASSIFY_\w+)", (ROOT / "pygeoapi-config.yml").read_text()))
OF_IMAGE = {
    "CLASSIFY_ACCESS",
    "CLASSIFY_HOST",
    "CLASSIFY_PORT",
    "CLASSIFY_MODELS",
    "CLASSIFY_IMAGERY",
    "CLASSIFY_STATE",
}
OF_CLUSTER = {"CLASSIFY_SCHEDULER", "CLASSIFY_TLS_CA", "CLASSIFY_TLS_CERT", "CLASSIFY_TLS_KEY"}


def stages() -> dict[str, tuple[str, str]]:
    """Return the base and the text of each stage of the Dockerfile, by its name; the last one has none."""
    text = (DOCKER / "Dockerfile").read_text()
    found = re.findall(r"^FROM (\S+)(?: AS (\S+))?\n(.*?)(?=^FROM |\Z)", text, re.MULTILINE | re.DOTALL)
    return {name: (base, commands) for base, name, commands in found}


def assert_command(words: list[str]) -> None:
    """Check that the command line takes a command with its options."""
    name, *options = words
    shown = CliRunner().invoke(main, [name, "--help"])
    assert shown.exit_code == 0, name
    assert all(option in shown.output for option in options if option.startswith("--")), words


def test_the_image_runs_a_command_that_there_is_and_sets_variables_that_there_are() -> None:
    base, text = stages()["service"]
    assert (base, stages()["cpu"][0], stages()["gpu"][0], stages()[""][0]) == ("python", "service", "service", "cpu")
    assert set(re.findall(r"\b(CLASSIFY_\w+)=", text)) == OF_IMAGE | {"CLASSIFY_URL"}
    (start,) = re.findall(r"^ENTRYPOINT (.*)$", text, re.MULTILINE)
    (command,) = re.findall(r"^CMD (.*)$", text, re.MULTILINE)
    assert json.loads(start)[-1] == "classify-objects"
    assert_command(json.loads(command))
    assert_command(["demo"])
    assert re.search(r"^USER 10001:0$", text, re.MULTILINE)


def test_what_is_copied_into_the_build_is_there_and_not_ignored() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    taken = {line[1:] for line in lines if line.startswith("!")}
    assert all((ROOT / name).exists() for name in taken)
    for _, text in stages().values():
        for words in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE):
            assert all(name in taken | {"."} for name in words.split()[:-1]), words


@cache
def pins(lock: str) -> dict[str, str]:
    found = re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", (ROOT / lock).read_text(), re.MULTILINE)
    return dict(found)


def test_images_have_the_versions_that_are_tested() -> None:
    tested, cpu, gpu = pins("requirements.lock"), pins("requirements-cpu.lock"), pins("requirements-gpu.lock")
    assert tested["onnxruntime"] == tested["onnxruntime-gpu"]
    assert cpu == {name: version for name, version in tested.items() if name != "onnxruntime-gpu"}
    assert tested.items() <= gpu.items()
    added = gpu.keys() - tested.keys()
    assert {"nvidia-cudnn-cu13", "nvidia-cuda-runtime", "nvidia-cublas"} <= added
    assert all(name.startswith("nvidia-") for name in added)


@pytest.mark.parametrize("path", [COMPOSE, DOCKER / "compose.proxy.yml"], ids=lambda path: path.name)
def test_compose_files_are_what_their_specification_says(path: Path) -> None:
    schema = json.loads((ROOT / "tests" / "schemas" / "compose_spec.json").read_text())
    document = yaml.safe_load(path.read_text())
    Draft202012Validator(schema).validate(document)
    for service in document["services"].values():
        if "build" in service:
            assert service["build"].get("target", "") in stages()
            assert (path.parent / service["build"]["context"] / service["build"]["dockerfile"]).exists()
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("./"):
                assert (path.parent / source).exists(), source


def test_compose_passes_all_settings_on() -> None:
    values = {name: f"my {name}" for name in VARIABLES} | {"IMAGERY": "/mine"}
    services = read_services(values)
    own = {name: item for name, item in services.items() if item["image"].startswith("classify-objects")}
    assert {*own, "database", "objects"} == services.keys()
    for name, service in own.items():
        assert service["read_only"], name
        assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"])
        if name == "certificates":
            continue
        variables = {key for key in service["environment"] if key.startswith("CLASSIFY_")}
        wanted = VARIABLES - (OF_IMAGE - {"CLASSIFY_ACCESS"})
        if service["profiles"] in (["cpu"], ["gpu"]):
            wanted -= OF_CLUSTER
        else:
            assert_command(service["command"])
            wanted -= set() if name in ("web", "runner") else {"CLASSIFY_JOB_STORE"}
        assert variables == wanted, name
        kept = variables - OF_CLUSTER
        assert {key: service["environment"][key] for key in kept} == {key: values[key] for key in kept}
    with pytest.raises(KeyError, match="IMAGERY"):
        read_services({})


def test_compose_starts_one_machine_a_gpu_or_a_cluster() -> None:
    (started,) = re.findall(r"^COMPOSE_PROFILES=(\w+)$", (DOCKER / ".env").read_text(), re.MULTILINE)
    services = read_services({"IMAGERY": "/mine"})
    of_profile = {
        profile: {name for name, item in services.items() if profile in item["profiles"]}
        for profile in ("cpu", "gpu", "cluster", "cluster-gpu")
    }
    assert of_profile[started] == {"classify-objects"}
    assert of_profile["gpu"] == {"classify-objects-gpu"}
    parts = {"web", "runner", "scheduler", "worker", "certificates", "database", "objects"}
    assert of_profile["cluster"] == parts
    assert of_profile["cluster-gpu"] == {"worker-gpu"}
    for name in ("classify-objects-gpu", "worker-gpu"):
        (device,) = services[name]["deploy"]["resources"]["reservations"]["devices"]
        assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])
        assert services[name]["build"]["target"] == "gpu"


def resources(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the resources of a file of manifests."""
    yield from (item for item in yaml.safe_load_all(path.read_text()) if item)


PODS = [
    pytest.param(item, id=item["metadata"]["name"])
    for path in MANIFESTS
    for item in resources(path)
    if item["kind"] in ("Deployment", "StatefulSet")
]


def test_manifests_are_what_kubernetes_takes() -> None:
    validator = required("kubernetes_validate")
    for path in MANIFESTS:
        for item in resources(path):
            if item["kind"] not in ("Kustomization", "Component"):
                validator.validate(item, "1.37", strict=True)
    with pytest.raises(validator.ValidationError):
        validator.validate({"apiVersion": "v1", "kind": "Service", "spec": {"ports": 1}}, "1.37", strict=True)


def required(module: str) -> Any:
    """Return a module that only tests need."""
    if os.environ.get("CI"):
        return __import__(module)
    return pytest.importorskip(module)


@pytest.mark.parametrize("workers", ["cpu", "gpu"])
@pytest.mark.parametrize("is_with_objects", [False, True])
def test_kustomize_puts_the_manifests_together(tmp_path: Path, workers: str, is_with_objects: bool) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not there")
    shutil.copytree(DOCKER / "kubernetes", tmp_path / "kubernetes")
    overlay = tmp_path / "kubernetes" / workers
    if is_with_objects:
        text = (overlay / "kustomization.yaml").read_text()
        assert "# components:" in text
        (overlay / "kustomization.yaml").write_text(text.replace("# components:", "components:"))
    built = subprocess.run(["kubectl", "kustomize", str(overlay)], check=True, capture_output=True, text=True).stdout
    found = {(item["kind"], item["metadata"]["name"]): item for item in yaml.safe_load_all(built)}
    assert all(
        item["metadata"].get("namespace") == "classify-objects"
        for (kind, _), item in found.items()
        if kind != "Namespace"
    )
    validator = required("kubernetes_validate")
    for item in found.values():
        validator.validate(item, "1.37", strict=True)
    (worker,) = found["Deployment", "worker"]["spec"]["template"]["spec"]["containers"]
    assert worker["resources"]["limits"].get("nvidia.com/gpu") == (1 if workers == "gpu" else None)
    assert worker["image"].split(":")[0] == ("classify-objects-gpu" if workers == "gpu" else "classify-objects")
    is_claimed = ("PersistentVolumeClaim", "results") in found
    assert is_claimed != is_with_objects
    mounts = {mount["mountPath"] for mount in worker["volumeMounts"]}
    assert ("/results" in mounts) == is_claimed
    settings = next(item["data"] for (kind, _), item in found.items() if kind == "ConfigMap")
    assert settings["CLASSIFY_RESULTS"].startswith("s3://" if is_with_objects else "/results")


@pytest.mark.parametrize("item", PODS)
def test_pods_keep_the_restricted_standard(item: dict[str, Any]) -> None:
    """Check what Kubernetes' Pod Security Standards ask for at the level `restricted`, and a file system to read only."""
    pod = item["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"]["type"] in ("RuntimeDefault", "Localhost")
    assert pod["automountServiceAccountToken"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    for container in pod["containers"] + pod.get("initContainers", []):
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["readOnlyRootFilesystem"] is True
        assert "privileged" not in context
        assert {"requests", "limits"} <= container["resources"].keys()
        assert not [port for port in container.get("ports", []) if "hostPort" in port]
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        claims = {claim["metadata"]["name"] for claim in item["spec"].get("volumeClaimTemplates", [])}
        assert mounted == {volume["name"] for volume in pod["volumes"]} | claims
    kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }


def test_the_namespace_enforces_the_restricted_standard() -> None:
    (namespace,) = resources(DOCKER / "kubernetes" / "base" / "namespace.yaml")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.parametrize("item", [param for param in PODS if param.id != "database"])
def test_pods_run_commands_that_there_are_with_settings_that_there_are(item: dict[str, Any]) -> None:
    (container,) = item["spec"]["template"]["spec"]["containers"]
    assert "command" not in container  # that of the image, with the init
    assert_command(container["args"])
    stores = [source for source in container["envFrom"] if source.get("secretRef", {}).get("name") == "job-store"]
    assert len(stores) == (item["metadata"]["name"] in ("web", "runner"))


def test_manifests_name_settings_that_there_are_and_hold_no_secret() -> None:
    (base,) = resources(DOCKER / "kubernetes" / "base" / "kustomization.yaml")
    named = {text.split("=")[0] for item in base["configMapGenerator"] for text in item["literals"]}
    assert named <= VARIABLES
    for path in MANIFESTS:
        assert set(re.findall(r"\b(CLASSIFY_[A-Z_]+)\b", path.read_text())) <= VARIABLES
        assert "Secret" not in {item["kind"] for item in resources(path)}
    assert set(base["resources"]) == {path.name for path in (DOCKER / "kubernetes/base").glob("*.yaml")} - {
        "kustomization.yaml"
    }


def test_only_those_who_need_them_reach_the_database_and_the_scheduler() -> None:
    policies = {item["metadata"]["name"]: item["spec"] for item in resources(DOCKER / "kubernetes/base/network.yaml")}
    assert policies["nothing"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for name, peers in {
        "database": {"web", "runner"},
        "scheduler": {"runner", "worker"},
        "worker": {"scheduler", "runner", "worker"},
    }.items():
        assert policies[name]["podSelector"] == {"matchLabels": {"part": name}}
        (rule,) = policies[name]["ingress"]
        (source,) = rule["from"]
        (expression,) = source["podSelector"]["matchExpressions"]
        assert (expression["key"], expression["operator"], set(expression["values"])) == ("part", "In", peers)
    assert policies["web"]["ingress"] == [{"ports": [{"port": "http"}]}]
    assert "ingress" not in policies["runner"]


def test_the_program_that_tries_the_images_says_what_it_needs(tmp_path: Path) -> None:
    def verify(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(DOCKER / "verify"), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=variables)

    told = verify("gpus")
    assert told.returncode == 2
    variables = re.findall(r"^([A-Z_]+) +\w", told.stdout, re.MULTILINE)
    source = "".join(path.read_text() for path in [DOCKER / "verify", *(DOCKER / "verification").glob("*.py")])
    assert set(variables) - {"TMPDIR"} == set(re.findall(r'environ(?:\.get\(|\[)"(\w+)"', source))
    lacking = verify("cpu", PATH=str(tmp_path), DATA=str(tmp_path))
    assert lacking.returncode == 2
    assert all(word in lacking.stdout for word in ("buildah", "debootstrap", str(tmp_path)))
