/**
 * What an item of a room means on the page. Pure. Items are any JSON that a publisher chose to send: every field is
 * checked, cut and given a default here, so that nothing behind this module meets a surprise.
 */

/** @typedef {import("./stage.js").Mode} Mode */

/**
 * @typedef {object} Description
 * @property {"danmaku" | "gift" | "superchat" | "notice" | "quiet" | "other"} kind how it looks; `other` is unknown JSON
 * @property {string} name of the sender, may be empty
 * @property {string} role viewer, member, moderator or host
 * @property {string} text
 * @property {string} label a price or a count, may be empty
 * @property {Mode | null} mode where it flies; null: only in the log
 * @property {string} color `#rrggbb`
 * @property {number} size pixels at full stage size
 */

const MAX_TEXT = 200;
const MAX_NAME = 32;
const ROLES = new Set(["viewer", "member", "moderator", "host"]);
const MODES = new Set(["scroll", "top", "bottom"]);
const HIDDEN_TYPES = new Set(["online", "recall"]);

/** @param {unknown} value @param {number} limit @returns {string} one line */
function line(value, limit) {
  if (typeof value === "number") return String(value);
  if (typeof value !== "string") return "";
  const flat = value.replace(/\s+/gu, " ").trim();
  const characters = [...flat.slice(0, 4 * limit)];
  return characters.length > limit ? `${characters.slice(0, limit).join("")}…` : flat;
}

/** @param {any} value @returns {Record<string, any>} */
function fields(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};
}

/** @param {number} value @param {number} low @param {number} high @param {number} otherwise */
function within(value, low, high, otherwise) {
  return Number.isFinite(value) ? Math.min(high, Math.max(low, value)) : otherwise;
}

/** @param {Record<string, any>} item @returns {Description} */
function common(item) {
  const user = fields(item.user);
  return {
    kind: "danmaku",
    name: line(user.name, MAX_NAME),
    role: ROLES.has(user.role) ? user.role : "viewer",
    text: line(item.text, MAX_TEXT),
    label: "",
    mode: MODES.has(item.mode) ? item.mode : "scroll",
    color: typeof item.color === "string" && /^#[0-9a-f]{6}$/iu.test(item.color) ? item.color : "#ffffff",
    size: within(item.size, 12, 64, 25),
  };
}

/** @param {Record<string, any>} item @returns {string} "×3", or nothing for a single one */
function times(item) {
  const count = Math.trunc(within(item.count ?? item.num, 1, 1_000_000, 1));
  return count > 1 ? `×${count}` : "";
}

/** @param {Record<string, any>} item @returns {string} "¥30" */
function price(item) {
  const amount = Number(item.price ?? item.amount);
  const currency = line(item.currency, 3) || "¥";
  return Number.isFinite(amount) ? `${currency === "CNY" ? "¥" : currency}${amount}` : "";
}

/** @type {Record<string, (item: Record<string, any>) => Partial<Description>>} */
const KINDS = {
  danmaku: () => ({}),
  gift: (item) => ({
    kind: "gift",
    text: line(fields(item.gift).name ?? item.gift ?? item.name, MAX_NAME) || line(item.text, MAX_TEXT) || "gift",
    label: times({ ...fields(item.gift), ...item }),
    mode: "scroll",
  }),
  superchat: (item) => ({ kind: "superchat", label: price(item), mode: "top" }),
  notice: () => ({ kind: "notice", mode: "top" }),
  live: (item) => ({ kind: "notice", text: line(item.text, MAX_TEXT) || "The stream begins", mode: "top" }),
  preparing: (item) => ({ kind: "notice", text: line(item.text, MAX_TEXT) || "The stream is over", mode: "top" }),
  enter: () => ({ kind: "quiet", text: "entered the room", mode: null }),
  like: (item) => ({ kind: "quiet", text: "♥ likes this", label: times(item), mode: null }),
};

/**
 * Describe an item.
 * @param {unknown} item @returns {Description | null} null: nothing to show (a count, a recall)
 */
export function describe(item) {
  const given = fields(item);
  if (HIDDEN_TYPES.has(given.type)) return null;
  const kind = Object.hasOwn(KINDS, given.type) ? KINDS[given.type] : null;
  if (kind !== null) {
    const description = { ...common(given), ...kind(given) };
    if (description.text !== "") return description;
  }
  const text = line(JSON.stringify(item), MAX_TEXT);
  return { ...common({}), kind: "other", text, mode: null };
}

/**
 * Tell whether a colour needs a light outline to be read over a picture.
 * @param {string} color `#rrggbb` @returns {boolean}
 */
export function isDark(color) {
  const value = Number.parseInt(color.slice(1), 16);
  const [red, green, blue] = [value >> 16, (value >> 8) & 255, value & 255];
  return 0.299 * red + 0.587 * green + 0.114 * blue < 60;
}
