/**
 * What stands between a busy room and the stage: the renderer draws whatever it is given, so this queue decides what
 * that is. Pure: the caller brings the clock and the widths. The rules:
 *
 * 1. The stage has lanes: as many as rows fit for scrolling danmaku, a third of that at the top and at the bottom.
 *    An entry goes on stage only when a lane of its mode takes it without touching the entry before it.
 * 2. A batch arrives all at once, once per tick; its entries are spread over the time since the batch before.
 * 3. A mode keeps at most `waitingPerLane` entries waiting for each of its lanes. When there are more, the newest win;
 *    important entries (rank above 0) outlive ordinary ones and go first.
 * 4. What waited longer than `staleMs` is dropped: danmaku about a moment that is gone helps nobody.
 * 5. While hidden nothing is kept: what arrives is counted as skipped.
 */

/** @typedef {"scroll" | "top" | "bottom"} Mode */
/** @typedef {{mode: Mode, rank: number, width: number, value: any}} Entry `width` in pixels as drawn */
/** @typedef {{at: number, width: number}} Occupant who entered a lane last, and when */

/**
 * Count the lanes of each mode.
 * @param {number} height of the stage in pixels @param {number} rowPx @param {boolean} [still] nothing scrolls
 * @returns {Record<Mode, number>}
 */
export function laneCounts(height, rowPx, still = false) {
  const rows = Math.max(1, Math.floor(height / rowPx));
  const third = Math.max(1, Math.floor(rows / 3));
  return { scroll: still ? 0 : rows, top: still ? Math.max(1, rows - third) : third, bottom: third };
}

/**
 * Tell when an entry may follow another in a lane.
 * Scrolling: the one before must be in completely, and must be out before this one reaches the far edge (a wider entry
 * travels a longer way in the same time, so it is faster). Standing: the one before must be gone.
 * @param {Mode} mode @param {Occupant} before @param {number} width of the entry that follows
 * @param {{width: number, travelMs: number, gapPx: number}} stage @returns {number} milliseconds
 */
export function freeAt(mode, before, width, { width: stageWidth, travelMs, gapPx }) {
  if (mode !== "scroll") return before.at + travelMs;
  const entered = (before.width + gapPx) / (stageWidth + before.width);
  const caughtUp = width / (stageWidth + width);
  return before.at + travelMs * Math.max(entered, caughtUp);
}

/** The queue in front of one stage. */
export class StageQueue {
  /** @type {Record<Mode, (Occupant | null)[]>} */
  #lanes = { scroll: [], top: [], bottom: [] };
  /** @type {Record<Mode, {entry: Entry, dueAt: number}[]>} */
  #waiting = { scroll: [], top: [], bottom: [] };
  #counts = { shown: 0, dropped: 0, skipped: 0 };
  #hidden = false;
  #offeredAt = -Infinity;
  #stage = { width: 1, travelMs: 1, gapPx: 0 };

  /** @param {{waitingPerLane?: number, staleMs?: number, spreadMs?: number, gapPx?: number}} [options] */
  constructor({ waitingPerLane = 3, staleMs = 4000, spreadMs = 1000, gapPx = 28 } = {}) {
    this.options = { waitingPerLane, staleMs, spreadMs, gapPx };
  }

  /** @returns {{shown: number, dropped: number, skipped: number, waiting: number}} every offered entry is in one */
  get counts() {
    const waiting = Object.values(this.#waiting).reduce((sum, list) => sum + list.length, 0);
    return { ...this.#counts, waiting };
  }

  /**
   * Tell the queue about its stage, at first and whenever it changes.
   * @param {{width: number, travelMs: number, lanes: Record<Mode, number>}} stage
   */
  resize({ width, travelMs, lanes }) {
    this.#stage = { width: Math.max(1, width), travelMs, gapPx: this.options.gapPx };
    for (const mode of /** @type {Mode[]} */ (Object.keys(lanes))) {
      const old = this.#lanes[mode];
      this.#lanes[mode] = Array.from({ length: lanes[mode] }, (_, lane) => old[lane] ?? null);
    }
  }

  /** @param {Entry[]} batch in order @param {number} now milliseconds */
  offer(batch, now) {
    if (this.#hidden) {
      this.#counts.skipped += batch.length;
      return;
    }
    const spread = Math.min(this.options.spreadMs, Math.max(0, now - this.#offeredAt));
    this.#offeredAt = now;
    for (const mode of /** @type {Mode[]} */ (["scroll", "top", "bottom"])) {
      this.#enqueue(mode, batch.filter((entry) => entry.mode === mode), now, spread);
    }
  }

  /** @param {number} now @returns {Entry[]} what goes on stage now */
  take(now) {
    const taken = [];
    for (const mode of /** @type {Mode[]} */ (["scroll", "top", "bottom"])) {
      this.#dropStale(mode, now);
      for (let next = this.#next(mode, now); next; next = this.#next(mode, now)) taken.push(next);
    }
    this.#counts.shown += taken.length;
    return taken;
  }

  /** Keep nothing from now on. */
  hide() {
    this.#hidden = true;
    this.#counts.skipped += this.counts.waiting;
    this.#waiting = { scroll: [], top: [], bottom: [] };
  }

  /** Begin again with an empty stage. */
  show() {
    this.#hidden = false;
    this.#offeredAt = -Infinity;
    for (const lanes of Object.values(this.#lanes)) lanes.fill(null);
  }

  /** @param {Mode} mode @param {Entry[]} entries @param {number} now @param {number} spread */
  #enqueue(mode, entries, now, spread) {
    const queue = this.#waiting[mode];
    const limit = this.options.waitingPerLane * this.#lanes[mode].length;
    const kept = newest(entries, limit);
    this.#counts.dropped += entries.length - kept.length;
    kept.forEach((entry, place) => queue.push({ entry, dueAt: now + (spread * place) / kept.length }));
    while (queue.length > limit) {
      const ordinary = queue.findIndex(({ entry }) => entry.rank === 0);
      queue.splice(Math.max(0, ordinary), 1);
      this.#counts.dropped += 1;
    }
  }

  /** @param {Mode} mode @param {number} now */
  #dropStale(mode, now) {
    const fresh = this.#waiting[mode].filter(({ dueAt }) => now - dueAt <= this.options.staleMs);
    this.#counts.dropped += this.#waiting[mode].length - fresh.length;
    this.#waiting[mode] = fresh;
  }

  /** @param {Mode} mode @param {number} now @returns {Entry | null} the next one for which a lane is free */
  #next(mode, now) {
    const queue = this.#waiting[mode];
    const due = queue.filter(({ dueAt }) => dueAt <= now);
    const first = due.find(({ entry }) => entry.rank > 0) ?? due[0];
    if (!first) return null;
    const { width } = first.entry;
    const free = (/** @type {Occupant | null} */ before) =>
      before === null || freeAt(mode, before, width, this.#stage) <= now;
    const lane = this.#lanes[mode].findIndex(free);
    if (lane < 0) return null;
    this.#lanes[mode][lane] = { at: now, width };
    queue.splice(queue.indexOf(first), 1);
    return first.entry;
  }
}

/**
 * Keep the newest of a batch, the important ones first of all, in their order.
 * @param {Entry[]} entries @param {number} limit @returns {Entry[]}
 */
function newest(entries, limit) {
  if (entries.length <= limit) return entries;
  const byWorth = entries.map((entry, place) => ({ entry, place }));
  byWorth.sort((a, b) => b.entry.rank - a.entry.rank || b.place - a.place);
  const kept = byWorth.slice(0, limit).sort((a, b) => a.place - b.place);
  return kept.map(({ entry }) => entry);
}
