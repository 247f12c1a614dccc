// Runs the page: the view of the current address, drawn again on each new version of the cluster.

import { get } from "./api.js";
import { h, morph } from "./dom.js";
import { follow } from "./live.js";
import { hashOf, parse } from "./routes.js";
import { clusterNetworkView } from "./cluster-networks.js";
import { hostView } from "./hosts.js";
import { hostNetworksView } from "./host-networks.js";
import { matrixView } from "./matrix.js";
import { networkConfigView, networkConfigsView } from "./network-configs.js";
import { plannerView } from "./planner.js";
import { problemsView } from "./problems.js";
import { vmNetworkView, vmNetworksView } from "./vm-networks.js";
import { vmView, vmsView } from "./vms.js";
import * as parts from "./parts.js";
import { visible } from "./words.js";

const REFRESH = 1000;
const COUNT_PAUSE = 3000;
const NAME = "Lanekeeper";

const PAGES = [
  ["", "Networks", ["", "hosts", "cluster-networks"]],
  ["network-configs", "Network configs"],
  ["vm-networks", "VM networks"],
  ["vms", "VMs"],
  ["host-networks", "Host networks"],
  ["problems", "Problems"],
  ["planner", "Planner"],
];

const place = (id) => document.getElementById(id);
const live = { connected: false, everConnected: false, version: null, waiting: null };
let problems = null;
let shownAt = null;
let current = null;

function makeView(route, ui) {
  switch (route.page) {
    case "": return matrixView(route, ui);
    case "hosts": return route.name === null ? matrixView(route, ui) : hostView(route, ui);
    case "cluster-networks": return route.name === null ? matrixView(route, ui) : clusterNetworkView(route, ui);
    case "network-configs": return route.name === null ? networkConfigsView(route, ui) : networkConfigView(route, ui);
    case "vm-networks": return route.name === null ? vmNetworksView(route, ui) : vmNetworkView(route, ui);
    case "vms": return route.name === null ? vmsView(route, ui) : vmView(route, ui);
    case "host-networks": return hostNetworksView(route, ui);
    case "problems": return problemsView(route, ui);
    case "planner": return plannerView(route, ui);
    default: return {
      title: () => "Not found",
      load: async () => ({}),
      render: () => [parts.head("There is no such page"), parts.empty("Go to the ", h("a", { href: "#/" }, "networks"), ".")],
    };
  }
}

/** One visit of an address: its view, its data, and the requests that are under way. */
class Visit {
  constructor(route) {
    this.route = route;
    this.data = null;
    this.error = null;
    this.version = null;
    this.stop = new AbortController();
    this.loading = null;
    this.again = false;
    this.timer = 0;
    this.lastStart = -Infinity;
    this.pause = REFRESH;
    this.ui = { memory: new Map(), redraw: () => this.draw(), problems: setProblems, reload: () => this.refresh(true), live };
    this.view = makeView(route, this.ui);
  }

  /** Reads the data again, at most once in a while; a call during a request asks once more after it. */
  refresh(now = false) {
    if (this.stop.signal.aborted) return;
    if (document.hidden && this.data !== null) {
      this.stale = true;
      return;
    }
    if (this.loading && !now) {
      this.again = true;
      return;
    }
    clearTimeout(this.timer);
    const wait = now ? 0 : Math.max(0, this.lastStart + this.pause - performance.now());
    this.timer = setTimeout(() => this.load(), wait);
  }

  async load() {
    this.loading?.abort();
    const request = new AbortController();
    this.loading = request;
    this.again = false;
    this.stale = false;
    this.lastStart = performance.now();
    const version = live.version;
    try {
      const data = await this.view.load(request.signal);
      if (request.signal.aborted || this.stop.signal.aborted) return;
      this.data = data;
      this.error = null;
      this.version = version;
      shownAt = new Date();
    } catch (error) {
      if (error.name === "AbortError" || request.signal.aborted || this.stop.signal.aborted) return;
      this.error = error;
      // "Does not exist" and the like stay as they are until the next version; the rest is tried again.
      if (error.status === 0 || error.status >= 500) this.again = true;
      if (error.status === 404) this.data = null;
      if (error.status === undefined) console.error(error);
    }
    this.loading = null;
    // A view that is expensive to read is read less often.
    this.pause = Math.max(REFRESH, (performance.now() - this.lastStart) * 4);
    this.draw();
    drawLive();
    // While the server reads the cluster, its events say when it is worth asking again.
    if (this.again && !(live.connected && live.waiting)) this.refresh();
  }

  draw() {
    if (this !== current) return;
    const wrap = h("div", null, this.data === null ? this.withoutData() : this.drawn());
    morph(place("view"), [...wrap.childNodes]);
    if (!this.broken) this.view.after?.(place("view"), this.data);
    const title = this.data === null || this.broken ? plainTitle(this.route) : this.view.title(this.data);
    document.title = `${visible(title.slice(0, 200))} · ${NAME}`;
    drawNotice(this.data === null ? null : this.error);
    if (this.focus && (this.data !== null || this.error)) {
      this.focus = false;
      place("view").querySelector("h1")?.focus({ preventScroll: true });
    }
  }

  /** The view of the data; a mistake in the page must not leave an old view that looks alive. */
  drawn() {
    try {
      this.broken = false;
      return this.view.render(this.data);
    } catch (error) {
      this.broken = true;
      console.error(error);
      return [parts.head("This page can't be shown"), parts.empty("The page does not understand the answer of the server. Reload it: the server may have been upgraded.")];
    }
  }

  withoutData() {
    const error = this.error;
    if (live.waiting && (error === null || error.status === 503)) {
      return [parts.head("The cluster is not read yet"), parts.empty(
        live.waiting.length > 0 ? ["Not read yet: ", live.waiting.join(", "), ". "] : null,
        "The page fills by itself as soon as everything has been read.")];
    }
    if (error === null) return [parts.head(parts.name(plainTitle(this.route))), parts.muted("Loading…")];
    if (error.status === 404) {
      return [parts.head("Not found"), parts.empty(parts.prose(sentence(error.message)),
        h("p", null, "It may have been deleted. The page shows it if it comes back. Go to the ", h("a", { href: "#/" }, "networks"), "."))];
    }
    if (error.status === 503) {
      return [parts.head("Not ready yet"), parts.empty(parts.prose(sentence(error.message)), h("p", null, "The page tries again by itself."))];
    }
    return [parts.head("This page can't be shown"), parts.empty(parts.prose(sentence(error.message)), h("p", null, "The page tries again by itself."))];
  }

  end() {
    this.stop.abort();
    this.loading?.abort();
    clearTimeout(this.timer);
    this.view.end?.();
  }
}

const sentence = (text) => (text === "" ? "" : text[0].toUpperCase() + text.slice(1));

function plainTitle(route) {
  const page = PAGES.find(([key, , pages]) => key === route.page || pages?.includes(route.page));
  return route.name ?? page?.[1] ?? "Not found";
}

function navigate(first) {
  const route = parse(location.hash);
  current?.end();
  current = new Visit(route);
  current.focus = !first;
  place("view").replaceChildren();
  drawNav();
  current.draw();
  window.scrollTo(0, 0);
  current.refresh(true);
  if (problems === null && live.connected) countProblems();
}

function drawNav() {
  const page = current?.route.page;
  const wrap = h("ul", null, PAGES.map(([key, label, pages]) => h("li", { key: label }, h("a", {
    href: hashOf(key),
    "aria-current": page === key ? (current.route.name === null ? "page" : "true") : pages?.includes(page) ? "true" : null,
    data: { nav: key || "networks" },
  }, label, key === "problems" && problems !== null && h("span", { class: problems > 0 ? "count bad" : "count" },
    problems.toLocaleString("en"))))));
  const nav = place("nav");
  morph(nav, [wrap]);
  if (nav.shown === page) return;
  nav.shown = page;
  const marked = nav.querySelector("[aria-current]");
  if (marked) nav.scrollLeft = marked.offsetLeft - 40;
}

function drawLive() {
  const element = place("live");
  const version = current?.version ?? live.version;
  const asOf = version === null ? "" : `as of version ${version}`;
  let text;
  let kind;
  if (live.connected && live.waiting) [text, kind] = ["Connected, reading the cluster", "waiting"];
  else if (live.connected) [text, kind] = [`Live, ${asOf}`, "connected"];
  else if (!live.everConnected && !live.told) [text, kind] = ["Connecting…", "connecting"];
  else [text, kind] = [shownAt ? `Reconnecting, ${asOf}, read at ${shownAt.toLocaleTimeString()}` : "Reconnecting…", "reconnecting"];
  // The version changes often; only another state of the connection is announced.
  if (element.dataset.live !== kind && element.dataset.live !== "connecting") place("announce").textContent = text;
  element.dataset.live = kind;
  if (element.textContent !== text) element.textContent = text;
}

function drawNotice(error) {
  const wanted = [];
  if (error) {
    wanted.push(h("p", { class: "notice" }, `What is shown could not be brought up to date: ${sentence(error.message)} The page tries again by itself.`));
  } else if (!live.connected && live.told && current?.data) {
    wanted.push(h("p", { class: "notice" }, "The connection to Lanekeeper is lost. The page shows the last known state and reconnects by itself."));
  }
  morph(place("notice"), wanted);
}

/** Counts the problems for the navigation, at most once in a while. */
const counting = { busy: false, again: false };
async function countProblems() {
  // Some views read the number anyway.
  if (current.view.countsProblems) return;
  counting.again = counting.busy || document.hidden;
  if (counting.again) return;
  counting.busy = true;
  const start = performance.now();
  try {
    setProblems((await get("problems")).problems.length);
  } catch {
    // The view itself says what is wrong.
  }
  setTimeout(() => {
    counting.busy = false;
    if (counting.again) countProblems();
  }, Math.max(COUNT_PAUSE, 10 * (performance.now() - start)));
}

function setProblems(number) {
  problems = number;
  drawNav();
}

follow((state) => {
  const before = live.version;
  const back = state.connected && !live.connected;
  Object.assign(live, state);
  drawLive();
  if (state.connected && !state.waiting && (state.version !== before || back)) {
    if (current.version !== state.version || current.data === null) current.refresh();
    countProblems();
  }
  if (current.data === null) current.draw();
  else drawNotice(current.error);
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  if (current?.stale) current.refresh(true);
  if (counting.again) countProblems();
});
window.addEventListener("hashchange", () => navigate(false));
place("skip").addEventListener("click", (event) => {
  event.preventDefault();
  (place("view").querySelector("h1") ?? place("main")).focus();
});
navigate(true);
