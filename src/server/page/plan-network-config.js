// The walk through a new network config, or a change of one: network, hosts, NICs, bond, name.

import { get } from "./api.js";
import { h } from "./dom.js";
import * as parts from "./parts.js";
import * as fields from "./plan-fields.js";
import { planResult } from "./plan-result.js";
import { makeWalk } from "./plan-walk.js";
import { count } from "./words.js";

const NEW = " new";

export function networkConfigWalk(route, ui, change) {
  return makeWalk(route, ui, {
    title: change ? "Change a network config" : "New network config",
    lead: change
      ? "Choose a network config, change what you like, and see what that would do. Another cluster network moves it there."
      : "Choose a cluster network, hosts and NICs, and see what the network config would do.",
    endpoint: "planner/network-config",
    initial: (offers) => (change ? { change: null } : {
      change: null, name: "", clusterNetwork: offers.clusterNetworks.find((name) => name !== "mgmt") ?? "",
      hosts: { by: "all" }, nics: [], mode: "active-backup", miimon: null, mtu: null, description: "",
    }),
    ready: (form) => !change || Boolean(form.change),
    adopt: (form) => Boolean(form.change) && (form.hosts === undefined || form.nics === undefined),
    async more(walk, signal) {
      if (!change) return;
      const { networkConfigs } = await get("network-configs", signal);
      walk.now = new Map(networkConfigs.map((config) => [config.name, config.clusterNetwork]));
    },
    nothing: change ? "Choose the network config to change." : "",
    fields: (walk) => [
      change && fields.step(1, "Network config", chooseConfig(walk)),
      walk.form.hosts !== undefined && steps(walk, change ? 2 : 1, change),
    ],
    result: (answer) => planResult(ui, answer),
  });
}

function chooseConfig(walk) {
  const { offers, form } = walk;
  if (offers.networkConfigs.length === 0) return parts.muted("There is no network config to change.");
  const names = form.change && !offers.networkConfigs.includes(form.change) ? [form.change, ...offers.networkConfigs] : offers.networkConfigs;
  return fields.field("plan-change-of", "Change", fields.select("plan-change-of", form.change ?? "",
    [["", "choose a network config"], ...names], (name) => walk.reset(name === "" ? { change: null } : { change: name })));
}

function steps(walk, first, change) {
  return [
    fields.step(first, "Cluster network", network(walk, change)),
    fields.step(first + 1, "Hosts", hosts(walk)),
    fields.step(first + 2, "NICs", nics(walk)),
    fields.step(first + 3, "Bond and MTU", bond(walk)),
    fields.step(first + 4, "Name and description", naming(walk, change)),
  ];
}

function network(walk, change) {
  const { offers, form, ui } = walk;
  const existing = offers.clusterNetworks.filter((name) => name !== "mgmt");
  const fresh = ui.memory.get("new network") ?? !existing.includes(form.clusterNetwork);
  const before = walk.now?.get(form.change) ?? form.clusterNetwork;
  const choice = fields.select("plan-network", fresh ? NEW : form.clusterNetwork,
    [...existing, [NEW, existing.length === 0 ? "a new cluster network" : "a new one…"]], (name) => {
      ui.memory.set("new network", name === NEW);
      walk.set({ clusterNetwork: name === NEW ? "" : name });
    });
  return [
    fields.field("plan-network", "Cluster network", choice),
    fresh && fields.field("plan-network-new", "Name of the new cluster network",
      fields.text("plan-network-new", form.clusterNetwork, (name) => walk.set({ clusterNetwork: name.trim() })),
      "It is created together with the network config."),
    change && before !== form.clusterNetwork && h("p", { class: "hint", key: "move" }, "This moves the network config from ", parts.name(before), " to ",
      form.clusterNetwork === "" ? "a new cluster network" : parts.name(form.clusterNetwork), "."),
  ];
}

function hosts(walk) {
  const { form, answer, offers, ui } = walk;
  const { by } = form.hosts;
  const to = (way) => {
    ui.memory.set(`hosts ${by}`, form.hosts);
    const kept = ui.memory.get(`hosts ${way}`);
    walk.set({ hosts: kept ?? (way === "name" ? { by: "name", names: [] } : way === "label" ? { by: "label", labels: {} } : { by: "all" }) });
  };
  return [
    fields.radios("hosts", by, [["all", "all hosts"], ["name", "by name"], ["label", "by label"]], to),
    by === "name" && fields.pick(ui, "plan-hosts", offers.hosts, form.hosts.names ?? [], (names) => walk.set({ hosts: { by: "name", names } }), "host", { data: "pickHost" }),
    by === "name" && (form.hosts.names ?? []).length > 1 && h("p", { class: "hint", key: "several" }, form.change
      ? "A node selector can name one host only. Select several hosts by a label that they have in common."
      : "A node selector can name one host only, so each host gets a network config of its own, with the host's name behind its name. A label that the hosts have in common needs one network config for all."),
    by === "label" && fields.labelPicker("plan-labels", offers, form.hosts.labels ?? {}, (labels) => walk.set({ hosts: { by: "label", labels } })),
    answer && matched(ui, answer),
  ];
}

function matched(ui, answer) {
  const line = (key, list, words) => list?.length > 0 && h("li", { key, data: { note: key } }, h("span", { class: "note-word" }, words(list.length)),
    parts.items(ui, `plan ${key}`, list, parts.host, 6));
  return h("div", { class: "matches", key: "matches", id: "plan-matches", data: { matches: String(answer.matches), of: String(answer.of) } },
    h("p", { role: "status" }, h("strong", null, `matches ${answer.matches.toLocaleString("en")} of ${count(answer.of, "host")}`)),
    h("ul", { class: "notes" },
      line("hosts", answer.matches === answer.of ? [] : answer.hosts, (n) => (n === 1 ? "host:" : "hosts:")),
      line("cordoned", answer.cordoned, (n) => `${n} cordoned:`),
      line("witnesses", answer.witnesses, (n) => `${count(n, "witness host")} left out:`),
      line("without-links", answer.withoutLinks, (n) => `${n} ${n === 1 ? "reports" : "report"} no links:`),
      answer.cordoned === null && h("li", { key: "unknown", class: "muted" }, "Whether hosts are cordoned could not be read.")));
}

function nics(walk) {
  const { form, answer, ui } = walk;
  if (!answer) return parts.muted("…");
  if (answer.matches === 0 && form.nics.length === 0) return parts.muted("Select hosts first, to see the NICs that they have in common.");
  const reporting = answer.hosts.length - answer.withoutLinks.length;
  const flip = (name, on) => walk.set({ nics: on ? [...form.nics, name] : form.nics.filter((item) => item !== name) });
  if (reporting <= 0) {
    return fields.field("plan-nics", "Names of the NICs",
      fields.text("plan-nics", ui.memory.get("nics typed") ?? form.nics.join(", "), (text) => {
        ui.memory.set("nics typed", text);
        walk.set({ nics: text.split(/[\s,]+/).filter((name) => name !== "") });
      }, { placeholder: "enp7s1, enp7s2" }),
      answer.matches === 0 ? "No host is selected, so the names can't be checked." : "None of the selected hosts reports its links, so type the names. They can't be checked.");
  }
  ui.memory.delete("nics typed");
  const offered = new Set(answer.nics.map((nic) => nic.name));
  const stray = form.nics.filter((name) => !offered.has(name)).map((name) => ({ name, label: name, selectable: false, why: "not on all selected hosts that report links" }));
  const all = [...answer.nics, ...stray];
  return [
    all.length === 0 && h("p", { key: "none" }, "The selected hosts have no NIC in common. Select fewer hosts."),
    all.length > 0 && h("p", { class: "hint", key: "hint" }, reporting === 1 ? "NICs of the one selected host that reports links:" : `NICs common to the ${reporting.toLocaleString("en")} selected hosts that report links:`),
    h("ul", { class: "nics", id: "plan-nics", key: "nics" }, all.map((nic) => {
      const on = form.nics.includes(nic.name);
      return h("li", { key: nic.name },
        h("label", { class: nic.selectable || on ? "check" : "check off" }, h("input", {
          type: "checkbox", data: { nic: nic.name }, checked: on, disabled: !nic.selectable && !on,
          on: { change: (event) => flip(nic.name, event.target.checked) },
        }), parts.name(nic.label)),
        nic.why && parts.remark(nic.why, on && !nic.selectable ? "why bad" : "why"));
    })),
  ];
}

function bond(walk) {
  const { form, offers, answer } = walk;
  const modes = offers.modes.includes(form.mode) ? offers.modes : [form.mode, ...offers.modes];
  return h("div", { class: "fields", key: "bond" },
    fields.field("plan-mode", "Bond mode", fields.select("plan-mode", form.mode, modes, (mode) => walk.set({ mode }))),
    fields.field("plan-miimon", "miimon (ms)", fields.number("plan-miimon", form.miimon, (miimon) => walk.set({ miimon }), { min: "-1", placeholder: placeholder(answer?.form?.miimon) }), "How often the links are checked."),
    fields.field("plan-mtu", "MTU", fields.number("plan-mtu", form.mtu, (mtu) => walk.set({ mtu }), { min: "0", placeholder: placeholder(answer?.form?.mtu) })));
}

const placeholder = (value) => (value === null || value === undefined ? "default" : String(value));

function naming(walk, change) {
  const { form } = walk;
  return h("div", { class: "fields", key: "naming" },
    fields.field("plan-name", "Name", fields.text("plan-name", form.name, (name) => walk.set({ name: name.trim() }), { disabled: change }), change ? "The name of an object can't be changed." : null),
    fields.field("plan-description", "Description", fields.text("plan-description", form.description, (description) => walk.set({ description }))));
}
