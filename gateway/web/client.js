/**
 * Browser client of danmaku-push: one WebSocket to a gateway, kept alive, rejoined and resumed by itself.
 *
 *     import { DanmakuClient } from "/client.js";
 *     const client = new DanmakuClient();
 *     client.addEventListener("push", ({ detail }) => detail.items.forEach(show));
 *     client.connect();
 *     await client.join("42");
 *
 * No dependencies. Every public call and event is described in README.md beside this file.
 */

import { Answer, DanmakuError, WantedRoom } from "./client/answer.js";
import { DEFAULTS } from "./client/options.js";
import {
  backoffMs,
  freshItems,
  gatewayUrls,
  goAwayMs,
  heartbeat,
  isRetriable,
  mayReconnect,
  parseFrame,
  placeAfterJoined,
} from "./client/rules.js";

export { DanmakuError, mayReconnect };

/** @typedef {import("./client/answer.js").Joined} Joined */
/** @typedef {import("./client/options.js").Options} Options */
/** @typedef {{id: string, name: string, role: string}} User */
/** @typedef {"connecting" | "open" | "waiting" | "closed"} State */

/**
 * A client of one gateway at a time. Events carry their content in `detail`: `state`, `open`, `authenticated`,
 * `joined`, `left`, `push`, `online`, `shed`, `error`, `goaway`.
 */
export class DanmakuClient extends EventTarget {
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {State} */
  #state = "closed";
  /** @type {Map<string, WantedRoom>} */
  #rooms = new Map();
  /** @type {Map<number, {answer: Answer, room: string | null}>} SEND and LEAVE waiting for their answer, by ref */
  #pending = new Map();
  #auth = { token: "", ref: 0, answer: /** @type {Answer | null} */ (null), user: /** @type {User | null} */ (null) };
  #times = { openedAt: 0, sentAt: 0, receivedAt: 0, askedAt: /** @type {number | null} */ (null) };
  #timers = { connect: 0, heartbeat: 0, goAway: 0, retry: 0 };
  /** @type {number | null} the moment a GOAWAY asked us to come back at */
  #returnAt = null;
  #attempt = 0;
  #lastRef = 0;
  #urlIndex = 0;

  /** @param {string | Options} [options] the gateway's address, or options; see {@link Options} */
  constructor(options = {}) {
    super();
    this.#urls = gatewayUrls(options, globalThis.location);
    const { url: _url, urls: _urls, token, ...tuning } = typeof options === "string" ? {} : options;
    this.#options = { ...DEFAULTS, ...tuning };
    this.#auth.token = token ?? "";
  }

  /** @type {string[]} */
  #urls;
  /** @type {typeof DEFAULTS} */
  #options;

  /** @returns {State} */
  get state() {
    return this.#state;
  }

  /** @returns {string} the gateway in use, or to be tried next */
  get url() {
    return this.#urls[this.#urlIndex % this.#urls.length];
  }

  /** @returns {string[]} the rooms that are wanted, joined or not */
  get rooms() {
    return [...this.#rooms.keys()];
  }

  /** @returns {User | null} who the gateway says we are */
  get user() {
    return this.#auth.user;
  }

  // ---- Commands -----------------------------------------------------------------------------------------------

  /** Connect, and stay connected until close() or a close code that forbids coming back. */
  connect() {
    if (this.#state !== "closed") return;
    this.#attempt = 0;
    this.#open();
  }

  /** Close. What is pending rejects with `closed`; wanted rooms are kept for the next connect(). */
  close() {
    if (this.#state === "closed") return;
    this.#detach(1000);
    this.#finish(1000, "closed by the page");
  }

  /**
   * Join a room and stay in it over reconnections until leave(). A join that rejects with `timeout` or `closed` is still
   * wanted and repeated with each connection; one that the gateway refused is not.
   * @param {string} room @returns {Promise<Joined>}
   */
  join(room) {
    const known = this.#rooms.get(room);
    if (known?.joined) return Promise.resolve(known.joined);
    if (known?.answer && !known.answer.settled) return known.answer.promise;
    if (!known && this.#rooms.size >= this.#options.maxRooms) {
      return Promise.reject(new DanmakuError("too_many_rooms", `at most ${this.#options.maxRooms} rooms`));
    }
    const wanted = known ?? new WantedRoom();
    this.#rooms.set(room, wanted);
    wanted.answer = new Answer(this.#options.timeoutMs, `JOIN ${room}`);
    // A JOIN already sent on this connection will be answered: TCP loses nothing, so it is not sent twice.
    if (this.#state === "open" && wanted.ref === null) this.#sendJoin(room, wanted);
    return wanted.answer.promise;
  }

  /**
   * Leave a room; a pending join() of it rejects with `left`.
   * @param {string} room @returns {Promise<{room: string}>}
   */
  leave(room) {
    const wanted = this.#rooms.get(room);
    this.#forget(room, new DanmakuError("left", `left ${room} before it was joined`));
    if (!wanted || this.#state !== "open" || wanted.ref === null) return Promise.resolve({ room });
    return this.#ask("LEAVE", { room }, room);
  }

  /**
   * Send a message of this viewer to a room. Rejects at once when not connected: it is not kept for later.
   * After `connection_lost` or `timeout` nobody knows whether it was published.
   * @param {string} room @param {unknown} data any JSON; the gateway takes at most 16 KiB
   * @returns {Promise<{seq: number}>} its place in the room
   */
  send(room, data) {
    if (this.#state !== "open") {
      return Promise.reject(new DanmakuError("not_connected", "there is no connection to a gateway"));
    }
    if ((this.#socket?.bufferedAmount ?? 0) > this.#options.maxBufferedBytes) {
      return Promise.reject(new DanmakuError("congested", "the network does not take what was sent before"));
    }
    return this.#ask("SEND", { room, data }, null);
  }

  /**
   * Authenticate now, or as soon as connected, and on every later connection. A refused token is forgotten.
   * @param {string} token @returns {Promise<User>}
   */
  authenticate(token) {
    this.#auth.answer?.reject(new DanmakuError("closed", "another token was given"));
    const answer = new Answer(this.#options.timeoutMs, "AUTH");
    this.#auth = { token, ref: 0, answer, user: null };
    if (this.#state === "open") this.#sendAuth();
    return /** @type {Promise<User>} */ (answer.promise);
  }

  // ---- Connection ---------------------------------------------------------------------------------------------

  #open() {
    clearTimeout(this.#timers.retry);
    let socket;
    try {
      socket = new WebSocket(this.url);
    } catch (error) {
      this.#emit("error", { code: "url_invalid", message: String(error) });
      this.#finish(1008, "the browser refuses this address");
      return;
    }
    this.#socket = socket;
    this.#returnAt = null;
    // A socket that was given up may still speak: only the current one is heard.
    const ifCurrent = (/** @type {(event: any) => void} */ handle) => (/** @type {any} */ event) => {
      if (this.#socket === socket) handle(event);
    };
    socket.onopen = ifCurrent(() => this.#opened());
    socket.onmessage = ifCurrent((event) => this.#received(event.data));
    socket.onclose = ifCurrent((event) => this.#lost(event.code, event.reason));
    this.#timers.connect = setTimeout(() => this.#giveUp("no answer to the handshake"), this.#options.connectTimeoutMs);
    this.#setState("connecting");
  }

  #opened() {
    clearTimeout(this.#timers.connect);
    const now = Date.now();
    this.#times = { openedAt: now, sentAt: now, receivedAt: now, askedAt: null };
    // Events come last: a page that joins in its handler must not see the same JOIN sent twice.
    this.#state = "open";
    if (this.#auth.token) this.#sendAuth();
    for (const [room, wanted] of this.#rooms) this.#sendJoin(room, wanted);
    this.#beat();
    this.#setState("open");
    this.#emit("open", { url: this.url });
  }

  #beat() {
    clearTimeout(this.#timers.heartbeat);
    const now = Date.now();
    const { action, nextMs } = heartbeat({ now, ...this.#times }, this.#options);
    if (action === "dead") {
      this.#giveUp("nothing was received");
      return;
    }
    if (action === "ping") {
      this.#times.askedAt ??= now;
      this.#write("PING", {});
    }
    this.#timers.heartbeat = setTimeout(() => this.#beat(), nextMs);
  }

  /** @param {number} code forget the socket without waiting for its close handshake */
  #detach(code) {
    const socket = this.#socket;
    this.#socket = null;
    try {
      socket?.close(code);
    } catch {
      // A browser may refuse to close a socket in some states; it is no longer listened to in any case.
    }
  }

  /** @param {string} reason give the connection up and come back */
  #giveUp(reason) {
    this.#detach(1000);
    this.#lost(1006, reason);
  }

  /** @param {number} code @param {string} reason */
  #lost(code, reason) {
    const now = Date.now();
    const { openedAt } = this.#times;
    if (openedAt > 0 && now - openedAt >= this.#options.stableMs) this.#attempt = 0;
    this.#endConnection();
    if (!mayReconnect(code)) {
      this.#finish(code, reason);
      return;
    }
    const retryMs =
      this.#returnAt === null ? backoffMs(this.#attempt++, this.#options) : Math.max(0, this.#returnAt - now);
    this.#urlIndex += 1;
    this.#timers.retry = setTimeout(() => this.#open(), retryMs);
    this.#setState("waiting", { retryMs, code, reason });
  }

  /** Forget everything that belongs to one connection only. */
  #endConnection() {
    this.#socket = null;
    this.#times.openedAt = 0;
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    const lost = new DanmakuError("connection_lost", "the connection ended before the answer");
    const unanswered = [...this.#pending.values()];
    this.#pending.clear();
    for (const { answer, room } of unanswered) {
      if (room === null) answer.reject(lost);
      else answer.resolve({ room }); // gone with the connection, and not rejoined
    }
    for (const wanted of this.#rooms.values()) {
      clearTimeout(wanted.retryTimer);
      wanted.joined = null;
      wanted.ref = null;
    }
    this.#auth.user = null;
  }

  /** @param {number} code @param {string} reason end for good: nothing happens until connect() */
  #finish(code, reason) {
    this.#endConnection();
    const closed = new DanmakuError("closed", `closed with ${code} ${reason}`.trim());
    for (const wanted of this.#rooms.values()) wanted.answer?.reject(closed);
    this.#auth.answer?.reject(closed);
    this.#setState("closed", { code, reason });
  }

  // ---- Sending ------------------------------------------------------------------------------------------------

  /** @param {string} type @param {object} data */
  #write(type, data) {
    this.#socket?.send(JSON.stringify({ type, data }));
    this.#times.sentAt = Date.now();
  }

  /**
   * @param {"SEND" | "LEAVE"} type @param {object} data
   * @param {string | null} room of a LEAVE, which the end of the connection answers too
   * @returns {Promise<any>}
   */
  #ask(type, data, room) {
    if (this.#pending.size >= this.#options.maxPending) {
      return Promise.reject(new DanmakuError("too_many_pending", `${this.#pending.size} commands are unanswered`));
    }
    const ref = ++this.#lastRef;
    const answer = new Answer(this.#options.timeoutMs, type);
    const entry = { answer, room };
    const forget = () => this.#pending.delete(ref);
    answer.promise.then(forget, forget);
    try {
      this.#write(type, { ...data, ref });
    } catch (error) {
      answer.reject(new DanmakuError("field_invalid", String(error)));
      return answer.promise;
    }
    this.#pending.set(ref, entry);
    return answer.promise;
  }

  /** @param {string} room @param {WantedRoom} wanted */
  #sendJoin(room, wanted) {
    clearTimeout(wanted.retryTimer);
    wanted.ref = ++this.#lastRef;
    const { place, ref } = wanted;
    this.#write("JOIN", place === null ? { room, ref } : { room, since: place.since, epoch: place.epoch, ref });
  }

  #sendAuth() {
    this.#auth.ref = ++this.#lastRef;
    this.#write("AUTH", { token: this.#auth.token, ref: this.#auth.ref });
  }

  // ---- Receiving ----------------------------------------------------------------------------------------------

  /** @param {unknown} text */
  #received(text) {
    this.#times.receivedAt = Date.now();
    this.#times.askedAt = null;
    const frame = parseFrame(text, this.#options.maxFrameChars);
    if (frame === null) return;
    const { type, data } = frame;
    if (type === "PUSH") this.#onPush(data);
    else if (type === "JOINED") this.#onJoined(data);
    else if (type === "LEFT") this.#onLeft(data);
    else if (type === "ACK") this.#onAck(data);
    else if (type === "ERROR") this.#onError(data);
    else if (type === "GOAWAY") this.#onGoAway(data);
    else if (type === "SHED" || type === "ONLINE") this.#emit(type.toLowerCase(), data);
  }

  /** @param {Record<string, any>} push */
  #onPush(push) {
    if (!Array.isArray(push.items)) return;
    if (push.room === undefined) {
      this.#emit("push", push);
      return;
    }
    const wanted = this.#rooms.get(push.room);
    if (!wanted) return; // left meanwhile
    const before = wanted.place ?? { epoch: push.epoch, since: 0, seen: null };
    const { items, place } = freshItems(before, /** @type {any} */ (push));
    wanted.place = place;
    if (items.length > 0) this.#emit("push", { ...push, items });
  }

  /** @param {any} joined */
  #onJoined(joined) {
    const wanted = this.#rooms.get(joined.room);
    // The answer to an older JOIN of a room that was left and joined again says nothing about this one.
    if (!wanted || (joined.ref !== undefined && joined.ref !== wanted.ref)) return;
    const { ref: _ref, ...detail } = joined;
    wanted.place = placeAfterJoined(wanted.place, joined);
    wanted.joined = detail;
    wanted.attempt = 0;
    wanted.answer?.resolve(detail);
    this.#emit("joined", detail);
  }

  /** @param {Record<string, any>} left */
  #onLeft({ room, ref }) {
    const asked = this.#pending.get(ref);
    if (asked) asked.answer.resolve({ room });
    else this.#forget(room, new DanmakuError("left", `the gateway took this viewer out of ${room}`));
    this.#emit("left", { room });
  }

  /** @param {Record<string, any>} ack */
  #onAck({ ref, seq, user }) {
    if (ref === this.#auth.ref) {
      this.#auth.user = user ?? null;
      this.#auth.answer?.resolve(user);
      this.#emit("authenticated", { user });
    } else {
      this.#pending.get(ref)?.answer.resolve({ seq });
    }
  }

  /** @param {Record<string, any>} data */
  #onError({ code, message, ref }) {
    const error = new DanmakuError(String(code), String(message));
    const asked = this.#pending.get(ref);
    if (asked) asked.answer.reject(error);
    else if (ref !== undefined && ref === this.#auth.ref) this.#authRefused(error);
    else if (!this.#joinRefused(ref, error)) this.#emit("error", { code: error.code, message: error.message });
  }

  /** @param {DanmakuError} error */
  #authRefused(error) {
    const { answer } = this.#auth;
    if (!isRetriable(error.code)) this.#auth.token = "";
    if (answer && !answer.settled) answer.reject(error);
    else this.#emit("error", { code: error.code, message: error.message });
  }

  /** @param {unknown} ref @param {DanmakuError} error @returns {boolean} whether it was the answer to a JOIN */
  #joinRefused(ref, error) {
    const found = [...this.#rooms].find(([, wanted]) => wanted.ref !== null && wanted.ref === ref);
    if (!found) return false;
    const [room, wanted] = found;
    const awaited = wanted.answer !== null && !wanted.answer.settled;
    const later = isRetriable(error.code) && (wanted.place !== null || !awaited);
    if (later) {
      wanted.ref = null;
      const again = () => this.#sendJoin(room, wanted);
      wanted.retryTimer = setTimeout(again, backoffMs(wanted.attempt++, this.#options));
    } else {
      this.#forget(room, error);
    }
    if (!awaited) this.#emit("error", { code: error.code, message: error.message, room, willRetry: later });
    return true;
  }

  /** @param {Record<string, any>} data */
  #onGoAway({ reason, reconnect_after_ms: delay }) {
    const reconnectAfterMs = goAwayMs(delay) ?? backoffMs(this.#attempt, this.#options);
    this.#returnAt = Date.now() + reconnectAfterMs;
    clearTimeout(this.#timers.goAway);
    this.#timers.goAway = setTimeout(() => this.#giveUp("the gateway asked to go"), reconnectAfterMs);
    this.#emit("goaway", { reason, reconnectAfterMs });
  }

  /** @param {string} room @param {DanmakuError} why for a join() that still waits */
  #forget(room, why) {
    const wanted = this.#rooms.get(room);
    if (!wanted) return;
    clearTimeout(wanted.retryTimer);
    this.#rooms.delete(room);
    wanted.answer?.reject(why);
  }

  // ---- Events -------------------------------------------------------------------------------------------------

  /** @param {State} state @param {object} [more] */
  #setState(state, more = {}) {
    this.#state = state;
    this.#emit("state", { state, url: this.url, ...more });
  }

  /** @param {string} type @param {object} detail */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
