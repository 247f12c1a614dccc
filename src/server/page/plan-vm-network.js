// The walk through a new VM network, or a change of one.

import { h } from "./dom.js";
import * as parts from "./parts.js";
import * as fields from "./plan-fields.js";
import { planResult } from "./plan-result.js";
import { makeWalk } from "./plan-walk.js";

const TYPES = [["vlan", "one VLAN"], ["trunk", "trunk: several VLANs"], ["untagged", "untagged"]];

export function vmNetworkWalk(route, ui) {
  const change = /"change":"/.test(route.query.get("form") ?? "");
  return makeWalk(route, ui, {
    title: change ? "Change a VM network" : "New VM network",
    lead: "VMs attach to a VM network. It can be used on the hosts where its cluster network is active.",
    endpoint: "planner/vm-network",
    initial: (offers) => (change ? {} : {
      change: null, namespace: offers.namespaces.includes("default") ? "default" : offers.namespaces[0] ?? "default", name: "",
      clusterNetwork: offers.clusterNetworks.find((name) => name !== "mgmt") ?? "mgmt", type: "vlan", vlan: null, trunk: "", mtu: null,
    }),
    adopt: (form) => Boolean(form.change) && form.type === undefined,
    fields: (walk) => (walk.form.type === undefined ? parts.muted("…") : steps(walk, change)),
    result: (answer) => planResult(ui, answer),
  });
}

function steps(walk, change) {
  const { form, offers } = walk;
  const networks = form.clusterNetwork && !offers.clusterNetworks.includes(form.clusterNetwork) ? [form.clusterNetwork, ...offers.clusterNetworks] : offers.clusterNetworks;
  const types = TYPES.some(([key]) => key === form.type) ? TYPES : [[form.type, form.type], ...TYPES];
  return [
    fields.step(1, "Cluster network", fields.field("plan-network", "Cluster network",
      fields.select("plan-network", form.clusterNetwork, form.clusterNetwork ? networks : [["", "choose one"], ...networks], (clusterNetwork) => walk.set({ clusterNetwork })))),
    fields.step(2, "VLAN", h("div", { class: "fields", key: "vlan" },
      fields.field("plan-type", "Type", fields.select("plan-type", form.type, types, (type) => walk.set({ type }))),
      form.type === "vlan" && fields.field("plan-vlan", "VLAN ID", fields.number("plan-vlan", form.vlan, (vlan) => walk.set({ vlan }), { min: "1", max: "4094" }), "1 to 4094"),
      form.type === "trunk" && fields.field("plan-trunk", "VLAN IDs", fields.text("plan-trunk", form.trunk, (trunk) => walk.set({ trunk })), "Numbers and ranges, such as 1-100,200"),
      fields.field("plan-mtu", "MTU", fields.number("plan-mtu", form.mtu, (mtu) => walk.set({ mtu }), { min: "0", placeholder: "default" }), "That of the cluster network, unless set."))),
    fields.step(3, "Name", h("div", { class: "fields", key: "name" },
      fields.field("plan-namespace", "Namespace", h("input", {
        type: "text", id: "plan-namespace", list: "plan-namespaces", value: form.namespace ?? "", disabled: change, autocomplete: "off", spellcheck: "false",
        on: { input: (event) => walk.set({ namespace: event.target.value.trim() }) },
      })),
      h("datalist", { id: "plan-namespaces", key: "list" }, offers.namespaces.map((name) => h("option", { value: name }))),
      fields.field("plan-name", "Name", fields.text("plan-name", form.name, (name) => walk.set({ name: name.trim() }), { disabled: change }), change ? "The name of an object can't be changed." : null))),
  ];
}
