/** What a page may set, and the defaults. */

/**
 * @typedef {object} Options
 * @property {string} [url] one gateway; default `/ws` on the host of the page
 * @property {string[]} [urls] several gateways: the next is tried whenever a connection is lost
 * @property {string} [token] authenticate with it before any room is joined
 * @property {number} [pingMs] send PING after this long without sending (the gateway closes after 60 s of silence)
 * @property {number} [deadMs] reconnect after this long without receiving
 * @property {number} [pongMs] but only when a PING has waited this long (a sleeping tab's timers fire late)
 * @property {number} [backoffBaseMs] the first reconnection waits up to this
 * @property {number} [backoffCapMs] no reconnection waits longer
 * @property {number} [stableMs] a connection that lived this long starts the backoff anew
 * @property {number} [timeoutMs] a command without answer rejects after this
 * @property {number} [connectTimeoutMs] a connection that does not open is given up after this
 * @property {number} [maxRooms] rooms wanted at once (the gateway allows 64 a connection)
 * @property {number} [maxPending] unanswered commands at once
 * @property {number} [maxBufferedBytes] send() refuses while the browser holds more unsent bytes
 * @property {number} [maxFrameChars] longer frames of the gateway are ignored
 * @property {() => number} [random] source of jitter, in [0, 1)
 */

/** @type {Readonly<Required<Omit<Options, "url" | "urls" | "token">>>} */
export const DEFAULTS = Object.freeze({
  pingMs: 25_000,
  deadMs: 60_000,
  pongMs: 10_000,
  backoffBaseMs: 500,
  backoffCapMs: 30_000,
  stableMs: 60_000,
  timeoutMs: 10_000,
  connectTimeoutMs: 10_000,
  maxRooms: 64,
  maxPending: 256,
  maxBufferedBytes: 1024 * 1024,
  maxFrameChars: 1024 * 1024,
  random: Math.random,
});
