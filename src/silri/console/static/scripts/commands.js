// Success, failure and the rest: when each makes sense, its key, and what is sent.

import { drivable } from "./state.js";

// code of the key -> command; a key that repeats is ignored
export const COMMAND_KEYS = {
  Enter: "success",
  NumpadEnter: "success",
  Backspace: "failure",
  Delete: "discard",
  Home: "reset",
  KeyP: "pause",
};

const RUNNING = new Set(["demonstration", "autonomous", "human", "paused"]);

/** Why `command` makes no sense now, or "". */
export function whyNot(state, command) {
  if (state.link !== "open") return "There is no connection.";
  if (!drivable(state)) return "This run takes no commands from the page.";
  if (state.replay) return "You are looking at a stored episode: go back to live first.";
  const { holder, you, phase } = state.control;
  if (holder && !you) return `${holder} has control.`;
  if (phase === "ended") return "The run has ended.";
  if (phase === "away") return "The robot's control loop is away.";
  if (command === "stop") return "";
  if (command === "pause") return phase === "paused" ? "The robot is paused already." : "";
  if (command === "resume") return phase === "paused" ? "" : "The robot is not paused.";
  if (phase === "evaluation") return "An evaluation decides for itself.";
  if (phase === "learning" || phase === "standby") return "No episode is running.";
  if (!state.episode || state.steps.length === 0) return "The episode has not begun.";
  if (!RUNNING.has(phase) && phase !== "waiting") return "No episode is running.";
  return "";
}

/** The buttons, and the same commands by key. */
export class Commands {
  /**
   * @param root element with buttons that have data-command
   * @param confirm dialog that asks before the run is stopped
   * @param hooks {state, send, say, release}
   */
  constructor(root, confirm, hooks) {
    this.state = hooks.state;
    this.hooks = hooks;
    this.confirm = confirm;
    this.buttons = [...root.querySelectorAll("button[data-command]")];
    for (const button of this.buttons) {
      button.addEventListener("click", () => this.give(button.dataset.command));
    }
    confirm.addEventListener("close", () => {
      if (confirm.returnValue === "stop") this.send("stop");
      confirm.returnValue = "";
    });
  }

  /** Give a command, or say why not. P is one key for both of its commands. */
  give(command) {
    if (command === "pause" && this.state.control.phase === "paused") command = "resume";
    const reason = whyNot(this.state, command);
    if (reason) {
      this.hooks.say(reason, "refused");
    } else if (command === "stop") {
      this.hooks.release("stop");
      this.confirm.showModal();
    } else {
      this.send(command);
    }
  }

  send(command) {
    const episode = this.state.episode ? this.state.episode.episode : null;
    this.hooks.send({ type: "command", command, episode });
  }

  /** Show which commands make sense now. */
  render() {
    const paused = this.state.control.phase === "paused";
    for (const button of this.buttons) {
      const command = button.dataset.command;
      if (command === "pause") {
        button.querySelector("span").textContent = paused ? "Go on" : "Pause";
      }
      const reason = whyNot(this.state, command === "pause" && paused ? "resume" : command);
      // Not `disabled`: a disabled button shows no title and takes no focus.
      const off = reason !== "";
      if (button.getAttribute("aria-disabled") !== String(off)) {
        button.setAttribute("aria-disabled", String(off));
      }
      const title = reason || button.dataset.title;
      if (button.title !== title) button.title = title;
    }
  }
}
