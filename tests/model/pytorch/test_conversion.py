"""Networks of arcgis.learn, read from files of PyTorch: their ONNX equals numpy in float64, and nothing else is taken."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from processes.errors import PackageError
from processes.model.pytorch.conversion import convert
from pth_files import Call, Layout, Name, Ordered, Tensor, pickled, pth, stream_file, zip_file
from pth_networks import Weights, mobilenet_logits, mobilenet_weights, resnet_logits, resnet_weights, state_dict
from tables import each_row

SIDE = 32
NUMPY_RATE = Call(
    Name("numpy.core.multiarray", "scalar"),
    (Call(Name("numpy", "dtype"), ("f8", False, True), (3, "<", None, None, None, -1, -1, 0)), b"\x9a\x99"),
)
OPTIMISER = {
    "state": {0: {"step": 12, "exp_avg": Tensor(np.ones(3, np.float32)), "betas": (0.9, 0.99)}},
    "param_groups": [
        {
            "lr": NUMPY_RATE,
            "params": [0, 1],
            "extra": Call(Name("collections", "defaultdict"), (Name("builtins", "list"),)),
        }
    ],
}


@cache
def small() -> Weights:
    """Return the weights of a MobileNetV2, the smallest network."""
    return mobilenet_weights()


def expanded(weights: Weights) -> dict[str, Tensor]:
    """Return tensors of the same shapes, each a single number that is repeated: a file of some kilobytes."""
    one = np.full(1, 0.5, np.float32)
    return {name: Tensor(one, numbers.shape, [0] * numbers.ndim) for name, numbers in weights.items()}


def converted(folder: Path, data: bytes, backbone: str | None = None) -> Path:
    source, target = folder / "net.pth", folder / "made" / "net.onnx"
    source.write_bytes(data)
    convert(source, backbone, target)
    assert [path.name for path in target.parent.iterdir()] == ["net.onnx"]
    return target


def refusal(folder: Path, data: bytes, backbone: str | None = None) -> str:
    """Return why a file is refused; nothing is written."""
    with pytest.raises(PackageError) as error:
        converted(folder, data, backbone)
    assert not list((folder / "made").glob("*"))
    words = error.value.detail
    assert words.startswith("ModelFile 'net.pth' cannot be used: ")
    assert str(folder) not in words
    return words


def answers(network: Path, chips: NDArray[Any]) -> NDArray[Any]:
    session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {session.get_inputs()[0].name: chips})
    return np.asarray(output)


def random_chips(bands: int) -> NDArray[np.float32]:
    return np.random.default_rng(bands).standard_normal((2, bands, SIDE, SIDE - 5), np.float32)


def assert_equal(network: Path, chips: NDArray[np.float32], expected: NDArray[np.float64]) -> None:
    assert np.abs(answers(network, chips) - expected).max() <= 1e-5 * max(1, np.abs(expected).max())


@pytest.mark.parametrize(("layout", "bands", "classes"), [("zip", 3, 2), ("stream", 4, 5)])
def test_resnet18_equals_numpy(tmp_path: Path, layout: Layout, bands: int, classes: int) -> None:
    weights, chips = resnet_weights(18, bands, classes), random_chips(bands)
    network = converted(tmp_path, pth(state_dict(weights), layout), "resnet18")
    onnx.checker.check_model(network, full_check=True)
    expected = resnet_logits(weights, 18, chips)
    assert_equal(network, chips, expected)
    assert len(set(expected[0].round(3))) == classes


@pytest.mark.parametrize("bands", [3, 4])
def test_mobilenet_equals_numpy(tmp_path: Path, bands: int) -> None:
    weights, chips = mobilenet_weights(bands), random_chips(bands)
    network = converted(tmp_path, pth(state_dict(weights)), "mobilenet_v2")
    assert_equal(network, chips, mobilenet_logits(weights, chips))


@pytest.mark.jobs
@pytest.mark.parametrize("depth", [34, 50, 101, 152])
def test_deep_resnet_equals_numpy(tmp_path: Path, depth: int) -> None:
    weights, chips = resnet_weights(depth, 4), random_chips(4)[:1]
    network = converted(tmp_path, pth(state_dict(weights)), f"resnet{depth}")
    assert_equal(network, chips, resnet_logits(weights, depth, chips))


@each_row(
    ("layout", "wrap"),
    [
        ("zip", lambda state: state),
        ("zip", lambda state: {"model": state, "opt": OPTIMISER}),
        ("stream", lambda state: {"model": state, "opt": OPTIMISER}),
        ("zip", lambda state: {"epoch": 3, "model": state, "opt": None}),
        ("zip", lambda state: Ordered({f"module.{name}": item for name, item in state.items.items()})),
        ("zip", lambda state: dict(state.items)),
    ],
    ids=range(6),
)
def test_state_dict_is_found_wherever_training_puts_it(
    tmp_path: Path, layout: Layout, wrap: Callable[[Ordered], Any]
) -> None:
    network = converted(tmp_path, pth(wrap(state_dict(small())), layout))
    initializers = {item.name: onnx.numpy_helper.to_array(item) for item in onnx.load(network).graph.initializer}
    wanted = {name for name in small() if not name.endswith("num_batches_tracked")}
    assert {name for name in initializers if not name.startswith("constant")} == wanted
    for name in wanted:
        assert np.array_equal(initializers[name], small()[name])


@each_row("dtype", ["<f2", "<f8", "bfloat16"])
def test_weights_of_other_floats_are_taken(tmp_path: Path, dtype: str) -> None:
    def of_kind(numbers: NDArray[Any]) -> NDArray[Any]:
        if dtype != "bfloat16" or numbers.dtype != np.float32:
            return numbers.astype(dtype) if numbers.dtype == np.float32 else numbers
        return (numbers.view(np.uint32) >> 16).astype(np.uint16)

    network = converted(tmp_path, pth(state_dict({name: of_kind(item) for name, item in small().items()})))
    (found,) = (item for item in onnx.load(network).graph.initializer if item.name == "1.8.weight")
    assert np.allclose(onnx.numpy_helper.to_array(found), small()["1.8.weight"], rtol=2**-7)


def test_tensors_may_be_parts_of_a_storage_in_any_order(tmp_path: Path) -> None:
    tensors = expanded(small())
    numbers = small()["1.8.weight"]
    around = np.concatenate([np.zeros(7, np.float32), numbers.T.ravel()])  # column by column, behind something else
    tensors["1.8.weight"] = Tensor(around, numbers.shape, (1, 2), offset=7)
    (found,) = (
        item
        for item in onnx.load(converted(tmp_path, pth(Ordered(tensors)))).graph.initializer
        if item.name == "1.8.weight"
    )
    assert np.array_equal(onnx.numpy_helper.to_array(found), numbers)


def test_counters_of_batches_may_be_missing(tmp_path: Path) -> None:
    kept = {name: item for name, item in expanded(small()).items() if not name.endswith("num_batches_tracked")}
    converted(tmp_path, pth(Ordered(kept)))


def test_former_networks_of_a_package_but_the_last_are_removed(tmp_path: Path) -> None:
    (tmp_path / "net.pth").write_bytes(pth(Ordered(expanded(small()))))
    (tmp_path / "made").mkdir()
    for place, name in enumerate(("first", "second")):
        (tmp_path / "made" / f"{name}.onnx").write_bytes(b"")
        os.utime(tmp_path / "made" / f"{name}.onnx", (place, place))
    convert(tmp_path / "net.pth", None, tmp_path / "made" / "net.onnx")
    assert {path.name for path in (tmp_path / "made").iterdir()} == {"second.onnx", "net.onnx"}


@each_row(
    ("changes", "words"),
    [
        ({"0.0.5.conv.0.0.weight": None}, "next to mobilenet_v2 it lacks '0.0.5.conv.0.0.weight'"),
        ({"0.0.19.0.weight": Tensor(np.zeros(1, np.float32))}, "next to mobilenet_v2 it has '0.0.19.0.weight'"),
        ({"1.4.bias": None, "1.8.bias": None}, "lacks '1.4.bias', '1.8.bias'"),
        (
            {"0.0.0.0.weight": Tensor(np.zeros(1, np.float32), (32, 3, 5, 5), (0, 0, 0, 0))},
            "its layer '0.0.0.0.weight' has the shape (32, 3, 5, 5), that of mobilenet_v2 is (32, 3, 3, 3)",
        ),
        ({"0.0.0.0.weight": Tensor(np.zeros(1, np.float32))}, "'0.0.0.0.weight' has the shape (1,)"),
        (
            {
                "1.8.weight": Tensor(np.zeros(1, np.float32), (2**40, 512), (0, 0)),
                "1.8.bias": Tensor(np.zeros(1, np.float32), (2**40,), (0,)),
            },
            "bytes, more than 1073741824",
        ),
        (
            {"1.8.weight": Tensor(np.zeros(0, np.float32), (0, 512)), "1.8.bias": Tensor(np.zeros(0, np.float32))},
            "has the shape (0, 512)",
        ),
        ({"1.8.bias": Tensor(np.zeros(2, np.int64))}, "are of type torch.LongStorage, not floating-point numbers"),
        ({"1.8.bias": Tensor(np.zeros(2, np.float32), (3,), (1,))}, "a tensor reaches out of its storage"),
        ({"1.8.bias": Tensor(np.zeros(2, np.float32), (2,), (2**40,))}, "a tensor reaches out of its storage"),
        ({"1.8.bias": Tensor(np.zeros(2, np.float32), offset=1)}, "a tensor reaches out of its storage"),
        ({"1.8.bias": Tensor(np.zeros(2, np.float32), offset=-1)}, "its pickle cannot be read"),
        ({"1.8.bias": Tensor(np.zeros(2, np.float32), (2,), (-1,), offset=1)}, "its pickle cannot be read"),
        ({"1.8.bias": Tensor(np.zeros(2, np.float32), (2,) * 20, (0,) * 20)}, "its pickle cannot be read"),
        ({"1.8.bias": Tensor(np.zeros(2, np.float32), count=2**40)}, "the numbers of storage '325' are not there"),
    ],
    ids=range(15),
)
def test_layers_of_another_network_are_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    state = expanded(small()) | changes
    assert words in refusal(tmp_path, pth(Ordered({name: item for name, item in state.items() if item is not None})))


def test_network_whose_layers_have_nothing_in_common_is_refused(tmp_path: Path) -> None:
    words = refusal(tmp_path, pth(Ordered({"fc.weight": Tensor(np.zeros((2, 2), np.float32))})))
    assert "its layers are not those of arcgis.learn on resnet18, resnet34, " in words


@each_row("depth", [18, 34, 50, 101, 152])
def test_resnets_are_told_apart_by_their_layers(tmp_path: Path, depth: int) -> None:
    words = refusal(tmp_path, pth(Ordered(expanded(shapes_of(depth)))), "timm:resnetaa50")
    assert f"states the backbone 'timm:resnetaa50', its layers are those of resnet{depth}" in words


@cache
def shapes_of(depth: int) -> Weights:
    """Return weights of a ResNet's shapes that are not looked at, and so take no memory."""
    return resnet_weights(depth, seed=None)


@each_row("backbone", ["mobilenet_v2", " MobileNet_V2 ", None])
def test_stated_backbone_fits(tmp_path: Path, backbone: str | None) -> None:
    converted(tmp_path, pth(Ordered(expanded(small()))), backbone)


HOSTILE = Call(Name("posix", "system"), ("touch executed-by-a-pickle",))


@each_row(
    ("value", "name"),
    [
        (HOSTILE, "posix.system"),
        ({"model": {}, "opt": HOSTILE}, "posix.system"),
        ({"model": Call(Name("builtins", "eval"), ("1",))}, "builtins.eval"),
        (Call(Name("builtins", "getattr"), (Name("builtins", "list"), "append")), "builtins.getattr"),
        (Call(Name("torchvision.models.resnet", "ResNet")), "torchvision.models.resnet.ResNet"),
        (Call(Name("fastai.basic_train", "Learner")), "fastai.basic_train.Learner"),
        (Name("numpy", "load"), "numpy.load"),
        (Name("torch", "load"), "torch.load"),
        (Name("torch._utils", "_rebuild_tensor_v2.__globals__"), "torch._utils._rebuild_tensor_v2.__globals__"),
        (Name("__torch__.net", "Net"), "__torch__.net.Net"),
        (Name("collections", "x" * 200), "collections." + "x" * 68),
    ],
    ids=range(11),
)
def test_what_is_no_part_of_weights_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: Any, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for data in (pth(value), pth(value, "stream")):
        assert f"it holds {name!r}, which is no part of weights; nothing of it was run" in refusal(tmp_path, data)
    assert not (tmp_path / "executed-by-a-pickle").exists()


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    state = Ordered(expanded(small()))
    for data in (pth(state), pth(state, "stream")):
        for length in [*range(0, 70, 7), *range(70, len(data), len(data) // 40), len(data) - 1]:
            refusal(tmp_path, data[:length])


def test_damaged_numbers_of_a_zip_are_refused(tmp_path: Path) -> None:
    data = bytearray(pth(state_dict(small())))
    data[len(data) // 2] ^= 1
    assert "the checksum of storage" in refusal(tmp_path, bytes(data))


PLAIN = pickled({"a": 1})


@each_row(
    ("data", "words"),
    [
        (b"", "it is empty"),
        (b"weights", "it is no file that torch.save writes"),
        (b"\x80\x02}q\x00.", "it is no file that torch.save writes"),
        (pth({"a": 1}), "its layers are not those of arcgis.learn"),
        (pth([1]), "it holds no state dict"),
        (pth({"a": 1}, method=zipfile.ZIP_DEFLATED), "its parts are compressed or encrypted"),
        (pth({"a": 1}, without=["data.pkl"]), "it is no file that torch.save writes"),
        (pth({"a": 1}, more={"b/data.pkl": b""}), "it is no file that torch.save writes"),
        (zip_file(PLAIN, more={"byteorder": b"big"}), "big-endian"),
        (stream_file(PLAIN, little_endian=False), "on a little-endian machine"),
        (stream_file(PLAIN, version=1000), "it is no file that torch.save writes"),
        (zip_file(PLAIN, more={f"x/{n}": b"" for n in range(10_000)}), "it has 10003 files, more than 10000"),
        (zip_file(PLAIN, more={"data.pkl": b"\x80\x02" + b"N" * (2**24 + 1)}), "is longer than 16777216 bytes"),
    ],
    ids=range(13),
)
def test_other_files_are_refused(tmp_path: Path, data: bytes, words: str) -> None:
    assert words in refusal(tmp_path, data)


def test_numbers_of_a_stream_that_no_tensor_is_made_of_are_refused(tmp_path: Path) -> None:
    value = pickled({"a": Tensor(np.zeros(3, np.float32))}, "stream")
    value.storages["more"] = np.zeros(1, np.float32)
    assert "numbers that no tensor is made of" in refusal(tmp_path, stream_file(value))


def test_storages_that_overlap_are_refused(tmp_path: Path) -> None:
    """As a zip bomb: each part of the archive is the whole of it."""
    data = pth({"a": Tensor(np.zeros(100_000, np.float32))}, more={"data/1": b"one", "data/2": b"two"})
    for entry in (b"archive/data/1", b"archive/data/2"):
        place = data.rindex(entry) - 46  # of the central directory
        header = data.index(b"PK\x03\x04", data.index(b"archive/data/0") - 30)
        size = (400_000).to_bytes(4, "little")
        data = (
            data[: place + 20]
            + size * 2
            + data[place + 28 : place + 42]
            + header.to_bytes(4, "little")
            + data[place + 46 :]
        )
    assert "its parts overlap" in refusal(tmp_path, data)
