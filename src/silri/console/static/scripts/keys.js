// Which key does what, whatever has the focus, except in a field that takes text.

import { COMMAND_KEYS } from "./commands.js";
import { DRIVE_KEYS } from "./drive.js";

const TEXT = new Set(["text", "search", "url", "email", "password", "number", "tel"]);

/** Whether keys typed into `element` are text. */
export function takesText(element) {
  if (!element) return false;
  if (element.isContentEditable || element.tagName === "TEXTAREA" || element.tagName === "SELECT") {
    return true;
  }
  return element.tagName === "INPUT" && TEXT.has(element.type);
}

/** Whether Enter is meant for the control that has the focus: it was reached with Tab. */
function entersControl(event) {
  const element = document.activeElement;
  if (event.code !== "Enter" || !element || element === document.body) return false;
  return element.matches("button, a[href], summary, [role=tab], [tabindex]");
}

/** @param hooks {drive, command(name), replayKey(code) -> bool, digit(index, shift)} */
export function listenToKeys(hooks) {
  const { drive } = hooks;
  addEventListener(
    "keydown",
    (event) => {
      if (takesText(event.target) || document.querySelector("dialog[open]")) return;
      // Control and friends belong to the browser. Shift is ours: slow.
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (hooks.replayKey(event.code)) {
        event.preventDefault();
      } else if (DRIVE_KEYS.has(event.code)) {
        event.preventDefault();
        if (!event.repeat) drive.key(event.code, true, event.shiftKey);
      } else if (event.code === "Escape") {
        if (!event.repeat) hooks.command("escape");
      } else if (event.code in COMMAND_KEYS && !entersControl(event)) {
        event.preventDefault();
        if (!event.repeat) hooks.command(COMMAND_KEYS[event.code]);
      } else if (/^Digit[1-9]$/.test(event.code)) {
        if (!event.repeat) hooks.digit(Number(event.code.at(-1)) - 1, event.shiftKey);
      } else if (event.key === "Shift") {
        drive.slow = true;
      }
    },
    true,
  );
  addEventListener(
    "keyup",
    (event) => {
      if (event.key === "Shift") drive.slow = false;
      if (!DRIVE_KEYS.has(event.code)) return;
      if (!takesText(event.target)) event.preventDefault(); // Space would press a button
      drive.key(event.code, false, event.shiftKey);
    },
    true,
  );
  // A control that was clicked gives the focus back: Space and Enter are the robot's.
  addEventListener("click", (event) => {
    const control = event.target.closest && event.target.closest("a, button, summary, [role=tab]");
    if (control && event.detail > 0) control.blur();
  });
  // Focus in a text field: whatever was held is let go.
  addEventListener("focusin", (event) => {
    if (takesText(event.target)) drive.release("typing");
  });
}
