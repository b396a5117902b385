// Elements made of plain values. Text goes in as text: names from the registry are never HTML.

/** An element with attributes and children; strings among the children are text. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child != null && child !== ""));
  return element;
}

/** Words for screen readers alone. */
export function unseen(text) {
  return make("span", { class: "unseen" }, text);
}

/** The element with this id. */
export function find(id) {
  return document.getElementById(id);
}

/** Change an element's text, but only if it is another: live regions speak at each change. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
