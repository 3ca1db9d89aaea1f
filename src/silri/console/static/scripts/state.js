// Everything that the page knows, and how a message changes it. No drawing here.

const NOTICES = 6; // how many are kept
const MOST_POINTS = 4000; // of the curves; beyond that every second one goes

export function freshState() {
  return {
    link: "connecting", // "open", "lost"
    everOpen: false,
    hello: null,
    control: { holder: null, you: false, phase: "waiting", reason: "" },
    episode: null, // the running one
    steps: [], // of the running episode
    end: null, // of the last episode
    curves: [],
    learner: null,
    picture: { picture: "exact", text: "" },
    notices: [], // [{text, kind, at}]
    roundTrip: null, // ms
    applied: 0, // sequence of the last input that was executed
    robots: [], // of the run, if there are several: this console's first
    robot: null, // the one that is shown; null: the only one
    replay: null, // {episode, steps, cursor, playing, …} while a stored one is looked at
  };
}

/** The robots that this page can show and drive; the others have pages of their own. */
export function ofThisPage(state) {
  return state.robots.filter((robot) => !robot.host);
}

/** Begin anew with another robot of the same console. */
export function showRobot(state, name) {
  const { robots, notices, everOpen } = state;
  Object.assign(state, freshState(), { robots, notices, everOpen, robot: name });
}

/** Change `state` by a message of the server; returns what changed, a name for the views. */
export function apply(state, message) {
  const handler = HANDLERS[message.type];
  return handler ? handler(state, message) : "nothing";
}

const HANDLERS = {
  hello(state, message) {
    state.hello = message;
    state.curves = [];
    state.steps = [];
    state.episode = null;
    return "hello";
  },
  control(state, message) {
    state.control = message;
    return "control";
  },
  episode(state, message) {
    // Told again after a reconnection: the steps that follow are the same episode's.
    state.episode = message;
    state.steps = [];
    return "episode";
  },
  step(state, message) {
    if (state.episode && message.episode !== state.episode.episode) return "nothing";
    const last = state.steps.at(-1);
    if (last && message.step <= last.step) return "nothing";
    state.steps.push(message);
    return "step";
  },
  end(state, message) {
    state.end = message;
    return "end";
  },
  curves(state, message) {
    for (const point of message.points) addPoint(state.curves, point);
    if (state.curves.length > MOST_POINTS) {
      const evaluated = (point) => point.evaluation !== null && point.evaluation !== undefined;
      state.curves = state.curves.filter((point, index) => index % 2 === 0 || evaluated(point));
    }
    return "curves";
  },
  learner(state, message) {
    state.learner = message;
    return "learner";
  },
  picture(state, message) {
    state.picture = message;
    return "control";
  },
  robots(state, message) {
    state.robots = message.robots;
    if (state.robot === null) state.robot = message.robots[0].name;
    return "robots";
  },
  gone(state, message) {
    state.robots = message.robots;
    addNotice(state, message.text, "refused");
    return "gone";
  },
  notice(state, message) {
    addNotice(state, message.text, "notice");
    return "notice";
  },
  refused(state, message) {
    addNotice(state, message.text, "refused");
    return "notice";
  },
  pong(state, message) {
    // An input is answered at once, and once more when it was executed: that is no round trip.
    const trip = performance.now() - message.time;
    if (Number.isFinite(trip) && message.sequence !== message.applied) {
      state.roundTrip = state.roundTrip === null ? trip : 0.7 * state.roundTrip + 0.3 * trip;
    }
    if (Number.isFinite(message.applied)) state.applied = message.applied;
    return "pong";
  },
};

/** A point whose step is known replaces what was known. */
function addPoint(curves, point) {
  const last = curves.at(-1);
  if (!last || point.env_step > last.env_step) {
    curves.push(point);
  } else {
    const index = curves.findIndex((known) => known.env_step >= point.env_step);
    if (curves[index].env_step === point.env_step) curves[index] = point;
    else curves.splice(index, 0, point);
  }
}

export function addNotice(state, text, kind) {
  state.notices.push({ text, kind, at: performance.now() });
  if (state.notices.length > NOTICES) state.notices.shift();
}

/** Whether this run takes a person's input from pages. */
export function drivable(state) {
  return (
    state.hello !== null && state.hello.mode === "live" && state.hello.operator.startsWith("web")
  );
}

/** Why this page must not drive now, or "" if it may ask to. */
export function whyNotDrive(state) {
  if (state.link !== "open" || state.hello === null) return "There is no connection.";
  if (!drivable(state)) return "This run takes no input from the page.";
  if (state.replay) return "You are looking at a stored episode.";
  const { holder, you, phase } = state.control;
  if (holder && !you) return `${holder} has control.`;
  if (phase === "ended") return "The run has ended.";
  if (phase === "away") return "The robot's control loop is away.";
  if (phase === "learning") return "The policy learns: nothing drives now.";
  if (phase === "standby") return "The robot stands by: nothing drives now.";
  if (phase === "evaluation") return "An evaluation runs: the policy is on its own.";
  return "";
}

/** The one state that the page shows in colour. */
export function situation(state) {
  if (state.link === "lost") return "lost";
  if (state.link !== "open" || state.hello === null) return "connecting";
  if (state.replay) return "replay";
  if (state.hello.mode === "replay") return "stored";
  const { holder, you, phase } = state.control;
  const other = holder && !you;
  if (phase === "human" || phase === "demonstration") return other ? "other" : "you";
  if (phase === "waiting") return other ? "other-waits" : "turn";
  return phase === "autonomous" ? "policy" : phase; // paused, learning, standby, evaluation, ended, away
}
