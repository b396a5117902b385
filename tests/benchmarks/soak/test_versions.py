from __future__ import annotations

import io

import numpy as np
import pytest

from benchmarks.serving.answers import OK, WRONG_LABEL, kind_of
from benchmarks.serving.connection import Answer
from benchmarks.serving.subject import TOY
from benchmarks.soak.versions import Versions
from registry.registry import Registry
from serving.engine.engine import Engine
from serving.engine.executors.in_turn import SequentialExecutor
from serving.protocol import ModelIdentity
from serving.routes.predict import predict_response


def test_versions_patch_one_class_another_one_and_both(
    registry: Registry, versions: Versions
) -> None:
    patched = [
        [patch.class_name for patch in registry.load_patched(uri).patches] for uri in versions.uris
    ]
    first, second, both = patched
    assert len(first) == len(second) == 1
    assert first != second
    assert both == first + second
    used = {uri for version in versions.uris for uri in registry.find(version).parents}
    assert not used & set(versions.spare)
    assert registry.find("models:/served@champion").uri in versions.uris


def test_versions_are_told_apart_by_what_they_say(versions: Versions) -> None:
    said = [[line.partition(": ")[2] for line in one.labels] for one in versions.payload.exchanges]
    by_version = list(zip(*said, strict=True))
    assert len(set(by_version)) == 3
    assert len({one.body for one in versions.payload.exchanges}) == TOY.pictures


@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_the_service_answers_is_right_for_its_own_version_alone(
    registry: Registry, versions: Versions, place: int
) -> None:
    """The service's own code makes the answer, which is held against what was foreseen."""
    version = registry.find(versions.uris[place])
    model = registry.load_patched(version.uri)
    wrong = 0
    for number in (1, 2, 3):
        identity = ModelIdentity(uri=f"models:/served/{number}", name="served", version=number)
        modules = version.parents[1:]
        engine = Engine(model, identity=identity, executor=SequentialExecutor(), modules=modules)
        for exchange in versions.payload.exchanges:
            picture = np.load(io.BytesIO(exchange.body), allow_pickle=False)
            said = predict_response(engine, engine.answer([picture])).model_dump_json().encode()
            kind = kind_of(Answer(200, b"", said), exchange.labels, reader="version")
            if number == version.version:
                assert kind == OK
            else:
                wrong += kind == WRONG_LABEL
    assert wrong > 0
