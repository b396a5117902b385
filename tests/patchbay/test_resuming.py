"""Interrupting the real command: SIGKILL and Ctrl-C, and what the same command does then."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from modularizer.datasets.recipes import load_data
from modularizer.decomposition import identity_of
from modularizer.settings import DecompositionSettings
from registry.registry import Registry
from tests.patchbay.running import Shop, run_command

SEARCH = (
    *("--candidates", "20", "--parents", "10", "--generations", "12", "--patience", "12"),
    *("--random-draws", "1", "--data", "digits"),
)


def started(shop: Shop, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "patchbay", "modularize", shop.strong, *SEARCH, *more]
    return subprocess.Popen(
        [*command, "--home", str(shop.home)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )


def searches(shop: Shop) -> list[Path]:
    return sorted((shop.home / "searches").glob("*.safetensors"))


def wait_for_a_generation(shop: Shop, process: subprocess.Popen[str], after: int) -> int:
    """Wait until a checkpoint has been written ``after`` times more; how big it is then."""
    seen: list[int] = []
    ends = time.monotonic() + 120
    while len(seen) < after and time.monotonic() < ends:
        assert process.poll() is None, process.communicate()
        for path in searches(shop):
            try:
                changed = path.stat().st_mtime_ns
            except FileNotFoundError:
                continue
            if changed not in seen:
                seen.append(changed)
        time.sleep(0.005)
    assert len(seen) >= after
    return len(seen)


def masks(shop: Shop, version: int) -> torch.Tensor:
    registry = Registry.open(shop.home)
    uris = [uri.rpartition("/")[0] + f"/{version}" for uri in shop.modules.values()]
    return torch.stack([registry.load_class_module(uri).class_module.kept for uri in uris])


@pytest.mark.slow
def test_killed_and_stopped_the_command_goes_on_to_the_same_result(shop: Shop) -> None:
    whole = shop.run("modularize", shop.strong, *SEARCH, "--json")
    assert whole.code == 0, whole.err
    assert not searches(shop)

    process = started(shop)
    wait_for_a_generation(shop, process, 5)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert len(searches(shop)) == 1

    process = started(shop)
    wait_for_a_generation(shop, process, 2)
    second = run_command(
        "modularize", shop.strong, *SEARCH, "--home", str(shop.home)
    )  # another one while this one is at it
    assert second.code == 1
    assert "another process is at this search" in second.err
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on" in err
    assert "Traceback" not in err

    process = started(shop, "--workers", "1")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "going on where" in err
    assert not searches(shop)
    first = int(whole.json["modules"][0]["uri"].rpartition("/")[2])
    assert torch.equal(masks(shop, first), masks(shop, first + 1))


def test_a_broken_checkpoint_is_refused_and_restart_begins_anew(shop: Shop) -> None:
    quick = {"candidates": 3, "parents": 2, "generations": 1, "random_draws": 1}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in quick.items()]
    strong = Registry.open(shop.home).load_classifier(shop.strong)
    data = load_data("digits", classes=strong.class_names)
    digest = identity_of(strong, data, DecompositionSettings(**quick)).digest
    path = shop.home / "searches" / f"strong-{digest[:16]}.safetensors"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"half a checkpoint")
    refused = shop.run("modularize", shop.strong, "--data", "digits", *options)
    assert refused.code == 1
    assert "can't be read" in refused.err
    assert "--restart" in refused.err
    again = shop.run("modularize", shop.strong, "--data", "digits", *options, "--restart")
    assert again.code == 0, again.err
    assert not path.exists()
