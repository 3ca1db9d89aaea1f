// Progress of the run: three numbers and three curves.

import { drawPlot, palette } from "./plot.js";

/** Seconds as m:ss or h:mm:ss. */
export function clock(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const whole = Math.floor(seconds);
  const two = (n) => String(n).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

const percent = (share) => (Number.isFinite(share) ? `${Math.round(share * 100)} %` : "–");

export class Curves {
  constructor(root, state) {
    this.root = root;
    this.state = state;
    this.timer = 0;
    this.canvases = Object.fromEntries(
      [...root.querySelectorAll("canvas[data-curve]")].map((c) => [c.dataset.curve, c]),
    );
    this.numbers = Object.fromEntries(
      [...document.querySelectorAll("[data-number]")].map((e) => [e.dataset.number, e]),
    );
  }

  refresh() {
    if (this.timer) return;
    this.timer = requestAnimationFrame(() => {
      this.timer = 0;
      this.draw();
    });
  }

  draw() {
    const points = this.state.curves;
    const last = (key) => {
      const point = points.findLast((p) => Number.isFinite(p[key]));
      return point ? point[key] : NaN;
    };
    this.numbers.success.textContent = percent(last("success"));
    this.numbers.interventions.textContent = percent(last("interventions"));
    this.numbers.seconds.textContent = clock(last("human_seconds"));
    const evaluated = last("evaluation");
    this.numbers.evaluation.textContent = percent(evaluated);
    if (this.root.offsetParent === null || document.hidden) return;
    const colours = palette();
    const x = points.map((point) => point.env_step);
    const budget = this.state.hello ? this.state.hello.steps : 0;
    const span = [0, Math.max(budget || 0, x.at(-1) || 0, 100)];
    const values = (key) => points.map((point) => point[key]);
    drawPlot(this.canvases.success, {
      ...{ x, span, range: [0, 1], percent: true },
      series: [
        { values: values("success"), color: colours.policy, width: 2 },
        { values: values("evaluation"), color: colours.good, dots: true },
      ],
    });
    drawPlot(this.canvases.interventions, {
      ...{ x, span, range: [0, 1], percent: true },
      series: [{ values: values("interventions"), color: colours.human, width: 2 }],
    });
    drawPlot(this.canvases.seconds, {
      ...{ x, span, zero: true },
      series: [{ values: values("human_seconds"), color: colours.human, width: 2 }],
    });
  }
}
