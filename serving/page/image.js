// How an image comes to the page: chosen, dropped, pasted, or one of the samples.

import { find, make, say, unseen } from "./elements.js";
import { getSample, getSampleNames, sampleAddress } from "./service.js";

const SMALL_PIXELS = 96;

/**
 * Where images come from. `given` is called with the bytes of each; `failed` with a message where
 * there are none.
 */
export class ImageSource {
  constructor(given, failed) {
    this._given = given;
    this._failed = failed;
    this._address = null;
    const file = find("file");
    file.addEventListener("change", () => {
      if (file.files.length) this._take(file.files);
      file.value = ""; // the same file can be chosen again
    });
    addEventListener("dragover", (event) => this._over(event));
    addEventListener("dragleave", (event) => {
      if (!event.relatedTarget) document.body.classList.remove("dropping");
    });
    addEventListener("drop", (event) => this._dropped(event));
    addEventListener("paste", (event) => {
      if (event.clipboardData?.files.length) {
        event.preventDefault();
        this._take(event.clipboardData.files);
      }
    });
    const preview = find("preview");
    preview.addEventListener("load", () => {
      preview.classList.toggle("small", preview.naturalWidth <= SMALL_PIXELS);
      preview.hidden = false;
      find("no-preview").hidden = true;
    });
    preview.addEventListener("error", () => {
      preview.hidden = true;
      find("no-preview").hidden = false;
    });
  }

  /** Ask which samples there are, and show them. */
  async showSamples() {
    const names = await getSampleNames();
    find("samples").hidden = !names.length;
    find("sample-list").replaceChildren(...names.map((name) => this._sample(name)));
  }

  _sample(name) {
    const picture = make("img", { src: sampleAddress(name), alt: "", loading: "lazy" });
    picture.addEventListener("load", () => {
      picture.classList.toggle("small", picture.naturalWidth <= SMALL_PIXELS);
    });
    const button = make("button", { type: "button", "aria-pressed": "false", title: name }, picture, unseen(name));
    button.addEventListener("click", async () => {
      try {
        this._show(await getSample(name), name, button);
      } catch (error) {
        this._failed(error.message);
      }
    });
    return make("li", {}, button);
  }

  _over(event) {
    const kinds = [...(event.dataTransfer?.types ?? [])];
    if (kinds.includes("Files") || kinds.includes("text/uri-list")) {
      event.preventDefault();
      document.body.classList.add("dropping");
    }
  }

  _dropped(event) {
    document.body.classList.remove("dropping");
    if (!event.dataTransfer) return;
    const { files } = event.dataTransfer;
    if (files.length) {
      event.preventDefault();
      this._take(files);
    } else if ([...event.dataTransfer.types].includes("text/uri-list")) {
      event.preventDefault();
      this._failed("That was the address of an image. Nothing is fetched by address: save the image and choose the file.");
    }
  }

  _take(files) {
    const [file] = files;
    this._show(file, files.length > 1 ? `${file.name}, the first of ${files.length} files` : file.name, null);
  }

  _show(image, name, button) {
    for (const other of find("sample-list").querySelectorAll("button")) {
      other.setAttribute("aria-pressed", String(other === button));
    }
    if (this._address) URL.revokeObjectURL(this._address);
    this._address = URL.createObjectURL(image);
    const preview = find("preview");
    preview.alt = name;
    preview.src = this._address;
    say(find("no-preview"), "This browser can't show it.");
    say(find("image-name"), name);
    this._given(image);
  }
}
