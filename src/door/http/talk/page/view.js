// What is on the page. All that people and models say goes in as text, never as markup.

const element = (id) => document.getElementById(id);
// entries that stay on the page
const MOST = 200;

const LINES = {
  connecting: "connecting",
  open: "connected",
  resting: "resting",
  waiting: "no connection",
  refused: "not let in",
  missing: "not let in",
  taken: "talking elsewhere",
};

const STATES = {
  off: "Not connected",
  ready: "Ready",
  listening: "Listening",
  thinking: "Thinking",
  speaking: "Speaking",
};

const TICKET = {
  title: "This page needs a link of its own",
  text: "A link lets one browser in, once, within its time. Ask whoever runs the gateway for a new one:",
  steps: ["voxgate device talk NAME"],
};

function make(tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}

const seconds = (ms) => (ms < 995 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`);

export class View {
  constructor() {
    this.log = element("log");
    this.answer = null;
    this.device = "";
  }

  /// Where the line is.
  line({ line, device, wait, full }) {
    if (line === "known") {
      this.device = device;
      element("device").textContent = device;
      document.title = `${device} · Voxgate`;
      return;
    }
    document.body.dataset.line = line;
    const again = wait === undefined ? "" : `, next try in ${Math.ceil(wait / 1000)} s`;
    element("line-text").textContent = (full ? "the gateway is full" : LINES[line]) + again;
    if (line === "refused" || line === "missing") {
      const title = line === "refused" ? "This link is used up, or too old" : TICKET.title;
      this.notice({ ...TICKET, title }, "line");
    } else if (line === "taken") {
      const text = `${this.device || "This device"} talks from another window now. Press the button to take it back.`;
      this.notice({ title: "Talking elsewhere", text, steps: [] }, "line");
    } else if (line === "open" || line === "resting") this.unnotice("line");
  }

  state(state, { mode, armed, hint }) {
    Object.assign(document.body.dataset, { state, mode, armed });
    element("state").textContent = STATES[state];
    element("hint").textContent = hint;
    element("stop").disabled = !(state === "speaking" || state === "thinking" || armed);
    const words = {
      manual: state === "listening" ? "Let go to send" : "Hold to talk",
      auto: armed ? "Stop listening" : "Start listening",
      realtime: armed ? "Stop listening" : "Start listening",
    };
    element("press-text").textContent = words[mode];
    element("press").setAttribute("aria-pressed", String(armed || state === "listening"));
  }

  /// Why something cannot be done; `about` is what takes it away again.
  notice({ title, text, steps }, about) {
    const notice = element("notice");
    notice.dataset.about = about;
    element("notice-title").textContent = title;
    element("notice-text").textContent = text;
    element("notice-steps").replaceChildren(...steps.map((step) => make("li", "", step)));
    notice.hidden = false;
  }

  unnotice(about) {
    const notice = element("notice");
    if (notice.dataset.about === about) notice.hidden = true;
  }

  entry(kind, text) {
    element("empty")?.remove();
    const entry = make("div", `entry ${kind}`);
    if (text !== undefined) entry.append(make("p", "words", text));
    this.log.append(entry);
    while (this.log.children.length > MOST) this.log.firstChild.remove();
    this.follow();
    return entry;
  }

  follow() {
    this.log.scrollTo({ top: this.log.scrollHeight });
  }

  /// What the person said or typed.
  said(text) {
    this.entry("said", text);
    this.answer = null;
  }

  /// One sentence more of the answer.
  sentence(text) {
    this.answer ??= this.entry("answer");
    this.answer.insertBefore(make("p", "words", text), this.answer.querySelector(".latency"));
    this.follow();
  }

  remark(text) {
    this.entry("remark", text);
  }

  /// Where the time went: [name, milliseconds] each, in order.
  latency(stages) {
    if (!this.answer || !stages.length) return;
    this.answer.querySelector(".latency")?.remove();
    const latency = make("div", "latency");
    const bar = make("div", "bar");
    const list = make("dl");
    stages.forEach(([name, ms], n) => {
      const part = make("span", `part part-${n}`);
      part.style.flexGrow = Math.max(ms, 1);
      bar.append(part);
      const item = make("div", `stage part-${n}`);
      item.append(make("dt", "", name), make("dd", "", seconds(ms)));
      list.append(item);
    });
    const total = stages.reduce((sum, [, ms]) => sum + ms, 0);
    const item = make("div", "stage total");
    item.append(make("dt", "", "together"), make("dd", "", seconds(total)));
    list.append(item);
    bar.setAttribute("aria-hidden", "true");
    latency.append(bar, list);
    this.answer.append(latency);
    this.follow();
  }

  figures({ mic, sent, received, decoded, loudest, gaps }) {
    element("f-mic").textContent = mic;
    element("f-sent").textContent = sent;
    element("f-received").textContent = received;
    element("f-decoded").textContent = decoded;
    element("f-loudest").textContent = loudest.toFixed(3);
    element("f-gaps").textContent = gaps;
  }
}
