// One image's answer: both labels, why they differ, the bars, and how long it took.

import { bars, shownClasses } from "./bars.js";
import { find, make, say } from "./elements.js";
import { count, fraction, milliseconds } from "./numbers.js";

const MOST_TOLD = 6;
const LONG_NAME = 16;

let showsAll = false;

/** Show an answer as `predict` of service.js gives it; classNames are in the model's order. */
export function showAnswer({ told, serviceMs, browserMs }, classNames) {
  const [prediction] = told.predictions;
  const shown = {
    ...prediction,
    weakLabel: prediction.weak_label,
    patches: told.patches,
    scores: inOrder(prediction.scores, classNames),
    weakScores: inOrder(prediction.weak_scores, classNames),
  };
  say(find("problem"), "");
  find("empty").hidden = true;
  find("result").hidden = false;
  find("scores").hidden = false;
  find("result").classList.toggle("changed", prediction.label !== prediction.weak_label);
  say(find("by"), by(prediction));
  say(find("patched-side"), told.patches.length ? "Patched" : "Without patches");
  for (const [id, name] of [["weak-label", prediction.weak_label], ["label", prediction.label]]) {
    say(find(id), name);
    find(id).classList.toggle("long", name.length > LONG_NAME);
  }
  find("said").replaceChildren(...sentences(prediction, told));
  showBars(shown);
  say(find("timing"), timing(told, serviceMs, browserMs));
}

/** Show why there is no answer, in place of the one before. */
export function showProblem(message) {
  for (const id of ["result", "scores", "empty"]) find(id).hidden = true;
  find("said").replaceChildren();
  say(find("problem"), message);
}

function by({ label, weak_label: weakLabel, changed_by: changedBy }) {
  if (label === weakLabel) return "no change";
  if (changedBy.length === 1) return `patch ${changedBy[0]}`;
  return changedBy.length ? `${count(changedBy.length)} patches` : "patches";
}

function showBars(shown) {
  const names = shownClasses(shown.scores, shown.weakScores, shown.patches, showsAll);
  const total = shown.scores.size;
  const isAll = names.length === total;
  find("bars").replaceChildren(...bars(shown, names));
  say(
    find("shown"),
    isAll ? "" : `${count(names.length)} of ${count(total)} classes: the highest of either side, and patched ones.`,
  );
  const button = find("show-all");
  button.hidden = isAll && !showsAll;
  say(button, showsAll ? "Show the highest alone" : `Show all ${count(total)}`);
  button.onclick = () => {
    showsAll = !showsAll;
    showBars(shown);
  };
}

function sentences(prediction, told) {
  const { label, weak_label: weakLabel, changed_by: changedBy } = prediction;
  if (!told.patches.length) {
    return [make("p", {}, "No patch is plugged in. The weak model alone says ", strong(label), ".")];
  }
  if (label === weakLabel) {
    return [make("p", {}, "Both say ", strong(label), ": no patch changed the answer."), ...scored(prediction)];
  }
  const without = new Map((prediction.explanations ?? []).map((one) => [one.patch, one]));
  return [
    make("p", {}, "The weak model alone says ", strong(weakLabel), ", the patched one ", strong(label), "."),
    ...changedBy.slice(0, MOST_TOLD).map((name) => changed(name, without.get(name), label)),
    changedBy.length > MOST_TOLD
      ? make("p", {}, `${count(changedBy.length - MOST_TOLD)} more patches had a part in it.`)
      : "",
  ];
}

function changed(name, explanation, label) {
  const parts = ["The patch for ", strong(name), " changed the answer"];
  if (explanation) {
    const same = explanation.without === label;
    parts.push(same ? "; without it alone it would be the same" : "; without it, it would be ");
    if (!same) parts.push(strong(explanation.without));
  }
  parts.push(".");
  if (explanation) parts.push(` ${score(explanation)}`);
  return make("p", { class: "because" }, ...parts);
}

function scored(prediction) {
  const told = prediction.explanations ?? [];
  return told.length === 1 ? [make("p", { class: "because" }, score(told[0]))] : [];
}

function score(explanation) {
  return (
    `Its class module gave ${fraction(explanation.module_score)}; ` +
    `the score went from ${fraction(explanation.weak_score)} to ${fraction(explanation.score)}.`
  );
}

function timing(told, serviceMs, browserMs) {
  const inService = serviceMs === null ? "" : `${milliseconds(serviceMs)} in the service, `;
  return `Answered by ${told.model.uri} in ${inService}${milliseconds(browserMs)} as this browser sees it.`;
}

function strong(text) {
  return make("strong", {}, text);
}

function inOrder(values, classNames) {
  const found = new Map(Object.entries(values));
  const known = classNames.filter((name) => found.has(name));
  return known.length === found.size ? new Map(known.map((name) => [name, found.get(name)])) : found;
}
