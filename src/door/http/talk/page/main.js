// The device: what a press, a text and the gateway's words do to it. States are those of stock firmware: listening,
// then thinking, speaking, and listening or ready again.

import { obstacle, refusal } from "./able.js";
import { Face } from "./face.js";
import { Line } from "./line.js";
import { Microphone, Speaker } from "./sound.js";
import { View } from "./view.js";

// seconds of speech that still wait when a turn ends by itself; more of them mean that it was cut short
const REST = 0.35;
// milliseconds without a word after the button was let go
const SILENCE = 15000;

const HINTS = {
  manual: { ready: "Hold the button, or the space bar, while you speak", listening: "" },
  auto: { ready: "The gateway hears when you have finished", listening: "Speak; a pause sends it" },
  realtime: { ready: "Heard all the time: speak up to interrupt", listening: "Speak at any time" },
};

const view = new View();
const line = new Line({ changed, text, frame });
const microphone = new Microphone((bytes) => {
  line.sendFrame(bytes);
});
const speaker = new Speaker((at) => mark("sound", at));

let state = "off";
let mode = "manual";
// automatic or interrupting, and switched on
let armed = false;
// the button is down
let held = false;
// the mode in which the gateway listens
let heardIn = null;
// no sound here, for a reason that was told
let mute = true;
let received = 0;
let marks = null;
let silence = null;

const face = new Face(document.getElementById("level"), document.getElementById("face"), () => {
  const own = microphone.sending ? microphone.level : 0;
  return { state, level: Math.max(own, speaker.level()) };
});

function go(next) {
  state = next;
  clearTimeout(silence);
  if (next !== "thinking" && face.shown === "thinking") face.show("neutral");
  const hint = mute && state === "ready" ? "Type; the answer comes as text" : HINTS[mode][state] ?? "";
  view.state(state, { mode, armed, hint });
}

/// A point of the turn, on the page's clock.
function mark(point, at = performance.now()) {
  if (!marks || marks[point]) return;
  marks[point] = at;
  showTimes();
}

function showTimes() {
  if (!marks) return;
  const points = [
    ["understood", marks.end, marks.stt],
    ["answer begins", marks.stt ?? marks.end, marks.tts],
    ["first sound", marks.tts, marks.sound],
  ];
  const known = points.filter(([, from, to]) => from && to);
  view.latency(known.map(([name, from, to]) => [name, Math.max(0, to - from)]));
}

// -- what the gateway says

function changed(news) {
  view.line(news);
  if (news.line === "open") {
    heardIn = null;
    go("ready");
  } else if (news.line !== "known" && news.line !== "connecting") {
    rest();
    go(news.line === "resting" || news.line === "taken" ? "ready" : "off");
  }
}

function text(message) {
  switch (message.type) {
    case "stt":
      return transcript(message.text ?? "");
    case "llm":
      return message.emotion && face.show(message.emotion);
    case "tts":
      return speech(message);
    case "alert":
      return view.remark([message.status, message.message].filter(Boolean).join(": "));
  }
}

function transcript(words) {
  if (!words) {
    view.remark("Nothing was understood");
    if (state === "thinking") go(armed ? "listening" : "ready");
    return;
  }
  // what was typed is there already
  if (marks?.typed !== words) {
    view.said(words);
    marks = { end: marks?.end ?? microphone.lastVoice };
  }
  mark("stt");
  face.show("thinking");
  if (state !== "speaking") go("thinking");
}

function speech(message) {
  if (message.state === "start") {
    if (mode !== "realtime" || !armed) microphone.pause();
    view.answer = null;
    speaker.clear();
    speaker.begins();
    go("speaking");
    marks ??= {};
    mark("tts");
  } else if (message.state === "sentence_start" && state === "speaking" && message.text) {
    view.sentence(message.text);
    showTimes();
  } else if (message.state === "stop" && state === "speaking") {
    speaker.ends();
    if (speaker.left > REST) speaker.clear();
    over();
  }
}

function frame(bytes) {
  received += 1;
  if (state === "speaking") speaker.play(bytes);
}

/// The turn is over: on, in the modes that go on by themselves.
function over() {
  marks = null;
  if (!armed) return go("ready");
  listen();
}

// -- what the person does

/// Has the gateway listen, in the mode that is chosen.
function listen() {
  if (mode === "auto" || heardIn !== mode) line.send({ type: "listen", state: "start", mode });
  heardIn = mode;
  marks = null;
  microphone.lastVoice = performance.now();
  microphone.start();
  go("listening");
}

/// What is half heard or half said counts no more.
function hush() {
  if (state === "thinking" || state === "speaking") line.send({ type: "abort" });
  speaker.clear();
  marks = null;
}

/// Off with everything that goes on by itself.
function rest() {
  armed = held = false;
  microphone.pause();
  speaker.clear();
  marks = null;
}

/// All that a word needs; false when there is none, and the page says why.
async function wake(withMicrophone) {
  // before anything is waited for: a browser lets sound out in answer to a gesture only
  const sound = mute ? Promise.resolve() : speaker.open().catch(() => {});
  const microphoned = withMicrophone ? microphone.open().then(() => view.unnotice("microphone")) : Promise.resolve();
  try {
    await microphoned;
  } catch (error) {
    view.notice(refusal(error), "microphone");
    return false;
  }
  try {
    await sound;
    await line.open();
  } catch {
    return false;
  }
  return true;
}

async function press() {
  if (mute) return;
  held = true;
  if (mode === "manual") {
    hush();
    const awake = await wake(true);
    // let go while the browser asked for the microphone
    if (!held) microphone.pause();
    if (!awake || !held) return;
    // each press is an utterance of its own
    heardIn = null;
    listen();
  } else if (armed) {
    halt();
  } else if (await wake(true)) {
    armed = true;
    hush();
    heardIn = null;
    listen();
  }
}

async function release() {
  if (!held) return;
  held = false;
  if (mode !== "manual" || state !== "listening") return;
  go("thinking");
  marks = { end: performance.now() };
  silence = setTimeout(() => {
    view.remark("Nothing was understood");
    go("ready");
  }, SILENCE);
  await microphone.pause();
  line.send({ type: "listen", state: "stop" });
}

/// Stop: the answer, and the listening.
function halt() {
  hush();
  // what was half heard is forgotten with it
  if (armed) line.send({ type: "listen", state: "start", mode: "manual" });
  heardIn = null;
  rest();
  go(line.isOpen ? "ready" : state);
}

async function type(words) {
  hush();
  if (!(await wake(false))) return false;
  microphone.pause();
  heardIn = "manual";
  line.send({ type: "listen", state: "start", mode: "manual" });
  line.send({ type: "listen", state: "detect", text: words });
  marks = { typed: words, end: performance.now() };
  view.said(words);
  face.show("thinking");
  go("thinking");
  return true;
}

function choose(next) {
  if (armed) halt();
  mode = next;
  go(state === "listening" ? "ready" : state);
}

// -- the page's own events

const button = document.getElementById("press");
button.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  button.setPointerCapture(event.pointerId);
  press();
});
for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) button.addEventListener(end, release);
// an assistive technology clicks without a pointer and cannot hold: the next click lets go
button.addEventListener("click", ({ detail }) => {
  if (detail === 0) mode === "manual" && state === "listening" ? release() : press();
});
button.addEventListener("contextmenu", (event) => event.preventDefault());

/// The space bar is the button, but where it writes or works something else.
const isPress = ({ target, code }) =>
  target === button ? code === "Space" || code === "Enter" : code === "Space" && !target.closest("input, button, summary, a");
addEventListener("keydown", (event) => {
  if (event.code === "Escape") halt();
  if (!isPress(event) || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  if (!event.repeat) press();
});
addEventListener("keyup", (event) => {
  if (isPress(event)) release();
});
addEventListener("blur", release);
document.getElementById("stop").addEventListener("click", halt);
document.getElementById("type").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = document.getElementById("text");
  const words = field.value.trim();
  if (words && (await type(words))) field.value = "";
});
for (const radio of document.querySelectorAll("input[name=mode]")) {
  radio.addEventListener("change", () => choose(radio.value));
}
addEventListener("pagehide", () => {
  microphone.close();
  line.close();
});
addEventListener("pageshow", ({ persisted }) => persisted && line.open().catch(() => {}));

setInterval(() => {
  const { sent } = microphone;
  const mic = !microphone.isOpen ? "off" : microphone.sending ? "on, sent" : "on, not sent";
  const { decoded, loudest, gaps } = speaker;
  view.figures({ mic, sent, received, decoded, loudest, gaps });
}, 200);

const why = await obstacle();
mute = !!why;
button.disabled = mute;
document.body.dataset.mute = String(mute);
if (why) view.notice(why, "browser");
go("off");
line.open().catch(() => {});
