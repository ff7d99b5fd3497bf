// The audio thread: a microphone that hands its samples on, and a speaker that plays what it is given.

/// Hands on 20 ms at a time, as {samples, level}.
class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.size = Math.round(sampleRate / 50);
    this.samples = new Float32Array(this.size);
    this.filled = 0;
  }

  process([input]) {
    const channel = input[0];
    if (!channel) return true;
    for (let at = 0; at < channel.length;) {
      const count = Math.min(channel.length - at, this.size - this.filled);
      this.samples.set(channel.subarray(at, at + count), this.filled);
      this.filled += count;
      at += count;
      if (this.filled === this.size) this.hand();
    }
    return true;
  }

  hand() {
    let sum = 0;
    for (const sample of this.samples) sum += sample * sample;
    const samples = this.samples;
    this.port.postMessage({ samples, level: Math.sqrt(sum / this.size) }, [samples.buffer]);
    this.samples = new Float32Array(this.size);
    this.filled = 0;
  }
}

// seconds that must wait before playing begins, also after a gap
const AHEAD = 0.06;
// a sample that one hears
const AUDIBLE = 0.002;

/// Plays {samples, rate}; {begin} marks a new answer, {clear} forgets what waits, {end} says that no more comes.
/// Tells {heard} at the first audible sample of an answer, {gap} when it goes on after it ran dry in the midst of one,
/// and {left}, the seconds that wait, ten times a second.
class Speaker extends AudioWorkletProcessor {
  constructor() {
    super();
    this.clear();
    this.heard = true;
    this.ended = true;
    this.told = 0;
    this.port.onmessage = ({ data }) => {
      if (data.samples) this.take(data);
      else if (data.clear) this.clear();
      else if (data.begin) this.heard = this.ended = this.dry = false;
      else if (data.end) this.ended = true;
    };
  }

  take({ samples, rate }) {
    this.queue.push(samples);
    this.step = rate / sampleRate;
    this.left += samples.length;
  }

  clear() {
    this.queue = [];
    this.left = 0;
    this.position = 0;
    this.step = 1;
    this.playing = this.dry = false;
  }

  /// The next sample, between those of another rate; zero when there is none.
  next() {
    const block = this.queue[0];
    const at = Math.floor(this.position);
    const after = at + 1 < block.length ? block[at + 1] : (this.queue[1]?.[0] ?? block[at]);
    const sample = block[at] + (after - block[at]) * (this.position - at);
    this.position += this.step;
    this.left -= this.step;
    if (this.position >= block.length) {
      this.position -= block.length;
      this.queue.shift();
    }
    return sample;
  }

  process(_, [output]) {
    const channel = output[0];
    const seconds = this.left / (this.step * sampleRate);
    if (!this.playing && this.queue.length && (seconds >= AHEAD || this.ended)) {
      this.playing = true;
      if (this.dry) this.port.postMessage({ gap: true });
    }
    for (let n = 0; n < channel.length && this.playing; n++) {
      if (!this.queue.length) {
        this.playing = false;
        this.left = 0;
        this.dry = true;
        break;
      }
      channel[n] = this.next();
      if (!this.heard && Math.abs(channel[n]) > AUDIBLE) {
        this.heard = true;
        this.port.postMessage({ heard: true });
      }
    }
    this.told += channel.length;
    if (this.told >= sampleRate / 10) {
      this.told = 0;
      this.port.postMessage({ left: Math.max(0, seconds) });
    }
    return true;
  }
}

registerProcessor("microphone", Microphone);
registerProcessor("speaker", Speaker);
