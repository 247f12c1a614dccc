// The pages of VMs: a list that can be searched, and one VM with the hosts on which it can run.

import { get, pathOf } from "./api.js";
import * as causes from "./causes.js";
import { debounce, h } from "./dom.js";
import * as parts from "./parts.js";
import { keepQuery } from "./routes.js";
import { count } from "./words.js";

const PAGE = 100;
const LARGEST_PAGE = 500;

export function vmsView(route, ui) {
  let search = route.query.get("search") ?? "";
  let wanted = PAGE;
  const searchSoon = debounce(() => {
    keepQuery({ search });
    wanted = PAGE;
    ui.reload();
  }, 200);
  const hostsOf = (vm) => {
    const text = `${vm.hosts.toLocaleString("en")} of ${vm.of.toLocaleString("en")}`;
    if (vm.hosts === 0) return parts.badge(text, "bad");
    return [text, vm.only?.length > 0 && vm.hosts <= 5 && h("span", { class: "only" }, parts.items(ui, `only ${vm.name}`, vm.only, parts.host))];
  };
  return {
    title: () => "VMs",
    async load(signal) {
      const vms = [];
      let answer;
      let after = null;
      do {
        const query = new URLSearchParams({ limit: String(Math.min(LARGEST_PAGE, wanted - vms.length)) });
        if (search.trim() !== "") query.set("search", search.trim());
        if (after !== null) query.set("after", after);
        answer = await get(`vms?${query}`, signal);
        vms.push(...answer.vms);
        after = answer.next ?? null;
      } while (after !== null && vms.length < wanted && answer.vms.length > 0);
      return { ...answer, vms, next: after };
    },
    render(data) {
      return [
        parts.head("VMs", h("p", { class: "lead" }, "On how many hosts each VM can run, judged by its networks and its own node selector and affinity.")),
        h("div", { class: "toolbar", key: "toolbar" },
          h("label", { class: "field-inline" }, "Search VMs ", h("input", {
            type: "search", id: "vm-search", value: search, placeholder: "part of namespace/name", autocomplete: "off", spellcheck: "false",
            on: { input: (event) => { search = event.target.value; searchSoon(); } },
          })),
          h("p", { class: "muted shown", role: "status" }, data.matching === data.total ? count(data.total, "VM") : `${data.matching.toLocaleString("en")} of ${count(data.total, "VM")}`)),
        data.vms.length === 0
          ? parts.empty(data.total === 0 ? "There is no VM in the cluster yet." : "No VM fits the search.")
          : h("div", { key: "vms" }, parts.table("VMs", ["VM", "Can run on", "Needs", "Runs on"], data.vms.map((vm) => ({
            key: vm.name,
            data: { vm: vm.name, hosts: String(vm.hosts) },
            cells: [
              [parts.vm(vm.name), vm.source !== "VirtualMachine" && parts.badge("VMI only", "", "The VirtualMachine does not exist; this is its VirtualMachineInstance.")],
              hostsOf(vm),
              vm.needs.length === 0 ? h("span", { class: "muted" }, "none") : parts.items(ui, `needs ${vm.name}`, vm.needs, parts.clusterNetwork),
              vm.runsOn.length === 0 ? h("span", { class: "muted" }, "not running") : parts.items(ui, `runs ${vm.name}`, vm.runsOn, parts.host),
            ],
          }))),
          data.next !== null && h("p", null, h("button", {
            type: "button", id: "more-vms", on: { click: () => { wanted = data.vms.length + PAGE * 2; ui.reload(); } },
          }, `Show more of ${data.matching.toLocaleString("en")}`))),
      ];
    },
    end: () => searchSoon.cancel(),
  };
}

/** The answer to "where can it run", for a VM or for one that is not made yet. */
export function placement(ui, data, runsOn = new Set()) {
  return causes.grouped(ui, "hosts", data.hosts, parts.host, {
    yes: "Can run on", no: "Can't run on", one: "host",
    marks: (row) => runsOn.has(row.name) && parts.badge("runs here", row.feasible ? "good" : "bad"),
  });
}

/** "can run on n of m hosts", as a sentence. */
export function verdict(data, subject) {
  const can = data.hosts.filter((row) => row.feasible).length;
  const text = `${subject} can run on ${can.toLocaleString("en")} of ${count(data.hosts.length, "host")}.`;
  return h("p", { class: can === 0 ? "verdict bad" : "verdict good", id: "verdict", key: "verdict" }, text);
}

export function vmView(route, ui) {
  return {
    title: () => route.name,
    load: (signal) => get(pathOf("vms", route.name), signal),
    render(data) {
      const runsOn = new Set(data.runsOn);
      return [
        parts.objectHead("VM", data.vm, data.source !== "VirtualMachine" && parts.badge("VMI only")),
        verdict(data, "The VM"),
        parts.facts(
          ["Runs on", data.runsOn.length === 0 ? h("span", { class: "muted" }, "not running") : parts.items(ui, "runs", data.runsOn, parts.host)],
          ["Networks", data.needs.length === 0
            ? h("span", { class: "muted" }, "none but the pod network, which every host has")
            : h("ul", { class: "lines" }, data.needs.map((need) => h("li", null,
              parts.vmNetwork(need.vmNetwork), need.clusterNetwork ? [" on cluster network ", parts.clusterNetwork(need.clusterNetwork)] : h("span", { class: "muted" }, " on no cluster network that is known")))), true]),
        data.vmi && h("p", { class: "notice", id: "vmi-differs" }, `Its VMI asks for other networks or hosts than the VM does now: ${count(data.vmi.hosts, "host")} can run the VMI as it is. Restart the VM to start it as below.`),
        parts.section("Hosts",
          parts.muted("Only networks and the VM's own node selector and affinity are judged. Room, taints and the rest are for the scheduler."),
          placement(ui, data, runsOn)),
      ];
    },
  };
}
