// Why: what the agent thinks, along the running or the replayed episode.

import { drawPlot, palette, prepare, pretty, runsOf, xAt } from "./plot.js";

const EVERY = 90; // ms between two drawings: the eye does not need more
const PLOTS = [
  {
    id: "distance",
    title: "Distance from the person",
    needs: ["distance"],
    lines: [
      { key: "distance", label: "distance", color: "policy" },
      { key: "bound", label: "bound", color: "bound", dash: [5, 4] },
    ],
    log: true,
    over: ["distance", "bound"],
    text:
      "How far the policy is from what you would do, in your own spread. " +
      "Red: further than the bound allows.",
  },
  {
    id: "lambda",
    title: "Pull towards the person (λ)",
    needs: ["lambda"],
    prefix: "lambda",
    zero: true,
    text: "How much staying near you counts against reward here. Alone it misleads: see the next one.",
  },
  {
    id: "imitation",
    title: "Imitation weight",
    needs: ["imitation"],
    lines: [{ key: "imitation", label: "λ / (1 + λ) / σ²", color: "human" }],
    zero: true,
    text: "How strongly you are imitated per unit of action: high where you are sure and λ is high.",
  },
  {
    id: "q",
    title: "Value (Q)",
    needs: ["q_policy"],
    lines: [
      { key: "q_policy", label: "policy", color: "policy" },
      { key: "q_human", label: "person", color: "human" },
    ],
    text: "What the critic expects from the policy's action and from yours. Higher is better.",
  },
];
const PERSON =
  "What the agent believes that you would do here: its mean and spread in each direction. " +
  "The tick is the policy's own action.";

const LABELS = { lambda: "λ" };

/** The names of a plot's lines: fixed ones, or all diagnostics with its prefix. */
function linesOf(plot, why) {
  if (!plot.prefix) return plot.lines.filter(({ key }) => key in why);
  const colors = ["policy", "extra", "human", "bound"];
  const keys = Object.keys(why).filter((key) => key.startsWith(plot.prefix));
  return keys.map((key, index) => ({
    key,
    label: LABELS[key] || key,
    color: colors[index % colors.length],
  }));
}

export class Panels {
  /** @param hooks {state, seek(step)}; seek is called by a click on a plot of a replay */
  constructor(root, hooks) {
    this.root = root;
    this.hooks = hooks;
    this.cursor = null; // x that the pointer is over
    this.drawn = 0;
    this.timer = 0;
    this.made = new Map();
    this.empty = root.querySelector(".empty-note");
  }

  /** Draw soon; several calls within a moment are one. */
  refresh() {
    if (this.timer) return;
    const wait = Math.max(0, this.drawn + EVERY - performance.now());
    this.timer = setTimeout(() => {
      this.timer = 0;
      this.drawn = performance.now();
      requestAnimationFrame(() => this.draw());
    }, wait);
  }

  /** Steps, the step that is looked at, and how far the axis goes. */
  scope() {
    const { state } = this.hooks;
    const steps = state.replay ? state.replay.steps : state.steps;
    const limit = state.replay ? steps.length : (state.episode && state.episode.limit) || 0;
    const longest = Math.max(limit, steps.length, 20);
    return { steps, span: [0, state.replay ? Math.max(1, steps.length - 1) : longest] };
  }

  draw() {
    if (this.root.offsetParent === null || document.hidden) return;
    const { state } = this.hooks;
    const { steps, span } = this.scope();
    const why = steps.length ? steps.at(-1).why || {} : {};
    const shade = runsOf(steps.map((step) => step.driver === "human")).map(([a, b]) => [
      steps[a].step,
      steps[b - 1].step + 1,
    ]);
    const cursor = state.replay ? state.replay.cursor : this.cursor;
    const at = this.stepAt(steps, cursor);
    let any = false;
    for (const plot of PLOTS) {
      const shown = plot.needs.every((key) => key in why);
      any = any || shown;
      const part = shown || this.made.has(plot.id) ? this.part(plot.id, plot.title, plot.text) : null;
      if (part) part.root.hidden = !shown && steps.length > 0;
      if (shown) this.drawLines(part, plot, { why, steps, span, shade, cursor, at });
    }
    const person = Array.isArray(why.human_mean);
    any = any || person;
    if (person) this.drawPerson(this.part("person", "The person as learned", PERSON), at);
    else if (this.made.has("person") && steps.length) this.made.get("person").root.hidden = true;
    this.empty.hidden = any || this.made.size > 0;
    this.empty.textContent = this.nothing(steps);
  }

  nothing(steps) {
    const { hello, episode, replay } = this.hooks.state;
    if (steps.length === 0) return "What the agent thinks appears here, step by step.";
    const { kind } = replay || episode || {};
    if (kind === "demonstration") return "You show, the agent watches: it thinks nothing yet.";
    return `${hello ? hello.agent : "This agent"} says nothing about its reasons here.`;
  }

  /** The step at `cursor`, or the newest. */
  stepAt(steps, cursor) {
    if (cursor === null || !steps.length) return steps.at(-1) || null;
    let best = steps[0];
    for (const step of steps) {
      if (Math.abs(step.step - cursor) < Math.abs(best.step - cursor)) best = step;
    }
    return best;
  }

  /** A plot's elements, made once. */
  part(id, title, text) {
    if (this.made.has(id)) return this.made.get(id);
    const root = document.createElement("article");
    root.className = "plot";
    root.dataset.plot = id;
    const head = document.createElement("header");
    const name = document.createElement("h3");
    name.textContent = title;
    const legend = document.createElement("p");
    legend.className = "legend";
    head.append(name, legend);
    const canvas = document.createElement("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", title);
    const caption = document.createElement("p");
    caption.className = "caption";
    caption.textContent = text;
    root.append(head, canvas, caption);
    this.root.append(root);
    const part = { root, legend, canvas, entries: new Map() };
    this.made.set(id, part);
    if (id !== "person") this.point(canvas);
    this.empty.hidden = true;
    return part;
  }

  /** A pointer over one plot shows the same step in all. */
  point(canvas) {
    canvas.addEventListener("pointermove", (event) => {
      this.cursor = xAt(canvas, event, this.scope().span);
      if (this.hooks.state.replay && event.buttons && this.cursor !== null) {
        this.hooks.seek(this.cursor);
      }
      this.refresh();
    });
    canvas.addEventListener("pointerdown", () => {
      if (this.hooks.state.replay && this.cursor !== null) this.hooks.seek(this.cursor);
    });
    canvas.addEventListener("pointerleave", () => {
      this.cursor = null;
      this.refresh();
    });
  }

  /** One entry of a legend: name and value. */
  say(part, label, color, value) {
    let entry = part.entries.get(label);
    if (!entry) {
      entry = document.createElement("span");
      entry.className = `key key-${color}`;
      const number = document.createElement("b");
      entry.append(document.createTextNode(`${label} `), number);
      part.legend.append(entry);
      part.entries.set(label, entry);
    }
    entry.lastChild.textContent = value;
  }

  drawLines(part, plot, { why, steps, span, shade, cursor, at }) {
    const colours = palette();
    const values = (key) => steps.map((step) => (step.why ? step.why[key] : undefined));
    const lines = linesOf(plot, why);
    for (const line of lines) {
      this.say(part, line.label, line.color, pretty(at && at.why ? at.why[line.key] : null));
    }
    const over = plot.over && plot.over.every((key) => key in why);
    drawPlot(part.canvas, {
      x: steps.map((step) => step.step),
      span,
      series: lines.map((line) => ({
        values: values(line.key),
        color: colours[line.color],
        dash: line.dash,
      })),
      shade,
      over: over
        ? { upper: values(plot.over[0]), lower: values(plot.over[1]), color: colours.over }
        : null,
      ...{ log: plot.log, zero: plot.zero, cursor },
    });
  }

  /** Mean and spread per axis as bars from -1 to 1, the policy's action as a tick. */
  drawPerson(part, step) {
    const why = step && step.why;
    if (!why || !Array.isArray(why.human_mean)) return;
    const { hello } = this.hooks.state;
    const axes = hello.actions
      .map((action, index) => ({ ...action, index }))
      .filter((action) => action.kind !== "gripper")
      .slice(0, why.human_mean.length);
    const row = 26;
    part.canvas.style.height = `${axes.length * row + 20}px`;
    const [context, width, height] = prepare(part.canvas);
    const colours = palette();
    const [left, right] = [52, width - 14];
    const middle = (left + right) / 2;
    const px = (v) => middle + (Math.max(-1.15, Math.min(1.15, v)) * (right - left)) / 2.3;
    const policy = step.policy || (step.driver === "policy" ? step.action : null);
    context.textBaseline = "middle";
    context.fillStyle = context.strokeStyle = colours.line;
    for (const v of [-1, 0, 1]) {
      context.fillRect(Math.round(px(v)), 2, 1, axes.length * row);
      context.fillStyle = colours.faint;
      context.textAlign = "center";
      context.fillText(v > 0 ? `+${v}` : String(v).replace("-", "−"), px(v), height - 8);
      context.fillStyle = colours.line;
    }
    axes.forEach(({ name, index }, place) => {
      const y = place * row + row / 2 + 2;
      const [mean, std] = [why.human_mean[place], why.human_std[place]];
      context.fillStyle = colours.ink;
      context.textAlign = "left";
      context.fillText(name, 4, y);
      context.globalAlpha = 0.3;
      context.fillStyle = colours.human;
      context.fillRect(px(mean - std), y - 7, Math.max(2, px(mean + std) - px(mean - std)), 14);
      context.globalAlpha = 1;
      context.beginPath();
      context.arc(px(mean), y, 4, 0, 7);
      context.fill();
      if (policy) {
        context.fillStyle = colours.policy;
        context.fillRect(px(policy[index]) - 1.5, y - 10, 3, 20);
      }
    });
    this.say(part, "person", "human", "");
    this.say(part, "policy", "policy", "");
  }
}
