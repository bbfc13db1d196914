"use strict";
// The page of the service. Every text is put in as text, never as HTML: names are anyone's words.

const POLICIES = {
  "exactly-one": "the only one", largest: "the largest", center: "the central one",
};
const IMAGE_TYPES = "image/jpeg,image/png,image/webp";
const NEAREST = 5;
const PAGE = 50;
const KEY = "sphereface-key";
const SVG = "http://www.w3.org/2000/svg";

const byId = (id) => document.getElementById(id);
let model = null;

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function drawn(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Requests

async function ask(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw new Error("The service does not answer. Is it still running?");
  }
  let body;
  try {
    body = await response.json();
  } catch {
    throw new Error(`The service answered ${response.status} without a reason.`);
  }
  if (response.status === 401) {
    sessionStorage.removeItem(KEY);
    showKeyForm(key ? "This key is not the service's." : "");
  }
  if (!response.ok) {
    const wait = response.headers.get("Retry-After");
    throw new Error(body.detail + (wait ? ` (in ${wait} s)` : ""));
  }
  return body;
}

function showKeyForm(problem) {
  byId("tool").hidden = true;
  byId("key-form").hidden = false;
  byId("key-problem").textContent = problem;
  byId("model").textContent = "";
  byId("key").focus();
}

// Images that are chosen, dropped, pasted or photographed

class Picker {
  constructor(place, onChange) {
    this.files = [];
    this.several = "multiple" in place.dataset;
    this.label = place.dataset.label;
    this.onChange = onChange;
    this.views = element("div", { class: "views" });
    this.box = element(
      "div", { class: "picker" },
      element("h3", {}, this.label),
      element("p", { class: "hint" }, this.several ? "Drop images here" : "Drop an image here"),
      this.views,
      element(
        "div", { class: "buttons" },
        this.button("Choose", {}),
        this.button("Photograph", { capture: "user" }),
      ),
    );
    if (this.several) this.box.classList.add("several");
    place.append(this.box);
    this.box.addEventListener("dragover", (event) => {
      event.preventDefault();
      this.box.classList.add("over");
    });
    this.box.addEventListener("dragleave", () => this.box.classList.remove("over"));
    this.box.addEventListener("drop", (event) => {
      event.preventDefault();
      this.box.classList.remove("over");
      this.take(event.dataTransfer.files);
    });
  }

  button(text, attributes) {
    const input = element("input", {
      type: "file", accept: IMAGE_TYPES, "aria-label": `${text}: ${this.label}`, ...attributes,
    });
    if (this.several && !("capture" in attributes)) input.multiple = true;
    input.addEventListener("change", () => {
      this.take(input.files);
      input.value = "";
    });
    return element("label", {}, text, input);
  }

  take(files) {
    const images = [...files].filter((file) => file.type.startsWith("image/"));
    if (!images.length) return;
    this.files = this.several ? [...this.files, ...images] : images.slice(0, 1);
    this.show();
    this.onChange();
  }

  clear() {
    this.files = [];
    this.show();
    this.onChange();
  }

  show() {
    for (const image of this.views.querySelectorAll("img")) URL.revokeObjectURL(image.src);
    this.views.replaceChildren(...this.files.map((file) => {
      const image = element("img", { alt: this.label, src: URL.createObjectURL(file) });
      return element("div", { class: "view" }, image);
    }));
    this.box.classList.toggle("filled", this.files.length > 0);
  }

  // Draw where the face of an image was found.
  mark(index, face) {
    const view = this.views.children[index];
    view?.querySelector("svg")?.remove();
    if (!view || !face.box) return;
    const [left, top, right, bottom] = face.box;
    const [height, width] = face.image_size;
    view.append(drawn(
      "svg",
      { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
      drawn("rect", { x: left, y: top, width: right - left, height: bottom - top, rx: width / 60 }),
    ));
  }
}

// A panel: its pickers, its button, what it shows

class Panel {
  constructor(id, isReady, run) {
    this.place = byId(`panel-${id}`);
    this.button = byId(id);
    this.result = this.place.querySelector(".result");
    this.problem = this.place.querySelector(".problem");
    this.policy = this.place.querySelector("[data-policy]");
    for (const [value, text] of Object.entries(POLICIES)) {
      this.policy.append(element("option", { value }, text));
    }
    this.isReady = () => isReady(this);
    this.pickers = {};
    for (const place of this.place.querySelectorAll("[data-picker]")) {
      this.pickers[place.dataset.picker] = new Picker(place, () => this.update(true));
    }
    this.button.addEventListener("click", () => this.run(run));
  }

  update(changed = false) {
    this.button.disabled = !this.isReady();
    if (changed) {
      this.problem.textContent = "";
      this.result.replaceChildren();
    }
  }

  async run(run) {
    this.button.disabled = true;
    this.problem.textContent = "";
    this.result.setAttribute("aria-busy", "true");
    try {
      const shown = await run(this);
      this.result.replaceChildren(...shown);
      this.result.scrollIntoView({ block: "nearest" });
    } catch (error) {
      this.result.replaceChildren();
      this.problem.textContent = error.message;
    }
    this.result.removeAttribute("aria-busy");
    this.update();
  }

  form(values = {}) {
    const form = new FormData();
    for (const [name, picker] of Object.entries(this.pickers)) {
      for (const file of picker.files) form.append(name, file, "image");
    }
    for (const [name, value] of Object.entries(values)) form.append(name, value);
    form.append("policy", this.policy.value);
    form.append("crops", "true");
    return form;
  }
}

// What is shown

function verdict(kind, title, text) {
  const opening = `${title}: `;  // the title says it already
  const rest = text.startsWith(opening) ? text.slice(opening.length) : text;
  return element(
    "div", { class: `verdict ${kind}` }, element("strong", {}, title),
    element("p", {}, rest.charAt(0).toUpperCase() + rest.slice(1)),
  );
}

function crops(faces, labels) {
  return element("div", { class: "crops" }, ...faces.map((face, index) => {
    const facts = [
      face.eye_distance === null ? "" : `${face.eye_distance.toFixed(0)} pixels between the eyes`,
      `sharpness ${face.sharpness.toFixed(3)}`,
      face.confidence === null ? "" : `detected with ${face.confidence.toFixed(2)}`,
    ].filter(Boolean);
    const caption = element("figcaption", {}, element("b", {}, labels[index]), element("br"));
    caption.append(facts.join(", "));
    for (const warning of face.warnings) {
      caption.append(element("br"), element("span", { class: "warning" }, `⚠ ${warning}`));
    }
    return element(
      "figure", {}, element("img", { src: face.crop, alt: `${labels[index]}, aligned` }), caption,
    );
  }));
}

function noteList(notes) {
  if (!notes.length) return [];
  return [element("aside", {}, element("ul", {}, ...notes.map((note) => element("li", {}, note))))];
}

// No more digits than are meant.
function asPercent(share) {
  if (share > 0.999) return "more than 99.9 %";
  if (share < 0.001) return "less than 0.1 %";
  return `${Number((100 * share).toPrecision(share > 0.99 ? 3 : 2))} %`;
}

// The share of equally likely pairs with a score that are of one person, over the score.
function curve(score, threshold) {
  const { slope, offset, data } = model.calibration;
  const [width, height, left, right, top, bottom] = [640, 320, 74, 20, 16, 60];
  const low = Math.min(-0.4, score), high = 1;
  const x = (value) => left + (width - left - right) * (value - low) / (high - low);
  const y = (share) => height - bottom - (height - top - bottom) * share;
  const share = (value) => 1 / (1 + Math.exp(-(slope * value + offset)));
  const text = (words, attributes) => drawn("text", attributes, words);
  const percent = asPercent(share(score));
  const label = `Calibration: of pairs with the score ${score.toFixed(3)}, if both are as likely `
    + `beforehand, ${percent} are of one person.`;
  const figure = drawn("svg", {
    class: "curve", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label,
  });
  for (const part of [0, 0.5, 1]) {
    figure.append(
      drawn("line", { class: "axis", x1: left, x2: width - right, y1: y(part), y2: y(part) }),
      text(`${100 * part} %`, { x: left - 6, y: y(part) + 4, "text-anchor": "end" }),
    );
  }
  for (let tick = Math.ceil(low * 5) / 5; tick <= high + 1e-9; tick += 0.2) {
    const name = tick.toFixed(1).replace("-0.0", "0.0");
    figure.append(text(name, { x: x(tick), y: height - bottom + 22, "text-anchor": "middle" }));
  }
  figure.append(text("score", {
    x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle",
  }));
  if (threshold !== null) {
    const fits = x(threshold) < width - 150;
    figure.append(
      drawn("line", { class: "threshold", x1: x(threshold), x2: x(threshold), y1: y(0), y2: y(1) }),
      text("threshold", {
        x: x(threshold) + (fits ? 6 : -6), y: y(0) - 8, "text-anchor": fits ? "start" : "end",
      }),
    );
  }
  const points = [];
  for (let step = 0; step <= 120; step++) {
    const value = low + (high - low) * step / 120;
    points.push(`${x(value).toFixed(1)},${y(share(value)).toFixed(1)}`);
  }
  const [anchor, labelX] = x(score) > width - 110 ? ["end", width - right]
    : x(score) < left + 110 ? ["start", left] : ["middle", x(score)];
  figure.append(
    drawn("polyline", { class: "line", points: points.join(" ") }),
    drawn("circle", { class: "here", cx: x(score), cy: y(share(score)), r: 7 }),
    text(percent, {
      class: "strong", x: labelX, y: y(share(score)) + (share(score) > 0.5 ? 32 : -16),
      "text-anchor": anchor,
    }),
  );
  return element(
    "figure", {}, figure,
    element("figcaption", {}, "Share of pairs with this score that are of one person, if both are "
      + `as likely beforehand; calibrated on ${data}.`),
  );
}

function tiles(values) {
  return element("dl", { class: "tiles" }, ...values.map(([name, value]) => element(
    "div", {}, element("dt", {}, name), element("dd", { class: "value" }, value),
  )));
}

// Compare

async function runCompare(panel) {
  const answer = await ask("v1/compare", { method: "POST", body: panel.form() });
  panel.pickers.first.mark(0, answer.faces[0]);
  panel.pickers.second.mark(0, answer.faces[1]);
  // The answer begins with the verdict, which may also be "Maybe one person".
  const title = answer.is_match === null ? `Score ${answer.score.toFixed(3)}`
    : answer.answer.split(":")[0];
  const kind = { "One person": "yes", "Two persons": "no" }[title] || "";
  const shown = [verdict(kind, title, answer.answer)];
  const values = [["score", answer.score.toFixed(3)]];
  if (answer.threshold !== null) values.push(["threshold", answer.threshold.toFixed(3)]);
  if (answer.fmr !== null) values.push(["false match rate", String(answer.fmr)]);
  if (answer.log_likelihood_ratio !== null) {
    values.push(["log-likelihood ratio", `${answer.log_likelihood_ratio.toFixed(1)} nats`]);
  }
  shown.push(tiles(values), crops(answer.faces, ["First face", "Second face"]));
  if (model.calibration) shown.push(curve(answer.score, answer.threshold));
  return [...shown, ...noteList(answer.notes)];
}

// Identify

async function runIdentify(panel) {
  const answer = await ask("v1/identify", { method: "POST", body: panel.form({ top: NEAREST }) });
  panel.pickers.image.mark(0, answer.face);
  const [kind, title] = answer.is_known === null ? ["", "The most similar identities"]
    : answer.is_known ? ["yes", answer.name] : ["no", "Unknown"];
  const items = answer.candidates.map((candidate) => element(
    "li", {},
    element(
      "div", { class: "who" }, element("b", {}, candidate.name),
      element("span", {}, candidate.score.toFixed(3)),
    ),
    element("meter", {
      min: 0, max: 1, value: Math.max(0, candidate.score),
      "aria-label": `Score of ${candidate.name}`,
    }),
    element("p", { class: "detail" }, candidate.answer ?? ""),
  ));
  const list = element("ol", { class: "candidates" }, ...items);
  return [
    verdict(kind, title, answer.answer), crops([answer.face], ["Face"]), list,
    ...noteList(answer.notes),
  ];
}

// Enroll, list, remove

let after = "";

async function runEnroll(panel) {
  const name = byId("name").value.trim();
  const answer = await ask("v1/identities", { method: "POST", body: panel.form({ name }) });
  const sent = answer.faces.length;
  const text = answer.num_added
    ? `${answer.num_added} of ${sent} ${sent === 1 ? "image" : "images"} added.`
    : "These images were enrolled before.";
  panel.pickers.images.clear();
  byId("name").value = "";
  await listIdentities();
  const labels = answer.faces.map((_, index) => `Face ${index + 1}`);
  return [verdict("yes", answer.name, text), crops(answer.faces, labels)];
}

async function listIdentities(more = false) {
  if (!more) after = "";
  const query = new URLSearchParams({ limit: PAGE, after });
  const answer = await ask(`v1/identities?${query}`);
  byId("count").textContent = answer.total === 1 ? "1 identity" : `${answer.total} identities`;
  const items = answer.identities.map((identity) => {
    const images = identity.num_templates === 1 ? "1 image" : `${identity.num_templates} images`;
    const button = element("button", { "aria-label": `Remove ${identity.name}` }, "Remove");
    const count = element("span", { class: "detail" }, images);
    button.addEventListener("click", () => removeIdentity(identity.name));
    return element("li", {}, element("span", {}, identity.name, count), button);
  });
  if (more) byId("identities").append(...items);
  else byId("identities").replaceChildren(...items);
  after = answer.next ?? "";
  byId("more").hidden = answer.next === null;
}

async function removeIdentity(name) {
  if (!confirm(`Remove ${name} and all of its templates?`)) return;
  const panel = panels.enroll;
  try {
    const answer = await ask(`v1/identities/${encodeURIComponent(name)}`, { method: "DELETE" });
    await listIdentities();
    panel.problem.textContent = answer.erased ? ""
      : `${name} is found no more, but another process keeps the bytes in the gallery for now.`;
  } catch (error) {
    panel.problem.textContent = error.message;
  }
}

// Tabs, by mouse and by arrow keys

function select(tab, focus = false) {
  for (const other of document.querySelectorAll('[role="tab"]')) {
    const chosen = other === tab;
    other.setAttribute("aria-selected", String(chosen));
    other.tabIndex = chosen ? 0 : -1;
    byId(other.getAttribute("aria-controls")).hidden = !chosen;
  }
  if (focus) tab.focus();
  if (tab.id === "tab-enroll") {
    listIdentities().catch((error) => { panels.enroll.problem.textContent = error.message; });
  }
}

function setUpTabs() {
  const tabs = [...document.querySelectorAll('[role="tab"]')];
  for (const tab of tabs) tab.addEventListener("click", () => select(tab));
  byId("tool").querySelector('[role="tablist"]').addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const shown = tabs.filter((tab) => !tab.hidden);
    if (!step) return;
    event.preventDefault();
    const index = shown.indexOf(document.activeElement);
    select(shown[(index + step + shown.length) % shown.length], true);
  });
}

const panels = {};

async function begin() {
  model = await ask("v1/model");
  const size = model.image_size.join(" x ");
  const kind = model.detects_faces ? "photographs" : `aligned faces of ${size}`;
  const calibrated = model.calibration ? `calibrated on ${model.calibration.data}`
    : "without calibration";
  byId("model").textContent = `${model.name}: takes ${kind}, ${calibrated}`;
  byId("key-form").hidden = true;
  byId("tool").hidden = false;
  for (const id of ["tab-identify", "tab-enroll"]) byId(id).hidden = !model.has_gallery;
  for (const policy of document.querySelectorAll("[data-policy]")) {
    policy.parentElement.hidden = !model.detects_faces;
  }
}

function start() {
  const has = (panel, name) => panel.pickers[name].files.length > 0;
  panels.compare = new Panel("compare", (p) => has(p, "first") && has(p, "second"), runCompare);
  panels.identify = new Panel("identify", (p) => has(p, "image"), runIdentify);
  const isNamed = () => byId("name").value.trim() !== "";
  panels.enroll = new Panel("enroll", (p) => has(p, "images") && isNamed(), runEnroll);
  byId("name").addEventListener("input", () => panels.enroll.update());
  byId("more").addEventListener("click", () => listIdentities(true));
  byId("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    sessionStorage.setItem(KEY, byId("key").value.trim());
    byId("key").value = "";
    begin().catch(() => {});
  });
  setUpTabs();
  begin().catch((error) => {
    if (byId("key-form").hidden) byId("model").textContent = error.message;
  });
}

start();
