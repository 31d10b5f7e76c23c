/** Danmaku on the stage: the queue of stage.js in front of the renderer, and how each kind looks. */

import { isDark } from "./items.js";
import { StageQueue, laneCounts } from "./stage.js";
import Danmaku from "./vendor/danmaku.dom.js";

/** @typedef {import("./items.js").Description} Description */

const FONT = '"PingFang SC", "Hiragino Sans GB", "Microsoft YaHei", "Noto Sans CJK SC", "Source Han Sans SC", sans-serif';
const FULL_WIDTH = 900;
const PIXELS_PER_SECOND = 130;
/** Height of every line, so that danmaku and cards of different sizes stay in the same rows. */
const ROW_PX = 38;
const MAX_TEXT_PX = 36;
const FORGET_AFTER = 256;
/** Pixels that the frame of each kind adds to its text. */
const PADDING = Object.freeze({ danmaku: 0, gift: 96, superchat: 64, notice: 48 });

/** One stage in one element. It stands still (fixed lines instead of flight) when the viewer prefers no motion. */
export class FlyingStage {
  #queue = new StageQueue();
  #ruler = /** @type {CanvasRenderingContext2D} */ (document.createElement("canvas").getContext("2d"));
  #on = true;
  #scale = 1;

  /** @param {HTMLElement} container @param {MediaQueryList} still matches when nothing should move */
  constructor(container, still) {
    this.container = container;
    this.still = still;
    this.renderer = new Danmaku({ container, speed: PIXELS_PER_SECOND });
    new ResizeObserver(() => this.#resize()).observe(container);
    still.addEventListener("change", () => this.#resize());
    document.addEventListener("visibilitychange", () => this.#update());
    this.#resize();
    this.#update();
    const frame = () => {
      this.#draw();
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  /** @returns {{shown: number, dropped: number, skipped: number, waiting: number}} */
  get counts() {
    return this.#queue.counts;
  }

  /** @param {boolean} on */
  set on(on) {
    this.#on = on;
    this.#update();
  }

  /** @param {Description[]} batch */
  offer(batch) {
    const flying = batch.filter(({ mode }) => mode !== null);
    if (flying.length > 0) this.#queue.offer(flying.map((value) => this.#entry(value)), performance.now());
  }

  /** Take everything off, for another room. */
  clear() {
    this.renderer.clear();
    this.#queue.hide();
    this.#update();
  }

  /** @param {Description} value */
  #entry(value) {
    const mode = this.still.matches && value.mode === "scroll" ? "top" : value.mode ?? "scroll";
    const padding = value.kind in PADDING ? PADDING[/** @type {keyof PADDING} */ (value.kind)] : 0;
    this.#ruler.font = `700 ${this.#pixels(value)}px ${FONT}`;
    const named = value.kind === "danmaku" ? value.text : `${value.name} ${value.text} ${value.label}`;
    const width = this.#ruler.measureText(named).width + padding;
    return { mode, rank: value.kind === "danmaku" ? 0 : 1, width, value };
  }

  /** @param {Description} value @returns {number} size of its text on a stage of this width */
  #pixels({ size, kind }) {
    return Math.round((kind === "danmaku" ? Math.min(size, MAX_TEXT_PX) : 20) * this.#scale);
  }

  #draw() {
    for (const { mode, value } of this.#queue.take(performance.now())) {
      const node = document.createElement("div");
      node.className = `fly fly-${value.kind}`;
      node.style.height = `${ROW_PX * this.#scale}px`;
      node.style.fontSize = `${this.#pixels(value)}px`;
      node.append(value.kind === "danmaku" ? plainText(value) : card(value));
      this.renderer.emit({ mode: mode === "scroll" ? "rtl" : mode, render: () => node });
    }
    this.#forgetShown();
  }

  /** The renderer keeps every comment it ever drew, as if it had a film to seek in: let it forget them. */
  #forgetShown() {
    const { comments, _: inside } = this.renderer;
    if (comments.length >= FORGET_AFTER && inside.position === comments.length) {
      comments.length = 0;
      inside.position = 0;
    }
  }

  #resize() {
    const { offsetWidth: width, offsetHeight: height } = this.container;
    this.#scale = Math.min(1, Math.max(0.64, width / FULL_WIDTH));
    this.renderer.speed = PIXELS_PER_SECOND * this.#scale;
    this.renderer.resize();
    const lanes = laneCounts(height, ROW_PX * this.#scale, this.still.matches);
    this.#queue.resize({ width, travelMs: (1000 * width) / this.renderer.speed, lanes });
  }

  #update() {
    if (this.#on && !document.hidden) {
      this.renderer.show();
      this.#queue.show();
    } else {
      this.renderer.hide();
      this.#queue.hide();
    }
  }
}

/** @param {string} className @param {string} text */
function span(className, text) {
  const node = document.createElement("span");
  node.className = className;
  node.textContent = text;
  return node;
}

/** @param {Description} value @returns {HTMLElement} */
function plainText({ text, color }) {
  const node = span("fly-text", text);
  node.style.color = color;
  node.classList.toggle("fly-dark", isDark(color));
  return node;
}

/** @param {Description} value @returns {HTMLElement} */
function card({ kind, text, name, label }) {
  const node = span("card", "");
  if (kind === "superchat" && label) node.append(span("card-price", label));
  if (name) node.append(span("card-name", name));
  node.append(span("card-text", text));
  if (kind === "gift" && label) node.append(span("card-count", label));
  return node;
}
