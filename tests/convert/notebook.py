"""What a notebook of ArcGIS has: a FeatureClassifier with a network whose code is not in timm."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

# the recipe


class Backbone(nn.Module):
    """A transformer that gives features and scores, as those of arcgis.learn do, and knows its wavelengths itself."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(6, 32, 16, 16)
        self.wavelengths = torch.linspace(0.4, 2.2, 6)
        self.attention = nn.Linear(32, 96)
        self.head = nn.Linear(32, 3)

    def forward(self, chips: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        values = self.patches(chips * self.wavelengths.reshape(1, -1, 1, 1)).flatten(2).transpose(1, 2)
        query, key, value = self.attention(values).chunk(3, dim=-1)
        values = values + nn.functional.scaled_dot_product_attention(query, key, value)
        return values, self.head(values.mean(1))


class Head(nn.Module):
    def forward(self, values: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return values[1]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    torch.manual_seed(3)
    classes = [{"Value": n, "Name": f"class {n}", "Color": [n, n, n]} for n in range(3)]
    emd = {"ModelFile": "trained.pth", "ImageHeight": 64, "ImageWidth": 64, "ExtractBands": [0, 1, 2, 3, 4, 5]}
    (folder / "trained.emd").write_text(json.dumps(emd | {"Classes": classes}))
    network = nn.Sequential(Backbone(), Head())
    classifier = SimpleNamespace(learn=SimpleNamespace(model=network))
    export_onnx(classifier, folder / "trained.emd", folder / "made")  # type: ignore[name-defined] # noqa: F821
    chips = torch.rand(5, 6, 64, 64)
    np.save(folder / "chips.npy", chips.numpy())
    with torch.no_grad():
        np.save(folder / "scores.npy", network(chips).numpy())
