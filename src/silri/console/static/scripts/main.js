// Wiring: messages change the state, the state is drawn, and what a person does is sent.

import { Banner, put } from "./banner.js";
import { Commands } from "./commands.js";
import { Curves } from "./curves.js";
import { Drive } from "./drive.js";
import { listenToKeys } from "./keys.js";
import { Library } from "./library.js";
import { Map2D } from "./map.js";
import { Notices } from "./notices.js";
import { Gamepad, Joystick } from "./pads.js";
import { Panels } from "./panels.js";
import { Preferences } from "./preferences.js";
import { Robots } from "./robots.js";
import { Scene } from "./scene.js";
import { Settings } from "./settings.js";
import { Link } from "./socket.js";
import { addNotice, apply, freshState, showRobot } from "./state.js";

const $ = (id) => document.getElementById(id);
const token = new URLSearchParams(location.search).get("token");
const state = freshState();
state.robot = new URLSearchParams(location.search).get("robot");

/** A path of the server, about the robot that is shown, with the token that opened this page. */
function address(path) {
  const url = new URL(path, document.baseURI);
  if (token) url.searchParams.set("token", token);
  if (state.robot !== null) url.searchParams.set("robot", state.robot);
  return url.href;
}

const socketAddress = () => address("ws").replace(/^http/, "ws");
const settings = new Settings();
const say = (text, kind = "notice") => {
  addNotice(state, text, kind);
  notices.render();
};

const link = new Link(socketAddress(), {
  onLink(name) {
    if (name === "lost") drive.release("lost");
    state.link = name;
    state.everOpen = state.everOpen || name === "open";
    if (name !== "open") state.roundTrip = null;
    changed();
  },
  onMessage,
  onFrame: (buffer) => scene.frame(buffer),
});
const send = (message) => link.send(message);

const scene = new Scene($("scene"), send);
const drive = new Drive({
  ...{ state, send, settings, next: () => link.next(), changed },
  released: () => joystick.release(),
});
const joystick = new Joystick(drive, { stick: $("stick"), lift: $("lift"), grip: $("grip") });
const notices = new Notices($("notices"), state);
const commands = new Commands($("commands"), $("confirm"), {
  ...{ state, send, say, release: (reason) => drive.release(reason) },
});
const banner = new Banner(
  {
    ...{ banner: $("banner"), who: $("who"), hint: $("hint"), take: $("take"), give: $("give") },
    ...{ title: $("episode-title"), task: $("episode-task"), place: $("episode-place") },
    ...{ ribbon: $("ribbon"), coach: $("coach"), what: $("coach-what"), why: $("coach-why") },
  },
  state,
);
const library = new Library($("episodes"), $("player"), {
  ...{ state, scene, changed, say, address, release: () => drive.release("replay") },
});
const panels = new Panels($("why"), { state, seek: (step) => library.seek(step) });
const curves = new Curves($("progress"), state);
const map = new Map2D($("map"), { fetch: (path) => library.fetch(path) });
const gamepad = new Gamepad(drive, () => changed());
const robots = new Robots($("robots"), { state, show });
const preferences = new Preferences({ state, settings, drive, gamepad, scene, changed });

let planned = 0;

/** Draw the small things soon: everything but plots and pictures. */
function changed() {
  if (planned) return;
  planned = requestAnimationFrame(() => {
    planned = 0;
    render();
  });
}

function render() {
  document.body.dataset.replay = String(state.replay !== null);
  document.body.classList.toggle("driving", drive.driving);
  joystick.reflect(drive.wish());
  banner.render();
  commands.render();
  preferences.render();
  robots.render();
  $("approximate").hidden = state.picture.picture !== "approximate";
  $("approximate").title = state.picture.text || "The picture is computed beside the run.";
  scene.note(state.picture);
  linkText();
  panels.refresh();
}

function linkText() {
  $("link").dataset.link = state.link;
  const trip = state.roundTrip;
  const texts = { connecting: "connecting", lost: "no connection" };
  put($("link-text"), texts[state.link] || (trip === null ? "connected" : `${Math.round(trip)} ms`));
}

function onMessage(message) {
  switch (apply(state, message)) {
    case "hello":
      greet();
      break;
    case "step":
      changed();
      break;
    case "curves":
      curves.refresh();
      break;
    case "end":
      library.refresh();
      changed();
      break;
    case "notice":
      notices.render();
      break;
    case "robots":
      robots.render();
      break;
    case "gone":
      notices.render();
      show(state.robots[0].name);
      break;
    case "control":
      // Whoever held a key when the robot went away does not drive the moment it is back.
      if (state.control.phase === "away") drive.release("away");
      changed();
      break;
    case "pong":
      drive.executed(state.applied);
      linkText();
      break;
    case "nothing":
      break;
    default:
      changed();
  }
}

/** Show and drive another robot. The one before is let go at once, and given up. */
function show(name) {
  if (name === state.robot) return;
  library.clear();
  drive.change();
  showRobot(state, name);
  scene.clear();
  map.clear();
  link.moveTo(socketAddress());
  const url = new URL(location.href);
  url.searchParams.set("robot", name);
  history.replaceState(null, "", url);
  curves.refresh();
  shown();
  render();
}

/** A (new) connection told what kind of run this is. */
function greet() {
  const { hello } = state;
  document.body.dataset.mode = hello.mode;
  document.title = `${hello.run} · silri`;
  $("part").hidden = !hello.part;
  for (const text of document.querySelectorAll("[data-stops]")) {
    text.hidden = text.dataset.stops !== (hello.stops || "run");
  }
  put($("run-name"), hello.run);
  put($("run-facts"), [hello.agent, hello.env].join(" · "));
  if (!state.replay) scene.arrange(hello.cameras);
  library.refresh(0);
  shown();
  if (hello.mode === "replay" && settings.tab === "why" && !state.replay) choose("episodes");
  changed();
}

function choose(tab) {
  document.body.dataset.tab = tab;
  for (const button of document.querySelectorAll("[role=tab]")) {
    button.setAttribute("aria-selected", String(button.dataset.tab === tab));
  }
  settings.set("tab", tab);
  shown();
}

/** Draw what has become visible or has another size. */
function shown() {
  panels.refresh();
  curves.refresh();
  if ($("map").offsetParent !== null && state.hello) map.shown();
  banner.render();
}

for (const button of document.querySelectorAll("[role=tab]")) {
  button.addEventListener("click", () => choose(button.dataset.tab));
}
$("take").addEventListener("click", () => send({ type: "take_control" }));
$("give").addEventListener("click", () => send({ type: "give_control" }));
$("open-settings").addEventListener("click", () => {
  drive.release("settings");
  preferences.open();
});
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.addEventListener("close", () => document.activeElement && document.activeElement.blur());
}
listenToKeys({
  drive,
  replayKey: (code) => library.key(code),
  digit(index, shift) {
    if (shift || !robots.key(index)) preferences.chooseArm(index);
  },
  command(name) {
    if (name !== "escape") commands.give(name);
    else if (state.control.phase !== "paused") commands.give("pause");
  },
});
addEventListener("resize", shown);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", shown);
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) shown();
});
addEventListener("pagehide", () => link.leave());
addEventListener("pageshow", (event) => {
  if (event.persisted) link.comeBack();
});

// For tests, and for whoever wants to look: what the page knows.
window.silri = { state, drive, scene, link, library, panels, settings, show };
choose(settings.tab);
render();
link.connect();
