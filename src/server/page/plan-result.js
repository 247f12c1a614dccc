// What a change would do: the verdict of the rules, hosts, VMs, and the YAML to apply.

import { h } from "./dom.js";
import * as parts from "./parts.js";
import { count, kindWord, visible } from "./words.js";

const OPERATIONS = { create: "created", update: "changed", delete: "deleted" };

/** The answer to a form: what is missing, or what it would do, and the YAML. */
export function planResult(ui, answer) {
  if (answer.problems?.length > 0) {
    return h("div", { class: "missing", id: "plan-problems", data: { verdict: "incomplete" } },
      h("p", null, "Still to do before the change can be judged:"),
      h("ul", null, answer.problems.map((problem) => h("li", { dir: "auto" }, visible(problem)))));
  }
  return [answer.plan && consequences(ui, answer.plan), answer.yaml && manifest(ui, answer)];
}

function consequences(ui, plan) {
  const broken = plan.objects.reduce((sum, object) => sum + object.violations.length, 0);
  const warned = plan.objects.reduce((sum, object) => sum + object.warnings.length, 0);
  const text = broken > 0
    ? `The API server would refuse it: ${broken === 1 ? "a rule is" : `${broken} rules are`} violated.`
    : `No rule is violated${warned > 0 ? `, but there ${warned === 1 ? "is" : "are"} ${count(warned, "warning")}` : ""}.`;
  const verdict = broken > 0 ? "refused" : warned > 0 ? "warned" : "fine";
  return h("div", { key: "plan" },
    h("p", { class: `verdict ${broken > 0 ? "bad" : "good"}`, id: "plan-verdict", role: "status", data: { verdict } }, text),
    plan.objects.map((object) => judged(object)),
    networks(ui, plan.clusterNetworks),
    vms(ui, plan.vms));
}

function judged(object) {
  return h("div", { class: "group", key: `${object.kind} ${object.name}`, data: { object: object.kind, operation: object.operation } },
    h("h3", null, h("span", null, object.operation === "create"
      ? [h("span", { class: "kind" }, `${kindWord(object.kind)} `), parts.name(object.name)]
      : parts.object(object.kind, object.name)), h("span", { class: "muted" }, `would be ${OPERATIONS[object.operation] ?? object.operation}`)),
    !object.judged && parts.muted("No rule applies to this kind."),
    object.judged && object.violations.length === 0 && object.warnings.length === 0 && parts.muted("All rules pass."),
    object.violations.map((violation) => h("div", { class: "violation", data: { code: violation.code } },
      h("p", { class: "cause-head" }, parts.badge("refused", "bad"), h("code", { class: "code" }, parts.name(violation.code)),
        violation.field && h("code", { class: "code" }, parts.name(violation.field))),
      parts.prose(violation.message, "message"))),
    object.warnings.map((warning) => h("div", { class: "violation warning" },
      h("p", { class: "cause-head" }, parts.badge("warning", "warn")), parts.prose(warning, "message"))));
}

function networks(ui, list) {
  if (list.length === 0) return h("p", { class: "muted", key: "networks" }, "No host gains or loses a cluster network.");
  return h("div", { key: "networks", id: "plan-networks" }, h("h3", null, "Hosts"), list.map((network) => h("div", { class: "group", key: network.name, data: { network: network.name } },
    h("p", null, "Cluster network ", parts.clusterNetwork(network.name), ` would be active on ${count(network.hosts, "host")}.`),
    change(ui, `network ${network.name}`, network, parts.host, "host"))));
}

/** Names gained and lost. */
function change(ui, id, item, link, one) {
  return [
    item.gained.length > 0 && h("div", { class: "delta gained", key: "gained" }, h("span", { class: "delta-word" }, `gains ${count(item.gained.length, one)}`), parts.items(ui, `${id} gained`, item.gained, link, 12)),
    item.lost.length > 0 && h("div", { class: "delta lost", key: "lost" }, h("span", { class: "delta-word" }, `loses ${count(item.lost.length, one)}`), parts.items(ui, `${id} lost`, item.lost, link, 12)),
  ];
}

function vms(ui, list) {
  if (list.length === 0) return h("p", { class: "muted", key: "vms" }, "No VM gains or loses a host.");
  const none = list.filter((vm) => vm.hosts === 0 && vm.lost.length > 0);
  const losing = list.filter((vm) => vm.hosts > 0 && vm.lost.length > 0);
  const gaining = list.filter((vm) => vm.lost.length === 0);
  const block = (key, title, some, kind) => {
    if (some.length === 0) return null;
    const [shown, more] = parts.portion(ui, `plan vms ${key}`, some, 20, "VM");
    return h("details", { class: `group ${kind}`, key, open: key !== "gaining" || some.length <= 5, data: { vms: key } },
      h("summary", null, `${count(some.length, "VM")} ${title}`),
      shown.map((vm) => h("div", { class: "vm-change", key: vm.name },
        h("p", null, parts.vm(vm.name), h("span", { class: "muted" }, vm.hosts === 0 ? " could run nowhere" : ` could run on ${count(vm.hosts, "host")}`)),
        change(ui, `vm ${vm.name}`, vm, parts.host, "host"))),
      more);
  };
  return h("div", { key: "vms", id: "plan-vms" }, h("h3", null, "VMs"),
    block("none", "would be left with no host", none, "cannot"),
    block("losing", "would lose hosts", losing, "lose"),
    block("gaining", "would gain hosts", gaining, "can"));
}

function manifest(ui, { yaml, plan }) {
  const refused = plan?.objects.some((object) => object.violations.length > 0);
  const said = ui.memory.get("copied") ?? "";
  const say = (text) => {
    ui.memory.set("copied", text);
    ui.redraw();
    setTimeout(() => { if (ui.memory.delete("copied")) ui.redraw(); }, 3000);
  };
  return h("div", { class: "manifest", key: "yaml" },
    h("div", { class: "manifest-head" }, h("h3", null, "YAML to write"),
      h("span", { class: "muted", role: "status" }, said),
      h("button", { type: "button", id: "copy-yaml", on: { click: () => copy(yaml).then(() => say("Copied"), () => say("Select the text and copy it by hand")) } }, "Copy")),
    h("pre", { id: "plan-yaml", tabindex: "0", "aria-label": "YAML" }, yaml),
    h("p", null, "Save it to a file. Check it with ", h("code", null, "lanekeeper plan -f FILE"), ", and write it with ", commands(plan), ".",
      refused && " As long as a rule is violated, the API server refuses it."));
}

/** What makes new objects, and what changes those that exist. `kubectl apply` would keep fields that are gone. */
function commands(plan) {
  const update = plan?.objects.some((object) => object.operation === "update");
  const create = !update || plan.objects.some((object) => object.operation === "create");
  return [
    create && h("code", null, "kubectl create -f FILE"),
    create && update && " for what is new and ",
    update && h("code", null, "kubectl replace -f FILE"),
    create && update && " for what exists",
  ];
}

async function copy(text) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const range = document.createRange();
  range.selectNodeContents(document.getElementById("plan-yaml"));
  const selection = getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
  if (!document.execCommand("copy")) throw new Error("copying is not allowed");
}
