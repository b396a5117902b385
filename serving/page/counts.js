// What the process has done since it started, in figures.

import { find, make, say } from "./elements.js";
import { count, duration } from "./numbers.js";

const MOST_PATCHES = 4;

/** Show a status as `GET /status` gives it. */
export function showCounts(status) {
  find("counts").hidden = false;
  const { ok, refused, reason } = outcomes(status.requests);
  const changed = Object.entries(status.changed_answers).sort((a, b) => b[1] - a[1]);
  const failed = (status.reloads.failed ?? 0) + (status.reloads.unreachable ?? 0);
  const loaded = (status.reloads.swapped ?? 0) + (status.reloads.from_cache ?? 0);
  const shown = [
    ["requests answered", count(ok), ""],
    ["requests refused", count(refused), refused ? `most: ${reason}` : ""],
    ["images", count(status.images), status.images_waiting ? `${count(status.images_waiting)} waiting now` : ""],
    ["changes by patches", count(sum(changed)), byPatch(changed)],
    ["versions loaded", count(loaded), failed ? `${count(failed)} looks failed` : ""],
    ["running for", duration(status.seconds_since_start), ""],
  ];
  const list = find("count-list");
  if (!list.children.length) {
    list.append(...shown.map(([name]) => make("div", {}, make("dt", {}, name), make("dd"), make("dd", { class: "hint" }))));
  }
  shown.forEach(([, value, note], index) => {
    const [, figure, beside] = list.children[index].children;
    say(figure, value);
    say(beside, note);
  });
}

/** How many requests were answered, how many not, and the reason that most of these have. */
function outcomes(requests) {
  const all = new Map();
  for (const byOutcome of Object.values(requests)) {
    for (const [outcome, times] of Object.entries(byOutcome)) {
      all.set(outcome, (all.get(outcome) ?? 0) + times);
    }
  }
  const ok = all.get("ok") ?? 0;
  all.delete("ok");
  const others = [...all].sort((a, b) => b[1] - a[1]);
  return { ok, refused: sum(others), reason: others[0]?.[0] };
}

function byPatch(changed) {
  const told = changed.slice(0, MOST_PATCHES).map(([patch, times]) => `patch ${patch}: ${count(times)}`);
  return told.join(", ") + (changed.length > MOST_PATCHES ? ", \u2026" : "");
}

function sum(counted) {
  return counted.reduce((total, [, times]) => total + times, 0);
}
