// The connection: who we are, what is sent and what comes, and how it comes back. It knows no sound and no page.

const PROTOCOL = "voxgate.talk";
const KEPT = "voxgate.talk";
// milliseconds
const SHORTEST = 500;
const LONGEST = 15000;
const HELLO = 10000;

/// Takes the ticket out of the address, so that neither history nor a bookmark has it.
function ticketOfAddress() {
  const ticket = location.hash.slice(1);
  if (!ticket) return null;
  history.replaceState(null, "", location.pathname);
  return /^[A-Za-z0-9_-]{20,128}$/.test(ticket) ? ticket : null;
}

function keptPass() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEPT));
    return kept && kept.until > Date.now() ? kept.pass : null;
  } catch {
    return null;
  }
}

/// Tells by `changed({line, code})`, where line is connecting, open, resting, waiting, refused, missing or taken;
/// gives each text to `text(object)` and each frame to `frame(bytes)`.
export class Line {
  constructor({ changed, text, frame }) {
    this.changed = changed;
    this.text = text;
    this.frame = frame;
    this.socket = null;
    this.session = "";
    this.ready = null;
    this.failures = 0;
    this.ticket = ticketOfAddress();
    this.pass = this.ticket ? null : keptPass();
    addEventListener("online", () => this.timer && this.open());
    addEventListener("hashchange", () => {
      const ticket = ticketOfAddress();
      if (ticket) {
        this.ticket = ticket;
        this.close();
        this.open();
      }
    });
  }

  /// Opens it unless it is; resolves when the gateway has said hello.
  open() {
    clearTimeout(this.timer);
    this.timer = null;
    if (this.ready) return this.ready;
    const secret = this.ticket ? `ticket.${this.ticket}` : this.pass && `pass.${this.pass}`;
    if (!secret) {
      this.changed({ line: "missing" });
      return Promise.reject(new Error("no ticket"));
    }
    this.changed({ line: "connecting" });
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/talk/socket`, [PROTOCOL, secret]);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.ready = new Promise((resolve, reject) => {
      const late = setTimeout(() => socket.close(), HELLO);
      socket.onmessage = ({ data }) => {
        if (this.socket !== socket) return;
        if (typeof data !== "string") return this.frame(new Uint8Array(data));
        const text = read(data);
        if (text?.type === "talk") this.welcome(text);
        else if (text?.type === "hello") {
          clearTimeout(late);
          this.session = text.session_id || "";
          this.failures = 0;
          this.changed({ line: "open" });
          resolve();
        } else if (text) this.text(text);
      };
      socket.onclose = ({ code, reason }) => {
        clearTimeout(late);
        reject(new Error(reason || "the connection was closed"));
        if (this.socket === socket) this.closed(code, reason);
      };
    });
    // who waits for it is told as well
    this.ready.catch(() => {});
    return this.ready;
  }

  welcome({ device, pass, until }) {
    this.ticket = null;
    this.pass = pass;
    try {
      sessionStorage.setItem(KEPT, JSON.stringify({ pass, until }));
    } catch {
      // a browser that keeps nothing needs a new link when the page is loaded again
    }
    this.changed({ line: "known", device });
    this.send({
      type: "hello",
      version: 1,
      transport: "websocket",
      features: {},
      audio_params: { format: "opus", sample_rate: 16000, channels: 1, frame_duration: 20 },
    });
  }

  closed(code, reason) {
    this.socket = this.ready = null;
    if (code === 4401) {
      this.ticket = this.pass = null;
      try {
        sessionStorage.removeItem(KEPT);
      } catch {
        // there is nothing to forget
      }
      return this.changed({ line: "refused" });
    }
    if (code === 1008 && reason === "replaced") return this.changed({ line: "taken" });
    // the conversation is over; the next word opens another
    if (code === 1000) return this.changed({ line: "resting" });
    const most = Math.min(LONGEST, SHORTEST * 2 ** this.failures++);
    const wait = most / 2 + Math.random() * most / 2;
    this.changed({ line: "waiting", wait, full: code === 4503 });
    this.timer = setTimeout(() => this.open().catch(() => {}), wait);
  }

  /// Closes it from here.
  close() {
    clearTimeout(this.timer);
    const socket = this.socket;
    this.socket = this.ready = null;
    socket?.close(1000);
  }

  get isOpen() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  /// False: there is no connection.
  send(text) {
    if (!this.isOpen) return false;
    this.socket.send(JSON.stringify({ session_id: this.session, ...text }));
    return true;
  }

  sendFrame(bytes) {
    // what the network does not take would be heard too late
    if (this.isOpen && this.socket.bufferedAmount < 64 << 10) this.socket.send(bytes);
  }
}

function read(data) {
  try {
    const text = JSON.parse(data);
    return typeof text?.type === "string" ? text : null;
  } catch {
    return null;
  }
}
