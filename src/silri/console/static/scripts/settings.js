// What a person chose, kept in this browser.

const KEY = "silri-console";
const FRESH = { speed: 1, angle: 0, mirror: false, tab: "why" };

function stored() {
  try {
    return JSON.parse(localStorage.getItem(KEY)) || {};
  } catch {
    return {}; // storage is forbidden here or holds something else: begin afresh
  }
}

export class Settings {
  constructor() {
    Object.assign(this, FRESH, stored());
  }

  set(name, value) {
    this[name] = value;
    const kept = Object.fromEntries(Object.keys(FRESH).map((key) => [key, this[key]]));
    try {
      localStorage.setItem(KEY, JSON.stringify(kept));
    } catch {
      // A private window may have no storage: the choice then lasts as long as the page.
    }
  }
}
