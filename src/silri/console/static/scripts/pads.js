// The joystick on the screen (mouse and touch) and the gamepad.

import { nobody } from "./drive.js";

const DEAD = 0.12; // of a stick's way
const SHOULDERS = [4, 5, 6, 7]; // of the standard gamepad: holding one of them drives
const GRIP_BUTTON = 0;

/** A value without its dead zone, so that motion begins at zero. */
export function live(value) {
  const size = Math.abs(value);
  return size <= DEAD ? 0 : (Math.sign(value) * (size - DEAD)) / (1 - DEAD);
}

/** Follow one pointer on `element` from press to release; `place(event | null)`. */
function follow(element, place) {
  let pointer = null;
  const end = (event) => {
    if (event.pointerId !== pointer) return;
    pointer = null;
    place(null);
  };
  element.addEventListener("pointerdown", (event) => {
    if (pointer !== null || event.button !== 0) return;
    event.preventDefault();
    pointer = event.pointerId;
    element.setPointerCapture(pointer);
    place(event);
  });
  element.addEventListener("pointermove", (event) => {
    if (event.pointerId === pointer) place(event);
  });
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) {
    element.addEventListener(name, end);
  }
  element.addEventListener("contextmenu", (event) => event.preventDefault());
  return () => {
    pointer = null;
    place(null);
  };
}

export class Joystick {
  /** @param elements {stick, lift, grip}; the last two may be hidden */
  constructor(drive, elements) {
    this.drive = drive;
    this.elements = elements;
    this.held = new Set();
    const { stick, lift, grip } = elements;
    this.lets = [
      follow(stick, (event) => this.stick(stick, event)),
      follow(lift, (event) => this.lift(lift, event)),
      follow(grip, (event) => this.grip(event)),
    ];
  }

  /** Forget every pointer, for example when the window lost the focus. */
  release() {
    for (const letGo of this.lets) letGo();
  }

  /** Show what keys or gamepad do while no pointer is on it. */
  reflect({ right, up, lift }) {
    const { stick, lift: slider } = this.elements;
    if (!this.held.has("stick")) {
      stick.style.setProperty("--right", right.toFixed(3));
      stick.style.setProperty("--up", up.toFixed(3));
    }
    if (!this.held.has("lift")) slider.style.setProperty("--up", lift.toFixed(3));
  }

  mark(part, event) {
    if (event) this.held.add(part);
    else this.held.delete(part);
    this.drive.pad.hold = this.held.size > 0;
    this.drive.pump();
  }

  stick(element, event) {
    let [right, up] = [0, 0];
    if (event) {
      const box = element.getBoundingClientRect();
      const reach = box.width * 0.36;
      right = (event.clientX - box.left - box.width / 2) / reach;
      up = -(event.clientY - box.top - box.height / 2) / reach;
      const length = Math.max(1, Math.hypot(right, up));
      [right, up] = [right / length, up / length];
    }
    element.style.setProperty("--right", right.toFixed(3));
    element.style.setProperty("--up", up.toFixed(3));
    element.classList.toggle("held", event !== null);
    const length = Math.hypot(right, up);
    const scale = length > 0 ? live(length) / length : 0;
    Object.assign(this.drive.pad, { right: right * scale, up: up * scale });
    this.mark("stick", event);
  }

  lift(element, event) {
    let lift = 0;
    if (event) {
      const box = element.getBoundingClientRect();
      const reach = box.height * 0.38;
      lift = Math.max(-1, Math.min(1, -(event.clientY - box.top - box.height / 2) / reach));
    }
    element.style.setProperty("--up", lift.toFixed(3));
    element.classList.toggle("held", event !== null);
    this.drive.pad.lift = live(lift);
    this.mark("lift", event);
  }

  grip(event) {
    if (event && event.type === "pointerdown") this.drive.toggleGripper();
    this.mark("grip", event);
  }
}

export class Gamepad {
  /** @param changed called when a gamepad comes or goes, or is touched without a shoulder */
  constructor(drive, changed) {
    this.drive = drive;
    this.changed = changed;
    this.name = null;
    this.idle = false; // a stick is moved and no shoulder button is held
    this.gripped = false;
    const frame = () => {
      this.poll();
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  /** Read the first gamepad that is there. */
  poll() {
    const pads = navigator.getGamepads ? [...navigator.getGamepads()] : [];
    const pad = pads.find((candidate) => candidate && candidate.connected);
    const name = pad ? pad.id : null;
    if (name !== this.name) {
      this.name = name;
      this.changed();
    }
    if (!pad) {
      if (this.drive.gamepad.hold) {
        this.drive.gamepad = nobody(); // unplugged in motion
        this.drive.pump();
      }
      return;
    }
    const down = (index) => Boolean(pad.buttons[index] && pad.buttons[index].pressed);
    const axis = (index) => live(pad.axes[index] || 0);
    const shoulder = SHOULDERS.some(down);
    // After a blur the shoulder must be let go once before it counts again.
    const spent = Boolean(this.drive.gamepad.spent) && shoulder;
    const hold = shoulder && !spent && document.hasFocus();
    const [right, up, lift, turn] = [axis(0), -axis(1), -axis(3), axis(2)];
    const before = this.drive.gamepad.hold;
    this.drive.gamepad = { right, up, lift, more: [turn, 0, 0], hold, spent };
    if (down(GRIP_BUTTON) && !this.gripped) this.drive.toggleGripper();
    this.gripped = down(GRIP_BUTTON);
    const idle = !hold && Math.abs(right) + Math.abs(up) + Math.abs(lift) > 0;
    if (idle !== this.idle) {
      this.idle = idle;
      this.changed();
    }
    if (hold || before) this.drive.pump();
  }
}
