"""An exported folder is scored by MLflow's own tools, and answers as `patchbay predict` does."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from registry.errors import ArchiveError, RegistryError
from registry.registry import Registry
from registry.standalone import load_archive
from serving.pyfunc import ScoringModel, _load_pyfunc, answer_columns
from tests.patchbay.running import run_command
from tests.serving.samples import encode, random_images

ARCHIVE = Path("data", "model.patchbay")
SPARK = (
    "label string, score float, weak_label string, weak_score float, "
    "changed_by array<string>, scores array<float>, error string"
)


@dataclass(frozen=True)
class Exported:
    home: Path
    folder: Path
    images: np.ndarray
    bodies: list[bytes]

    @property
    def frame(self) -> pd.DataFrame:
        return pd.DataFrame({"image": self.bodies})


@pytest.fixture(scope="module")
def exported(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("pyfunc") / "model"
    ran = run_command(
        "export", "models:/served/1", str(folder), "--pyfunc", "--home", str(home), "--json"
    )
    assert ran.code == 0, ran.err
    assert [one["source"] for one in ran.json["versions"]][-1] == "models:/served/1"
    images = random_images(70, 8, 8, 1)
    bodies = [encode(Image.fromarray(image[:, :, 0])) for image in images]
    return Exported(home, folder, images, bodies)


def test_it_answers_as_the_registered_model_does(exported: Exported) -> None:
    patched = Registry.open(exported.home).load_patched("models:/served/1")
    both = patched.both(torch.from_numpy(exported.images))
    found = _load_pyfunc(str(exported.folder / ARCHIVE)).predict(exported.frame)
    assert list(found.columns) == list(answer_columns(patched=True))
    np.testing.assert_allclose(
        np.array(found["scores"].tolist()), both.scores.detach().numpy(), atol=1e-6
    )
    labels = [patched.class_names[label] for label in both.scores.argmax(dim=1)]
    weak = [patched.class_names[label] for label in both.weak_scores.argmax(dim=1)]
    assert found["label"].tolist() == labels
    assert found["weak_label"].tolist() == weak
    assert [bool(changed) for changed in found["changed_by"]] == [
        a != b for a, b in zip(labels, weak, strict=True)
    ]
    assert found["error"].tolist() == [""] * 70


def test_a_broken_image_costs_no_other_its_answer(exported: Exported) -> None:
    model = _load_pyfunc(str(exported.folder / ARCHIVE))
    whole = model.predict(exported.frame[:3])
    bodies = [exported.bodies[0], b"no image", exported.bodies[1], b"", exported.bodies[2]]
    found = model.predict(pd.DataFrame({"image": bodies}, index=[7, 8, 9, 10, 11]))
    assert found.index.tolist() == [7, 8, 9, 10, 11]
    assert found["label"].tolist() == [
        *(whole["label"][0], "", whole["label"][1], "", whole["label"][2])
    ]
    assert "found bytes that begin with" in found["error"][8]
    assert "found no bytes" in found["error"][10]
    assert found["scores"][8] == []
    assert np.isnan(found["score"][8])


def test_an_empty_table_has_an_empty_answer(exported: Exported) -> None:
    found = _load_pyfunc(str(exported.folder / ARCHIVE)).predict(exported.frame[:0])
    assert list(found.columns) == list(answer_columns(patched=True))
    assert len(found) == 0


def test_the_folder_holds_no_code(exported: Exported) -> None:
    names = {
        path.relative_to(exported.folder).as_posix()
        for path in exported.folder.rglob("*")
        if path.is_file()
    }
    assert names == {
        *("MLmodel", "conda.yaml", "python_env.yaml", "requirements.txt"),
        ARCHIVE.as_posix(),
    }
    assert "loader_module: serving.pyfunc" in (exported.folder / "MLmodel").read_text()


def test_a_weak_model_is_exported_without_columns_of_a_patch(
    home: Path, tmp_path: Path, exported: Exported
) -> None:
    ran = run_command(
        "export", "models:/weak/1", str(tmp_path / "weak"), "--pyfunc", "--home", str(home)
    )
    assert ran.code == 0, ran.err
    found = _load_pyfunc(str(tmp_path / "weak" / ARCHIVE)).predict(exported.frame[:2])
    assert list(found.columns) == ["label", "score", "scores", "error"]


def test_what_can_not_be_exported_so_is_refused(
    home: Path, tmp_path: Path, exported: Exported
) -> None:
    def export(uri: str, target: Path) -> Any:
        return run_command("export", uri, str(target), "--pyfunc", "--home", str(home))

    module = export("models:/strong.TC/1", tmp_path / "module")
    assert module.code == 1
    assert "scores one class alone" in module.err
    taken = export("models:/served/1", tmp_path)
    assert taken.code == 1
    assert "is there already" in taken.err
    assert list(tmp_path.iterdir()) == []
    registry = Registry.open(exported.home)
    registry.exchange.export_archive("models:/strong.TC/1", tmp_path / "archive")
    with pytest.raises(RegistryError, match="scores one class alone"):
        ScoringModel(load_archive(tmp_path / "archive"))


def test_a_changed_archive_is_refused(exported: Exported, tmp_path: Path) -> None:
    raw = bytearray((exported.folder / ARCHIVE).read_bytes())
    raw[len(raw) // 2] ^= 1
    (tmp_path / "changed").write_bytes(raw)
    with pytest.raises(ArchiveError, match="is refused"):
        _load_pyfunc(str(tmp_path / "changed"))


def python(code: str, *arguments: str, folder: Path) -> Any:
    """What a Python process of its own prints as JSON in its last line.

    Args:
        code: of the process.
        arguments: its own.
        folder: where it runs; MLflow makes a database in it.
    """
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_mlflow_loads_and_scores_it(exported: Exported, tmp_path: Path) -> None:
    exported.frame[:5].to_pickle(tmp_path / "frame")
    found = python(
        "import sys, pandas, mlflow.pyfunc\n"
        "model = mlflow.pyfunc.load_model(sys.argv[1])\n"
        "print(model.predict(pandas.read_pickle(sys.argv[2]))['label'].to_json(orient='values'))\n",
        str(exported.folder),
        str(tmp_path / "frame"),
        folder=tmp_path,
    )
    expected = _load_pyfunc(str(exported.folder / ARCHIVE)).predict(exported.frame[:5])
    assert found == expected["label"].tolist()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java")
@pytest.mark.skipif(importlib.util.find_spec("pyspark") is None, reason="Spark needs pyspark")
def test_spark_scores_it(exported: Exported, tmp_path: Path) -> None:
    frame = pd.DataFrame({"image": [*exported.bodies[:6], b"broken"]})
    frame.to_pickle(tmp_path / "frame")
    code = (
        "import json, os, sys, pandas, mlflow.pyfunc\n"
        "os.environ['PYSPARK_PYTHON'] = sys.executable\n"
        "from pyspark.sql import SparkSession\n"
        "builder = SparkSession.builder.master('local[1]').config('spark.ui.enabled', 'false')\n"
        "for side in ('host', 'bindAddress'):\n"
        "    builder = builder.config(f'spark.driver.{side}', '127.0.0.1')\n"
        "spark = builder.getOrCreate()\n"
        "bodies = pandas.read_pickle(sys.argv[2])['image']\n"
        "rows = [(number, bytearray(body)) for number, body in enumerate(bodies)]\n"
        "images = spark.createDataFrame(rows, ['number', 'image']).repartition(2)\n"
        f"kind = {SPARK!r}\n"
        "score = mlflow.pyfunc.spark_udf(spark, sys.argv[1], kind, env_manager='local')\n"
        "scored = images.select('number', score('image').alias('answer')).orderBy('number')\n"
        "rows = scored.select('answer.*').collect()\n"
        "spark.stop()\n"
        "print(json.dumps([row.asDict() for row in rows]))\n"
    )
    found = python(code, str(exported.folder), str(tmp_path / "frame"), folder=tmp_path)
    expected = _load_pyfunc(str(exported.folder / ARCHIVE)).predict(frame)
    for name in ("label", "weak_label", "changed_by", "error"):
        assert [row[name] for row in found] == expected[name].tolist()
    np.testing.assert_allclose(
        [row["scores"] for row in found[:6]], expected["scores"].tolist()[:6], atol=1e-6
    )
