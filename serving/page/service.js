// What the service is asked, and what it says when it can't answer.

const PATIENCE_MS = 5000;

/** The service answered with an error; the message is its own. */
export class Refused extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

/** There was no answer at all. */
export class Unreachable extends Error {}

export function getModel() {
  return getJson("model");
}

export function getStatus() {
  return getJson("status");
}

export function getSampleNames() {
  return getJson("samples");
}

/** A sample's address, whatever its name holds. */
export function sampleAddress(name) {
  return `samples/${encodeURIComponent(name)}`;
}

/** A sample's bytes. */
export async function getSample(name) {
  return (await answer(sampleAddress(name), { signal: AbortSignal.timeout(PATIENCE_MS) })).blob();
}

/**
 * A prediction for one image.
 *
 * query is as patchQuery gives it. Gives the service's answer, and how long it took: in the
 * service (null where it doesn't say), and as this browser sees it.
 */
export async function predict(image, query, signal) {
  const parameters = new URLSearchParams([["explain", "1"], ...query]);
  const began = performance.now();
  const response = await answer(`predict?${parameters}`, { method: "POST", body: image, signal });
  const told = await parsed(response);
  const browserMs = performance.now() - began;
  const timing = /total;dur=([0-9.]+)/.exec(response.headers.get("Server-Timing") ?? "");
  return { told, browserMs, serviceMs: timing ? Number(timing[1]) : null };
}

/** Parameters that name the chosen patches, none of them if all are chosen. */
export function patchQuery(chosen, patches) {
  const names = patches.filter((name) => chosen.has(name));
  if (names.length === patches.length) return [];
  if (!names.length) return [["patches", "none"]];
  // A name may hold a comma, which otherwise stands between names.
  if (patches.some((name) => name.includes(","))) return names.map((name) => ["patches", name]);
  return [["patches", names.join(",")]];
}

async function getJson(path) {
  return parsed(await answer(path, { signal: AbortSignal.timeout(PATIENCE_MS), cache: "no-store" }));
}

async function answer(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (options.signal?.aborted && error.name === "AbortError") throw error;
    throw new Unreachable("The service does not answer.");
  }
  if (response.ok) return response;
  let told;
  try {
    told = (await response.json()).error;
  } catch {
    told = null;
  }
  throw new Refused(
    told?.code ?? "unknown",
    told?.message ?? `The service answered with status ${response.status} and no reason.`,
  );
}

async function parsed(response) {
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Unreachable("The service's answer broke off.");
  }
}
