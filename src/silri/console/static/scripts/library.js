// The stored episodes, and one of them played again with the same panels.

const SPEEDS = [0.5, 1, 2, 4];
const END = { finished: "", fault: "fault", abandoned: "abandoned", discarded: "discarded" };

export class Library {
  /** @param hooks {state, scene, changed(), say(text, kind), address(path), release()} */
  constructor(root, player, hooks) {
    this.root = root;
    this.player = player;
    this.hooks = hooks;
    this.rows = root.querySelector("tbody");
    this.count = root.querySelector("[data-part=count]");
    this.filter = root.querySelector("select");
    this.filter.addEventListener("change", () => this.draw());
    this.episodes = [];
    this.speed = 1;
    this.timer = 0;
    this.scrubber = player.querySelector("input[type=range]");
    this.scrubber.addEventListener("input", () => {
      this.pause();
      this.seek(Number(this.scrubber.value));
    });
    this.button("play").addEventListener("click", () => this.toggle());
    this.button("back").addEventListener("click", () => this.close());
    this.button("speed").addEventListener("click", () => this.faster());
  }

  button(name) {
    return this.player.querySelector(`[data-part=${name}]`);
  }

  /** Read the list again; a moment later, so that several ends are one request. */
  refresh(wait = 400) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.load(), wait);
  }

  async load() {
    const { robot } = this.hooks.state;
    const answer = await this.fetch("api/episodes");
    const episodes = answer ? await answer.json() : null;
    if (episodes === null || this.hooks.state.robot !== robot) return;
    this.episodes = episodes;
    this.draw();
  }

  /** Another robot is shown. */
  clear() {
    if (this.hooks.state.replay) this.close();
    this.episodes = [];
    this.draw();
  }

  /** A response, or null after saying what went wrong, or if another robot is shown by then. */
  async fetch(path) {
    const { robot } = this.hooks.state;
    let answer = null;
    try {
      answer = await fetch(this.hooks.address(path));
    } catch (error) {
      this.hooks.say("The server does not answer.", "refused");
      return null;
    }
    if (this.hooks.state.robot !== robot) return null;
    if (answer.ok) return answer;
    this.hooks.say(`The server answered ${answer.status} for ${path}.`, "refused");
    return null;
  }

  draw() {
    const wanted = {
      all: () => true,
      success: (row) => row.success,
      failure: (row) => !row.success,
      helped: (row) => row.human_steps > 0,
    }[this.filter.value];
    const shown = this.episodes.filter(wanted).reverse(); // the newest first
    this.count.textContent =
      shown.length === this.episodes.length
        ? `${shown.length} stored`
        : `${shown.length} of ${this.episodes.length}`;
    this.rows.replaceChildren(...shown.map((row) => this.row(row)));
    this.root.querySelector(".empty-note").hidden = this.episodes.length > 0;
  }

  row(row) {
    const line = document.createElement("tr");
    line.tabIndex = 0;
    line.dataset.episode = row.episode;
    const opened = this.hooks.state.replay;
    if (opened && opened.episode === row.episode) line.setAttribute("aria-current", "true");
    const cell = (text, name) => {
      const data = document.createElement("td");
      data.textContent = text;
      data.className = name;
      line.append(data);
      return data;
    };
    cell(row.episode, "number");
    const mark = END[row.end] || (row.success ? "success" : "failure");
    const chip = document.createElement("span");
    chip.className = `chip chip-${mark}`;
    chip.textContent = mark;
    cell("", "").append(chip);
    cell(row.kind, "kind");
    cell(row.length, "number");
    const share = cell("", "share");
    const bar = document.createElement("span");
    bar.className = "bar";
    bar.style.setProperty("--share", row.human_share);
    share.append(bar, document.createTextNode(`${Math.round(row.human_share * 100)} %`));
    line.addEventListener("click", () => this.open(row.episode));
    line.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.open(row.episode);
    });
    return line;
  }

  /** Look at a stored episode; a live run goes on meanwhile, without this page driving it. */
  async open(episode) {
    this.hooks.release();
    const answer = await this.fetch(`api/episodes/${episode}`);
    if (!answer) return;
    const stored = await answer.json();
    const row = this.episodes.find((known) => known.episode === episode) || {};
    this.pause();
    const { state, scene } = this.hooks;
    state.replay = { ...row, ...stored, episode, cursor: 0, playing: false };
    this.scrubber.max = String(Math.max(0, stored.steps.length - 1));
    scene.storedFrom((step, camera) =>
      this.hooks.address(`api/episodes/${episode}/frames/${step}.jpg?camera=${camera}`),
    );
    const live = state.hello.mode === "live";
    this.button("back").textContent = live ? "Back to live" : "Close";
    this.seek(0);
    this.draw();
    this.hooks.changed();
  }

  seek(step) {
    const { replay } = this.hooks.state;
    if (!replay) return;
    const last = Math.max(0, replay.steps.length - 1);
    replay.cursor = Math.max(0, Math.min(last, Math.round(step)));
    this.scrubber.value = String(replay.cursor);
    this.button("place").textContent = `step ${replay.cursor} of ${last}`;
    this.hooks.scene.show(replay.cursor);
    this.hooks.changed();
  }

  toggle() {
    const { replay } = this.hooks.state;
    if (!replay) return;
    if (replay.playing) {
      this.pause();
      return;
    }
    if (replay.cursor >= replay.steps.length - 1) this.seek(0);
    replay.playing = true;
    this.show();
    this.begun = performance.now();
    this.from = replay.cursor;
    const frame = () => {
      if (!replay.playing || this.hooks.state.replay !== replay) return;
      const rate = (this.hooks.state.hello.rate_hz || 10) * this.speed;
      const step = this.from + Math.floor(((performance.now() - this.begun) / 1000) * rate);
      if (step !== replay.cursor) this.seek(step);
      if (replay.cursor >= replay.steps.length - 1) this.pause();
      else requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  pause() {
    const { replay } = this.hooks.state;
    if (replay) replay.playing = false;
    this.show();
  }

  show() {
    const { replay } = this.hooks.state;
    this.button("play").textContent = replay && replay.playing ? "Pause" : "Play";
  }

  faster() {
    this.speed = SPEEDS[(SPEEDS.indexOf(this.speed) + 1) % SPEEDS.length];
    this.button("speed").textContent = `${this.speed} ×`;
    const { replay } = this.hooks.state;
    if (replay && replay.playing) {
      this.begun = performance.now();
      this.from = replay.cursor;
    }
  }

  /** Back to what runs. */
  close() {
    this.pause();
    this.hooks.state.replay = null;
    this.hooks.scene.storedFrom(null);
    this.draw();
    this.hooks.changed();
  }

  /** Keys while a stored episode is looked at; whether `code` was one. */
  key(code) {
    const { replay } = this.hooks.state;
    if (!replay) return false;
    if (code === "Space") this.toggle();
    else if (code === "ArrowRight" || code === "ArrowLeft") {
      this.pause();
      this.seek(replay.cursor + (code === "ArrowRight" ? 1 : -1));
    } else if (code === "Escape") this.close();
    else return false;
    return true;
  }
}
