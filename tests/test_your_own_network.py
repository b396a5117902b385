"""The page about networks of one's own: its package is installed as written, and used."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest
import torch

from modularizer.analysis.tracing import slicing_plan
from modularizer.architectures.catalogue import build_network
from modularizer.architectures.spec import ArchitectureSpec
from tests.modularizer.exactness import assert_decoded_equals_masked, random_mask
from tests.modularizer.oracle import pixels, randomised
from tests.patchbay.running import run_command

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "your-own-network.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ``pip install`` of the page's package leaves in an environment."""
    (about,) = blocks("toml")
    (source,) = blocks("python")
    project = tomllib.loads(about)
    (module,) = project["tool"]["setuptools"]["py-modules"]
    assert f"/{module}.py`:" in PAGE
    (tmp_path / f"{module}.py").write_text(source)
    name, version = project["project"]["name"], project["project"]["version"]
    folder = tmp_path / f"{module}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (points,) = project["project"]["entry-points"].items()
    lines = [f"[{points[0]}]", *(f"{key} = {value}" for key, value in points[1].items())]
    (folder / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_page_s_network_is_built_by_name_and_decoded_exactly(channels: int) -> None:
    arguments = {"num_classes": 3, "in_channels": channels, "width": 8}
    spec = ArchitectureSpec(name="mine", arguments=arguments)
    assert all(p.is_meta for p in build_network(spec, device="meta").parameters())
    torch.manual_seed(0)
    network = randomised(build_network(spec))
    plan = slicing_plan(network, (channels, 8, 8))
    for seed in range(3):
        kept = random_mask(plan, 0.5, seed)
        assert_decoded_equals_masked(network, plan, kept, pixels((channels, 8, 8)))


@pytest.mark.slow  # trains and searches
@pytest.mark.usefixtures("installed")
def test_the_page_s_commands_run_as_written(tmp_path: Path) -> None:
    (written,) = blocks("bash")
    install, *commands = written.strip().splitlines()
    assert install == "pip install ./networks-of-mine"  # the fixture's part
    assert len(commands) == 2
    for line in commands:
        program, *words = shlex.split(line)
        assert program == "patchbay"
        ran = run_command(*words, "--home", str(tmp_path / "home"))
        assert ran.code == 0, ran.err
    listed = run_command("list", "--json", "--home", str(tmp_path / "home")).json
    kinds = sorted(row["kind"] for row in listed)
    assert kinds == ["class_module"] * 3 + ["strong"]
    for row in listed:
        assert run_command("show", row["uri"], "--home", str(tmp_path / "home")).code == 0
