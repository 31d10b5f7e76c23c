/** What the client decides: pure functions without clock and socket. */

/** @typedef {{epoch: number, since: number, seen: number | null}} Place where a viewer stands in a room:
 * `since` is where to resume, `seen` the last sequence handed to the page (null: none of this epoch). */

const GOAWAY_MAX_MS = 600_000;
const FINAL_CLOSE_CODES = new Set([1002, 1003, 1007, 1008, 1009]);
const RETRIABLE_ERRORS = new Set(["rate_limited", "unavailable", "internal"]);

/**
 * Tell whether to come back after this close code: the same rule as the gateway's own table of codes.
 * @param {number} code @returns {boolean}
 */
export function mayReconnect(code) {
  return !FINAL_CLOSE_CODES.has(code) && !(code >= 4500 && code <= 4999);
}

/**
 * Tell whether the same command may succeed later.
 * @param {string} code an ERROR's code @returns {boolean}
 */
export function isRetriable(code) {
  return RETRIABLE_ERRORS.has(code);
}

/**
 * Full jitter: anything from nothing to a ceiling that doubles with each attempt, so that the viewers of a gateway
 * that died do not come back together.
 * @param {number} attempt 0 for the first
 * @param {{backoffBaseMs: number, backoffCapMs: number, random: () => number}} options
 * @returns {number} milliseconds
 */
export function backoffMs(attempt, { backoffBaseMs, backoffCapMs, random }) {
  return random() * Math.min(backoffCapMs, backoffBaseMs * 2 ** Math.min(attempt, 30));
}

/**
 * Read a GOAWAY's delay; nonsense becomes null (use the backoff), too long becomes ten minutes.
 * @param {unknown} value @returns {number | null} milliseconds
 */
export function goAwayMs(value) {
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0) return null;
  return Math.min(value, GOAWAY_MAX_MS);
}

/**
 * Decide what the heartbeat does now, and when to ask again.
 * @param {{now: number, sentAt: number, receivedAt: number, askedAt: number | null}} times `askedAt`: the first PING
 *   since something was received
 * @param {{pingMs: number, deadMs: number, pongMs: number}} options
 * @returns {{action: "none" | "ping" | "dead", nextMs: number}}
 */
export function heartbeat({ now, sentAt, receivedAt, askedAt }, { pingMs, deadMs, pongMs }) {
  const deadAt = askedAt === null ? Infinity : Math.max(receivedAt + deadMs, askedAt + pongMs);
  if (now >= deadAt) return { action: "dead", nextMs: 0 };
  const pingAt = askedAt === null ? Math.min(sentAt + pingMs, receivedAt + deadMs) : sentAt + pingMs;
  // A clock that was set back would otherwise silence the heartbeat until it has caught up.
  if (now >= pingAt || now < sentAt) return { action: "ping", nextMs: Math.min(pingMs, pongMs) };
  return { action: "none", nextMs: Math.min(pingAt, deadAt, now + pingMs) - now };
}

/**
 * Move a viewer's place by a JOINED. The gateway promises what comes after `seq`; after a recovery the pushes that
 * follow move the place instead.
 * @param {Place | null} place null on the first join
 * @param {{seq: number, epoch: number, recovered?: boolean}} joined @returns {Place}
 */
export function placeAfterJoined(place, { seq, epoch, recovered }) {
  if (place === null || place.epoch !== epoch) return { epoch, since: seq, seen: null };
  return recovered ? place : { ...place, since: Math.max(place.since, seq) };
}

/**
 * Take from a PUSH what the viewer has not seen. A batch's `seq` is that of its last item and sequences only rise,
 * so of n items at most `seq - seen` are new; the others stand at the front.
 * @param {Place} place @param {{items: unknown[], seq: number, epoch: number}} push
 * @returns {{items: unknown[], place: Place}}
 */
export function freshItems(place, { items, seq, epoch }) {
  if (!Number.isSafeInteger(seq) || !Number.isSafeInteger(epoch)) return { items, place };
  if (place.epoch !== epoch) return { items, place: { epoch, since: seq, seen: seq } };
  if (place.seen === null) return { items, place: { epoch, since: Math.max(place.since, seq), seen: seq } };
  if (seq <= place.seen) return { items: [], place };
  const seenBefore = Math.max(0, items.length - (seq - place.seen));
  return { items: items.slice(seenBefore), place: { epoch, since: Math.max(place.since, seq), seen: seq } };
}

/**
 * Read one frame; what is not `{"type": string, "data"?: object}` gives null, for a newer gateway may say more.
 * @param {unknown} text @param {number} maxChars
 * @returns {{type: string, data: Record<string, any>} | null}
 */
export function parseFrame(text, maxChars) {
  if (typeof text !== "string" || text.length > maxChars) return null;
  try {
    const frame = JSON.parse(text);
    const data = frame.data ?? {};
    return typeof frame.type === "string" && typeof data === "object" ? { type: frame.type, data } : null;
  } catch {
    return null;
  }
}

/**
 * List the addresses to use, in order.
 * @param {string | {url?: string, urls?: string[]}} given @param {{protocol: string, host: string}} location the page's
 * @returns {string[]}
 */
export function gatewayUrls(given, location) {
  const options = typeof given === "string" ? { url: given } : given;
  const own = `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}/ws`;
  const urls = [...(options.url ? [options.url] : []), ...(options.urls ?? [])];
  return urls.length > 0 ? [...new Set(urls)] : [own];
}
