"""The configuration is read as pygeoapi reads it, and what it says wrong is told."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pygeoapi.util import yaml_load

from processes.allowed_hosts import AllowedHost, OidcIssuer
from processes.settings import Limits, Settings, Tls, load_configuration, load_settings
from service import ROOT
from tables import each_row

SHIPPED = ROOT / "pygeoapi-config.yml"
VARIABLES = re.findall(r"\$\{CLASSIFY_(\w+)", SHIPPED.read_text())


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(f"CLASSIFY_{name}", raising=False)


def configuration(folder: Path, **plugin: Any) -> Path:
    path = folder / "pygeoapi-config.yml"
    lines = [f"      {name}: {value}" for name, value in plugin.items()]
    path.write_text("\n".join(["resources:", "  classify-objects:", "    processor:", "      name: x", *lines]))
    return path


def test_shipped_configuration_has_the_defaults_of_the_contract() -> None:
    found = load_settings(SHIPPED)
    assert found == Settings(
        models=(ROOT / "models",),
        imagery=(),
        hosts=(),
        state=ROOT / "state",
        limits=Limits(),
        job_store=f"sqlite:///{ROOT}/state/jobs.sqlite3",
        results=f"{ROOT}/state/results",
        scheduler=None,
        tls=None,
        slots=None,
        proxies=0,
        web_workers=2,
        web_threads=64,
        host_names=(),
        origins=(),
        access=None,
        max_pause_s=60,
    )
    assert (found.limits.max_body_mb, found.limits.sync_max_objects) == (64, 20_000)
    assert (found.limits.max_image_pixels, found.limits.max_images) == (40_000_000_000, 10_000)
    assert (found.limits.max_model_mb, found.limits.max_objects) == (4096, 50_000_000)
    assert (found.limits.max_waiting_jobs, found.limits.max_waiting_jobs_per_client) == (1000, 100)
    assert (found.limits.section_timeout_s, found.limits.retention_days) == (600, 30)


def test_variables_change_what_a_deployment_changes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLASSIFY_MODELS", f"{tmp_path}/a:b")
    monkeypatch.setenv("CLASSIFY_IMAGERY", f"{tmp_path}/images")
    monkeypatch.setenv("CLASSIFY_HOSTS", "Example.org, tiles.example.org ,")
    monkeypatch.setenv("CLASSIFY_STATE", "/var/lib/classify")
    monkeypatch.setenv("CLASSIFY_JOB_STORE", "postgresql+psycopg://app@db/app")
    monkeypatch.setenv("CLASSIFY_RESULTS", "s3://bucket/prefix")
    monkeypatch.setenv("CLASSIFY_SCHEDULER", "tls://scheduler:8786")
    monkeypatch.setenv("CLASSIFY_SLOTS", "3")
    monkeypatch.setenv("CLASSIFY_PROXIES", "2")
    monkeypatch.setenv("CLASSIFY_HOST_NAMES", "a.example.org, b.example.org")
    monkeypatch.setenv("CLASSIFY_ORIGINS", "https://map.example.org")
    monkeypatch.setenv("CLASSIFY_ACCESS", "open")
    monkeypatch.setenv("CLASSIFY_ANONYMOUS", "true")
    monkeypatch.setenv("CLASSIFY_OIDC_ISSUER", "https://id.example.org/realm")
    monkeypatch.setenv("CLASSIFY_OIDC_AUDIENCE", "classify")
    for name in ("CA", "CERT", "KEY"):
        monkeypatch.setenv(f"CLASSIFY_TLS_{name}", f"/tls/{name}")
    found = load_settings(SHIPPED)
    assert found.models == (tmp_path / "a", ROOT / "b")
    assert found.imagery == (tmp_path / "images",)
    assert found.hosts == (AllowedHost("example.org", None), AllowedHost("tiles.example.org", None))
    assert found.state == Path("/var/lib/classify")
    assert found.job_store == "postgresql+psycopg://app@db/app"
    assert found.results == "s3://bucket/prefix"
    assert (found.scheduler, found.slots) == ("tls://scheduler:8786", 3)
    assert found.proxies == 2
    assert found.host_names == ("a.example.org", "b.example.org")
    assert (found.origins, found.access) == (("https://map.example.org",), "open")
    assert (found.anonymous, found.oidc) == (True, None)  # the access is another
    assert found.tls == Tls(Path("/tls/CA"), Path("/tls/CERT"), Path("/tls/KEY"))


def test_an_issuer_is_read_where_the_access_is_its(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLASSIFY_ACCESS", "oidc")
    monkeypatch.setenv("CLASSIFY_OIDC_ISSUER", "http://127.0.0.1:8080/realm/")
    monkeypatch.setenv("CLASSIFY_OIDC_AUDIENCE", "classify")
    found = load_settings(SHIPPED)
    assert found.oidc == OidcIssuer("http://127.0.0.1:8080/realm/", "classify", "roles", None)
    monkeypatch.setenv("CLASSIFY_OIDC_ROLE_CLAIM", "realm_access.roles")
    monkeypatch.setenv("CLASSIFY_OIDC_CLIENT_ID", "pages")
    found = load_settings(SHIPPED)
    assert found.oidc == OidcIssuer("http://127.0.0.1:8080/realm/", "classify", "realm_access.roles", "pages")


@each_row(
    ("setting", "words"),
    [
        ({"scheduler": "tcp://scheduler:8786"}, r"'tcp://scheduler:8786'; only tls:// is spoken"),
        ({"slots": 0}, "slots is 0, not a whole number above 0"),
        ({"slots": "all"}, "slots is 'all'"),
        ({"web_workers": -1}, "web_workers is -1"),
        ({"proxies": "10.0.0.1, 10.0.0.2"}, r"proxies is '10.0.0.1, 10.0.0.2', not a number: write how many"),
        ({"proxies": -1}, "proxies is -1, not a number"),
        ({"access": "closed"}, "access is 'closed'; it can be open, tokens or oidc"),
        ({"access": "oidc"}, r"needs oidc.issuer \(CLASSIFY_OIDC_ISSUER\), oidc.audience \(CLASSIFY_OIDC_AUDIENCE\)$"),
        ({"access": "oidc", "oidc": {"issuer": "https://a.example"}}, "needs oidc.audience"),
        (
            {"access": "oidc", "oidc": {"issuer": "http://a.example", "audience": "x"}},
            "it is https://…, or http:// on loopback",
        ),
        ({"access": "oidc", "oidc": {"issuer": "https://me:word@a.example", "audience": "x"}}, "it is https://…"),
        ({"anonymous": "perhaps"}, "anonymous is 'perhaps'; it can be true or false"),
        ({"tls": {"ca": "a", "cert": "b"}}, "tls lacks key"),
    ],
)
def test_setting_that_cannot_be_used_is_refused(setting: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Settings.from_plugin(setting)


def test_results_can_be_in_a_folder_of_their_own(tmp_path: Path) -> None:
    assert Settings.from_plugin({"results": "shared"}, tmp_path).results == f"{tmp_path}/shared"
    assert Settings.from_plugin({"results": "/shared/results"}, tmp_path).results == "/shared/results"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MODELS", "a:b"),
        ("MODELS", ""),
        ("PORT", "8080"),
        ("HOST", "0.0.0.0"),  # noqa: S104 - only read
        ("URL", "https://example.org/a?b=c&d"),
        ("HOSTS", "a.org,b.org"),
        ("IMAGERY", "/data/with blank"),
        pytest.param("HOSTS", "*.example.org"),
        pytest.param("MODELS", "/data/a #1"),
        pytest.param("STATE", "{x}"),
    ],
)
def test_configuration_is_what_pygeoapi_reads(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"CLASSIFY_{name}", value)
    with SHIPPED.open() as file:
        expected = yaml_load(file)
    found = load_configuration(SHIPPED)
    assert found["server"]["bind"] == expected["server"]["bind"]
    assert found["server"]["url"] == expected["server"]["url"]
    for process in ("classify-objects", "describe-model"):
        ours, theirs = (document["resources"][process]["processor"] for document in (found, expected))
        assert Settings.from_plugin(ours, ROOT) == Settings.from_plugin(theirs, ROOT)


def test_hosts_may_be_the_wildcard_that_the_contract_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLASSIFY_HOSTS", "*.example.org")
    assert load_settings(SHIPPED).hosts == (AllowedHost("*.example.org", None),)


def test_relative_folders_start_at_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    found = load_settings(configuration(tmp_path, models="models:/opt/models", state="work"))
    assert found.models == (tmp_path / "models", Path("/opt/models"))
    assert found.state == tmp_path / "work"


def test_what_is_not_set_is_empty_and_the_state_has_its_own_folder(tmp_path: Path) -> None:
    found = load_settings(configuration(tmp_path))
    assert (found.models, found.imagery, found.hosts, found.proxies, found.limits) == ((), (), (), 0, Limits())
    assert found.state == tmp_path / "state"
    names = ("models", "imagery", "hosts", "state", "limits", "job_store", "results", "scheduler", "tls", "slots")
    nothing: dict[str, Any] = dict.fromkeys(names)
    assert Settings.from_plugin(nothing, tmp_path) == load_settings(configuration(tmp_path))


def test_limits_that_are_given_replace_the_defaults(tmp_path: Path) -> None:
    found = Settings.from_plugin({"limits": {"max_images": 3, "max_body_mb": 1}}, tmp_path).limits
    assert found == Limits(max_images=3, max_body_mb=1)


@each_row(
    ("limits", "words"),
    [
        ({"max_imags": 3}, "there is no limit 'max_imags'; the limits are (.*, )?max_body_mb, "),
        ({"max_images": 0}, "max_images is 0"),
        ({"max_images": -5}, "max_images is -5"),
        ({"max_images": 1.5}, r"max_images is 1\.5"),
        ({"max_images": "many"}, "max_images is 'many'"),
        ({"max_images": True}, "max_images is True"),
        ({"max_images": None}, "max_images is None"),
    ],
)
def test_limit_that_is_unknown_or_no_whole_number_is_refused(limits: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Settings.from_plugin({"limits": limits})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a: [1, 2\nb: }", "is no YAML: while parsing a flow sequence"),
        ("\0", "is no YAML: "),
        ("server: {}", "has no resources/classify-objects/processor"),
        ("resources: 1", "has no resources/classify-objects/processor"),
        ("", "has no resources/classify-objects/processor"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_told_by_its_name(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "mine.yml"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"mine\.yml") as told:
        load_settings(path)
    assert words in str(told.value)
    assert "\n" not in str(told.value)
