/** What a command waits for, and how it fails. */

/** @typedef {import("./rules.js").Place} Place */
/** @typedef {{room: string, seq: number, epoch: number, online: number, recovered: boolean}} Joined */

/** A command that failed, with a stable machine-readable code. */
export class DanmakuError extends Error {
  /**
   * @param {string} code the gateway's (`room_invalid`, `rate_limited`, …) or the client's own: `timeout`, `closed`,
   *   `not_connected`, `connection_lost`, `left`, `congested`, `too_many_pending`, `too_many_rooms`
   * @param {string} message
   */
  constructor(code, message) {
    super(message);
    this.name = "DanmakuError";
    this.code = code;
  }
}

/** A promise for an answer that is settled once, by the answer, by its deadline or by the end of the connection. */
export class Answer {
  /** @param {number} timeoutMs @param {string} what */
  constructor(timeoutMs, what) {
    this.promise = new Promise((resolve, reject) => {
      this.accept = resolve;
      this.refuse = reject;
    });
    const late = () => this.reject(new DanmakuError("timeout", `${what}: no answer in ${timeoutMs} ms`));
    this.timer = setTimeout(late, timeoutMs);
    this.settled = false;
  }

  /** @param {unknown} value */
  resolve(value) {
    clearTimeout(this.timer);
    this.settled = true;
    this.accept(value);
  }

  /** @param {DanmakuError} error */
  reject(error) {
    clearTimeout(this.timer);
    this.settled = true;
    this.refuse(error);
  }
}

/** A room the page wants to be in, joined or not. */
export class WantedRoom {
  constructor() {
    /** @type {Place | null} survives reconnections, so that a rejoin resumes */
    this.place = null;
    /** @type {Joined | null} the answer on this connection */
    this.joined = null;
    /** @type {Answer | null} */
    this.answer = null;
    /** @type {number | null} the ref of the JOIN sent on this connection */
    this.ref = null;
    this.attempt = 0;
    this.retryTimer = 0;
  }
}
