/** The chat log at the side: bounded, drawn once a frame, and it follows the newest line unless the viewer scrolled up. */

import { isDark } from "./items.js";

/** @typedef {import("./items.js").Description} Description */

const MAX_LINES = 200;
const NEAR_PX = 48;
const BADGES = new Map([["host", "HOST"], ["moderator", "MOD"], ["member", "VIP"]]);

/** A list of lines in one element. */
export class ChatLog {
  /** @type {Description[]} */
  #coming = [];
  #scheduled = false;

  /** @param {HTMLElement} list @param {HTMLButtonElement} toEnd shown while newer lines are out of sight */
  constructor(list, toEnd) {
    this.list = list;
    this.toEnd = toEnd;
    list.addEventListener("scroll", () => this.#showButton(), { passive: true });
    toEnd.addEventListener("click", () => this.#follow());
  }

  /** @param {Description[]} lines */
  add(lines) {
    this.#coming.push(...lines);
    // A hidden page gets no frames: only what could still be seen afterwards is kept.
    if (this.#coming.length > MAX_LINES) this.#coming.splice(0, this.#coming.length - MAX_LINES);
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => this.#flush());
  }

  /** @param {string} text a line of the page itself */
  say(text) {
    this.add([{ kind: "quiet", name: "", role: "viewer", text, label: "", mode: null, color: "#ffffff", size: 25 }]);
  }

  /** Forget everything, for another room. */
  clear() {
    this.#coming = [];
    this.list.replaceChildren();
    this.#showButton();
  }

  #flush() {
    this.#scheduled = false;
    const follow = this.#atEnd();
    this.list.append(...this.#coming.map(lineNode));
    this.#coming = [];
    while (this.list.childElementCount > MAX_LINES) this.list.firstElementChild?.remove();
    if (follow) this.#follow();
    this.#showButton();
  }

  #atEnd() {
    return this.list.scrollHeight - this.list.scrollTop - this.list.clientHeight < NEAR_PX;
  }

  #follow() {
    this.list.scrollTop = this.list.scrollHeight;
  }

  #showButton() {
    this.toEnd.hidden = this.#atEnd();
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
function lineNode({ kind, name, role, text, label, color }) {
  const node = document.createElement("li");
  node.className = `line line-${kind}`;
  const badge = BADGES.get(role);
  if (badge) node.append(span(`badge badge-${role}`, badge));
  if (name) node.append(span("line-name", name));
  const body = span("line-text", text);
  if (kind === "danmaku" && color.toLowerCase() !== "#ffffff" && !isDark(color)) body.style.color = color;
  node.append(body);
  if (label) node.append(span("line-label", label));
  return node;
}
