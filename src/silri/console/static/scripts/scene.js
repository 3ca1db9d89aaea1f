// The cameras. One picture per camera is on its way: the next is asked for when this one is drawn.

const MOST_RATES = 1000; // pictures whose time is remembered

/** One canvas per camera; pictures come from the socket or, for a stored episode, by address. */
export class Scene {
  /**
   * @param root element that holds the canvases
   * @param send to say {"type": "drawn"}
   */
  constructor(root, send) {
    this.root = root;
    this.send = send;
    this.views = [];
    this.stored = null; // function(step, camera) -> address, while a stored episode is shown
    this.rates = [];
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.views.forEach((view, camera) => this.paint(camera));
    });
  }

  /** Make one canvas per camera. */
  arrange(names) {
    if (this.views.map((view) => view.name).join() === names.join()) {
      for (const view of this.views) Object.assign(view, { waiting: null, busy: false });
      return;
    }
    this.root.textContent = "";
    this.root.dataset.cameras = String(names.length);
    this.views = names.map((name) => {
      const figure = document.createElement("figure");
      const canvas = document.createElement("canvas");
      canvas.width = canvas.height = 8;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `camera ${name}`);
      const caption = document.createElement("figcaption");
      caption.textContent = name;
      figure.append(canvas, caption);
      this.root.append(figure);
      figure.classList.add("empty");
      const context = canvas.getContext("2d", { alpha: false });
      return {
        ...{ name, figure, canvas, context, step: null },
        ...{ waiting: null, busy: false, drawn: 0, wanted: null },
      };
    });
  }

  /** Forget every picture: they are another robot's. */
  clear() {
    this.stored = null;
    this.views = [];
    this.root.textContent = "";
  }

  /** What stands where there is no picture. */
  note({ picture, text }) {
    const none = picture === "none" ? `no picture: ${text || "this run has none"}` : "no picture yet";
    for (const element of [this.root, ...this.views.map((view) => view.figure)]) {
      if (element.dataset.note !== none) element.dataset.note = none;
    }
  }

  /** A picture came over the socket: byte 0 the camera, bytes 1 to 4 the step, then JPEG. */
  frame(buffer) {
    const header = new DataView(buffer);
    const camera = header.getUint8(0);
    const view = this.views[camera];
    if (!view) return;
    view.waiting = { step: header.getUint32(1), jpeg: new Uint8Array(buffer, 5) };
    this.paint(camera);
  }

  /** Draw what waits. A hidden page draws nothing and so asks for nothing. */
  async paint(camera) {
    const view = this.views[camera];
    if (!view || view.busy || !view.waiting || document.hidden) return;
    const { step, jpeg } = view.waiting;
    view.waiting = null;
    view.busy = true;
    try {
      const bitmap = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
      if (!this.stored) this.put(view, bitmap, step);
      bitmap.close();
    } catch (error) {
      view.figure.dataset.fault = `unreadable picture of step ${step}`;
    }
    view.busy = false;
    if (this.views[camera] !== view) return; // of a robot that is not shown any more
    view.drawn += 1;
    this.rates.push(performance.now());
    if (this.rates.length > MOST_RATES) this.rates.splice(0, MOST_RATES / 2);
    this.send({ type: "drawn", camera });
  }

  put(view, bitmap, step) {
    const { canvas } = view;
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
    }
    view.context.drawImage(bitmap, 0, 0);
    view.step = step;
    view.figure.classList.remove("empty");
  }

  /** Pictures per second and camera over the last two seconds. */
  rate() {
    const since = performance.now() - 2000;
    while (this.rates.length && this.rates[0] < since) this.rates.shift();
    return this.views.length ? this.rates.length / 2 / this.views.length : 0;
  }

  /** Show a stored episode's pictures (`address(step, camera)`), or live ones again (null). */
  storedFrom(address) {
    this.stored = address;
    for (const view of this.views) {
      view.wanted = null;
      view.step = null;
    }
  }

  /** Ask for the stored pictures of `step`; while one is on its way only the newest wish counts. */
  show(step) {
    for (const [camera, view] of this.views.entries()) {
      const idle = view.wanted === null;
      view.wanted = step;
      if (idle) this.load(view, camera);
    }
  }

  async load(view, camera) {
    while (this.stored && view.wanted !== null && view.wanted !== view.step) {
      const step = view.wanted;
      const address = this.stored;
      const answer = await fetch(address(step, camera));
      if (this.stored !== address) break;
      if (answer.ok) {
        const bitmap = await createImageBitmap(await answer.blob());
        if (this.stored === address) this.put(view, bitmap, step);
        bitmap.close();
      } else {
        view.figure.classList.add("empty");
        view.step = step;
      }
    }
    view.wanted = null;
  }
}
