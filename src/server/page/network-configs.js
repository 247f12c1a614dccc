// The pages of network configs: all of them with mgmt's records, and one with its hosts.

import { get, pathOf } from "./api.js";
import * as causes from "./causes.js";
import { h } from "./dom.js";
import * as parts from "./parts.js";
import { planHash } from "./routes.js";

const FEW = 4;
const COLUMNS = ["Network config", "Cluster network", "NICs", "Bond mode", "MTU", "Node selector", "Hosts"];

function row(ui, config) {
  return {
    key: config.name,
    data: { config: config.name },
    cells: [
      [parts.networkConfig(config.name), config.deleting && parts.badge("being deleted", "warn")],
      parts.clusterNetwork(config.clusterNetwork),
      parts.items(ui, `nics ${config.name}`, config.nics, parts.name, 6),
      parts.name(config.mode),
      parts.orElse(config.mtu, "default"),
      parts.selector(ui, `selector ${config.name}`, config.nodeSelector),
      config.hosts.length <= FEW ? parts.items(ui, `hosts ${config.name}`, config.hosts, parts.host)
        : [h("span", { class: "muted" }, `${config.hosts.length.toLocaleString("en")} hosts:`), parts.items(ui, `hosts ${config.name}`, config.hosts, parts.host, FEW)],
    ],
  };
}

function records(ui, list) {
  const [shown, more] = parts.portion(ui, "records", list, 100, "record");
  return [
    parts.table("Records of mgmt", ["Host", "NICs", "Bond mode", "MTU", "Record"], shown.map((config) => ({
      key: config.name,
      data: { record: config.name },
      cells: [
        config.recordOf ? parts.host(config.recordOf) : parts.items(ui, `hosts ${config.name}`, config.hosts, parts.host),
        parts.items(ui, `nics ${config.name}`, config.nics, parts.name, 6),
        parts.name(config.mode), parts.orElse(config.mtu, "default"), parts.networkConfig(config.name),
      ],
    }))),
    more,
  ];
}

export function networkConfigsView(route, ui) {
  return {
    title: () => "Network configs",
    load: (signal) => get("network-configs", signal),
    render(data) {
      const [shown, more] = parts.portion(ui, "configs", data.networkConfigs, 200, "network config");
      return [
        parts.head("Network configs", h("p", { class: "lead" }, "A network config brings a cluster network up on the hosts that it selects.")),
        h("p", { class: "row", key: "actions" },
          h("a", { class: "button", href: planHash("network-config") }, "Plan a new network config"),
          data.networkConfigs.length > 0 && h("a", { class: "button", href: planHash("change-network-config") }, "Plan a change")),
        data.networkConfigs.length === 0
          ? parts.empty("There is no network config yet. Only mgmt is active. ", h("a", { href: planHash("network-config") }, "Plan a network config"), " to bring a cluster network up.")
          : h("div", { key: "configs" }, parts.table("Network configs", COLUMNS, shown.map((config) => row(ui, config))), more),
        data.mgmt.length > 0 && parts.section("Management network (mgmt), host by host",
          parts.muted("The node agent keeps these records of what each host was installed with. They can't be changed here."),
          records(ui, data.mgmt)),
      ].filter(Boolean);
    },
  };
}

export function networkConfigView(route, ui) {
  return {
    title: () => route.name,
    async load(signal) {
      const all = await get("network-configs", signal);
      const config = [...all.networkConfigs, ...all.mgmt].find((item) => item.name === route.name) ?? null;
      if (!config) return { config: null, rows: [] };
      let rows = [];
      try {
        const network = await get(pathOf("cluster-networks", config.clusterNetwork), signal);
        const covered = new Set(config.hosts);
        rows = network.hosts.filter((item) => covered.has(item.name));
      } catch (error) {
        // The cluster network may not exist; the config is shown nevertheless.
        if (error.status !== 404) throw error;
      }
      return { config, rows };
    },
    render({ config, rows }) {
      if (!config) return [parts.objectHead("Network config", route.name), parts.empty("There is no network config of this name. It may have been deleted. ", h("a", { href: "#/network-configs" }, "All network configs"))];
      return [
        parts.objectHead(config.recordOf ? "Record of mgmt" : "Network config", config.name, config.deleting && parts.badge("being deleted", "warn")),
        config.description && parts.prose(config.description, "lead"),
        parts.facts(
          ["Cluster network", parts.clusterNetwork(config.clusterNetwork)],
          ["NICs", parts.items(ui, "nics", config.nics, parts.name)],
          ["Bond mode", parts.name(config.mode)],
          ["miimon", config.miimon === null || config.miimon === undefined ? h("span", { class: "muted" }, "default") : `${config.miimon} ms`],
          ["MTU", parts.orElse(config.mtu, "default")],
          ["Node selector", config.recordOf ? null : parts.selector(ui, "selector", config.nodeSelector), true],
          ["Record of", config.recordOf ? parts.host(config.recordOf) : null]),
        !config.recordOf && h("p", { class: "row" },
          h("a", { class: "button", id: "plan-change", href: planHash("change-network-config", { change: config.name }) }, "Plan a change")),
        parts.section(`Hosts (${config.hosts.length.toLocaleString("en")})`,
          config.hosts.length === 0 && parts.empty("The network config covers no host. Change its node selector or the labels of hosts."),
          rows.length > 0
            ? causes.grouped(ui, "hosts", rows, parts.host, { yes: "Covered and active", no: "Covered, not active", one: "host" })
            : config.hosts.length > 0 && parts.items(ui, "hosts", config.hosts, parts.host)),
      ].filter(Boolean);
    },
  };
}
