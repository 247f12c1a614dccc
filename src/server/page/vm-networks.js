// The pages of VM networks: all of them, and one with its users and the hosts where it can be used.

import { get, pathOf } from "./api.js";
import * as causes from "./causes.js";
import { h } from "./dom.js";
import * as parts from "./parts.js";
import { planHash } from "./routes.js";
import { figure } from "./words.js";

function tagging(network) {
  switch (network.type) {
    case "vlan": return network.vlan === null || network.vlan === undefined ? "VLAN" : `VLAN ${network.vlan}`;
    case "trunk": return ["trunk ", parts.name((network.trunk ?? []).join(", "))];
    case "untagged": return "untagged";
    case "unreadable": return parts.badge("can't be read", "bad");
    default: return network.type;
  }
}

function connectivity(route) {
  if (!route) return h("span", { class: "muted" }, "none");
  const value = route.connectivity || "unknown";
  if (value === "true") return parts.badge("reachable", "good");
  if (value === "false") return parts.badge("not reachable", "bad");
  return parts.name(value);
}

export function vmNetworksView(route, ui) {
  return {
    title: () => "VM networks",
    load: (signal) => get("vm-networks", signal),
    render(data) {
      const [shown, more] = parts.portion(ui, "networks", data.vmNetworks, 200, "VM network");
      return [
        parts.head("VM networks", h("p", { class: "lead" }, "VMs attach to VM networks. A VM network can be used on the hosts where its cluster network is active.")),
        h("p", { class: "row", key: "actions" }, h("a", { class: "button", href: planHash("vm-network") }, "Plan a new VM network")),
        data.vmNetworks.length === 0
          ? parts.empty("There is no VM network yet. ", h("a", { href: planHash("vm-network") }, "Plan a VM network"), ".")
          : h("div", { key: "networks" }, parts.table("VM networks",
            ["VM network", "Cluster network", "Type", "MTU", "Route", "VMs", "Running VMs", "Hosts"],
            shown.map((network) => ({
              key: network.name,
              data: { network: network.name },
              cells: [
                [parts.vmNetwork(network.name), network.system && parts.badge("system")],
                network.clusterNetwork ? parts.clusterNetwork(network.clusterNetwork) : h("span", { class: "muted" }, "none"),
                tagging(network), parts.orElse(network.mtu, "not set"), connectivity(network.route),
                figure(network.vms), figure(network.runningVms), figure(network.hosts),
              ],
            }))), more),
      ];
    },
  };
}

export function vmNetworkView(route, ui) {
  return {
    title: () => route.name,
    load: (signal) => get(pathOf("vm-networks", route.name), signal),
    render(data) {
      const network = data.facts;
      const running = new Set(data.runningVms);
      const can = data.hosts.filter((row) => row.feasible).length;
      return [
        parts.objectHead("VM network", data.vmNetwork, network.system && parts.badge("system")),
        parts.facts(
          ["Cluster network", data.clusterNetwork ? parts.clusterNetwork(data.clusterNetwork) : h("span", { class: "muted" }, "none: it can be used on every host")],
          ["Type", tagging(network)],
          ["CNI plugin", network.cni ? parts.name(network.cni) : h("span", { class: "muted" }, "unknown")],
          ["MTU", parts.orElse(network.mtu, "not set")],
          ["Route", network.route ? [connectivity(network.route), " ", network.route.mode && ["mode ", parts.name(network.route.mode)]] : h("span", { class: "muted" }, "not set")],
          ["CIDR", network.route?.cidr ? parts.name(network.route.cidr) : null],
          ["Gateway", network.route?.gateway ? parts.name(network.route.gateway) : null],
          ["Usable on", `${can.toLocaleString("en")} of ${data.hosts.length.toLocaleString("en")} hosts`]),
        !network.system && h("p", { class: "row" }, h("a", { class: "button", href: planHash("vm-network", { change: data.vmNetwork }) }, "Plan a change"),
          h("a", { class: "button", href: planHash("placement", { vmNetworks: [data.vmNetwork], nodeSelector: {} }) }, "Where could a VM with it run?")),
        parts.section(`VMs (${data.vms.length.toLocaleString("en")})`, data.vms.length === 0
          ? parts.muted("No VM uses it.")
          : parts.items(ui, "vms", data.vms, (key) => [parts.vm(key), running.has(key) && parts.badge("running", "good")])),
        parts.section("Hosts", causes.grouped(ui, "hosts", data.hosts, parts.host, { yes: "Can be used", no: "Can't be used", one: "host" })),
      ];
    },
  };
}
