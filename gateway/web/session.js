/** What the page remembers: the room, the name, the gateways. Pure but for the storage it is given. */

const KEY = "danmaku-push.demo";

/** @typedef {{room: string, name: string, color: string, mode: string, flying: boolean}} Saved */

/**
 * Turn what a person writes for a gateway (`localhost:8010`, `https://live.example.com`, `ws://host/ws`) into the address
 * of its WebSocket.
 * @param {string} text @param {string} pageProtocol `http:` or `https:` @returns {string | null} null: not an address
 */
export function gatewayUrl(text, pageProtocol) {
  const trimmed = text.trim();
  const secure = pageProtocol === "https:";
  const full = /^[a-z]+:\/\//iu.test(trimmed) ? trimmed : `${secure ? "wss" : "ws"}://${trimmed}`;
  try {
    const url = new URL(full.replace(/^http/iu, "ws"));
    if (trimmed === "" || !/^wss?:$/u.test(url.protocol)) return null;
    return `${url.protocol}//${url.host}${url.pathname === "/" ? "/ws" : url.pathname}`;
  } catch {
    return null;
  }
}

/**
 * List the gateways of `?gateways=a,b`, the page's own first.
 * @param {URLSearchParams} query @param {{protocol: string, host: string}} location @returns {string[]}
 */
export function gatewayList(query, { protocol, host }) {
  const given = [host, ...(query.get("gateways") ?? "").split(",")];
  const urls = given.map((text) => gatewayUrl(text, protocol)).filter((url) => url !== null);
  return [...new Set(/** @type {string[]} */ (urls))];
}

/** @param {Storage} storage @returns {Partial<Saved>} */
function saved(storage) {
  try {
    return JSON.parse(storage.getItem(KEY) ?? "{}") ?? {};
  } catch {
    return {};
  }
}

/**
 * What to begin with: the address of the page wins over what was used last.
 * @param {URLSearchParams} query @param {Storage} storage @param {() => number} random @returns {Saved}
 */
export function load(query, storage, random = Math.random) {
  const guest = `guest-${Math.floor(1000 + random() * 9000)}`;
  const last = saved(storage);
  return {
    room: query.get("room") || last.room || "42",
    name: query.get("name") || last.name || guest,
    color: last.color ?? "#ffffff",
    mode: last.mode ?? "scroll",
    flying: last.flying ?? true,
  };
}

/** @param {Storage} storage @param {Saved} session */
export function save(storage, session) {
  try {
    storage.setItem(KEY, JSON.stringify(session));
  } catch {
    // Storage may be full or forbidden: the page works without a memory.
  }
}
