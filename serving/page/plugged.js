// What the active model was made of and judged by.

import { find, make, say } from "./elements.js";
import { count, fraction, gain, percent, short } from "./numbers.js";

const OPEN_AT_ONCE = 2;
const METRICS = [
  ["f1", "F1"],
  ["precision", "precision"],
  ["recall", "recall"],
  ["others_accuracy", "accuracy on the others"],
  ["accuracy", "accuracy on all"],
];

/** Show a description as `GET /model` gives it. */
export function showPlugged(model) {
  find("plugged").hidden = false;
  const { patches } = model;
  say(
    find("plugged-lead"),
    `${model.model.uri} scores ${count(model.class_names.length)} classes and has ` +
      `${patches.length === 1 ? "one patch" : `${count(patches.length)} patches`}. SHA-256 ${model.digest.slice(0, 12)}.`,
  );
  find("patch-details").replaceChildren(
    ...patches.map((patch) => detail(patch, model, patches.length <= OPEN_AT_ONCE)),
  );
}

function detail(patch, model, isOpen) {
  const summary = make("summary", {}, make("span", { class: "name" }, `Patch for ${patch.patch}`), headline(patch));
  const details = make("details", { open: isOpen }, summary);
  const fill = () => {
    if (details.open && details.children.length === 1) details.append(body(patch, model));
  };
  details.addEventListener("toggle", fill);
  fill();
  return details;
}

function headline({ validation }) {
  if (!validation) return null;
  const by = validation.patched.f1 - validation.weak.f1;
  return make("span", { class: "hint" }, ` F1 ${gain(by)} on ${count(validation.images)} validation images`);
}

function body(patch, model) {
  return make(
    "div",
    { class: "patch-body" },
    make("div", {}, make("h3", {}, "Lineage"), lineage(patch, model)),
    make("div", {}, make("h3", {}, "Evidence"), ...evidence(patch, model)),
  );
}

function lineage(patch, model) {
  return make(
    "ol",
    { class: "lineage" },
    patch.strong ? node("strong model", patch.strong, "strong", [notes(["validation accuracy", patch.metrics.strong_accuracy])]) : null,
    node(`class module for ${patch.module_class}`, patch.module, "module", [
      kept(patch),
      patch.module_class === patch.patch ? "" : `the weak model calls the class ${patch.patch}`,
    ]),
    node("weak model", model.weak.uri, "weak", [
      notes(["validation accuracy", model.weak.metrics.validation_accuracy]),
      cost(model.weak.cost),
    ]),
    node("patched model", model.model.uri, "patched", [
      `${calibrations[patch.calibration] ?? patch.calibration} calibration, ${fusions[model.fusion] ?? model.fusion}`,
      model.mirrored ? "modules see each image's mirror image, too" : "",
    ]),
  );
}

const calibrations = { minmax: "min-max", none: "no" };
const fusions = { replace: "replaces the weak score", stack: "joined with the weak score" };

function node(what, uri, kind, lines) {
  return make(
    "li",
    { class: kind },
    make("span", { class: "what" }, what),
    make("code", {}, uri),
    ...lines.filter(Boolean).map((line) => make("span", { class: "hint" }, line)),
  );
}

function kept({ metrics, cost: found }) {
  const kernels = metrics.kernels_kept ?? found?.kernels;
  const share = metrics.kernels_kept_share;
  const parts = [];
  if (kernels != null) {
    parts.push(
      share ? `${count(kernels)} of ${count(Math.round(kernels / share))} kernels` : `${count(kernels)} kernels`,
    );
  }
  if (found) {
    const of = metrics.multiply_adds_share;
    parts.push(`${short(found.multiply_adds)} multiply-adds${of == null ? "" : ` (${percent(of)} of the strong model's)`}`);
  }
  return parts.join(", ");
}

function cost(found) {
  return found ? `${count(found.kernels)} kernels, ${short(found.multiply_adds)} multiply-adds` : "";
}

function notes([name, value]) {
  return value == null ? "" : `${name} ${fraction(value)}`;
}

function evidence(patch, model) {
  const { validation, metrics } = patch;
  return [
    validation ? table(validation) : means(model),
    validation
      ? make(
          "p",
          { class: "hint" },
          `Of ${count(validation.images)} validation images, ${count(validation.target_images)} of the class: ` +
            `${count(validation.fixes)} answers fixed, ${count(validation.regressions)} broken.`,
        )
      : null,
    metrics.composed_accuracy == null
      ? null
      : make(
          "p",
          { class: "hint" },
          "All class modules of the strong model together, on the images that the search chose by: " +
            `accuracy ${fraction(metrics.composed_accuracy)}` +
            (metrics.strong_accuracy == null ? "." : `; the strong model ${fraction(metrics.strong_accuracy)}.`),
        ),
  ];
}

function table(validation) {
  return make(
    "div",
    { class: "scrolls", tabindex: "0", role: "region", "aria-label": `Weak against patched, ${validation.target}` },
    make(
      "table",
      {},
      make("caption", { class: "unseen" }, `Weak against patched on validation images, seen from ${validation.target}`),
      make(
        "thead",
        {},
        make("tr", {}, make("td"), ["weak", "patched", "gain, 95 % interval"].map((name) => make("th", { scope: "col" }, name))),
      ),
      make(
        "tbody",
        {},
        METRICS.map(([key, name]) => {
          const spread = validation.gain_spread?.[key];
          return make(
            "tr",
            {},
            make("th", { scope: "row" }, name),
            make("td", {}, fraction(validation.weak[key])),
            make("td", {}, fraction(validation.patched[key])),
            make(
              "td",
              {},
              gain(validation.patched[key] - validation.weak[key]),
              spread ? make("span", { class: "hint" }, ` ${gain(spread.low)} to ${gain(spread.high)}`) : null,
            ),
          );
        }),
      ),
    ),
  );
}

function means(model) {
  const found = METRICS.filter(([key]) => model.metrics[`validation_${key}_gain`] != null);
  if (!found.length) return make("p", {}, "It was registered without images to judge it by.");
  return make(
    "p",
    {},
    "Gains on validation images, means over the patched classes: " +
      found.map(([key, name]) => `${name} ${gain(model.metrics[`validation_${key}_gain`])}`).join(", ") + ".",
  );
}
