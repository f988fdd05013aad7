"""Real networks and photographs, where they are: TensorFlow's features, and the accuracy next to scikit-learn's."""

from __future__ import annotations

import lzma
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import kigraph as ki
from kigraph.retraining.features import Item, Store, compute, trunk_key
from kigraph.retraining.head import Data, _Problem, class_weights
from kigraph.retraining.photos import collect, digest_of, split
from kigraph.retraining.trunk import find_trunk

SHARED = Path(os.environ.get("KIGRAPH_SHARED") or Path(__file__).resolve().parents[3] / "shared")

pytestmark = pytest.mark.skipif(
    not (SHARED / "photos").is_dir(), reason=f"no real models and photographs: {SHARED} is missing"
)


@pytest.mark.slow
def test_inception_s_features_are_tensorflow_s(tmp_path: Path) -> None:
    folder = SHARED / "models" / "inception_v3_flowers"
    (tmp_path / "net.pb").write_bytes(lzma.decompress((folder / "frozen.pb.xz").read_bytes()))
    golden = np.load(folder / "golden_tensorflow.npz")
    at = [30, 119]
    paths = [SHARED / "photos" / "flowers" / str(golden["files"][i]) for i in at]
    trunk = find_trunk(ki.load(tmp_path / "net.pb"))
    assert (trunk.name, trunk.count, trunk.batch) == ("pool_3:0", 2048, None)
    items = [Item(str(p), digest_of(p.read_bytes())) for p in paths]
    found = compute(trunk, items, Store.of(trunk_key(trunk), (trunk.count,)))
    assert found.errors == []
    assert np.allclose(found.features, golden["pool_3"][at], atol=2e-4)


@pytest.mark.slow
def test_mobilenet_learns_flowers_as_well_as_scikit_learn(tmp_path: Path) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is the oracle")
    for label in ("daisy", "roses", "sunflowers"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for path in sorted((SHARED / "photos" / "flowers" / label).glob("*.jpg")):
            shutil.copy(path, tmp_path / "photos" / label)
    weights = SHARED / "models" / "mobilenet_v1_0.25_224" / "frozen_graph.pb"
    result = ki.retrain(tmp_path / "photos", weights=weights, output=tmp_path / "m.pb", testing=0.3, validation=0.15)
    found = collect(tmp_path / "photos")
    split(found, 0.15, 0.3)
    trunk = find_trunk(ki.load(weights))
    computed = compute(
        trunk, [Item(p.path, p.digest) for p in found.photos], Store.of(trunk_key(trunk), (trunk.count,))
    )
    assert computed.kept == len(found.photos) == 72
    labels = np.array([p.label for p in found.photos])
    rows = {part: np.array([p.part == part for p in found.photos]) for part in ("training", "testing")}
    x, y = computed.features[rows["training"]], labels[rows["training"]]
    scale = _Problem(Data(x, y), 3, class_weights(y, 3, True), None).scale
    theirs = linear_model.LogisticRegression(
        C=1 / (len(y) * result.penalty * scale**2), class_weight="balanced", max_iter=20000, tol=1e-8
    ).fit(x.astype(np.float64), y)
    assert result.accuracy is not None
    assert abs(result.accuracy - theirs.score(computed.features[rows["testing"]], labels[rows["testing"]])) <= 0.01
    assert result.accuracy > 0.7
    photo = next(p for p in found.photos if p.part == "training" and p.label == 1)
    assert result.classifier.classify(photo.path)[0].label == "roses"
