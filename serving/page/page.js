// The page: one image, one choice of patches, one answer; and the service looked after meanwhile.

import { showAnswer, showProblem } from "./answer.js";
import { showCounts } from "./counts.js";
import { find, say } from "./elements.js";
import { ImageSource } from "./image.js";
import { Chooser } from "./patches.js";
import { showPlugged } from "./plugged.js";
import { Refused, Unreachable, getModel, getStatus, patchQuery, predict } from "./service.js";

const LOOK_EVERY_MS = 2000;
const GONE = "The service does not answer. Trying again\u2026";
const FROM_CACHE =
  "The registry could not be reached when this version was loaded: it comes from the cache, and may be older than what its alias stands for.";

// Errors that pass by themselves: what was asked is asked again when there is a model.
const PASSING = new Set(["loading", "no_model", "load_failed", "busy", "stopping"]);

let model = null;
let hadModel = false;
let image = null;
let asking = null;
let isOwed = false;
let hasSamples = false;
let timer = null;

const chooser = new Chooser(() => ask());
const source = new ImageSource(
  (given) => {
    image = given;
    ask();
  },
  showProblem,
);

async function ask() {
  if (!image) return;
  asking?.abort();
  const own = new AbortController();
  asking = own;
  isOwed = false;
  find("answer").setAttribute("aria-busy", "true");
  try {
    const patches = model ? model.patches.map((one) => one.patch) : [];
    const answered = await predict(image, patchQuery(chooser.chosen, patches), own.signal);
    if (asking === own) showAnswer(answered, model?.class_names ?? []);
  } catch (error) {
    if (asking !== own || error.name === "AbortError") return;
    if (!(error instanceof Refused || error instanceof Unreachable)) throw error;
    isOwed = error instanceof Unreachable || PASSING.has(error.code);
    showProblem(isOwed ? `${error.message} The image is kept, and asked about as soon as that works.` : error.message);
  } finally {
    if (asking === own) find("answer").removeAttribute("aria-busy");
  }
}

/** See what the service is and does; the page shows the version that answers now. */
async function look() {
  try {
    const status = await getStatus();
    showCounts(status);
    if (!hasSamples) await source.showSamples();
    hasSamples = true;
    if (!isShown(status)) await changeModel();
    tell("ready", `serving ${model.model.uri}`, status.from_cache ? FROM_CACHE : "");
    if (isOwed) ask();
  } catch (error) {
    if (error instanceof Refused) {
      model = null;
      tell("waiting", "no model", error.message);
    } else if (error instanceof Unreachable) {
      tell("gone", "no answer", GONE);
    } else {
      throw error;
    }
  }
}

function isShown(status) {
  return model && status.model && status.digest === model.digest && status.model.uri === model.model.uri;
}

async function changeModel() {
  const found = await getModel();
  const isAnother = hadModel && image !== null;
  model = found;
  hadModel = true;
  showPlugged(found);
  chooser.show(found.patches);
  if (isAnother) isOwed = true;
}

/** How the service is: ready, waiting for a model, or gone; in short, and what to say of it. */
function tell(how, inShort, notice) {
  document.body.dataset.state = how;
  say(find("serving"), inShort);
  say(find("notice"), notice);
}

async function follow() {
  timer = null;
  try {
    if (document.visibilityState === "visible") await look();
  } finally {
    timer = setTimeout(follow, LOOK_EVERY_MS);
  }
}

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && timer !== null) {
    clearTimeout(timer);
    timer = null;
    follow();
  }
});

say(find("curl"), `curl -F image=@picture.png ${new URL("predict", location.href)}`);
follow();
