// The one connection to the server: it reconnects by itself and says what it knows about the link.

const FIRST_WAIT = 300; // ms until the first new attempt; doubles up to
const LONGEST_WAIT = 4000;
const SILENCE = 3000; // ms without any message, after which a link counts as lost
const PING_EVERY = 1000;

/** A WebSocket that comes back. Handlers: onMessage(object), onFrame(buffer), onLink(name). */
export class Link {
  constructor(url, handlers) {
    this.url = url;
    this.handlers = handlers;
    this.socket = null;
    this.attempt = 0;
    this.heard = 0; // when the last message came
    this.answers = false; // whether the server answers pings: only then is silence a loss
    this.sequence = 0; // of inputs and pings together, rising over reconnections
    this.closed = false;
    this.timer = 0;
    setInterval(() => this.watch(), PING_EVERY);
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && !this.open && !this.closed) this.connect();
    });
  }

  get open() {
    return this.socket !== null && this.socket.readyState === WebSocket.OPEN;
  }

  /** Open a socket unless one is open or on its way. */
  connect() {
    clearTimeout(this.timer);
    if (this.socket && this.socket.readyState <= WebSocket.OPEN) return;
    const socket = new WebSocket(this.url);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onopen = () => {
      this.attempt = 0;
      this.answers = false;
      this.heard = performance.now();
      this.handlers.onLink("open");
      this.ping();
    };
    socket.onmessage = (event) => {
      if (socket !== this.socket) return;
      this.heard = performance.now();
      if (typeof event.data === "string") {
        const message = JSON.parse(event.data);
        if (message.type === "pong") this.answers = true;
        this.handlers.onMessage(message);
      } else {
        this.handlers.onFrame(event.data);
      }
    };
    socket.onclose = () => {
      if (socket === this.socket) this.lose();
    };
  }

  /** Forget the socket and plan the next attempt. */
  lose() {
    const socket = this.socket;
    this.socket = null;
    if (socket) socket.close();
    if (this.closed) return;
    this.handlers.onLink("lost");
    const wait = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.attempt);
    this.attempt += 1;
    this.timer = setTimeout(() => this.connect(), wait);
  }

  /** Leave for another address; what was sent before still arrives. */
  moveTo(url) {
    const socket = this.socket;
    this.url = url;
    this.socket = null; // it says no more to us
    this.attempt = 0;
    if (socket) socket.close();
    this.connect();
  }

  /** The page is going away: no more attempts. */
  leave() {
    this.closed = true;
    clearTimeout(this.timer);
    if (this.socket) this.socket.close();
  }

  /** The page came back from the browser's cache. */
  comeBack() {
    this.closed = false;
    this.connect();
  }

  /** Send an object; false if there is nobody to send it to. */
  send(message) {
    if (!this.open) return false;
    this.socket.send(JSON.stringify(message));
    return true;
  }

  next() {
    this.sequence += 1;
    return this.sequence;
  }

  ping() {
    this.send({ type: "ping", sequence: this.next(), time: performance.now() });
  }

  watch() {
    if (!this.open) return;
    // A hidden tab's timers are throttled: its silence says nothing.
    const silent = performance.now() - this.heard;
    if (this.answers && !document.hidden && silent > SILENCE) this.lose();
    else this.ping();
  }
}
