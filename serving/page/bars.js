// Two bars for each class: the weak model's score, and the patched one's beside it.

import { make, unseen } from "./elements.js";
import { fraction } from "./numbers.js";

const FEW_CLASSES = 16;
const TOP = 5;
const MOST_PATCHED = 20;

/**
 * The classes to show: all of a few, in the model's order; of many the highest of either side and
 * the patched ones, the highest patched score first.
 */
export function shownClasses(scores, weakScores, patches, showsAll) {
  const names = [...scores.keys()];
  if (showsAll || names.length <= FEW_CLASSES) return names;
  const highest = (values, among, most) =>
    [...among].sort((a, b) => values.get(b) - values.get(a)).slice(0, most);
  const shown = new Set([
    ...highest(scores, names, TOP),
    ...highest(weakScores, names, TOP),
    ...highest(scores, patches.filter((name) => scores.has(name)), MOST_PATCHED),
  ]);
  return highest(scores, shown, shown.size);
}

/** List items, one a class. */
export function bars({ scores, weakScores, label, weakLabel, patches }, shown) {
  const all = [...scores.values(), ...weakScores.values()];
  // Calibrated scores need not be in [0, 1]; what is beyond stretches the scale for all.
  let low = 0;
  let high = 1;
  for (const value of all) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const patched = new Set(patches);
  return shown.map((name) =>
    make(
      "li",
      { "data-class": name, class: patched.has(name) ? "is-patched" : null },
      make(
        "span",
        { class: "name", title: name },
        make("span", { class: "words" }, name),
        patched.has(name) ? make("span", { class: "plug", title: "patched" }, unseen(" (patched)")) : null,
      ),
      bar("weak", weakScores.get(name), name === weakLabel, low, high),
      bar("patched", scores.get(name), name === label, low, high),
    ),
  );
}

function bar(side, value, isAnswer, low, high) {
  const fill = make("span", { class: "fill" });
  fill.style.setProperty("--from", (Math.min(value, 0) - low) / (high - low));
  fill.style.setProperty("--share", Math.abs(value) / (high - low));
  return make(
    "span",
    { class: `bar ${side}${isAnswer ? " is-answer" : ""}` },
    unseen(` ${side} `),
    make("span", { class: "track" }, fill),
    make("span", { class: "value" }, fraction(value)),
    isAnswer ? unseen(", the highest") : null,
  );
}
