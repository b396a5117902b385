"""Interrupting the real command: SIGKILL and Ctrl-C, and what the same command does then."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch

from modularizer.datasets.recipes import load_data
from modularizer.decomposition import identity_of
from modularizer.settings import DecompositionSettings
from registry.registry import Registry
from tests.holding import held_process
from tests.patchbay.running import Shop, run_command

SEARCH = (
    *("--candidates", "20", "--parents", "10", "--generations", "12", "--patience", "12"),
    *("--random-draws", "1", "--data", "digits"),
)


SAVES = {"owner": "modularizer.checkpoint:Checkpoint", "function": "save"}


def arguments(shop: Shop) -> tuple[str, ...]:
    return ("modularize", shop.strong, *SEARCH, "--home", str(shop.home))


def searches(shop: Shop) -> list[Path]:
    return sorted((shop.home / "searches").glob("*.safetensors"))


def masks(shop: Shop, version: int) -> torch.Tensor:
    registry = Registry.open(shop.home)
    uris = [uri.rpartition("/")[0] + f"/{version}" for uri in shop.modules.values()]
    return torch.stack([registry.load_class_module(uri).class_module.kept for uri in uris])


@pytest.mark.slow
def test_killed_and_stopped_the_command_goes_on_to_the_same_result(shop: Shop) -> None:
    whole = run_command(*arguments(shop), "--json")
    assert whole.code == 0, whole.err
    assert not searches(shop)

    with held_process(*arguments(shop), **SAVES, times=5) as process:
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert len(searches(shop)) == 1

    with held_process(*arguments(shop), **SAVES, times=2) as process:
        second = run_command(*arguments(shop))  # another one while this one is at it
        assert second.code == 1
        assert "another process is at this search" in second.err
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "the same command goes on" in err
    assert "Traceback" not in err

    last = run_command(*arguments(shop), "--workers", "1")
    assert last.code == 0, last.err
    assert "going on where" in last.err
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
