/** The demo page: a live room on top of client.js. It shows what a page of your own would do, and nothing hidden. */

import { DanmakuClient } from "/client.js";
import { ChatLog } from "./chatlog.js";
import { FlyingStage } from "./flying.js";
import { describe } from "./items.js";
import { gatewayList, load, save } from "./session.js";
import { playVideo } from "./video.js";

const COLORS = [
  ["#ffffff", "White"], ["#fe5b6b", "Red"], ["#ffb02e", "Orange"], ["#ffe74c", "Yellow"],
  ["#5be38a", "Green"], ["#4cc9ff", "Blue"], ["#b48cff", "Violet"], ["#ff8fc7", "Pink"],
];
const RATE_WINDOW_MS = 5000;
const STATS_MS = 500;

/** @param {string} id @returns {any} */
const byId = (id) => document.getElementById(id);

const query = new URLSearchParams(location.search);
const token = query.get("token") ?? undefined;
// The address is shown and passed on; who the viewer is must not go with it.
query.delete("token");
const gateways = gatewayList(query, location);
const session = load(query, localStorage);
const still = matchMedia("(prefers-reduced-motion: reduce)");
const stage = new FlyingStage(byId("stage"), still);
const chat = new ChatLog(byId("log"), byId("log-end"));
const totals = { received: 0, shed: 0 };
/** @type {{at: number, count: number}[]} batches of the last seconds */
let arrivals = [];
/** @type {number | null} */
let retryAt = null;
let client = connect(gateways);

// ---- Connection -----------------------------------------------------------------------------------------------

/** @param {string[]} urls the chosen gateway first, the others to fall back on */
function connect(urls) {
  const made = new DanmakuClient({ urls, token });
  made.addEventListener("state", ({ detail }) => showState(detail));
  made.addEventListener("push", ({ detail }) => received(detail.items));
  made.addEventListener("joined", ({ detail }) => showOnline(detail.online));
  made.addEventListener("online", ({ detail }) => detail.room === session.room && showOnline(detail.count));
  made.addEventListener("shed", ({ detail }) => (totals.shed += Number(detail.count) || 0));
  made.addEventListener("error", ({ detail }) => chat.say(`${detail.code}: ${detail.message}`));
  made.addEventListener("goaway", () => chat.say("The gateway is leaving: moving to another one."));
  made.connect();
  join(made);
  return made;
}

/** @param {DanmakuClient} made */
async function join(made) {
  const { room } = session;
  try {
    await made.join(room);
    chat.say(`Joined room ${room}.`);
  } catch (error) {
    if (made === client && error.code !== "left" && error.code !== "timeout") chat.say(`Room ${room}: ${error.message}`);
  }
}

/** @param {string} url */
function moveTo(url) {
  client.close();
  client = connect([url, ...gateways.filter((other) => other !== url)]);
}

/** @param {string} room */
function enterRoom(room) {
  client.leave(session.room).catch(() => {});
  session.room = room;
  chat.clear();
  stage.clear();
  showOnline(null);
  join(client);
}

/** @param {unknown[]} items */
function received(items) {
  const described = items.map(describe).filter((description) => description !== null);
  totals.received += items.length;
  arrivals.push({ at: performance.now(), count: items.length });
  stage.offer(described);
  chat.add(described);
}

// ---- What is shown --------------------------------------------------------------------------------------------

/** @param {{state: string, url: string, retryMs?: number, code?: number, reason?: string}} detail */
function showState({ state, url, retryMs, code, reason }) {
  byId("state").dataset.state = state;
  retryAt = state === "waiting" ? performance.now() + (retryMs ?? 0) : null;
  byId("state-text").textContent = state === "open" ? "connected" : state;
  byId("stat-gateway").textContent = new URL(url).host;
  byId("gateway").value = url;
  byId("send").disabled = state !== "open";
  const curtain = byId("curtain");
  curtain.hidden = state === "open";
  if (state === "connecting") curtain.textContent = "Connecting…";
  if (state === "closed") curtain.textContent = `Disconnected (${code ?? ""} ${reason ?? ""})`.replace(/\s+\)/u, ")");
  showCountdown();
}

function showCountdown() {
  if (retryAt === null) return;
  const seconds = Math.max(0, (retryAt - performance.now()) / 1000);
  byId("curtain").textContent = `Reconnecting in ${seconds.toFixed(1)} s…`;
}

/** @param {number | null} count */
function showOnline(count) {
  byId("stat-online").textContent = count === null ? "–" : Number(count).toLocaleString("en");
}

function showStats() {
  const now = performance.now();
  arrivals = arrivals.filter(({ at }) => now - at <= RATE_WINDOW_MS);
  const recent = arrivals.reduce((sum, { count }) => sum + count, 0);
  const rate = (1000 * recent) / RATE_WINDOW_MS;
  const { dropped, skipped } = stage.counts;
  byId("stat-rate").textContent = rate >= 10 ? Math.round(rate).toLocaleString("en") : rate.toFixed(1);
  byId("stat-total").textContent = totals.received.toLocaleString("en");
  byId("stat-shed").textContent = totals.shed.toLocaleString("en");
  byId("stat-dropped").textContent = (dropped + skipped).toLocaleString("en");
  showCountdown();
}

// ---- What the viewer does -------------------------------------------------------------------------------------

function remember() {
  save(localStorage, session);
  query.set("room", session.room);
  query.set("name", session.name);
  // Room names may hold "/" and ":"; left readable, the address can be told to somebody.
  history.replaceState(null, "", `?${query.toString().replaceAll("%2F", "/").replaceAll("%3A", ":")}`);
  document.title = `${session.room} · danmaku-push`;
  byId("live-room").textContent = session.room;
}

/** @param {SubmitEvent} event */
function placeChosen(event) {
  event.preventDefault();
  const room = byId("room").value.trim();
  session.name = byId("name").value.trim();
  if (room !== session.room) enterRoom(room);
  if (byId("gateway").value !== client.url || client.state === "closed") moveTo(byId("gateway").value);
  remember();
}

/** @param {SubmitEvent} event */
async function send(event) {
  event.preventDefault();
  const text = byId("text").value.trim();
  if (text === "") return;
  const { color, mode, name } = session;
  byId("answer").textContent = "";
  byId("text").value = "";
  try {
    const { seq } = await client.send(session.room, { type: "danmaku", text, mode, color, user: { name } });
    byId("answer").textContent = `Sent, number ${seq} of this room.`;
    byId("answer").dataset.kind = "good";
  } catch (error) {
    byId("answer").textContent = `Not sent. ${error.message} (${error.code})`;
    byId("answer").dataset.kind = "bad";
    byId("text").value ||= text;
  }
}

function makeColors() {
  for (const [value, name] of COLORS) {
    const input = document.createElement("input");
    Object.assign(input, { type: "radio", name: "color", value, checked: value === session.color });
    input.setAttribute("aria-label", name);
    input.title = name;
    input.style.setProperty("--swatch", value);
    input.addEventListener("change", () => {
      session.color = value;
      remember();
    });
    byId("colors").append(input);
  }
}

function makeGateways() {
  for (const url of gateways) byId("gateway").append(new Option(new URL(url).host, url));
  byId("gateway").value = client.url;
}

function makeControls() {
  makeColors();
  makeGateways();
  byId("room").value = session.room;
  byId("name").value = session.name;
  byId("mode").value = session.mode;
  byId("mode").addEventListener("change", () => {
    session.mode = byId("mode").value;
    remember();
  });
  byId("place").addEventListener("submit", placeChosen);
  byId("gateway").addEventListener("change", () => byId("place").requestSubmit());
  byId("composer").addEventListener("submit", send);
  byId("flying").addEventListener("click", () => setFlying(!session.flying));
}

/** @param {boolean} flying */
function setFlying(flying) {
  session.flying = flying;
  stage.on = flying;
  byId("flying").setAttribute("aria-pressed", String(flying));
  remember();
}

makeControls();
setFlying(session.flying);
playVideo(byId("video"), still);
setInterval(showStats, STATS_MS);
