// The first page: on which hosts each cluster network is active, and why not elsewhere.

import { get, pathOf } from "./api.js";
import * as causes from "./causes.js";
import { debounce, h } from "./dom.js";
import { Grid } from "./grid.js";
import * as parts from "./parts.js";
import { coverHash, keepQuery, planHash } from "./routes.js";
import { buildRows, changedCells } from "./rows.js";
import { count, stateMeaning, stateWord } from "./words.js";

const GROUP_ABOVE = 50;
const DENSE_ABOVE = 12;
const scrolled = { top: 0, left: 0 };

export function matrixView(route, ui) {
  const { query } = route;
  const state = {
    filter: query.get("filter") ?? "",
    gapsOnly: query.get("gaps") === "1",
    group: query.has("group") ? query.get("group") === "1" : null,
    open: new Set(),
    selected: query.has("host") && query.has("network") ? { host: query.get("host"), network: query.get("network"), key: `host ${query.get("host")}` } : null,
  };
  let shown = null;
  let detail = null;
  let asking = null;
  let rows = { rows: [], shown: 0, groups: 0 };
  const grid = new Grid({ select, toggle });
  let mounted = false;

  const keep = () => keepQuery({
    filter: state.filter, gaps: state.gapsOnly ? "1" : "", group: state.group === null ? "" : state.group ? "1" : "0",
    host: state.selected?.host, network: state.selected?.network,
  });
  const filterSoon = debounce(() => { keep(); ui.redraw(); }, 80);

  async function readDetail(signal) {
    const { selected } = state;
    if (!selected) return;
    let answer;
    try {
      answer = await get(pathOf("hosts", selected.host), signal);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      answer = { error };
    }
    if (state.selected === selected) detail = answer;
  }

  function select(row, network) {
    const host = row.host ?? row.group[0];
    state.selected = { host: host.name, network, key: row.key };
    detail = null;
    keep();
    ui.redraw();
    asking?.abort();
    asking = new AbortController();
    readDetail(asking.signal).then(() => {
      ui.redraw();
      document.getElementById("cause-title")?.focus({ preventScroll: false });
    }, () => {});
  }

  function close() {
    state.selected = null;
    detail = null;
    keep();
    ui.redraw();
    grid.focusCell();
  }

  function toggle(key) {
    if (!state.open.delete(key)) state.open.add(key);
    ui.redraw();
  }

  function panel(overview) {
    const { selected } = state;
    if (!selected) return null;
    const alike = rows.rows.find((item) => item.key === selected.key)?.group ?? null;
    const at = overview.clusterNetworks.findIndex((network) => network.name === selected.network);
    const host = overview.hosts.find((item) => item.name === selected.host);
    const code = host && at >= 0 ? overview.codes[host.states[at]] : null;
    const row = detail?.clusterNetworks?.find((item) => item.name === selected.network);
    const configs = (detail?.networkConfigs ?? []).filter((config) => config.clusterNetwork === selected.network);
    return h("aside", {
      class: "panel", id: "cause", key: "panel", "aria-labelledby": "cause-title",
      data: { host: selected.host, network: selected.network, state: code },
      on: { keydown: (event) => { if (event.key === "Escape") close(); } },
    },
    h("div", { class: "panel-head" },
      h("h2", { id: "cause-title", tabindex: "-1" }, parts.name(selected.network), " on ", parts.name(selected.host)),
      h("button", { type: "button", class: "close", id: "cause-close", "aria-label": "Close", on: { click: close } }, "✕")),
    code === null && h("p", null, "The host or the cluster network is gone."),
    code !== null && !(row && !row.feasible) && h("p", { class: "cause-head" }, parts.state(code), stateMeaning(code)),
    detail === null && parts.muted("Reading the cause…"),
    detail?.error && h("p", { class: "notice" }, `The cause could not be read: ${detail.error.message}`),
    row && !row.feasible && row.causes.map(causes.cause),
    configs.length > 0 && parts.facts(
      ["Network config", configs.map((config) => h("div", null, parts.networkConfig(config.name)))],
      ["NICs", configs.map((config) => h("div", null, parts.name(config.nics.join(", "))))],
      ["Bond mode", configs.map((config) => h("div", null, parts.name(config.mode)))],
      ["MTU", configs.map((config) => h("div", null, String(config.mtu)))]),
    alike && h("div", null,
      h("p", null, `${count(alike.length, "host")} are alike:`),
      parts.items(ui, `alike ${selected.key}`, alike, (item) => parts.host(item.name), 12)),
    h("ul", { class: "actions" },
      h("li", null, "Host ", parts.host(selected.host)),
      h("li", null, "Cluster network ", parts.clusterNetwork(selected.network)),
      code === "host-not-covered" && h("li", null, h("a", { id: "plan-cover", href: coverHash(selected.network, (alike ?? [{ name: selected.host }]).map((item) => item.name)) }, alike ? "Plan a network config that covers these hosts" : "Plan a network config that covers this host"))));
  }

  function summaries(overview) {
    const all = overview.hosts.length;
    const dense = overview.clusterNetworks.length > DENSE_ABOVE;
    return h("ul", { class: dense ? "cards dense" : "cards", id: "summaries", "aria-label": "Cluster networks", key: "cards", tabindex: dense ? "0" : null },
      overview.clusterNetworks.map((network) => {
        const bar = h("span", { class: "bar", "aria-hidden": "true" }, h("span", { class: "bar-fill" }));
        bar.firstChild.style.setProperty("width", `${all === 0 ? 0 : (100 * network.active) / all}%`);
        return h("li", { class: "card", key: network.name, data: { network: network.name } },
          h("div", { class: "card-head" }, parts.clusterNetwork(network.name), h("span", { class: "card-count" }, `${network.active.toLocaleString("en")} of ${dense ? all.toLocaleString("en") : count(all, "host")}`)),
          bar,
          h("div", { class: "card-gaps" }, network.gaps.length === 0
            ? h("span", { class: "muted" }, network.active === all ? "active everywhere" : "")
            : network.gaps.map((gap) => h("span", { class: "state", data: { state: gap.code }, title: `${gap.hosts.toLocaleString("en")} ${stateWord(gap.code)}` },
              h("span", { class: "mark", "aria-hidden": "true" }), h("span", null, gap.hosts.toLocaleString("en"), h("span", { class: dense ? "unseen" : null }, ` ${stateWord(gap.code)}`))))));
      }));
  }

  function toolbar(overview, group) {
    const some = rows.shown === overview.hosts.length ? count(rows.shown, "host") : `${rows.shown.toLocaleString("en")} of ${count(overview.hosts.length, "host")}`;
    return h("div", { class: "toolbar", key: "toolbar" },
      h("label", { class: "field-inline" }, "Filter hosts ", h("input", {
        type: "search", id: "host-filter", value: state.filter, placeholder: "part of a name", autocomplete: "off", spellcheck: "false",
        on: { input: (event) => { state.filter = event.target.value; grid.top(); filterSoon(); } },
      })),
      h("label", { class: "check" }, h("input", {
        type: "checkbox", id: "gaps-only", checked: state.gapsOnly,
        on: { change: (event) => { state.gapsOnly = event.target.checked; grid.top(); keep(); ui.redraw(); } },
      }), "Only hosts with a gap"),
      h("label", { class: "check" }, h("input", {
        type: "checkbox", id: "group-alike", checked: group,
        on: { change: (event) => { state.group = event.target.checked; grid.top(); keep(); ui.redraw(); } },
      }), "Group alike hosts"),
      h("p", { class: "muted shown", role: "status", id: "hosts-shown" }, group ? `${some} in ${count(rows.rows.filter((row) => !row.inGroup).length, "row")}` : some));
  }

  const legend = (overview) => h("ul", { class: "legend", id: "legend", "aria-label": "Legend", key: "legend" },
    overview.codes.map((code) => h("li", { key: code }, parts.state(code))));

  function render(overview) {
    const group = state.group ?? overview.hosts.length > GROUP_ABOVE;
    rows = buildRows(overview, { ...state, group });
    const head = parts.head("Cluster networks by host",
      h("p", { class: "lead" }, `${count(overview.hosts.length, "host")}, ${count(overview.clusterNetworks.length, "cluster network")}. `, "Choose a cell to see why a network is not active there."));
    if (overview.hosts.length === 0) return [head, parts.empty("No host is known. Lanekeeper reads them from the cluster's Nodes.")];
    const onlyMgmt = overview.clusterNetworks.every((network) => network.name === "mgmt");
    return [
      head,
      onlyMgmt && parts.empty("There is no cluster network besides mgmt yet. ",
        h("a", { href: planHash("network-config") }, "Plan a network config"), " for a new one: choose its hosts and NICs, and get the YAML to apply."),
      summaries(overview),
      toolbar(overview, group),
      legend(overview),
      h("div", { class: state.selected ? "split" : "split alone", key: "split" },
        h("div", { class: "grid-place", keep: "grid" }),
        panel(overview)),
      rows.rows.length === 0 && parts.empty("No host fits the filter."),
    ].filter(Boolean);
  }

  return {
    countsProblems: true,
    title: () => "Networks",
    async load(signal) {
      const [overview] = await Promise.all([get("overview", signal), readDetail(signal)]);
      ui.problems(overview.problems);
      return overview;
    },
    render,
    after(root, overview) {
      const holder = root.querySelector(".grid-place");
      if (!holder || !overview) return;
      const first = !mounted;
      if (grid.element.parentNode !== holder) holder.replaceChildren(grid.element);
      grid.update(overview, rows.rows, changedCells(shown, overview), state.selected);
      shown = overview;
      mounted = true;
      if (first) {
        grid.element.scrollTop = scrolled.top;
        grid.element.scrollLeft = scrolled.left;
        grid.draw();
      }
    },
    end() {
      scrolled.top = grid.element.scrollTop;
      scrolled.left = grid.element.scrollLeft;
      filterSoon.cancel();
      asking?.abort();
      grid.end();
    },
  };
}
