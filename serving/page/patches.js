// Which patches are plugged in for the next request: a check box each.

import { find, make, say } from "./elements.js";
import { count, fraction } from "./numbers.js";

const MANY = 12;

/** The check boxes; `changed` is called with the set of chosen classes after each change. */
export class Chooser {
  constructor(changed) {
    this.chosen = new Set();
    this._patches = [];
    this._changed = changed;
    find("all").addEventListener("click", () => this._choose(this._patches));
    find("none").addEventListener("click", () => this._choose([]));
    find("filter").addEventListener("input", () => this._filter());
  }

  /** Show these patches; what was left out by the user stays left out. */
  show(described) {
    const leftOut = new Set(this._patches.filter((name) => !this.chosen.has(name)));
    this._patches = described.map((one) => one.patch);
    this.chosen = new Set(this._patches.filter((name) => !leftOut.has(name)));
    find("chooser").hidden = false;
    find("filter-row").hidden = described.length <= MANY;
    find("patch-list").replaceChildren(...described.map((one, index) => this._item(one, index)));
    this._filter();
    this._told();
  }

  _item(described, index) {
    const box = make("input", { type: "checkbox", id: `patch-${index}`, name: "patch" });
    box.checked = this.chosen.has(described.patch);
    box.addEventListener("change", () => {
      if (box.checked) this.chosen.add(described.patch);
      else this.chosen.delete(described.patch);
      this._told();
      this._changed(this.chosen);
    });
    const label = make("label", { for: box.id }, make("span", { class: "name" }, described.patch));
    const { validation } = described;
    if (validation) {
      label.append(
        make("span", { class: "hint" }, `F1 ${fraction(validation.weak.f1)} \u2192 ${fraction(validation.patched.f1)}`),
      );
    }
    return make("li", {}, box, label);
  }

  _choose(names) {
    this.chosen = new Set(names);
    [...find("patch-list").querySelectorAll("input")].forEach((box, index) => {
      box.checked = this.chosen.has(this._patches[index]);
    });
    this._told();
    this._changed(this.chosen);
  }

  _filter() {
    const wanted = find("filter-row").hidden ? "" : find("filter").value.trim().toLowerCase();
    [...find("patch-list").children].forEach((item, index) => {
      item.hidden = !this._patches[index].toLowerCase().includes(wanted);
    });
  }

  _told() {
    say(find("chosen-count"), `${count(this.chosen.size)} of ${count(this._patches.length)} plugged in`);
  }
}
