// How numbers are written.

/** A count with its thousands apart. */
export function count(value) {
  return value.toLocaleString("en");
}

/** A large count in short: 1.25 M. */
export function short(value) {
  return new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 }).format(value);
}

/** A score, an accuracy or the like. */
export function fraction(value) {
  const size = Math.abs(value);
  const shown = size < 100 ? size.toFixed(3) : size.toPrecision(4);
  return value < 0 && Number(shown) !== 0 ? `\u2212${shown}` : shown;
}

/** A difference, with its sign. */
export function gain(value) {
  const shown = fraction(value);
  return shown.startsWith("\u2212") ? shown : `+${shown}`;
}

/** A share in [0, 1] as percent. */
export function percent(share) {
  return `${(share * 100).toFixed(0)} %`;
}

/** A time in milliseconds. */
export function milliseconds(value) {
  return `${value < 100 ? value.toFixed(1) : value.toFixed(0)} ms`;
}

/** How long something runs, in its two largest units. */
export function duration(seconds) {
  const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  let left = Math.floor(seconds);
  const parts = [];
  for (const [name, size] of units) {
    const whole = Math.floor(left / size);
    left -= whole * size;
    if (whole || parts.length) parts.push(`${whole} ${name}`);
  }
  return parts.slice(0, 2).join(" ") || "0 s";
}
