// The browser's own microphone and codec. It knows no messages and no page.

import { DECODING, ENCODING } from "./able.js";

const WORKLET = "/talk/worklet.js";
// above this, and above three times what the room itself makes, somebody speaks
const VOICE = 0.01;
// an unused microphone is given back after so many milliseconds
const UNUSED = 60000;

/// Gives packets to `packet(bytes)` while `sending`.
export class Microphone {
  constructor(packet) {
    this.packet = packet;
    this.sending = false;
    this.level = 0;
    this.room = 0.003;
    this.lastVoice = 0;
    this.sent = 0;
    this.opening = null;
    this.unused = null;
  }

  get isOpen() {
    return !!this.stream;
  }

  /// Rejects with what the browser says when it gives none.
  open() {
    clearTimeout(this.unused);
    this.opening ??= this.begin().catch((error) => {
      this.close();
      throw error;
    });
    return this.opening;
  }

  async begin() {
    this.stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 },
    });
    this.stream.getAudioTracks()[0].onended = () => this.close();
    const source = await this.source(ENCODING.sampleRate).catch(() => this.source(undefined));
    this.encoder = new AudioEncoder({
      output: (chunk) => {
        const bytes = new Uint8Array(chunk.byteLength);
        chunk.copyTo(bytes);
        this.sent += 1;
        this.packet(bytes);
      },
      error: () => this.close(),
    });
    this.encoder.configure({ ...ENCODING, sampleRate: this.context.sampleRate });
    this.node = new AudioWorkletNode(this.context, "microphone", { numberOfOutputs: 0 });
    this.node.port.onmessage = ({ data }) => this.take(data);
    source.connect(this.node);
    await this.context.resume();
  }

  /// Firefox connects a microphone to a context of its own rate only.
  async source(sampleRate) {
    await this.context?.close();
    this.context = new AudioContext({ sampleRate });
    await this.context.audioWorklet.addModule(WORKLET);
    return this.context.createMediaStreamSource(this.stream);
  }

  take({ samples, level }) {
    this.level = level;
    if (level > Math.max(VOICE, this.room * 3)) this.lastVoice = performance.now();
    else this.room += (level - this.room) * 0.02;
    if (!this.sending || this.encoder?.state !== "configured") return;
    const { sampleRate } = this.context;
    this.time = (this.time ?? 0) + samples.length / sampleRate * 1e6;
    const data = new AudioData({
      format: "f32-planar", sampleRate, numberOfFrames: samples.length, numberOfChannels: 1, timestamp: this.time, data: samples,
    });
    this.encoder.encode(data);
    data.close();
  }

  start() {
    clearTimeout(this.unused);
    this.sending = true;
  }

  /// Resolves when the last packet was given.
  async pause() {
    this.sending = false;
    clearTimeout(this.unused);
    this.unused = setTimeout(() => this.close(), UNUSED);
    if (this.encoder?.state === "configured") await this.encoder.flush().catch(() => {});
  }

  close() {
    clearTimeout(this.unused);
    this.sending = false;
    this.level = 0;
    this.stream?.getTracks().forEach((track) => track.stop());
    if (this.encoder && this.encoder.state !== "closed") this.encoder.close();
    this.context?.close().catch(() => {});
    this.stream = this.encoder = this.context = this.node = this.opening = null;
  }
}

/// Plays packets; tells `heard(at)` when the first audible sample of an answer is heard.
export class Speaker {
  constructor(heard) {
    this.heard = heard;
    this.left = 0;
    this.decoded = 0;
    this.loudest = 0;
    this.gaps = 0;
    this.time = 0;
    this.opening = null;
  }

  /// Has to be asked for by a gesture of the person, or the browser stays silent.
  open() {
    this.opening ??= this.begin();
    return this.opening.then(() => this.context.resume());
  }

  async begin() {
    this.context = new AudioContext({ sampleRate: DECODING.sampleRate, latencyHint: "interactive" });
    await this.context.audioWorklet.addModule(WORKLET);
    this.node = new AudioWorkletNode(this.context, "speaker", { numberOfInputs: 0, outputChannelCount: [1] });
    this.node.port.onmessage = ({ data }) => {
      if (data.heard) this.heard(performance.now() + (this.context.outputLatency || 0) * 1000);
      else if (data.gap) this.gaps += 1;
      else this.left = data.left;
    };
    this.analyser = new AnalyserNode(this.context, { fftSize: 1024 });
    this.wave = new Float32Array(this.analyser.fftSize);
    this.node.connect(this.analyser).connect(this.context.destination);
    this.prepare();
  }

  prepare() {
    this.decoder = new AudioDecoder({
      output: (data) => this.take(data),
      // a packet that is none ends a decoder: the next one gets another
      error: () => (this.decoder = null),
    });
    this.decoder.configure(DECODING);
  }

  take(data) {
    const samples = new Float32Array(data.numberOfFrames);
    data.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
    this.decoded += samples.length;
    this.node.port.postMessage({ samples, rate: data.sampleRate }, [samples.buffer]);
    data.close();
  }

  get isOpen() {
    return this.context?.state === "running";
  }

  begins() {
    this.node?.port.postMessage({ begin: true });
  }

  ends() {
    this.node?.port.postMessage({ end: true });
  }

  play(bytes) {
    if (!this.isOpen) return;
    if (!this.decoder) this.prepare();
    this.time += 60000;
    this.decoder.decode(new EncodedAudioChunk({ type: "key", timestamp: this.time, data: bytes }));
  }

  /// Silence, at once.
  clear() {
    if (this.decoder?.state === "configured") {
      this.decoder.reset();
      this.decoder.configure(DECODING);
    }
    this.node?.port.postMessage({ clear: true });
    this.left = 0;
  }

  /// RMS of what is being played, 0 to 1.
  level() {
    if (!this.isOpen) return 0;
    this.analyser.getFloatTimeDomainData(this.wave);
    const level = Math.sqrt(this.wave.reduce((sum, sample) => sum + sample * sample, 0) / this.wave.length);
    this.loudest = Math.max(this.loudest, level);
    return level;
  }
}
