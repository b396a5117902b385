"""``patchbay demo``: the whole story on real digits."""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click

from patchbay import comparison, options
from patchbay.console import emit, progress_bars, say, table
from patchbay.session import files_folder, open_registry, service_settings

if TYPE_CHECKING:
    from modularizer.records import Cost
    from patchbay.demo.over_http import HttpCheck
    from patchbay.demo.story import Story


@click.command(short_help="The whole story on real digits, in a few minutes.")
@options.common
def demo(threads: int, home: Path | None, as_json: bool) -> None:
    """The whole story on real digits: train, decompose, register, patch, serve, predict.

    A strong model knows 0-4. Five weak models, stopped halfway, know 6-9 and one of 0-4 each.
    Each is patched with the strong model's module for that class.
    """
    began = perf_counter()
    registry = open_registry(home, threads=threads)
    from patchbay.demo.over_http import check_over_http
    from patchbay.demo.picture import save_picture
    from patchbay.demo.sample_images import write_samples
    from patchbay.demo.story import tell_story, write_sample

    folder = files_folder(home) / "demo"
    folder.mkdir(exist_ok=True)
    with progress_bars(quiet=as_json) as bars:
        story = tell_story(registry, bars)
        picture = folder / "patches.png"
        save_picture(story, picture)
        registry.add_pictures(story.served.patch.uri, [picture])
        (folder / "served").write_text(story.served_uri)  # for make serve
        sample = write_sample(story, folder)
        patched = story.served.patch.patched
        held_out = story.data.only(patched.class_names).test.open("the demo's check over HTTP")
        samples = folder / "samples"
        write_samples(patched, held_out, samples)
        checked = check_over_http(
            story.served.patch.uri,
            patched,
            held_out.images,
            settings=service_settings(story.served_uri, home=home, threads=threads, device="cpu"),
            progress=bars("held-out images over HTTP"),
        )
    seconds = perf_counter() - began
    if as_json:
        places = {
            "picture": str(picture),
            "sample": str(sample),
            "samples": str(samples),
            "tracking_uri": registry.tracking_uri,
        }
        emit({**_as_json(story, checked, seconds), **places})
    else:
        _show(story, checked, seconds)
        _show_next(story, registry.tracking_uri, home, picture, sample)
    if checked.mismatches:
        raise click.ClickException(
            f"{checked.mismatches} of {checked.images} answers over HTTP differ from the offline "
            "ones: serving is broken"
        )


def _as_json(story: Story, checked: HttpCheck, seconds: float) -> dict[str, Any]:
    served, record = story.served, story.decomposition.record
    part = next(p for p in record.classes if p.class_module.class_name == served.name)
    return {
        "served": {"uri": story.served_uri, "version": served.patch.uri, "target": served.name},
        "gate": story.gate.as_json(),
        "strong": {
            "uri": story.strong.uri,
            "validation_accuracy": story.validation.strong,
            "held_out_accuracy": story.held_out.strong,
            **asdict(story.strong.record.cost),
        },
        "composed": {
            "validation_accuracy": story.validation.composed,
            "held_out_accuracy": story.held_out.composed,
            "random_validation_accuracy": story.validation.random,
            "random_held_out_accuracy": story.held_out.random,
            "diff": record.metrics["diff"],
            "generations": len(record.history),
        },
        "costs": {
            "strong": asdict(story.strong.record.cost),
            "weak": asdict(served.weak.record.cost),
            "modules": {p.class_module.class_name: asdict(p.cost) for p in record.classes},
        },
        "weak": comparison.fractions(served.held_out, "weak"),
        "patched": comparison.fractions(served.held_out, "patched"),
        "module": {
            "uri": story.decomposition.of_class(served.name).uri,
            "class_name": served.name,
            **asdict(part.cost),
        },
        "http": asdict(checked),
        "seconds": seconds,
        "targets": [
            {
                **comparison.as_json(one.held_out),
                "weak_uri": one.weak.uri,
                "patched_uri": one.patch.uri,
                "rule": one.rule,
                "validation_f1_gain": one.validation_gain,
                "served": one is served,
            }
            for one in story.targets
        ],
    }


def _show(story: Story, checked: HttpCheck, seconds: float) -> None:
    say()
    comparison.show_comparison(
        "Held-out digits",
        [one.held_out for one in story.targets],
    )
    rules = "; ".join(f"{one.name} {one.rule}" for one in story.targets)
    say(f"Rules, each chosen on validation images: {rules}.")
    say(_verdict(story))
    say(_gate(story))
    record = story.decomposition.record
    say()
    table(
        "What it costs",
        ("network", "kernels", "parameters", "multiply-adds"),
        [
            _cost_row("strong", story.strong.record.cost),
            *(_cost_row(f"module {p.class_module.class_name}", p.cost) for p in record.classes),
            _cost_row("weak", story.served.weak.record.cost),
        ],
    )
    table(
        f"One module a class, composed ({len(record.history)} generations, "
        f"Diff {record.metrics['diff']:.3f})",
        ("accuracy on", "strong", "composed", "random masks of the same size"),
        [
            ("validation", *_accuracies(story.validation)),
            ("held-out", *_accuracies(story.held_out)),
        ],
    )
    say(
        f"Over HTTP: the served model's {checked.images} held-out images, {checked.mismatches} "
        f"answers other than offline; p50 {checked.p50_ms:.1f} ms, p99 {checked.p99_ms:.1f} ms, "
        "one client."
    )
    say(f"{seconds:.0f} seconds in all.")


def _verdict(story: Story) -> str:
    served, found = story.served, story.served.held_out
    gains = [one.held_out.patched.f1 - one.held_out.weak.f1 for one in story.targets]
    mean = sum(gains) / len(gains)
    moved = (
        f"mean F1 gain {mean:+.3f} over {len(gains)} weak models ({sum(g > 0 for g in gains)} up)"
    )
    if served.validation_gain <= 0:
        return f"No patch gains anything on validation images ({moved}); the least bad is served."
    gain, spread = found.patched.f1 - found.weak.f1, found.gain_spread["f1"]
    return (
        f"{moved[0].upper()}{moved[1:]}.\nServed: target class {served.name}, chosen by its F1 "
        f"gain on validation images ({served.validation_gain:+.3f}). On held-out ones it "
        f"{'gains' if gain > 0 else 'gains nothing:'} {gain:+.3f} ({spread.low:+.3f} to "
        f"{spread.high:+.3f}); {found.fixes} answers are fixed, {found.regressions} broken."
    )


def _gate(story: Story) -> str:
    if story.gate.passed:
        return f"It passed the gate, by {story.gate.basis}."
    return f"The gate refused it and was overruled, as this is a demo: {story.gate.reasons[0]}."


def _show_next(
    story: Story, tracking_uri: str, home: Path | None, picture: Path, sample: Path
) -> None:
    program = _runnable(Path(sys.argv[0]))
    at_home = f" --home {shlex.quote(str(home))}" if home else ""
    say()
    say(f"The picture is {picture}; {sample.name} is a held-out image, picked because the patch")
    say("puts it right where there is one. What to do next:")
    say(f"  {program} list{at_home}")
    samples = shlex.quote(str(sample.with_name("samples")))
    say(f"  {program} serve{at_home} --samples {samples} {story.served_uri}")
    say(f"  curl -F image=@{shlex.quote(str(sample))} http://127.0.0.1:3000/predict")
    say(
        f"  {_runnable(Path(sys.argv[0]).with_name('mlflow'))} ui --host 127.0.0.1 "
        f"--backend-store-uri {shlex.quote(tracking_uri)}"
    )


def _runnable(program: Path) -> str:
    """How to call a program from here."""
    relative = os.path.relpath(program)
    return shlex.quote(str(program) if relative.startswith("..") else relative)


def _cost_row(name: str, cost: Cost) -> tuple[str, str, str, str]:
    return name, f"{cost.kernels:,}", f"{cost.parameters:,}", f"{cost.multiply_adds:,}"


def _accuracies(found: Any) -> tuple[str, str, str]:
    return f"{found.strong:.3f}", f"{found.composed:.3f}", f"{found.random:.3f}"
