// Who drives, in one large coloured field, and what to do now; the episode's strip below the scene.

import { prepare, palette } from "./plot.js";
import { drivable, situation, whyNotDrive } from "./state.js";

const TOUCH = matchMedia("(pointer: coarse)").matches;
const HOLD = TOUCH ? "Hold the joystick" : "Hold Space or an arrow key";

/** [headline, what to do now] of the situation. */
function words(state) {
  const { holder, reason } = state.control;
  const because = reason ? `${capital(reason)}. ` : "";
  const driven = drivable(state);
  switch (situation(state)) {
    case "lost":
      return ["Disconnected", "The picture is old. Trying to reach the server again …"];
    case "connecting":
      return ["Connecting", `Waiting for ${state.robot || "the run"} …`];
    case "replay":
      return [`Stored episode ${state.replay.episode}`, replayWords(state)];
    case "stored":
      return ["A stored run", "Choose an episode to look at it again."];
    case "you": {
      const shows = state.episode !== null && state.episode.kind === "demonstration";
      return shows
        ? ["You demonstrate", "Success when it is done, failure if it went wrong."]
        : ["You drive", "Let go, and the policy goes on from there."];
    }
    case "other":
      return [`${holder} drives`, "You are watching."];
    case "other-waits":
      return [`${holder} is to demonstrate`, "You are watching."];
    case "turn":
      return driven
        ? ["Your turn: show the task", `The robot waits. ${HOLD} to begin.`]
        : ["Waiting", because];
    case "policy":
      if (!driven) return ["The policy drives", "You are watching."];
      return holder && !state.control.you
        ? ["The policy drives", `${holder} has control. You are watching.`]
        : ["The policy drives", `${HOLD} to take over.`];
    case "paused":
      return ["Paused", `${because}${pausedWords(state)}`];
    case "learning":
      return ["The policy learns", `${because}It drives in a moment.`];
    case "standby":
      return ["The robot stands by", because];
    case "evaluation":
      return ["Evaluation", "The policy is on its own; nobody helps it now."];
    case "away":
      return ["The robot is away", `${because}Press anew when it is back.`];
    default:
      return ["The run has ended", `${because}Look at its episodes.`];
  }
}

export const ADVICE = {
  take_over: "It is stuck",
  let_go: "Let go",
  start_over: "Start over",
  stop: "You can stop",
  disagree: "You differ here",
};

/** [what, why] of the coach's advice in the step that is shown; of none while the robot gets on. */
function adviceOf(state) {
  const { replay } = state;
  const step = replay ? replay.steps[Math.min(replay.cursor, replay.steps.length - 1)]
    : state.steps.at(-1);
  const advice = step ? step.advice : null;
  if (!advice) {
    const driven = step && step.driver === "human";
    return ["", driven ? "Go on: the robot is not further yet." : "Nothing to do now."];
  }
  return [advice.kind, capital(advice.why)];
}

function pausedWords(state) {
  if (whyNotDrive(state)) return "";
  return /input|silen/.test(state.control.reason)
    ? `${HOLD} to drive on, or press P.`
    : "Press P to go on.";
}

function replayWords(state) {
  const { success, length, human_share: share } = state.replay;
  const helped = share > 0 ? `${Math.round(share * 100)} % by a person` : "the policy alone";
  const live = state.hello.mode === "live" ? " The run goes on meanwhile." : "";
  return `${success ? "A success" : "No success"}, ${length} steps, ${helped}.${live}`;
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1).replace(/\.$/, "");
}

export class Banner {
  constructor(elements, state) {
    this.elements = elements;
    this.state = state;
    this.timer = 0;
  }

  render() {
    const { state } = this;
    const { banner, who, hint, take, give } = this.elements;
    const name = situation(state);
    document.body.dataset.situation = name;
    if (banner.dataset.situation !== name) banner.dataset.situation = name;
    const [headline, next] = words(state);
    put(who, headline);
    put(hint, next);
    const { holder, you, phase } = state.control;
    const live = state.link === "open" && !state.replay && drivable(state) && phase !== "ended";
    take.hidden = !(live && holder && !you);
    give.hidden = !(live && you && phase !== "human" && phase !== "demonstration");
    this.advice(name);
    this.strip();
  }

  /** What the coach says: only while somebody could follow it, or of a stored episode. */
  advice(name) {
    const { coach, what, why } = this.elements;
    const { state } = this;
    const of = state.replay || state.episode;
    coach.hidden = !["policy", "you", "other", "replay"].includes(name)
      || !of || of.kind !== "training";
    if (coach.hidden) return;
    const [kind, words] = adviceOf(state);
    if (coach.dataset.kind !== kind) coach.dataset.kind = kind;
    put(what, ADVICE[kind] || "Coach");
    put(why, words);
  }

  /** The running episode: number, kind, step, and who drove each step. */
  strip() {
    const { state } = this;
    const { title, place, task } = this.elements;
    const { episode, replay, hello } = state;
    const steps = replay ? replay.steps : state.steps;
    if (replay) {
      put(title, `Episode ${replay.episode}`);
      put(task, [replay.kind, replay.task].filter(Boolean).join(" · "));
    } else if (episode) {
      const many = Number.isFinite(episode.done) && episode.of > 0 && episode.kind !== "training";
      // done counts those that are over; the one that runs is the next.
      const count = many ? ` ${Math.min(episode.done + 1, episode.of)} of ${episode.of}` : "";
      put(title, many ? `${capital(episode.kind)}${count}` : `Episode ${episode.episode}`);
      put(task, [many ? `episode ${episode.episode}` : episode.kind, episode.task].join(" · "));
    } else {
      put(title, hello && hello.mode === "live" ? "No episode yet" : "No episode chosen");
      put(task, "");
    }
    const at = replay ? replay.cursor : steps.length ? steps.at(-1).step + 1 : 0;
    const limit = replay ? Math.max(0, replay.steps.length - 1) : episode && episode.limit;
    put(place, limit ? `step ${at} / ${limit}` : `step ${at}`);
    if (!this.timer) {
      this.timer = requestAnimationFrame(() => {
        this.timer = 0;
        this.ribbon(steps, limit || 0, replay ? replay.cursor : null);
      });
    }
  }

  ribbon(steps, limit, cursor) {
    const [context, width, height] = prepare(this.elements.ribbon);
    const colours = palette();
    const most = Math.max(limit, steps.length, 50);
    context.fillStyle = colours.line;
    context.fillRect(0, 0, width, height);
    let from = 0;
    for (let i = 1; i <= steps.length; i += 1) {
      if (i < steps.length && steps[i].driver === steps[from].driver) continue;
      const [a, b] = [steps[from].step, steps[i - 1].step + 1].map((s) => (s / most) * width);
      context.fillStyle = steps[from].driver === "human" ? colours.human : colours.policy;
      context.fillRect(a, 0, b - a, height);
      from = i;
    }
    if (cursor !== null) {
      context.fillStyle = colours.ink;
      context.fillRect(Math.max(0, (cursor / most) * width - 1), 0, 3, height);
    }
  }
}

/** Write a text only if it is another: screen readers read what changes. */
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
