"""The page in a real browser, against the real service."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from registry.registry import Registry
from serving.client import PredictClient
from serving.launch import RunningService, running_service
from serving.protocol import Prediction
from serving.settings import Settings
from tests.serving.samples import encode, random_images
from tests.serving.wide import CHAMPION, COMMA, LONG, MARKUP, PATCHED, register_wide
from tests.waiting import PATIENCE_SECONDS

DESK, PHONE = (1280, 800), (320, 640)
PICTURES = [encode(Image.fromarray(image)) for image in random_images(40, 8, 8)]

# What is said of what can't be loaded; errors of the service are of that kind, and expected.
NOT_LOADED = re.compile(r"Failed to load resource: (the server responded|net::ERR_INTERNET_DISC)")

PATIENCE_MS = 1000 * PATIENCE_SECONDS

Open = Callable[..., Page]


class Watch:
    """What a page should not do."""

    def __init__(self, page: Page, url: str) -> None:
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._url = url
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        page.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not NOT_LOADED.match(message.text):
            self.problems.append(f"{message.type}: {message.text}")

    def _request(self, request: Request) -> None:
        self.requests.append(request.url.removeprefix(self._url))
        if not request.url.startswith((self._url + "/", "blob:", "data:")):
            self.problems.append(f"a request to {request.url}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("needs chromium")
    with sync_playwright() as playwright:
        # Root, as in a container, has no sandbox of its own.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(
            executable_path=program, args=arguments, timeout=PATIENCE_MS
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def wide_registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return register_wide(tmp_path_factory.mktemp("wide") / "home")


@pytest.fixture(scope="module")
def wide(
    wide_registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    """A thousand classes, three patches, two samples; it follows its alias at once."""
    samples = tmp_path_factory.mktemp("samples")
    (samples / "a#1 100%.png").write_bytes(PICTURES[0])
    (samples / "b.png").write_bytes(PICTURES[1])
    home = Path(wide_registry.tracking_uri.removeprefix("sqlite:///")).parent
    settings = Settings(
        model_uri=CHAMPION, home=home, device="cpu", samples=samples, poll_seconds=0.3
    )
    with running_service(settings) as running:
        yield running


@contextmanager
def opened(browser: Browser, url: str, size: tuple[int, int], **options: Any) -> Iterator[Page]:
    """A page that is open, and at whose end nothing was wrong."""
    viewport: Any = {"width": size[0], "height": size[1]}
    context = browser.new_context(viewport=viewport, **options)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    watch = Watch(page, url)
    page.goto(f"{url}/")
    yield page
    context.close()
    assert watch.problems == []


@pytest.fixture
def page(browser: Browser, service: RunningService) -> Iterator[Page]:
    with opened(browser, service.url, DESK) as page:
        expect(page.locator("#serving")).to_have_text("serving models:/served/1")
        yield page


@pytest.fixture
def wide_page(browser: Browser, wide: RunningService) -> Iterator[Page]:
    with opened(browser, wide.url, PHONE, color_scheme="dark") as page:
        expect(page.locator("#serving")).to_have_text("serving models:/wide/1")
        yield page


def choose(page: Page, content: bytes, name: str = "picture.png") -> None:
    page.set_input_files("#file", {"name": name, "mimeType": "image/png", "buffer": content})


def predictions(service: RunningService) -> list[Prediction]:
    with PredictClient(service.url) as client:
        return [client.predict(picture).predictions[0] for picture in PICTURES]


def shown_scores(page: Page) -> dict[str, tuple[str, str]]:
    """By class what stands beside the weak bar and the patched one."""
    found: dict[str, tuple[str, str]] = page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll("#bars li")].map((item) => [
             item.dataset.class,
             [...item.querySelectorAll(".value")].map((value) => value.textContent)]))"""
    )
    minus = str.maketrans("\u2212", "-")
    return {
        name: (weak.translate(minus), patched.translate(minus))
        for name, (weak, patched) in found.items()
    }


def test_an_image_is_answered_as_predict_answers_it(page: Page, service: RunningService) -> None:
    answers = predictions(service)
    changed = next(row for row, one in enumerate(answers) if one.changed_by)
    same = next(row for row, one in enumerate(answers) if not one.changed_by)
    for row in (changed, same):
        answer = answers[row]
        choose(page, PICTURES[row])
        expect(page.locator("#label")).to_have_text(answer.label)
        expect(page.locator("#weak-label")).to_have_text(answer.weak_label)
        expect(page.locator("#bars li")).to_have_count(3)
        assert shown_scores(page) == {
            name: (f"{answer.weak_scores[name]:.3f}", f"{answer.scores[name]:.3f}")
            for name in answer.scores
        }
        said = page.locator("#said").inner_text()
        if answer.changed_by:
            assert "The patch for cone changed the answer" in said
            assert f"without it, it would be {answer.weak_label}." in said
        else:
            assert f"Both say {answer.label}: no patch changed the answer." in said
    expect(page.locator("#timing")).to_have_text(
        re.compile(
            r"^Answered by models:/served/1 in [\d.]+ ms in the service, "
            r"[\d.]+ ms as this browser sees it\.$"
        )
    )


def test_bars_are_as_long_as_their_scores(page: Page, service: RunningService) -> None:
    answer = predictions(service)[0]
    choose(page, PICTURES[0])
    expect(page.locator("#bars li")).to_have_count(3)
    page.wait_for_timeout(400)  # they grow
    page.wait_for_function("document.getAnimations().length === 0")
    for name, score in answer.scores.items():
        row = page.locator(f'#bars li[data-class="{name}"]')
        for side, value in (("weak", answer.weak_scores[name]), ("patched", score)):
            fill = row.locator(f".{side} .fill").bounding_box()
            track = row.locator(f".{side} .track").bounding_box()
            assert fill is not None
            assert track is not None
            assert fill["width"] == pytest.approx(max(value * track["width"], 1), abs=1)


def test_patches_are_chosen_by_check_boxes(page: Page, service: RunningService) -> None:
    answers = predictions(service)
    changed = next(row for row, one in enumerate(answers) if one.changed_by)
    choose(page, PICTURES[changed])
    expect(page.locator("#label")).to_have_text(answers[changed].label)
    with page.expect_request("**/predict?*") as asked:
        page.get_by_role("checkbox", name="cone").uncheck()
    assert asked.value.url.endswith("/predict?explain=1&patches=none")
    expect(page.locator("#label")).to_have_text(answers[changed].weak_label)
    expect(page.locator("#said")).to_contain_text("No patch is plugged in")
    expect(page.locator("#chosen-count")).to_have_text("0 of 1 plugged in")
    with page.expect_request("**/predict?*") as asked:
        page.get_by_role("button", name="All", exact=True).click()
    assert asked.value.url.endswith("/predict?explain=1")
    expect(page.locator("#label")).to_have_text(answers[changed].label)
    expect(page.get_by_role("checkbox", name="cone")).to_be_checked()


def test_what_is_no_image_gets_the_service_s_message(page: Page) -> None:
    choose(page, PICTURES[0])
    expect(page.locator("#result")).to_be_visible()
    choose(page, b"GIF89a", "picture.gif")
    expect(page.get_by_role("alert")).to_contain_text("GIF")
    expect(page.locator("#result")).to_be_hidden()
    expect(page.locator("#scores")).to_be_hidden()
    choose(page, PICTURES[0])
    expect(page.locator("#result")).to_be_visible()
    expect(page.get_by_role("alert")).to_be_empty()


@pytest.mark.parametrize("way", ["drop", "paste"])
def test_images_are_dropped_and_pasted(page: Page, way: str) -> None:
    page.evaluate(
        """([way, bytes]) => {
             const carried = new DataTransfer();
             carried.items.add(new File([new Uint8Array(bytes)], "dropped.png"));
             const options = { bubbles: true, cancelable: true };
             document.body.dispatchEvent(way === "drop"
               ? new DragEvent("drop", { ...options, dataTransfer: carried })
               : new ClipboardEvent("paste", { ...options, clipboardData: carried }));
           }""",
        [way, list(PICTURES[0])],
    )
    expect(page.locator("#result")).to_be_visible()
    expect(page.locator("#image-name")).to_have_text("dropped.png")


def test_evidence_and_lineage_are_the_registry_s(page: Page) -> None:
    plugged = page.locator("#plugged")
    for address in ("strong/1", "strong.TC/1", "weak/1", "served/1"):
        expect(plugged.get_by_text(f"models:/{address}", exact=True)).to_be_visible()
    expect(plugged).to_contain_text("14 of 15 kernels")
    row = plugged.get_by_role("row", name=re.compile("^F1"))
    expect(row.get_by_role("cell").first).to_have_text("0.571")
    expect(row.get_by_role("cell").nth(1)).to_have_text("1.000")
    expect(plugged).to_contain_text("3 answers fixed, 0 broken")
    expect(page.locator("#chooser")).to_contain_text("F1 0.571 \u2192 1.000")


def test_counts_are_live_while_the_page_is_seen(page: Page, service: RunningService) -> None:
    images = page.locator("#count-list > div").filter(has_text="images").locator("dd").first
    before = int(images.inner_text().replace(",", ""))
    predictions(service)
    expect(images).to_have_text(f"{before + len(PICTURES):,}")
    page.evaluate(
        """() => Object.defineProperty(document, "visibilityState",
             { value: "hidden", configurable: true })"""
    )
    page.wait_for_timeout(3000)  # a look that had begun
    looked: list[str] = []
    page.on("request", lambda request: looked.append(request.url))
    page.wait_for_timeout(2600)
    assert looked == []
    asked = page.evaluate(
        """() => {
             const { fetch } = window, asked = [];
             window.fetch = (...more) => { asked.push(more[0]); return fetch(...more); };
             delete document.visibilityState;
             document.dispatchEvent(new Event("visibilitychange"));
             window.fetch = fetch;
             return asked;
           }"""
    )
    assert len(asked) == 1  # at once


def test_a_service_that_is_gone_is_waited_for_and_asked_again(page: Page) -> None:
    page.context.set_offline(True)
    notice = page.locator("#notice")
    expect(notice).to_have_text("The service does not answer. Trying again\u2026")
    expect(page.locator("#serving")).to_have_text("no answer")
    choose(page, PICTURES[0])
    expect(page.get_by_role("alert")).to_contain_text("The image is kept")
    page.context.set_offline(False)
    expect(page.locator("#result")).to_be_visible()
    expect(notice).to_be_empty()
    expect(page.locator("#serving")).to_have_text("serving models:/served/1")


def test_without_a_model_the_reason_is_shown(
    browser: Browser, service_without_model: RunningService
) -> None:
    with opened(browser, service_without_model.url, DESK) as page:
        expect(page.get_by_role("status")).to_contain_text("PATCHBAY_MODEL_URI is not set")
        expect(page.locator("#serving")).to_have_text("no model")
        choose(page, PICTURES[0])
        expect(page.get_by_role("alert")).to_contain_text("PATCHBAY_MODEL_URI is not set")


def test_everything_is_done_with_the_keyboard_alone(browser: Browser, wide: RunningService) -> None:
    with opened(browser, wide.url, DESK) as page:
        # Listened for from the start: the browser is told so while other things go on.
        page.on("filechooser", lambda chooser: None)
        expect(page.get_by_role("checkbox")).to_have_count(3)

        def tab_to(selector: str) -> None:
            for _ in range(40):
                page.keyboard.press("Tab")
                if page.evaluate("(wanted) => document.activeElement.matches(wanted)", selector):
                    ringed = page.evaluate(
                        """() => {
                             const here = document.activeElement;
                             const seen = here.matches(".hidden-input")
                               ? here.nextElementSibling : here;
                             const { outlineStyle, outlineWidth } = getComputedStyle(seen);
                             return outlineStyle !== "none" && parseFloat(outlineWidth) >= 2;
                           }"""
                    )
                    assert ringed, f"the focus on {selector} is not seen"
                    return
            raise AssertionError(f"{selector} was not reached")

        tab_to("a.skip")
        tab_to("#file")
        with page.expect_file_chooser() as chooser:
            page.keyboard.press("Enter")
        assert chooser.value.element.get_attribute("id") == "file"
        tab_to("#sample-list button")
        page.keyboard.press("Enter")
        expect(page.locator("#result")).to_be_visible()
        tab_to("#show-all")
        page.keyboard.press("Enter")
        expect(page.locator("#bars li")).to_have_count(1000)
        page.keyboard.press("Enter")
        tab_to("#none")
        page.keyboard.press("Enter")
        expect(page.locator("#said")).to_contain_text("No patch is plugged in")
        tab_to("input[type=checkbox]")
        page.keyboard.press("Space")
        expect(page.locator("#chosen-count")).to_have_text("1 of 3 plugged in")
        tab_to("summary")
        page.keyboard.press("Enter")
        expect(page.get_by_text("Lineage").first).to_be_visible()


def test_samples_are_clicked(wide_page: Page, wide: RunningService) -> None:
    page = wide_page
    buttons = page.locator("#sample-list button")
    expect(buttons).to_have_count(2)
    for place, (name, picture) in enumerate((("a#1 100%.png", 0), ("b.png", 1))):
        page.get_by_role("button", name=name).click()
        expect(page.locator("#label")).to_have_text(predictions(wide)[picture].label)
        expect(page.locator("#image-name")).to_have_text(name)
        expect(buttons.nth(place)).to_have_attribute("aria-pressed", "true")
        expect(buttons.nth(1 - place)).to_have_attribute("aria-pressed", "false")


def test_of_a_thousand_classes_the_highest_and_the_patched_are_shown(
    wide_page: Page, wide: RunningService
) -> None:
    page = wide_page
    answer = predictions(wide)[0]
    choose(page, PICTURES[0])
    expect(page.locator("#result")).to_be_visible()
    shown = shown_scores(page)

    def highest(scores: dict[str, float]) -> set[str]:
        return set(sorted(scores, key=lambda name: -scores[name])[:5])

    expected = highest(answer.scores) | highest(answer.weak_scores) | set(PATCHED)
    assert set(shown) == expected
    by_score = sorted(expected, key=lambda name: -answer.scores[name])
    assert [float(shown[name][1]) for name in by_score] == [
        float(pair[1]) for pair in shown.values()
    ]
    expect(page.locator("#shown")).to_contain_text(f"{len(expected)} of 1,000 classes")
    assert min(answer.scores.values()) < 0, "the scale is stretched for what is below 0"
    for fill, track in zip(
        page.locator("#bars .fill").all(), page.locator("#bars .track").all(), strict=True
    ):
        inner, outer = fill.bounding_box(), track.bounding_box()
        assert inner is not None
        assert outer is not None
        assert inner["x"] >= outer["x"] - 1
        assert inner["x"] + inner["width"] <= outer["x"] + outer["width"] + 1


def test_names_are_text_whatever_they_hold(wide_page: Page) -> None:
    page = wide_page
    choose(page, PICTURES[0])
    for place in ("#bars", "#patch-list", "#patch-details"):
        expect(page.locator(place).get_by_text(MARKUP).first).to_be_visible()
        assert page.locator(f"{place} img").count() == 0
    assert page.title() == "patchbay"
    with page.expect_response("**/predict?*") as answered:
        page.get_by_role("checkbox", name=LONG).uncheck()
    assert answered.value.json()["patches"] == [MARKUP, COMMA]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_it_fits_and_can_be_read(
    browser: Browser, wide: RunningService, size: tuple[int, int], scheme: str
) -> None:
    with opened(browser, wide.url, size, color_scheme=scheme) as page:
        expect(page.get_by_role("checkbox")).to_have_count(3)
        page.get_by_role("button", name="b.png").click()
        expect(page.locator("#result")).to_be_visible()
        page.locator("summary").first.click()
        page.locator("#problem").evaluate("(element) => element.append('a problem')")
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", light)[:3])) > 384) == (scheme == "light")
        poor = page.evaluate(CONTRASTS)
        assert poor["seen"] > 60
        assert poor["below"] == []


def test_every_control_has_a_name_and_every_region_a_heading(wide_page: Page) -> None:
    page = wide_page
    choose(page, PICTURES[0])
    expect(page.locator("#result")).to_be_visible()
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("input, button, summary, a")].filter((one) =>
             !(one.labels?.length && one.labels[0].textContent.trim()) &&
             !one.textContent.trim()).map((one) => one.outerHTML)"""
    )
    assert unnamed == []
    broken = page.evaluate(
        """() => [...document.querySelectorAll("[aria-labelledby], label[for], a[href^='#']")]
             .map((one) => one.getAttribute("aria-labelledby") ?? one.htmlFor ?? one.hash.slice(1))
             .filter((id) => !document.getElementById(id))"""
    )
    assert broken == []
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len(set(ids))
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.locator("#said").get_attribute("aria-live") == "polite"
    assert page.evaluate("[...document.images].every((one) => one.hasAttribute('alt'))")
    levels = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3')].map((one) => Number(one.tagName[1]))"
    )
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_nothing_moves_where_that_is_not_wanted(browser: Browser, service: RunningService) -> None:
    for wanted, moves in (("reduce", False), ("no-preference", True)):
        with opened(browser, service.url, DESK, reduced_motion=wanted) as page:
            choose(page, PICTURES[0])
            expect(page.locator("#bars li")).to_have_count(3)
            durations = page.evaluate(
                """[...document.querySelectorAll("*")].flatMap((one) => {
                     const { transitionDuration, animationName } = getComputedStyle(one);
                     return transitionDuration === "0s" && animationName === "none" ? [] : [one.id];
                   })"""
            )
            assert bool(durations) == moves


def test_the_page_goes_where_the_alias_goes(
    wide_page: Page, wide: RunningService, wide_registry: Registry
) -> None:
    page = wide_page
    page.get_by_role("checkbox", name=COMMA).uncheck()
    choose(page, PICTURES[0])
    expect(page.locator("#timing")).to_contain_text("models:/wide/1")
    wide_registry.aliases.promote("models:/wide/2", "champion")
    try:
        expect(page.locator("#serving")).to_have_text("serving models:/wide/2")
        expect(page.locator("#timing")).to_contain_text("models:/wide/2")
        expect(page.get_by_role("checkbox")).to_have_count(1)
        expect(page.get_by_role("checkbox", name=COMMA)).not_to_be_checked()
        expect(page.locator("#said")).to_contain_text("No patch is plugged in")
    finally:
        wide_registry.aliases.promote("models:/wide/1", "champion")
        expect(page.locator("#serving")).to_have_text("serving models:/wide/1")


# Every visible text's contrast with what is behind it, as WCAG 2 computes it.
CONTRASTS = """() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const painted = (colours) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data.slice(0, 3)];
  };
  const luminance = (rgb) => rgb.map((part) => part / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const below = [];
  let seen = 0;
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text = texts.nextNode(); text; text = texts.nextNode()) {
    const owner = text.parentElement;
    const isSeen = text.data.trim() && owner.checkVisibility() && !owner.closest(".unseen, script");
    if (!isSeen) continue;
    seen += 1;
    const behind = [];
    for (let one = owner; one; one = one.parentElement) {
      behind.unshift(getComputedStyle(one).backgroundColor);
    }
    const ground = painted(behind);
    const ink = painted([...behind, getComputedStyle(owner).color]);
    const [high, low] = [luminance(ground), luminance(ink)].sort((a, b) => b - a);
    const contrast = (high + 0.05) / (low + 0.05);
    if (contrast < 4.5) below.push(`${text.data.trim().slice(0, 40)}: ${contrast.toFixed(2)}`);
  }
  return { seen, below };
}"""
