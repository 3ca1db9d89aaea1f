// The bar of all robots of this console, and which of them the page shows and drives.

import { ADVICE, put } from "./banner.js";

const PHASES = {
  waiting: "waits for you",
  human: "driven by hand",
  demonstration: "is being shown",
  autonomous: "the policy drives",
  paused: "paused",
  learning: "the policy learns",
  standby: "stands by",
  evaluation: "evaluation",
  ended: "has ended",
  away: "is away",
};
const CALLS = new Set(["take_over", "start_over"]); // of the coach's advice
const NEEDS = new Set(["waiting", "paused"]); // phases in which a robot stands still for a person

/** What a robot does, in a few words. */
export function doing(robot, shown) {
  if (!robot.ready) return "starts";
  if (robot.phase === "human") return shown ? "driven here" : `${robot.holder || "a page"} drives`;
  return PHASES[robot.phase] || robot.phase;
}

/** Why somebody should go there, or "". */
export function need(robot) {
  if (!robot.ready) return "";
  if (NEEDS.has(robot.phase)) return "needs you";
  return CALLS.has(robot.coach) ? ADVICE[robot.coach] : "";
}

export class Robots {
  /** @param hooks {state, show(name)} */
  constructor(root, hooks) {
    this.root = root;
    this.hooks = hooks;
    this.buttons = new Map();
  }

  /** The robot of the key with this number; whether there are several. */
  key(index) {
    const { robots } = this.hooks.state;
    if (robots.length < 2) return false;
    if (index < robots.length) this.hooks.show(robots[index].name);
    return true;
  }

  render() {
    const { robots, robot: shown, control } = this.hooks.state;
    this.root.hidden = robots.length < 2;
    if (this.root.hidden) return;
    const names = robots.map(({ name }) => name);
    if (names.join() !== [...this.buttons.keys()].join()) this.arrange(names);
    for (const robot of robots) {
      const parts = this.buttons.get(robot.name);
      const here = robot.name === shown;
      const what = here ? "" : need(robot); // of the one that is shown the page says it larger
      if (here) parts.button.setAttribute("aria-current", "true");
      else parts.button.removeAttribute("aria-current");
      parts.button.dataset.phase = robot.ready ? robot.phase : "connecting";
      put(parts.doing, doing(robot, here && control.you));
      const known = robot.success !== null;
      put(parts.success, known ? `${Math.round(100 * robot.success)} %` : "");
      parts.success.title = known ? "Success alone, of its last 20 episodes" : "";
      put(parts.need, what);
      parts.need.hidden = what === "";
      parts.button.classList.toggle("calls", what !== "");
    }
  }

  arrange(names) {
    this.buttons.clear();
    this.root.replaceChildren(
      ...names.map((name, index) => {
        const button = Object.assign(document.createElement("button"), { type: "button" });
        button.dataset.robot = name;
        const part = (tag, text, kind) => {
          const element = Object.assign(document.createElement(tag), { textContent: text });
          if (kind) element.className = kind;
          button.append(element);
          return element;
        };
        if (index < 9) part("kbd", String(index + 1));
        part("i", "", "dot").setAttribute("aria-hidden", "true");
        part("strong", name);
        this.buttons.set(name, {
          button,
          doing: part("span", "", "doing"),
          success: part("span", "", "success"),
          need: part("span", "", "need"),
        });
        button.addEventListener("click", () => this.hooks.show(name));
        return button;
      }),
    );
  }
}
