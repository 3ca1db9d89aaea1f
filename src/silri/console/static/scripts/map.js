// The map: where the run has been, coloured by how strongly the person is imitated there.

import { palette, prepare, pretty } from "./plot.js";

// From dark to bright and readable by the colour-blind: (share, red, green, blue).
const RAMP = [
  [0, 46, 42, 120],
  [0.25, 58, 104, 160],
  [0.5, 54, 152, 138],
  [0.75, 144, 192, 74],
  [1, 250, 216, 60],
];

/** Colour of a share in [0, 1]. */
export function rampColour(share) {
  const s = Math.max(0, Math.min(1, share));
  const after = RAMP.findIndex(([at]) => at >= s);
  const [b, a] = [RAMP[after], RAMP[Math.max(0, after - 1)]];
  const part = b[0] === a[0] ? 0 : (s - a[0]) / (b[0] - a[0]);
  const mix = [1, 2, 3].map((k) => Math.round(a[k] + part * (b[k] - a[k])));
  return `rgb(${mix.join(" ")})`;
}

export class Map2D {
  /** @param hooks {fetch(path) -> Response | null} */
  constructor(root, hooks) {
    this.root = root;
    this.hooks = hooks;
    this.canvas = root.querySelector("canvas");
    this.note = root.querySelector(".empty-note");
    this.scale = root.querySelector("[data-part=scale]");
    this.only = root.querySelector("input[type=checkbox]");
    this.only.addEventListener("change", () => this.draw());
    root.querySelector("button").addEventListener("click", () => this.load());
    this.data = null;
  }

  /** Read it when it is first looked at. */
  shown() {
    if (this.data === null) this.load();
    else this.draw();
  }

  /** Another robot is shown. */
  clear() {
    this.data = null;
  }

  async load() {
    this.note.textContent = "Reading the run …";
    this.note.hidden = false;
    const answer = await this.hooks.fetch("api/map");
    this.note.textContent = "No states are stored yet.";
    if (!answer) return;
    this.data = await answer.json();
    this.draw();
  }

  draw() {
    if (this.data === null || this.root.offsetParent === null) return;
    const { points, axes } = this.data;
    const shown = this.only.checked ? points.filter(([, , , human]) => human) : points;
    this.note.hidden = shown.length > 0;
    const [context, width, height] = prepare(this.canvas);
    this.scale.textContent = "";
    if (!shown.length) return;
    const colours = palette();
    const range = (values) => values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [
      ...[Infinity, -Infinity],
    ]);
    const [x0, x1] = range(shown.map(([x]) => x));
    const [y0, y1] = range(shown.map(([, y]) => y));
    // Both axes in the same unit, so that distances look as they are.
    const [w, h] = [width - 56, height - 44];
    const unit = Math.min(w / Math.max(1e-6, x1 - x0), h / Math.max(1e-6, y1 - y0));
    const px = (x) => 40 + w / 2 + (x - (x0 + x1) / 2) * unit;
    const py = (y) => 10 + h / 2 - (y - (y0 + y1) / 2) * unit;
    const weights = shown.map(([, , weight]) => weight).filter(Number.isFinite);
    weights.sort((a, b) => a - b);
    const [low, high] = [0.05, 0.95].map((q) => weights[Math.floor(q * (weights.length - 1))]);
    const share = (v) => (high > low ? (v - low) / (high - low) : 0.5);
    const order = [...shown].sort((a, b) => (a[2] || 0) - (b[2] || 0));
    const size = shown.length > 4000 ? 1.6 : shown.length > 800 ? 2.4 : 3.4;
    for (const [x, y, weight, human] of order) {
      context.fillStyle = Number.isFinite(weight) ? rampColour(share(weight)) : colours.faint;
      context.beginPath();
      if (human) context.rect(px(x) - size, py(y) - size, 2 * size, 2 * size);
      else context.arc(px(x), py(y), size, 0, 7);
      context.fill();
    }
    context.fillStyle = colours.faint;
    context.textAlign = "center";
    context.fillText(axes[0], 40 + w / 2, height - 4);
    context.fillText(pretty(x0), px(x0), height - 18);
    context.fillText(pretty(x1), px(x1), height - 18);
    context.textAlign = "right";
    context.fillText(pretty(y1), 36, py(y1) + 4);
    context.fillText(pretty(y0), 36, py(y0) + 4);
    context.save();
    context.translate(10, 10 + h / 2);
    context.rotate(-Math.PI / 2);
    context.textAlign = "center";
    context.fillText(axes[1], 0, 0);
    context.restore();
    if (weights.length) this.scale.textContent = `${pretty(low)} to ${pretty(high)}`;
  }
}
