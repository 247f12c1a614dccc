// Shows rows of an answer, "can it be here, and if not why", grouped by equal causes.

import { h } from "./dom.js";
import * as parts from "./parts.js";
import { coverHash, planHash } from "./routes.js";
import { count } from "./words.js";

/** Splits rows into the feasible ones and groups of rows that have the same causes. */
export function groupRows(rows) {
  const feasible = [];
  const groups = new Map();
  for (const row of rows) {
    if (row.feasible) {
      feasible.push(row);
      continue;
    }
    const key = JSON.stringify(row.causes.map((cause) => [cause.code, cause.clusterNetwork, cause.vmNetwork]));
    const group = groups.get(key);
    if (group) group.rows.push(row);
    else groups.set(key, { key, causes: row.causes, rows: [row] });
  }
  return { feasible, groups: [...groups.values()].sort((a, b) => b.rows.length - a.rows.length) };
}

/** One cause: its mark, the networks that it is about, and the message. */
export function cause(item) {
  return h("div", { class: "cause", data: { code: item.code } },
    h("p", { class: "cause-head" },
      parts.state(item.code),
      item.vmNetwork && h("span", null, "VM network ", parts.vmNetwork(item.vmNetwork)),
      item.clusterNetwork && h("span", null, "cluster network ", parts.clusterNetwork(item.clusterNetwork)),
      h("code", { class: "code" }, parts.name(item.code))),
    parts.prose(item.message, "message"));
}

/**
 * The groups of `rows`. `link` renders the name of a row, `words` say what the groups are:
 * `{yes, no, one}`, such as "Active on", "Not active on", "host".
 */
export function grouped(ui, id, rows, link, words) {
  const { feasible, groups } = groupRows(rows);
  const marks = words.marks ?? (() => null);
  const render = (row) => [link(row.name), marks(row)];
  const block = (key, title, list, content, kind) => h("div", { class: `group ${kind}`, key, data: { group: kind } },
    h("h3", null, title, " ", h("span", { class: "muted" }, count(list.length, words.one))),
    content, parts.items(ui, `${id} ${key}`, list, render));
  return [
    feasible.length > 0 && block("yes", [h("span", { class: "state", data: { state: "active" } },
      h("span", { class: "mark", "aria-hidden": "true" })), words.yes], feasible, null, "can"),
    groups.map((group) => block(group.key, [parts.state(group.causes[0]?.code ?? "unknown", false), words.no], group.rows, [
      group.rows.length > 1 && h("p", { class: "muted" }, "All have the same cause. The message takes ", parts.name(group.rows[0].name), " as the example."),
      group.causes.map(cause),
      words.one === "host" && remedies(group),
    ], "cannot")),
  ];
}

/** What the planner can do about causes. */
function remedies({ causes: list, rows }) {
  const networks = new Set(list.filter((item) => item.code === "host-not-covered" && item.clusterNetwork).map((item) => item.clusterNetwork));
  const missing = list.filter((item) => item.code === "vm-network-not-found" && item.vmNetwork?.includes("/"));
  const names = rows.map((row) => row.name);
  if (networks.size + missing.length === 0) return null;
  return h("ul", { class: "remedies" },
    [...networks].map((clusterNetwork) => h("li", null, h("a", { href: coverHash(clusterNetwork, names) },
      "Plan a network config of ", parts.name(clusterNetwork), names.length === 1 ? " that covers this host" : " that covers these hosts"))),
    missing.map(({ vmNetwork }) => h("li", null, h("a", { href: planHash("vm-network", { namespace: vmNetwork.slice(0, vmNetwork.indexOf("/")), name: vmNetwork.slice(vmNetwork.indexOf("/") + 1) }) },
      "Plan the VM network ", parts.name(vmNetwork)))));
}
