// The bar of all robots of the run: which of them the page shows and drives, and what is heard of
// those on other machines, which have pages of their own.

import { ADVICE, put } from "./banner.js";
import { ofThisPage } from "./state.js";

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

/** So many seconds, as people say it. */
function time(seconds) {
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h`;
}

/** What a robot does, in a few words. */
export function doing(robot, shown) {
  if (robot.silent) return `not heard of for ${time(robot.silent)}`;
  if (!robot.ready) return "starts";
  if (robot.phase === "human") return shown ? "driven here" : `${robot.holder || "a page"} drives`;
  return PHASES[robot.phase] || robot.phase;
}

/** Why somebody should go there, or "". */
export function need(robot) {
  if (!robot.ready || robot.silent) return "";
  if (NEEDS.has(robot.phase)) return "needs you";
  return CALLS.has(robot.coach) ? ADVICE[robot.coach] : "";
}

/** The step from this page to a robot's own. */
function leads(robot) {
  const where = `${robot.name} is on ${robot.host}, and its page wants its own token`;
  if (robot.reachable) return `${where}: ${robot.address}`;
  const port = new URL(robot.address).port;
  return `${where}. Forward its port first: ssh -L ${port}:127.0.0.1:${port} ${robot.host}`;
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
    const robots = ofThisPage(this.hooks.state);
    if (robots.length < 2) return false;
    if (index < robots.length) this.hooks.show(robots[index].name);
    return true;
  }

  render() {
    const { robots, robot: shown, control } = this.hooks.state;
    this.root.hidden = robots.length < 2;
    if (this.root.hidden) return;
    const kinds = robots.map(({ name, host, address, reachable }) =>
      [name, host, address, reachable].join(),
    );
    if (kinds.join(";") !== this.kinds) this.arrange(robots);
    this.kinds = kinds.join(";");
    for (const robot of robots) {
      const parts = this.buttons.get(robot.name);
      const here = robot.name === shown;
      const what = here ? "" : need(robot); // of the one that is shown the page says it larger
      if (here) parts.button.setAttribute("aria-current", "true");
      else parts.button.removeAttribute("aria-current");
      const known = robot.success !== null;
      parts.button.dataset.phase = robot.silent ? "away" : robot.ready ? robot.phase : "connecting";
      put(parts.doing, doing(robot, here && control.you));
      put(parts.success, known ? `${Math.round(100 * robot.success)} %` : "");
      parts.success.title = known ? "Success alone, of its last 20 episodes" : "";
      put(parts.need, what);
      parts.need.hidden = what === "";
      parts.button.classList.toggle("calls", what !== "");
    }
  }

  arrange(robots) {
    this.buttons.clear();
    const several = ofThisPage(this.hooks.state).length > 1;
    this.root.replaceChildren(
      ...robots.map((robot, index) => {
        const { name, host } = robot;
        const button = host ? this.link(robot) : document.createElement("button");
        if (!host) button.type = "button";
        button.dataset.robot = name;
        const part = (tag, text, kind) => {
          const element = Object.assign(document.createElement(tag), { textContent: text });
          if (kind) element.className = kind;
          button.append(element);
          return element;
        };
        if (several && !host && index < 9) part("kbd", String(index + 1));
        part("i", "", "dot").setAttribute("aria-hidden", "true");
        const title = part("strong", name);
        if (host) title.append(Object.assign(document.createElement("small"), {
          textContent: ` on ${host}`,
        }));
        this.buttons.set(name, {
          button,
          doing: part("span", "", "doing"),
          success: part("span", "", "success"),
          need: part("span", "", "need"),
        });
        if (!host) button.addEventListener("click", () => this.hooks.show(name));
        return button;
      }),
    );
  }

  /** What stands for a robot on another machine; one that cannot be reached leads nowhere. */
  link(robot) {
    const link = document.createElement("a");
    link.title = leads(robot);
    if (robot.reachable) {
      Object.assign(link, { href: robot.address, target: "_blank", rel: "noopener noreferrer" });
    }
    return link;
  }
}
