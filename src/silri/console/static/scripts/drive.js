// From keys, joystick and gamepad to the axes that are sent. Driving is holding: whatever ends the
// holding (release, blur, hidden tab, lost socket) sends one message with zeros and hold = false.

import { whyNotDrive } from "./state.js";

const PERIOD = 1000 / 60 - 1; // ms; at most 60 messages a second
const STALLED = 500; // ms without a look at the keys: whoever held them saw an old picture
const SLOW = 0.25; // of the speed, while Shift is held

// code of a key -> what it adds: right and up in the picture, lift, further axes by number
const MOVES = {
  ArrowRight: { right: 1 },
  ArrowLeft: { right: -1 },
  ArrowUp: { up: 1 },
  ArrowDown: { up: -1 },
  KeyW: { lift: 1 },
  KeyS: { lift: -1 },
  PageUp: { lift: 1 },
  PageDown: { lift: -1 },
  KeyE: { more: 0, sign: 1 },
  KeyQ: { more: 0, sign: -1 },
  KeyD: { more: 1, sign: 1 },
  KeyA: { more: 1, sign: -1 },
  KeyR: { more: 2, sign: 1 },
  KeyF: { more: 2, sign: -1 },
};
const HOLD = "Space";
const GRIPPER = "KeyG";
export const DRIVE_KEYS = new Set([...Object.keys(MOVES), HOLD, GRIPPER]);

const nothing = () => ({ right: 0, up: 0, lift: 0, more: [0, 0, 0], hold: false });

/** The arms of an action vector: each with the indices of its axes and its gripper (or null). */
export function armsOf(actions) {
  const grippers = actions.filter((action) => action.kind === "gripper").length;
  const arms = [];
  let axes = [];
  actions.forEach((action, index) => {
    if (action.kind !== "gripper") {
      axes.push(index);
    } else if (grippers > 1) {
      arms.push({ axes, gripper: index });
      axes = [];
    }
  });
  if (grippers <= 1) {
    const gripper = actions.findIndex((action) => action.kind === "gripper");
    return [{ axes, gripper: gripper < 0 ? null : gripper }];
  }
  if (axes.length) arms.push({ axes, gripper: null });
  return arms;
}

/**
 * (right, up) in the picture as motion along the first two axes.
 * @param turn {angle, mirror}: by how much the axes are turned against the picture, radians
 */
export function turned(right, up, turn) {
  const [c, s] = [Math.cos(turn.angle), Math.sin(turn.angle)];
  const rightward = turn.mirror ? -right : right;
  const x = c * rightward - s * up;
  const y = s * rightward + c * up;
  const length = Math.min(1, Math.hypot(right, up));
  const largest = Math.max(Math.abs(x), Math.abs(y));
  // A full deflection reaches the edge of the action box, whichever way it points.
  return largest > 1e-9 ? [(x * length) / largest, (y * length) / largest] : [0, 0];
}

/** The turn that makes "right" go right in a picture, from where +1 of each axis leads there. */
export function turnOf(view, axes) {
  const [x, y] = axes.map((index) => view[index]);
  if (!x || !y) return { angle: 0, mirror: false };
  // On the ground, rightwards is (x.right, y.right); away from the camera is perpendicular to it.
  const angle = Math.atan2(y[0], x[0]);
  const away = -Math.sin(angle) * x[1] + Math.cos(angle) * y[1];
  return away >= 0 ? { angle, mirror: false } : { angle: angle + Math.PI, mirror: true };
}

export class Drive {
  /**
   * @param hooks {state, send(object) -> bool, next() -> sequence, settings, changed(),
   *   released()}; the last is told that every pointer must be forgotten
   */
  constructor(hooks) {
    this.hooks = hooks;
    this.state = hooks.state;
    this.keys = new Set();
    this.slow = false;
    this.pad = nothing(); // written by the joystick
    this.gamepad = nothing(); // written by the gamepad
    this.arm = 0;
    this.driving = false;
    this.wished = false; // somebody holds something, whether or not it may drive
    this.grip = new Map(); // index of a gripper -> the value it is to have
    this.sent = 0;
    this.looked = 0;
    this.last = { axes: [], hold: false, sequence: 0 };
    this.times = new Map(); // sequence -> when it was sent, until it was executed
    this.delays = []; // ms from input to the news that it was executed, the last 600
    setInterval(() => this.pump(), 1000 / 60);
    addEventListener("blur", () => this.release("blur"));
    addEventListener("beforeunload", () => this.release("leaving")); // earlier than pagehide
    addEventListener("pagehide", () => this.release("pagehide"));
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.release("hidden");
    });
  }

  get actions() {
    return this.state.hello ? this.state.hello.actions : [];
  }

  get arms() {
    return armsOf(this.actions);
  }

  /** A key that drives went down or up. */
  key(code, down, shift) {
    this.slow = shift;
    const had = this.keys.has(code);
    if (down) this.keys.add(code);
    else this.keys.delete(code);
    if (down && !had && code === GRIPPER) this.toggleGripper();
    if (down !== had) this.sent = 0; // what is new need not wait for its turn
    this.pump();
    this.hooks.changed();
  }

  /** The other value of the current arm's gripper. */
  toggleGripper() {
    const arm = this.arms[this.arm] || this.arms[0];
    if (!arm || arm.gripper === null) return;
    const values = this.actions[arm.gripper].values;
    const now = values.indexOf(this.gripOf(arm.gripper));
    this.grip.set(arm.gripper, values[(now + 1) % values.length]);
    this.hooks.changed();
  }

  /** The value that the gripper at `index` is to have; what was executed last if nobody chose. */
  gripOf(index) {
    if (this.grip.has(index)) return this.grip.get(index);
    const values = this.actions[index].values;
    const step = this.state.steps.at(-1);
    if (!step) return values[0];
    const executed = step.action[index];
    return values.reduce((best, value) =>
      Math.abs(value - executed) < Math.abs(best - executed) ? value : best,
    );
  }

  /** Everything that is held, as one. */
  wish() {
    const keys = nothing();
    for (const code of this.keys) {
      keys.hold = true;
      const move = MOVES[code];
      if (!move) continue;
      if ("more" in move) keys.more[move.more] += move.sign;
      else for (const name of Object.keys(move)) keys[name] += move[name];
    }
    const sources = [keys, this.pad, this.gamepad].filter((source) => source.hold);
    const sum = nothing();
    sum.hold = sources.length > 0;
    for (const source of sources) {
      sum.right += source.right;
      sum.up += source.up;
      sum.lift += source.lift;
      sum.more = sum.more.map((value, index) => value + source.more[index]);
    }
    const length = Math.hypot(sum.right, sum.up);
    if (length > 1) [sum.right, sum.up] = [sum.right / length, sum.up / length];
    return sum;
  }

  /** The turn of the arrow keys: the camera's, if it is known, and what the person chose. */
  turn() {
    const { angle, mirror } = this.hooks.settings;
    const views = this.state.hello && this.state.hello.view;
    const first = views && views[this.state.hello.cameras[0]];
    const arm = this.arms[this.arm] || this.arms[0];
    const known = first ? turnOf(first, arm.axes) : { angle: 0, mirror: false };
    return { angle: known.angle + (angle * Math.PI) / 180, mirror: known.mirror !== mirror };
  }

  /** The whole action vector of a wish. */
  axes(wish) {
    const axes = new Array(this.actions.length).fill(0);
    const arm = this.arms[this.arm] || this.arms[0];
    const speed = this.hooks.settings.speed * (this.slow ? SLOW : 1);
    const clip = (value) => Math.max(-1, Math.min(1, value));
    const put = (place, value) => {
      if (place < arm.axes.length) axes[arm.axes[place]] = clip(value) * speed;
    };
    if (arm.axes.length === 1) {
      put(0, wish.right + wish.up + wish.lift);
    } else {
      const [x, y] = turned(wish.right, wish.up, this.turn());
      [x, y, wish.lift, ...wish.more].forEach((value, place) => put(place, value));
    }
    for (const { gripper } of this.arms) {
      if (gripper !== null) axes[gripper] = this.gripOf(gripper);
    }
    return axes;
  }

  /** Send what is held, if it is time; called often. */
  pump() {
    const looked = performance.now();
    const stalled = this.driving && looked - this.looked > STALLED;
    this.looked = looked;
    if (stalled) this.release("stalled");
    const wish = this.wish();
    if (wish.hold !== this.wished) {
      this.wished = wish.hold;
      this.hooks.changed();
    }
    if (!wish.hold || whyNotDrive(this.state)) {
      if (this.driving) this.let("let go");
      else this.grip.clear();
      return;
    }
    const now = performance.now();
    if (this.driving && now - this.sent < PERIOD) return;
    if (!this.driving) {
      // Whoever takes over holds the gripper as it is, but for what was asked for just now.
      for (const { gripper } of this.arms) {
        if (gripper !== null) this.grip.set(gripper, this.gripOf(gripper));
      }
      this.driving = true;
      this.hooks.changed();
    }
    this.say(this.axes(wish), true, now);
  }

  /** One message with zeros: the person does not drive any more. */
  let(reason) {
    this.driving = false;
    this.grip.clear();
    this.times.clear();
    this.reason = reason;
    this.say(new Array(this.actions.length).fill(0), false, performance.now());
    this.hooks.changed();
  }

  say(axes, hold, now) {
    const sequence = this.hooks.next();
    this.sent = now;
    this.last = { axes, hold, sequence };
    if (this.hooks.send({ type: "input", sequence, time: now, axes, hold }) && hold) {
      this.times.set(sequence, now);
    }
  }

  /** Everything counts as let go, and must be pressed anew. */
  release(reason) {
    this.keys.clear();
    this.pad = nothing();
    this.gamepad = { ...nothing(), spent: true };
    this.slow = false;
    this.wished = false;
    if (this.driving) this.let(reason);
    this.hooks.released();
    this.hooks.changed();
  }

  /** Another robot is driven from now on: nothing of the last one's hand holds for it. */
  change() {
    this.release("another robot");
    this.grip.clear();
    this.times.clear();
    this.delays = [];
    this.arm = 0;
  }

  /** The server executed the input `applied`: how long that took. */
  executed(applied) {
    for (const [sequence, sent] of this.times) {
      if (sequence > applied) break;
      this.times.delete(sequence);
      // Only the one that was executed: those before it were overtaken, not late.
      if (sequence === applied) this.delays.push(performance.now() - sent);
    }
    if (this.delays.length > 600) this.delays.splice(0, 300);
  }
}

export { nothing as nobody };
