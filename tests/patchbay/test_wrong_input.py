"""Wrong input: one clear message on stderr, exit code not 0, nothing half done, no traceback."""

from __future__ import annotations

import os
import socket
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from registry.registry import Registry
from tests.patchbay.running import NET, Ran, Shop, run_command


def refused(ran: Ran, *expected: str) -> None:
    assert ran.code not in (0, 130)
    assert ran.out == ""
    assert "Traceback" not in ran.err
    assert "defect" not in ran.err
    for text in expected:
        assert text in ran.err


@pytest.mark.parametrize("command", ["show", "serve"])
def test_a_text_that_is_no_address_is_refused(shop: Shop, command: str) -> None:
    refused(shop.run(command, "patched/1"), "models:/")


def test_an_unknown_name_version_and_alias_are_told_apart(shop: Shop) -> None:
    refused(shop.run("show", "models:/nobody/1"), "nobody")
    refused(shop.run("show", "models:/patched/99"), "99")
    refused(shop.run("show", "models:/patched@nowhere"), "nowhere")


def test_a_missing_data_file_is_named(shop: Shop, tmp_path: Path) -> None:
    missing = str(tmp_path / "no.npz")
    refused(shop.run("evaluate", shop.patched, "--data", missing), missing)


def test_a_corrupt_data_file_is_refused(shop: Shop, tmp_path: Path) -> None:
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"PK\x03\x04 and then nothing")
    refused(shop.run("evaluate", shop.patched, "--data", str(broken)), "broken.npz")


def test_data_without_the_models_classes_is_refused(shop: Shop, tmp_path: Path) -> None:
    images = np.zeros((20, 8, 8, 1), np.uint8)
    labels = np.arange(20) % 2
    file = tmp_path / "other.npz"
    np.savez(
        file,
        train_images=images, train_labels=labels, test_images=images, test_labels=labels,
        class_names=np.array(["ape", "bee"]),
    )  # fmt: skip
    refused(shop.run("modularize", shop.strong, "--data", str(file)), "'0'", "ape, bee")


def test_an_unknown_class_is_refused_with_those_there_are(shop: Shop) -> None:
    refused(shop.run("train", "x", "--data", "digits", "--classes", "0,zebra"), "zebra", "9")


def test_a_module_for_a_class_the_weak_model_lacks_is_refused(shop: Shop) -> None:
    ran = shop.run(
        "patch", shop.weak, "--with", shop.modules["0"], "--name", "bad", "--data", "digits"
    )
    refused(ran, "'0'", "7, 8, 1")
    assert "models:/bad" not in shop.run("list", "--json").out


def test_the_same_class_twice_is_refused(shop: Shop) -> None:
    module = shop.modules["1"]
    ran = shop.run(
        "patch", shop.weak, "--with", module, "--with", module, "--name", "bad", "--data", "digits"
    )
    refused(ran, "one patch at most")


def test_a_weak_model_where_a_module_belongs_is_refused(shop: Shop) -> None:
    ran = shop.run("patch", shop.weak, "--with", shop.weak, "--name", "bad", "--data", "digits")
    refused(ran, "class module")


def test_a_class_module_can_not_answer_alone(shop: Shop, digit_files: Path) -> None:
    refused(shop.run("predict", shop.modules["1"], str(digit_files)), "one class")


def test_only_a_patched_model_is_evaluated_as_one(shop: Shop) -> None:
    refused(shop.run("evaluate", shop.weak, "--data", "digits"), "patched")


def test_a_broken_image_is_named(shop: Shop, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    refused(shop.run("predict", shop.patched, str(broken)), "broken.png")


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.full((2, 8, 8, 1), np.nan, np.float32), "NaN"),
        (np.zeros((2, 8, 8, 1), np.float64), "float64"),
        (np.zeros((2, 8, 8, 2), np.uint8), "(2, 8, 8, 2)"),
        (np.zeros(5, np.uint8), "(5,)"),
    ],
)
def test_an_array_of_another_kind_is_refused(
    shop: Shop, tmp_path: Path, array: np.ndarray, said: str
) -> None:
    file = tmp_path / "a.npy"
    np.save(file, array)
    refused(shop.run("predict", shop.patched, str(file)), "uint8" if "(" not in said else said)


def test_a_pickle_is_not_opened(shop: Shop, tmp_path: Path) -> None:
    file = tmp_path / "a.npy"
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    refused(shop.run("predict", shop.patched, str(file)), "a.npy")


def test_a_folder_without_images_is_refused(shop: Shop, tmp_path: Path) -> None:
    refused(shop.run("predict", shop.patched, str(tmp_path)), "no image")


def test_settings_out_of_range_are_named(shop: Shop) -> None:
    ran = shop.run("modularize", shop.strong, "--data", "digits", "--candidates", "4")
    refused(ran, "parents (50)", "candidates (4)")
    refused(shop.run("train", "x", "--data", "digits", "--epochs", "0"), "epochs")


def test_an_argument_that_does_not_fit_the_architecture_is_named(shop: Shop) -> None:
    refused(shop.run("train", "x", "--data", "digits", "--argument", "depth=3"), "depth")
    refused(shop.run("train", "x", "--data", "digits", "--argument", "depth"), "NAME=JSON")


def test_an_architecture_that_is_not_on_the_list_is_refused_with_the_list(shop: Shop) -> None:
    ran = shop.run("train", "x", "--data", "digits", "--architecture", "resnet18")
    refused(ran, "no architecture 'resnet18'", "torchvision.resnet18", "simcnn")


def test_a_network_too_deep_for_the_images_is_refused(shop: Shop) -> None:
    refused(shop.run("train", "x", "--data", "digits"), "8 pixels")


def test_a_name_that_mlflow_forbids_is_refused_before_training(shop: Shop) -> None:
    ran = shop.run("train", "a/b", "--data", "digits", *NET, "--epochs", "1")
    refused(ran, "a/b")


def test_a_home_that_can_not_be_written_is_refused(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    refused(run_command("list", "--home", str(blocked / "home")), str(blocked))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs /proc as root sees it")
def test_a_read_only_home_is_refused() -> None:
    refused(run_command("list", "--home", "/proc/patchbay"), "/proc/patchbay")


def test_a_port_in_use_is_refused(shop: Shop) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused(shop.run("serve", shop.patched, "--port", str(port)), str(port))


def test_a_folder_of_samples_that_is_not_there_is_refused(shop: Shop, tmp_path: Path) -> None:
    missing = str(tmp_path / "nothing")
    refused(shop.run("serve", shop.patched, "--samples", missing), missing)


def test_an_unknown_command_is_refused() -> None:
    refused(run_command("prune"), "prune")


def test_a_data_source_that_is_nothing_is_refused(shop: Shop) -> None:
    refused(shop.run("evaluate", shop.patched, "--data", "mnist"), "mnist", "digits")


def test_promote_refuses_a_version_that_does_not_load(shop: Shop) -> None:
    made = shop.run(
        "train", "damaged", "--data", "digits", "--classes", "0,1", *NET, "--epochs", "1", "--json"
    ).json["uri"]
    damage_weights(shop, made)
    refused(shop.run("promote", made, "--alias", "best"), "weights.safetensors")
    assert shop.run("show", "models:/damaged@best").code != 0


def test_an_alias_whose_version_is_gone_can_be_moved_again(shop: Shop) -> None:
    assert shop.run("promote", shop.weak, "--alias", "lost").code == 0
    with sqlite3.connect(shop.home / "mlflow.db") as database:
        database.execute("update registered_model_aliases set version = 99 where alias = 'lost'")
    refused(shop.run("show", "models:/weak@lost"), "lost")
    moved = shop.run("promote", shop.weak, "--alias", "lost", "--json").json
    assert (moved["uri"], moved["previous"]) == (shop.weak, None)


def test_names_that_look_like_markup_are_shown_as_they_are(shop: Shop, tmp_path: Path) -> None:
    names = ["[/b]", "a[red]"]
    images, labels = np.arange(40 * 64, dtype=np.uint8).reshape(40, 8, 8), np.arange(40) % 2
    file = tmp_path / "[bold].npz"
    np.savez(
        file,
        train_images=images, train_labels=labels, test_images=images, test_labels=labels,
        class_names=np.array(names),
    )  # fmt: skip
    home = ("--home", str(tmp_path / "home"))
    trained = run_command("train", "marked", "--data", str(file), *NET, "--epochs", "1", *home)
    assert trained.code == 0, trained.err
    listed = run_command("list", *home)
    assert listed.code == 0
    assert "[/b], a[red]" in listed.out


def test_a_named_pipe_is_not_waited_for(shop: Shop, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    refused(shop.run("predict", shop.patched, str(pipe)), "pipe.png")


def test_a_number_of_classes_that_the_data_has_not_is_refused(shop: Shop) -> None:
    ran = shop.run("train", "x", "--data", "digits", *NET, "--argument", "num_classes=3")
    refused(ran, "num_classes=3", "10 classes")
    refused(shop.run("train", "x", "--data", "digits", "--classes", "0", *NET), "two classes")


@pytest.mark.parametrize(
    "argument", ["width_multiplier=-1", "width_multiplier=Infinity", "stages=[[-4]]", "hidden=[0]"]
)
def test_widths_that_make_no_network_are_refused(shop: Shop, argument: str) -> None:
    refused(shop.run("train", "x", "--data", "digits", "--argument", argument), "found")


@pytest.mark.parametrize(
    ("option", "value"),
    [("--seed", "9" * 30), ("--batch-size", "9" * 25), ("--threads", "50000")],
)
def test_numbers_beyond_all_use_are_refused(shop: Shop, option: str, value: str) -> None:
    refused(shop.run("train", "x", "--data", "digits", *NET, option, value), value)


def test_reading_makes_no_registry(tmp_path: Path) -> None:
    refused(run_command("list", "--home", str(tmp_path / "typo")), "no registry", "typo")
    assert not (tmp_path / "typo").exists()


def test_what_is_no_archive_makes_no_registry(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("no archive")
    home = tmp_path / "fresh"
    refused(run_command("import", str(file), "--home", str(home)), "notes.txt", "zip file")
    assert not home.exists()


def damage_weights(shop: Shop, uri: str) -> None:
    """Flip one bit of a version's stored weights."""
    model_id = Registry.open(shop.home).find(uri).model_id
    (weights,) = (shop.home / "artifacts").rglob(f"{model_id}/**/weights.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
