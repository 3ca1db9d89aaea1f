// Speed, gripper and arm beside the joystick; keys, turning of the arrows and gamepad in a dialog.

import { put } from "./banner.js";
import { drivable, ofThisPage } from "./state.js";

const $ = (id) => document.getElementById(id);
const AXIS_KEYS = [
  null,
  null,
  ["W, S", "Page Up, Down"],
  ["E, Q"],
  ["D, A"],
  ["R, F"],
];

export class Preferences {
  /** @param parts {state, settings, drive, gamepad, scene, changed()} */
  constructor(parts) {
    Object.assign(this, parts);
    this.known = ""; // which actions the help was made for
    for (const input of document.querySelectorAll("#speed input")) {
      input.checked = Number(input.value) === this.settings.speed;
      input.addEventListener("change", () => this.settings.set("speed", Number(input.value)));
    }
    $("angle").value = String(this.settings.angle);
    $("angle").addEventListener("change", () => {
      this.settings.set("angle", Number($("angle").value));
    });
    $("mirror").checked = this.settings.mirror;
    $("mirror").addEventListener("change", () => this.settings.set("mirror", $("mirror").checked));
  }

  open() {
    this.status();
    $("settings").showModal();
    const timer = setInterval(() => ($("settings").open ? this.status() : clearInterval(timer)), 500);
  }

  chooseArm(index) {
    const { drive } = this;
    if (index === drive.arm || index >= drive.arms.length || drive.driving) return;
    drive.arm = index;
    for (const input of document.querySelectorAll("#arms input")) {
      input.checked = Number(input.value) === index;
    }
    this.changed();
  }

  render() {
    const { state, drive } = this;
    document.body.dataset.drivable = String(drivable(state));
    if (!state.hello) return;
    const known = [state.robots.length > 1, ...state.hello.actions.map(({ name }) => name)].join();
    if (known !== this.known) {
      this.known = known;
      this.arrange();
    }
    const arm = drive.arms[drive.arm] || drive.arms[0];
    $("grip").hidden = arm.gripper === null;
    if (arm.gripper !== null) {
      const { values } = state.hello.actions[arm.gripper];
      const value = drive.gripOf(arm.gripper);
      const names = ["open", ...Array(values.length - 2).fill("still"), "closed"];
      put($("grip-text"), `Gripper ${names[values.indexOf(value)]}`);
    }
  }

  /** What depends on the actions: which controls there are, and the help. */
  arrange() {
    const { drive, state } = this;
    const { arms } = drive;
    drive.arm = Math.min(drive.arm, arms.length - 1);
    $("lift").hidden = Math.max(...arms.map((arm) => arm.axes.length)) < 3;
    const choice = $("arms");
    choice.hidden = arms.length < 2;
    for (const label of choice.querySelectorAll("label")) label.remove();
    if (arms.length > 1) {
      arms.forEach((_, index) => {
        const label = document.createElement("label");
        const input = Object.assign(document.createElement("input"), { type: "radio", name: "arm" });
        input.value = String(index);
        input.checked = index === drive.arm;
        input.addEventListener("change", () => this.chooseArm(index));
        const text = document.createElement("span");
        text.textContent = String(index + 1);
        label.append(input, text);
        choice.append(label);
      });
    }
    const name = (place) => {
      const index = arms[0].axes[place];
      return index === undefined ? null : state.hello.actions[index].name;
    };
    const rows = [["← ↑ ↓ →", "move as in the picture"]];
    AXIS_KEYS.forEach((keys, place) => {
      if (!keys || name(place) === null) return;
      rows.push([keys.join(" or "), place === 2 ? "up, down" : `${name(place)}: more, less`]);
    });
    rows.push(["Space", "hold without moving"], ["Shift", "slowly"]);
    if (arms[0].gripper !== null) rows.push(["G", "open or close the gripper"]);
    const several = ofThisPage(state).length > 1;
    if (several) rows.push(["1 to 9", "which robot"]);
    if (arms.length > 1) rows.push([several ? "Shift with 1, 2" : "1, 2", "which arm"]);
    rows.push(["Enter, Backspace", "success, failure"], ["P or Escape", "pause"]);
    rows.push(["Home, Delete", "reset, discard"]);
    $("help").replaceChildren(
      ...rows.map(([keys, meaning]) => {
        const line = document.createElement("tr");
        for (const [tag, text] of [["th", keys], ["td", meaning]]) {
          line.append(Object.assign(document.createElement(tag), { textContent: text }));
        }
        return line;
      }),
    );
  }

  status() {
    const { gamepad, scene, drive } = this;
    put(
      $("gamepad-line"),
      gamepad.name === null
        ? "No gamepad. Connect one and press a button of it."
        : `Gamepad: ${gamepad.name}. Hold a shoulder button to drive; the first button is the gripper.`,
    );
    const { axes, sequence } = drive.last;
    put($("axes-line"), `Last input ${sequence}: ${axes.map((v) => v.toFixed(2)).join(", ")}`);
    const delays = [...drive.delays].sort((a, b) => a - b);
    const at = (q) => Math.round(delays[Math.floor(q * (delays.length - 1))]);
    const delay = delays.length ? `input to executed ${at(0.5)} ms, 95 %: ${at(0.95)} ms; ` : "";
    put($("rate-line"), `${delay}${scene.rate().toFixed(0)} pictures per second and camera`);
  }
}
