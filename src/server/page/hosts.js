// The page of a host: its cluster networks, links, network configs, addresses, and VMs.

import { get, pathOf } from "./api.js";
import * as causes from "./causes.js";
import { h } from "./dom.js";
import * as parts from "./parts.js";
import { coverHash } from "./routes.js";
import { count } from "./words.js";

const LINK_STATES = { up: "good", down: "bad", unknown: "" };

function links(list) {
  if (list.length === 0) {
    return parts.empty("No LinkMonitor reports links of this host. Its NICs are not checked, and the planner asks for their names.");
  }
  return parts.table("Links of the host", ["Name", "State", "Type", "MAC address", "Master"], list.map((link) => ({
    key: link.name,
    data: { nic: link.name, state: link.state },
    cells: [
      parts.name(link.name),
      parts.badge(link.state, LINK_STATES[link.state]),
      parts.name(link.type || "–"),
      link.mac ? h("code", null, parts.name(link.mac)) : "–",
      link.master ? parts.name(link.master) : "–",
    ],
  })));
}

function networks(rows) {
  return parts.table("Cluster networks on the host", ["Cluster network", "State", "Cause"], rows.map((row) => ({
    key: row.name,
    data: { network: row.name, state: row.feasible ? "active" : row.causes[0]?.code },
    cells: [
      parts.clusterNetwork(row.name),
      row.feasible ? parts.state("active") : row.causes.map((cause) => h("div", null, parts.state(cause.code))),
      row.feasible ? "" : row.causes.map((cause) => parts.prose(cause.message, "message")),
    ],
  })));
}

function configs(ui, list) {
  if (list.length === 0) return parts.muted("No network config covers this host.");
  return parts.table("Network configs on the host", ["Network config", "Cluster network", "NICs", "Bond mode", "MTU"], list.map((config) => ({
    key: config.name,
    cells: [
      [parts.networkConfig(config.name), config.recordOf && parts.badge("record")],
      parts.clusterNetwork(config.clusterNetwork),
      parts.items(ui, `nics ${config.name}`, config.nics, parts.name),
      parts.name(config.mode), String(config.mtu),
    ],
  })));
}

function addresses(list) {
  if (list.length === 0) return parts.muted("No host network config selects this host.");
  return parts.table("Addresses of the host", ["Host network config", "Cluster network", "VLAN", "Mode", "Address"], list.map((item) => ({
    key: item.hostNetworkConfig,
    cells: [
      parts.hostNetwork(item.hostNetworkConfig), parts.clusterNetwork(item.clusterNetwork),
      parts.orElse(item.vlan, "none"), item.mode, item.address ? parts.name(item.address) : h("span", { class: "muted" }, item.mode === "dhcp" ? "from DHCP" : "none"),
    ],
  })));
}

export function hostView(route, ui) {
  const gapsOf = (data) => data.clusterNetworks.filter((row) => !row.feasible);
  return {
    title: () => route.name,
    load: (signal) => get(pathOf("hosts", route.name), signal),
    render(data) {
      const gaps = gapsOf(data);
      return [
        parts.objectHead("Host", data.host,
          data.witness && parts.badge("witness host"),
          data.cordoned === true && parts.badge("cordoned", "warn")),
        parts.facts(
          ["Cluster networks", `active ${data.clusterNetworks.length - gaps.length} of ${data.clusterNetworks.length}`],
          ["Running VMs", data.running.length.toLocaleString("en")],
          ["Scheduling", data.cordoned === true ? "cordoned: no new VM starts here" : data.cordoned === false ? "open" : "unknown: the Node could not be read"],
          ["Labels", parts.labels(ui, "labels", data.labels), true]),
        parts.section("Cluster networks", networks(data.clusterNetworks), gaps.some((row) => row.causes[0]?.code === "host-not-covered") && h("p", null,
          h("a", { href: coverHash(gaps.find((row) => row.causes[0]?.code === "host-not-covered").name, [data.host]) }, "Plan a network config that covers this host"))),
        parts.section("Links", links(data.links)),
        parts.section("Network configs", configs(ui, data.networkConfigs)),
        parts.section("Addresses", addresses(data.addresses)),
        parts.section("Running VMs", data.running.length === 0 ? parts.muted("No VM runs here.") : parts.items(ui, "running", data.running, parts.vm)),
        parts.section("VMs that can run here, and those that can't",
          parts.muted("Only networks and the VM's own node selector and affinity are judged. Room, taints and the rest are for the scheduler."),
          data.vms.length === 0 && parts.muted("There is no VM."),
          causes.grouped(ui, "vms", data.vms, parts.vm, { yes: "Can run here", no: "Can't run here", one: "VM" }),
          data.vmsLeftOut > 0 && h("p", { class: "muted" }, `${count(data.vmsLeftOut, "VM")} more are not listed. Look the VM up under `, h("a", { href: "#/vms" }, "VMs"), ".")),
      ];
    },
  };
}
