from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from modularizer.assembly.patched import predict_both
from modularizer.datasets.images import ImageSet
from patchbay.demo.sample_images import write_samples
from serving.sample_images import MOST_SAMPLES, read_samples
from tests.serving.samples import make_patched, random_images


def test_samples_are_what_their_names_say(tmp_path: Path) -> None:
    patched = make_patched()
    pixels = random_images(80, 8, 8, 1)
    labels = predict_both(patched, pixels).scores.argmax(dim=1).numpy()
    labels[::7] = (labels[::7] + 1) % len(patched.class_names)  # some answers are wrong
    images = ImageSet(pixels, labels.astype(np.int64), patched.class_names)
    folder = tmp_path / "samples"
    folder.mkdir()
    (folder / "9-changed-999.png").touch()
    (folder / "mine.png").touch()

    written = write_samples(patched, images, folder)

    assert {path.name for path in folder.iterdir()} == {
        *(path.name for path in written),
        "mine.png",
    }
    assert list(read_samples(folder)) == [path.name for path in written]
    assert 2 < len(written) <= MOST_SAMPLES
    found = [path.stem.split("-") for path in written]
    assert {"changed", "same"} == {what for _, what, _ in found}
    again = np.stack([np.asarray(Image.open(path))[:, :, None] for path in written])
    both = predict_both(patched, again)
    answers, weak = both.scores.argmax(dim=1).tolist(), both.weak_scores.argmax(dim=1).tolist()
    for (name, what, index), answer, weak_answer in zip(found, answers, weak, strict=True):
        assert name == patched.class_names[labels[int(index)]]
        assert (answer != weak_answer) == (what == "changed")
