"""Every form of a network gives the same scores."""

from __future__ import annotations

import pytest
import torch

from benchmarks.inference.forms import forms_of
from benchmarks.inference.settings import InferenceSettings, RandomNetworks
from benchmarks.inference.subject import Subject
from tests.patchbay.running import run_command

TOY = RandomNetworks(width=0.05)
FORMS = set(forms_of(compiled=False))


@pytest.mark.parametrize("name", sorted(FORMS))
@pytest.mark.parametrize("architecture", ["simcnn", "rescnn"])
def test_a_form_changes_no_score(name: str, architecture: str) -> None:
    networks = RandomNetworks.model_validate({"architecture": architecture, "width": 0.05})
    subject = Subject(InferenceSettings(networks=networks, forms=True), is_packed=False)
    for network in (subject.weak, *subject.modules(1)):
        [x] = subject.inputs([network], 3)
        with torch.inference_mode():
            expected = network.network(x)
            found = forms_of(compiled=False)[name](network).run(x)
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
            assert torch.equal(network.network(x), expected)  # the original is left as it is


@pytest.mark.slow  # a compiler
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["compiled", "compiled_frozen"])
def test_a_compiled_form_changes_no_score(name: str) -> None:
    subject = Subject(InferenceSettings(networks=TOY, forms=True), is_packed=False)
    [x] = subject.inputs([subject.weak], 2)
    with torch.inference_mode():
        expected = subject.weak.network(x)
        found = forms_of(compiled=True)[name](subject.weak).run(x)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_command_compares_the_forms() -> None:
    ran = run_command("bench", "inference", "--toy", "--forms", "--batch", "2", "--repeats", "2")
    assert ran.code == 0, ran.err
    assert all(name in ran.out for name in FORMS)
    assert "aim" not in ran.out


@pytest.mark.parametrize("other", [("--pictures", "somewhere"), ("models:/some/1",)])
def test_what_has_no_forms_is_refused(other: tuple[str, ...]) -> None:
    ran = run_command("bench", "inference", "--forms", *other)
    assert ran.code == 2
    assert "--forms is of random networks on a CPU" in ran.err
