// The page of a cluster network: where it is active, and what uses it.

import { get, pathOf } from "./api.js";
import * as causes from "./causes.js";
import { h } from "./dom.js";
import * as parts from "./parts.js";
import { planHash } from "./routes.js";

export function clusterNetworkView(route, ui) {
  return {
    title: () => route.name,
    load: (signal) => get(pathOf("cluster-networks", route.name), signal),
    render(data) {
      const active = data.hosts.filter((row) => row.feasible).length;
      const mgmt = data.clusterNetwork === "mgmt";
      return [
        parts.objectHead("Cluster network", data.clusterNetwork),
        parts.facts(
          ["Active on", `${active.toLocaleString("en")} of ${data.hosts.length.toLocaleString("en")} hosts`],
          ["MTU", parts.orElse(data.mtu, "not set")],
          ["Ready", data.ready === true ? "yes" : data.ready === false ? "no" : h("span", { class: "muted" }, mgmt ? "built in" : "not reported")],
          ["Network configs", parts.items(ui, "configs", data.networkConfigs, parts.networkConfig)],
          ["VM networks", parts.items(ui, "vm-networks", data.vmNetworks, parts.vmNetwork)],
          ["Host network configs", parts.items(ui, "host-networks", data.hostNetworkConfigs, parts.hostNetwork)]),
        !mgmt && h("p", { class: "row" },
          h("a", { class: "button", href: planHash("network-config", { clusterNetwork: data.clusterNetwork }) }, "Plan a network config"),
          h("a", { class: "button", href: planHash("vm-network", { clusterNetwork: data.clusterNetwork }) }, "Plan a VM network")),
        parts.section("Hosts",
          data.hosts.length === 0 && parts.muted("No host is known."),
          causes.grouped(ui, "hosts", data.hosts, parts.host, { yes: "Active", no: "Not active", one: "host" })),
      ].filter(Boolean);
    },
  };
}
