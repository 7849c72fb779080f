"""Packages are read safely: a broken or hostile one is told apart, writes nothing elsewhere and stops no other."""

from __future__ import annotations

import json
import os
import random
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from conftest import MakePackage, definition, save_mean_network
from model_oracle import package_digest
from processes.errors import InputError, PackageError
from processes.model.catalog import Catalog
from processes.model.package import MAX_DEFINITION_BYTES, Package, read_package
from processes.sources.zips import MAX_MEMBERS

MAX_BYTES = 2**24
Member = tuple[str | zipfile.ZipInfo, bytes]


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Package]:
    """Return a function that reads a package and checks that nothing is left or written elsewhere."""

    def read(path: Path, max_bytes: int = MAX_BYTES) -> Package:
        unpacked = tmp_path / "unpacked"
        before = everything(tmp_path, unpacked)
        package = read_package(path, unpacked, max_bytes)
        assert everything(tmp_path, unpacked) == before
        folders = list(unpacked.iterdir()) if unpacked.is_dir() else []
        assert not [folder for folder in folders if folder.name.startswith(".")]
        if package.problem is not None:
            assert str(tmp_path) not in package.problem
            assert "/tmp" not in package.problem  # noqa: S108 - must not be in a message
            assert package.network is None
        return package

    return read


def everything(folder: Path, but: Path) -> dict[Path, int]:
    """Return all files and folders with their sizes, leaving one folder out."""
    return {
        path: path.lstat().st_size if not path.is_dir() else 0
        for path in folder.rglob("*")
        if path != but and not path.is_relative_to(but)
    }


def network_bytes(folder: Path) -> bytes:
    return save_mean_network(folder / "made.onnx").read_bytes()


@pytest.fixture
def sound(tmp_path: Path) -> list[Member]:
    """Return the members of a sound package."""
    return [("brightness.emd", json.dumps(definition()).encode()), ("net.onnx", network_bytes(tmp_path))]


def save_zip(path: Path, members: Iterable[Member], method: int = zipfile.ZIP_DEFLATED) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return path


def problem_of(package: Package) -> str:
    assert package.problem is not None
    return package.problem


def catalog(tmp_path: Path, *folders: Path) -> Catalog:
    return Catalog(folders or (tmp_path / "models",), tmp_path / "state", MAX_BYTES)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_dlpk_is_unpacked_and_read(
    tmp_path: Path, read: Callable[..., Package], sound: list[Member], method: int
) -> None:
    package = read(save_zip(tmp_path / "my model.v2.dlpk", sound, method))
    assert (package.id, package.problem) == ("my model.v2", None)
    assert package.network is not None
    assert package.network.read_bytes() == sound[1][1]
    assert package.definition is not None
    assert [item.name for item in package.definition.classes] == ["dark", "bright"]


def test_folder_is_read_where_it_is(
    tmp_path: Path, read: Callable[..., Package], make_package: MakePackage, sound: list[Member]
) -> None:
    folder = make_package("trees.v2")
    package = read(folder)
    assert (package.id, package.problem, package.network) == ("trees.v2", None, folder / "net.onnx")
    assert not (tmp_path / "unpacked").exists()


def test_sha256_is_that_of_network_and_definition(read: Callable[..., Package], make_package: MakePackage) -> None:
    folder = make_package()
    (folder / "README.md").write_text("no label depends on it")
    assert read(folder).sha256 == package_digest(folder, "brightness.emd", "net.onnx")


@pytest.mark.parametrize("ending", [".emd", ".EMD"])
def test_files_beside_the_definition_and_in_folders_do_no_harm(
    tmp_path: Path, read: Callable[..., Package], sound: list[Member], ending: str
) -> None:
    more: list[Member] = [
        ("metrics/report.html", b"<html>"),
        ("sub/other.emd", b"not read"),
        ("ArcGISObjectClassifier.py", b"raise SystemExit('imported')"),
        ("net.pth", b"\x80\x04cos\nsystem\n."),
        ("empty/", b""),
    ]
    members = [("brightness" + ending, sound[0][1]), sound[1], *more]
    assert read(save_zip(tmp_path / "a.dlpk", members)).problem is None


@pytest.mark.parametrize("names", [[], ["a.emd", "b.emd"], ["a.emd", "B.EMD"], ["sub/a.emd"]])
@pytest.mark.parametrize("zipped", [True, False])
def test_exactly_one_definition_at_the_root(
    tmp_path: Path, read: Callable[..., Package], sound: list[Member], names: list[str], zipped: bool
) -> None:
    path = save_zip(tmp_path / "a.dlpk", [(name, sound[0][1]) for name in names] + [sound[1]])
    if not zipped:
        shutil.unpack_archive(path, tmp_path / "a", "zip")
        path = tmp_path / "a"
    at_root = sum("/" not in name for name in names)
    assert f"has {at_root} .emd files at its root, not exactly one" in problem_of(read(path))


@pytest.mark.parametrize(
    "name",
    [
        "../evil.txt",
        "sub/../../evil.txt",
        "..",
        "/evil.txt",
        "//evil.txt",
        "..\\evil.txt",
        "sub\\..\\..\\evil.txt",
        "\\evil.txt",
        "C:\\evil.txt",
        "C:evil.txt",
        "c:/evil.txt",
        "net.onnx:stream",
    ],
)
def test_member_that_points_out_of_the_package_is_refused(
    tmp_path: Path, read: Callable[..., Package], sound: list[Member], name: str
) -> None:
    member = zipfile.ZipInfo("placeholder")
    member.filename = name  # ZipInfo's own constructor tidies names
    path = save_zip(tmp_path / "deep" / "down" / "a.dlpk", [*sound, (member, b"evil")])
    assert "points out of it" in problem_of(read(path))
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize("target", ["/etc/passwd", "../../secret", "net.onnx"])
def test_link_in_a_dlpk_is_refused(
    tmp_path: Path, read: Callable[..., Package], sound: list[Member], target: str
) -> None:
    member = zipfile.ZipInfo("linked.onnx")
    member.create_system = 3
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert "holds a link: 'linked.onnx'" in problem_of(
        read(save_zip(tmp_path / "a.dlpk", [*sound, (member, target.encode())]))
    )


def test_encrypted_dlpk_is_refused(tmp_path: Path, read: Callable[..., Package], sound: list[Member]) -> None:
    path = save_zip(tmp_path / "a.dlpk", sound)
    data = bytearray(path.read_bytes())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the flags of the first member, in both headers
        data[data.index(signature) + place] |= 1
    path.write_bytes(data)
    assert "encrypted" in problem_of(read(path))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["net.onnx", "./net.onnx", ".\\net.onnx", "sub/../net.onnx"])
def test_two_members_of_the_same_name_are_refused(
    tmp_path: Path, read: Callable[..., Package], sound: list[Member], name: str
) -> None:
    member = zipfile.ZipInfo("placeholder")
    member.filename = name
    assert problem_of(read(save_zip(tmp_path / "a.dlpk", [*sound, (member, b"other")]))) in (
        "the .dlpk holds two files of the same name",
        "the .dlpk holds a file that points out of it: 'sub/../net.onnx'",
    )


@pytest.mark.parametrize("share", [0, 0.02, 0.3, 0.7, 0.99])
def test_truncated_dlpk_is_refused(
    tmp_path: Path, read: Callable[..., Package], sound: list[Member], share: float
) -> None:
    path = save_zip(tmp_path / "a.dlpk", sound)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert problem_of(read(path)) == "the .dlpk is not a sound zip archive"
    assert not list((tmp_path / "unpacked").iterdir())


@pytest.mark.parametrize(
    "method",
    [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED],
)
def test_damaged_dlpk_never_raises(
    tmp_path: Path, read: Callable[..., Package], sound: list[Member], method: int
) -> None:
    path = save_zip(tmp_path / "a.dlpk", sound, method)
    whole = path.read_bytes()
    rng = random.Random(1)
    refused = 0
    for attempt in range(150):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 4))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)
        os.utime(path, (attempt, attempt))
        refused += read(path).problem is not None
    assert refused > 75


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_that_cannot_be_unpacked_piece_by_piece_is_refused(
    tmp_path: Path, read: Callable[..., Package], sound: list[Member], method: int
) -> None:
    """1.5 KB of bzip2 hold 2 GB of zeros, and Python's zipfile unpacks what it has read of them all at once."""
    path = save_zip(tmp_path / "a.dlpk", sound, method)
    assert problem_of(read(path)) == f"the .dlpk is compressed by method {method}; store or deflate it"


def test_what_is_no_zip_is_refused(tmp_path: Path, read: Callable[..., Package]) -> None:
    for place, data in enumerate([b"", b"hello", b"PK\x03\x04 torn", b"PK\x05\x06" + bytes(18)]):
        path = tmp_path / f"{place}.dlpk"
        path.write_bytes(data)
        assert read(path).problem is not None


def test_bomb_by_ratio_is_refused(tmp_path: Path, read: Callable[..., Package], sound: list[Member]) -> None:
    path = save_zip(tmp_path / "a.dlpk", [*sound, ("zeros.bin", bytes(2**23))])
    assert "times, more than 200" in problem_of(read(path))
    assert not list((tmp_path / "unpacked").iterdir())


def test_bomb_by_size_is_refused_naming_the_limit(
    tmp_path: Path, read: Callable[..., Package], sound: list[Member]
) -> None:
    noise = np.random.default_rng(0).bytes(2**20)
    path = save_zip(tmp_path / "a.dlpk", [*sound, ("one.bin", noise), ("two.bin", noise)], zipfile.ZIP_STORED)
    assert "max_model_mb = 2 " in problem_of(read(path, 2 * 2**20))
    assert not list((tmp_path / "unpacked").iterdir())
    assert read(path, 3 * 2**20).problem is None


def test_member_larger_than_its_entry_claims_writes_no_more_than_claimed(
    tmp_path: Path, read: Callable[..., Package], sound: list[Member]
) -> None:
    size = 2**22
    path = save_zip(tmp_path / "a.dlpk", [*sound, ("big.bin", np.random.default_rng(0).bytes(size))])
    data = path.read_bytes()
    claimed, real = (100).to_bytes(4, "little"), size.to_bytes(4, "little")
    assert data.count(real) >= 2
    path.write_bytes(data.replace(real, claimed))
    assert problem_of(read(path, 2**21 * 3)) in (
        "the .dlpk is not a sound zip archive",
        "the .dlpk unpacks to more than it claims",
    )
    assert not list((tmp_path / "unpacked").iterdir())


def test_too_many_members_are_refused(tmp_path: Path, read: Callable[..., Package], sound: list[Member]) -> None:
    path = save_zip(tmp_path / "a.dlpk", [*sound, *((f"{n}.txt", b"") for n in range(MAX_MEMBERS))])
    assert f"more than {MAX_MEMBERS}" in problem_of(read(path))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("other.onnx", "is not in the package"),
        ("sub/net.onnx", "is not in the package"),
        ("../net.onnx", "points out of the package"),
        ("..\\net.onnx", "points out of the package"),
        ("sub/../../brightness/net.onnx", "points out of the package"),
        ("/etc/net.onnx", "points out of the package"),
        ("C:\\DeepLearning\\net.onnx", "points out of the package"),
        ("\\\\server\\share\\net.onnx", "points out of the package"),
        ("net.pth", "is not in the package"),
        ("net.h5", "the network must be ONNX"),
        ("net", "the network must be ONNX"),
        ("C:\\DeepLearning\\net.h5", "'net.h5': the network must be ONNX"),
        ("a" * 300 + ".onnx", "cannot be read"),
    ],
)
def test_model_file_elsewhere_or_of_another_kind_is_refused(
    read: Callable[..., Package], make_package: MakePackage, name: str, words: str
) -> None:
    package = read(make_package(ModelFile=name))
    assert words in problem_of(package)
    assert package.definition is not None


@pytest.mark.parametrize("name", ["net.onnx", "./net.onnx", ".\\net.onnx", " net.onnx "])
def test_model_file_at_the_root_is_found(read: Callable[..., Package], make_package: MakePackage, name: str) -> None:
    assert read(make_package(ModelFile=name)).problem is None


def test_model_file_in_a_folder_is_found_in_windows_spelling(
    tmp_path: Path, read: Callable[..., Package], sound: list[Member]
) -> None:
    emd = json.dumps(definition(ModelFile=".\\nets\\net.onnx")).encode()
    package = read(save_zip(tmp_path / "a.dlpk", [("a.emd", emd), ("nets\\net.onnx", sound[1][1])]))
    assert package.problem is None


def test_model_file_with_a_null_byte_is_refused(read: Callable[..., Package], make_package: MakePackage) -> None:
    assert "ModelFile" in problem_of(read(make_package(ModelFile="net\0.onnx")))


@pytest.mark.parametrize("of_folder", [False, True])
def test_model_file_through_a_link_out_of_the_package_is_refused(
    tmp_path: Path, read: Callable[..., Package], make_package: MakePackage, of_folder: bool
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    save_mean_network(secret / "net.onnx")
    folder = make_package(ModelFile="sub/net.onnx")
    if of_folder:
        (folder / "sub").symlink_to(secret)
    else:
        (folder / "sub").mkdir()
        (folder / "sub" / "net.onnx").symlink_to(secret / "net.onnx")
    assert "points out of the package" in problem_of(read(folder))


@pytest.mark.parametrize("name", ["net.onnx", "weights/part.bin"])
def test_folder_larger_than_the_limit_is_refused(
    read: Callable[..., Package], make_package: MakePackage, name: str
) -> None:
    """Weights beside the network count, as they do in a `.dlpk`."""
    folder = make_package()
    (folder / "weights").mkdir()
    with (folder / name).open("ab") as file:
        file.write(bytes(2**20))
    assert "max_model_mb = 1 " in problem_of(read(folder, 2**20))
    assert read(folder, 2**21).problem is None


def test_limit_that_was_lowered_holds_for_what_is_unpacked_already(
    tmp_path: Path, read: Callable[..., Package], sound: list[Member]
) -> None:
    path = save_zip(tmp_path / "a.dlpk", [*sound, ("noise.bin", np.random.default_rng(0).bytes(2**21))])
    assert read(path, 2**22).problem is None
    assert "max_model_mb = 1 " in problem_of(read(path, 2**20))


def test_path_that_is_gone_is_a_problem_and_no_exception(tmp_path: Path, read: Callable[..., Package]) -> None:
    assert "cannot be read" in problem_of(read(tmp_path / "gone.dlpk"))


def test_changed_dlpk_is_read_anew(tmp_path: Path, read: Callable[..., Package], sound: list[Member]) -> None:
    path = save_zip(tmp_path / "a.dlpk", sound)
    first = read(path)
    other = json.dumps(definition(Classes=[{"Value": 1, "Name": "x"}, {"Value": 2, "Name": "y"}])).encode()
    save_zip(path, [("brightness.emd", other), sound[1]])
    os.utime(path, (2**31, 2**31))
    second = read(path)
    assert first.definition is not None
    assert second.definition is not None
    assert [item.name for item in first.definition.classes] == ["dark", "bright"]
    assert [item.name for item in second.definition.classes] == ["x", "y"]


def test_changed_network_in_a_folder_is_hashed_anew(read: Callable[..., Package], make_package: MakePackage) -> None:
    folder = make_package()
    first = read(folder).sha256
    save_mean_network(folder / "net.onnx", side=None)
    model = onnx.load(folder / "net.onnx")
    model.producer_name = "another"
    onnx.save(model, folder / "net.onnx")
    assert read(folder).sha256 not in (None, first)


def test_changed_dlpk_leaves_the_last_former_one_alone(
    tmp_path: Path, read: Callable[..., Package], sound: list[Member]
) -> None:
    path = save_zip(tmp_path / "a.dlpk", sound)
    read(path)
    for time_s in (2**31, 2**31 + 1, 2**31 + 2):
        former = set((tmp_path / "unpacked").iterdir())
        os.utime(path, (time_s, time_s))
        network = read(path).network
        assert network is not None
        left = set((tmp_path / "unpacked").iterdir())
        assert len(left) == 2
        assert network.parent in left - former  # jobs may be working with the other one


def test_dlpk_is_unpacked_once(tmp_path: Path, read: Callable[..., Package], sound: list[Member]) -> None:
    path = save_zip(tmp_path / "a.dlpk", sound)
    first = read(path).network
    assert first is not None
    changed = first.stat().st_ctime_ns
    assert read(path).network == first
    assert first.stat().st_ctime_ns == changed


def test_dlpk_goes_before_a_folder_of_the_same_id(tmp_path: Path, make_package: MakePackage) -> None:
    folder = make_package("same")
    members: list[Member] = [
        ("m.emd", json.dumps(definition()).encode()),
        ("net.onnx", (folder / "net.onnx").read_bytes()),
    ]
    path = save_zip(tmp_path / "models" / "same.dlpk", members)
    assert catalog(tmp_path).package_paths() == {"same": path}


def test_first_folder_wins_even_with_a_folder_against_a_dlpk(tmp_path: Path, make_package: MakePackage) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    folder = make_package("same", first)
    save_zip(second / "same.dlpk", [("m.emd", json.dumps(definition()).encode())])
    other = make_package("other", second)
    assert catalog(tmp_path, first, second).package_paths() == {"other": other, "same": folder}
    assert catalog(tmp_path, second, first).package_paths()["same"] == second / "same.dlpk"


def test_models_folder_that_is_not_there_counts_as_empty_until_it_appears(
    tmp_path: Path, make_package: MakePackage
) -> None:
    models = catalog(tmp_path, tmp_path / "later", tmp_path / "models")
    (tmp_path / "models").mkdir()
    assert models.package_paths() == {}
    folder = make_package("late", tmp_path / "later")
    assert models.package_paths() == {"late": folder}


def test_folder_with_a_definition_in_capitals_is_a_package(tmp_path: Path, make_package: MakePackage) -> None:
    folder = make_package("loud")
    (folder / "loud.emd").rename(folder / "LOUD.EMD")
    assert read_package(folder, tmp_path / "unpacked", MAX_BYTES).problem is None
    assert catalog(tmp_path).package_paths() == {"loud": folder}


def test_broken_packages_do_not_stop_the_others(tmp_path: Path, make_package: MakePackage) -> None:
    make_package("good")
    make_package("wide", ImageWidth=0)
    make_package("keras", ModelFile="net.h5")
    (make_package("torn") / "net.onnx").write_bytes(b"no network")
    (tmp_path / "models" / "zip.dlpk").write_bytes(b"PK\x03\x04")
    models = catalog(tmp_path)
    problems = {package.id: package.problem for package in models.check_packages()}
    assert problems == {
        "good": None,
        "keras": "ModelFile 'net.h5': the network must be ONNX, or a .pth of arcgis.learn; convert it: classify-objects convert keras OUT.dlpk",
        "torn": "the network is not an ONNX file",
        "wide": "ImageWidth is 0, not a whole number from 1 to 8192",
        "zip": "the .dlpk is not a sound zip archive",
    }
    assert models.usable_ids() == ["good"]
    with pytest.raises(PackageError, match=r"'torn' cannot be used: the network is not an ONNX file"):
        models.model("torn")
    with pytest.raises(InputError, match=r"no model 'nonesuch'; installed are: good$"):
        models.model("nonesuch")
    assert models.model("good").bands == 3


def test_check_is_made_once_and_kept(
    tmp_path: Path, make_package: MakePackage, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_package("good")
    models = catalog(tmp_path)
    assert models.usable_ids() == ["good"]

    def never(*_: Any) -> Any:
        raise AssertionError("checked again")

    monkeypatch.setattr("processes.model.catalog.check_package", never)
    assert models.usable_ids() == ["good"]
    (record,) = (tmp_path / "state" / "checks").iterdir()
    record.write_bytes(b"{ torn")
    with pytest.raises(AssertionError, match="checked again"):
        models.usable_ids()


@pytest.mark.parametrize(
    "location",
    [
        "weights.bin",
        "sub/weights.bin",
    ],
)
def test_package_repaired_by_its_missing_weights_is_checked_again(
    tmp_path: Path, make_package: MakePackage, location: str
) -> None:
    folder = make_package("outside")
    model = onnx.load(folder / "net.onnx")
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == "weights")
    data = numpy_helper.to_array(weights).tobytes()
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=location)
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    models = catalog(tmp_path)
    assert models.usable_ids() == []
    (folder / "sub").mkdir(exist_ok=True)
    (folder / location).write_bytes(data)
    assert models.usable_ids() == ["outside"]


def test_file_with_a_name_that_is_not_utf_8_does_no_harm(tmp_path: Path, make_package: MakePackage) -> None:
    folder = make_package("good")
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.txt")).write_bytes(b"")
    assert catalog(tmp_path).usable_ids() == ["good"]


def test_package_with_a_name_that_is_not_utf_8_does_not_stop_the_others(
    tmp_path: Path, make_package: MakePackage
) -> None:
    shutil.copytree(make_package("good"), os.fsdecode(os.fsencode(tmp_path / "models") + b"/caf\xe9"))
    usable = catalog(tmp_path).usable_ids()
    assert "good" in usable
    assert json.dumps(usable, ensure_ascii=False).encode()


def test_package_of_the_same_id_elsewhere_keeps_its_files(
    tmp_path: Path, read: Callable[..., Package], sound: list[Member]
) -> None:
    first = read(save_zip(tmp_path / "one" / "same.dlpk", sound))
    second = read(save_zip(tmp_path / "two" / "same.dlpk", sound))
    assert first.network is not None
    assert second.network is not None
    assert first.network.is_file()
    assert second.network.is_file()


def test_overlapping_members_are_refused(tmp_path: Path, read: Callable[..., Package], sound: list[Member]) -> None:
    """Many entries that share one stream of zeros make a bomb that is small for each."""
    path = save_zip(tmp_path / "a.dlpk", [*sound, ("a.bin", b"x" * 1000), ("b.bin", b"y" * 1000)])
    data = path.read_bytes()
    first, second = data.index(b"a.bin") - 30, data.index(b"b.bin") - 30
    entry = data.rindex(b"b.bin") - 46
    assert data[entry + 42 : entry + 46] == second.to_bytes(4, "little")
    path.write_bytes(data[: entry + 42] + first.to_bytes(4, "little") + data[entry + 46 :])
    assert problem_of(read(path)) == "the .dlpk is not a sound zip archive"


def test_archives_within_the_archive_are_not_unpacked(
    tmp_path: Path, read: Callable[..., Package], sound: list[Member]
) -> None:
    bomb = save_zip(tmp_path / "bomb.zip", [("zeros.bin", bytes(2**24))]).read_bytes()
    package = read(save_zip(tmp_path / "a.dlpk", [*sound, ("inner.zip", bomb), ("inner.dlpk", bomb)]))
    assert package.network is not None
    files = {path.name for path in package.network.parent.rglob("*")}
    assert files == {"brightness.emd", "net.onnx", "inner.zip", "inner.dlpk"}


@pytest.mark.parametrize("names", [("a", "a/b"), ("a/b", "a")])
def test_member_that_is_a_file_and_a_folder_is_refused(
    tmp_path: Path, read: Callable[..., Package], sound: list[Member], names: tuple[str, str]
) -> None:
    path = save_zip(tmp_path / "a.dlpk", [*sound, *((name, b"x") for name in names)])
    assert problem_of(read(path)).startswith("the package cannot be read: ")


@pytest.mark.parametrize(
    ("emd", "words"),
    [
        (b'{"ModelFile": NaN}', "ModelFile is NaN, not a text"),
        (b'{"ModelFile": -Infinity}', "ModelFile is -Infinity, not a text"),
        (b'{"ModelFile": 1e999}', "ModelFile is Infinity, not a text"),
        (b'{"ModelFile": 1' + b"0" * 5000 + b"}", "ModelFile is Infinity, not a text"),
        (b'{"a":' * 100_000, "the .emd is not JSON"),
        (b"[" * 1_000_000, "the .emd is not JSON"),
        (b" " * (MAX_DEFINITION_BYTES + 1), f"the .emd is larger than {MAX_DEFINITION_BYTES} bytes"),
        (b"", "the .emd is not JSON"),
    ],
    ids=["nan", "infinity", "huge", "thousands of digits", "deep objects", "deep lists", "large", "empty"],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_hostile_definition_is_refused(
    tmp_path: Path, read: Callable[..., Package], sound: list[Member], emd: bytes, words: str, zipped: bool
) -> None:
    members = [("a.emd", emd), sound[1], ("noise.bin", np.random.default_rng(0).bytes(2**19))]
    if zipped:
        path = save_zip(tmp_path / "a.dlpk", members)
    else:
        path = tmp_path / "a"
        path.mkdir()
        for name, data in members:
            (path / str(name)).write_bytes(data)
    problem = problem_of(read(path, 2**26))
    assert problem.startswith(words)
    assert len(problem) < 200


def test_links_that_lead_nowhere_or_round_in_a_circle_do_no_harm(
    tmp_path: Path, read: Callable[..., Package], make_package: MakePackage
) -> None:
    good, circle = make_package("good"), make_package("circle")
    (good / "lost.txt").symlink_to(tmp_path / "nowhere")
    (good / "round.txt").symlink_to(good / "round.txt")
    (circle / "net.onnx").unlink()
    (circle / "net.onnx").symlink_to(circle / "other.onnx")
    (circle / "other.onnx").symlink_to(circle / "net.onnx")
    (tmp_path / "models" / "lost.dlpk").symlink_to(tmp_path / "nowhere")
    (tmp_path / "models" / "round.dlpk").symlink_to(tmp_path / "models" / "round.dlpk")
    assert "ModelFile 'net.onnx'" in problem_of(read(circle))
    assert catalog(tmp_path).usable_ids() == ["good"]


def test_packages_come_go_break_and_are_repaired_while_the_service_runs(
    tmp_path: Path, make_package: MakePackage, sound: list[Member]
) -> None:
    models = catalog(tmp_path)
    (tmp_path / "models").mkdir()
    assert models.usable_ids() == []
    path = save_zip(tmp_path / "models" / "zipped.dlpk", sound)
    make_package("folder")
    assert models.usable_ids() == ["folder", "zipped"]
    first = models.model("zipped")

    data = path.read_bytes()
    path.write_bytes(data[:-30])
    assert models.usable_ids() == ["folder"]
    with pytest.raises(PackageError, match=r"'zipped' cannot be used: the .dlpk is not a sound zip archive"):
        models.model("zipped")

    path.write_bytes(data)
    os.utime(path, (2**31, 2**31))
    again = models.model("zipped")
    assert (again.sha256, again.definition) == (first.sha256, first.definition)
    assert again.network.is_file()

    path.unlink()
    with pytest.raises(InputError, match=r"no model 'zipped'; installed are: folder$"):
        models.model("zipped")
    shutil.rmtree(tmp_path / "models")
    assert models.usable_ids() == []


def test_package_of_a_data_range_is_usable(tmp_path: Path, make_package: MakePackage) -> None:
    make_package(DataRange=[0, 1])
    assert catalog(tmp_path).model("brightness").definition.data_range == (0.0, 1.0)


def test_names_of_every_script_are_kept(tmp_path: Path, sound: list[Member]) -> None:
    emd = json.dumps(definition(ModelFile="réseau-网络.onnx"), ensure_ascii=False).encode("utf-8-sig")
    save_zip(tmp_path / "models" / "дома é.dlpk", [("模型.emd", emd), ("réseau-网络.onnx", sound[1][1])])
    assert catalog(tmp_path).usable_ids() == ["дома é"]
