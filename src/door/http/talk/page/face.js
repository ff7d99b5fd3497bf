// The face, and the level of the voice around it.

const FACES = {
  neutral: "🙂", happy: "😊", laughing: "😆", funny: "😄", sad: "😔", angry: "😠", crying: "😭", loving: "😍",
  embarrassed: "😳", surprised: "😮", shocked: "😱", thinking: "🤔", winking: "😉", cool: "😎", relaxed: "😌",
  delicious: "🤤", kissy: "😘", confident: "😏", sleepy: "😴", silly: "😜", confused: "🙄",
};
const BARS = 72;

/// `now()` gives {state, level}.
export class Face {
  constructor(canvas, face, now) {
    this.canvas = canvas;
    this.face = face;
    this.now = now;
    this.level = 0;
    this.turn = 0;
    this.bars = new Float32Array(BARS);
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    requestAnimationFrame((at) => this.draw(at));
  }

  show(emotion) {
    this.shown = emotion;
    this.face.textContent = FACES[emotion] ?? FACES.neutral;
    this.face.setAttribute("aria-label", emotion);
    this.face.dataset.emotion = emotion;
  }

  draw(at) {
    requestAnimationFrame((next) => this.draw(next));
    const { state, level } = this.now();
    // loudness as one hears it, falling more slowly than it rises
    const loud = Math.min(1, Math.sqrt(level) * 1.8);
    this.level += (loud - this.level) * (loud > this.level ? 0.5 : 0.12);
    this.turn = this.calm.matches ? 0 : at / 1000;
    this.paint(state);
  }

  paint(state) {
    const scale = devicePixelRatio || 1;
    const size = this.canvas.clientWidth;
    if (!size) return;
    const side = Math.round(size * scale);
    if (this.canvas.width !== side) this.canvas.width = this.canvas.height = side;
    const context = this.canvas.getContext("2d");
    const style = getComputedStyle(this.canvas);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, size, size);
    context.translate(size / 2, size / 2);
    context.lineCap = "round";
    context.strokeStyle = style.color;
    const inner = size * 0.355;
    const longest = size * 0.125;
    context.lineWidth = Math.max(2, size * 0.0105);
    for (let n = 0; n < BARS; n++) {
      const wanted = this.wanted(state, n);
      this.bars[n] += (wanted - this.bars[n]) * 0.35;
      const angle = n / BARS * Math.PI * 2 - Math.PI / 2;
      const length = this.bars[n] * longest;
      const [x, y] = [Math.cos(angle), Math.sin(angle)];
      context.globalAlpha = 0.25 + 0.75 * Math.min(1, this.bars[n] * 1.6);
      context.beginPath();
      context.moveTo(x * inner, y * inner);
      context.lineTo(x * (inner + length + 0.01), y * (inner + length + 0.01));
      context.stroke();
    }
    context.globalAlpha = 1;
  }

  /// How long a bar is to be, 0 to 1.
  wanted(state, n) {
    const place = n / BARS;
    if (state === "thinking") {
      // a wave that goes round
      const behind = (this.turn * 0.7 - place) % 1;
      return 0.06 + 0.4 * Math.exp(-((behind + 1) % 1) * 6);
    }
    const ripple = 0.5 + 0.5 * Math.sin(place * Math.PI * 2 * 6 + this.turn * 5) * Math.sin(place * Math.PI * 2 * 3.5 - this.turn * 3);
    return 0.03 + this.level * (0.35 + 0.65 * ripple);
  }
}
