// The parts that pages are put together from: names, links, lists, facts, tables, marks, messages.

import { h } from "./dom.js";
import { hashOf, hashOfKind } from "./routes.js";
import { count, kindWord, stateMeaning, stateWord, visible } from "./words.js";

const LONGEST_NAME = 80;
const LONGEST_WORD = 32;
const LONGEST_REMARK = 140;
const BEGINNING = 120;
const LONGEST_PROSE = 1000;
const LONGEST_TEXT = 4000;

/** A name from the cluster, isolated from the direction of the text around it. */
export function name(raw) {
  const text = visible(raw);
  if (text.length <= LONGEST_NAME) return h("bdi", { class: text.length > LONGEST_WORD ? "name long" : "name" }, text);
  const half = LONGEST_NAME / 2;
  return h("bdi", { class: "name long", title: text.slice(0, LONGEST_TEXT) },
    `${text.slice(0, half)}…${text.slice(-half + 1)}`);
}

/** Longer text from the cluster; very long text opens. */
export function prose(raw, cls) {
  return folded(raw, LONGEST_PROSE, "p", `prose ${cls ?? ""}`);
}

/** A remark beside something: all of it if it is short, else its beginning, which opens. */
export function remark(raw, cls) {
  return folded(raw, LONGEST_REMARK, "span", cls);
}

function folded(raw, longest, tag, cls) {
  const text = visible(raw);
  if (text.length <= longest) return h(tag, { class: cls, dir: "auto" }, text);
  const all = text.length <= LONGEST_TEXT ? text : `${text.slice(0, LONGEST_TEXT)}…`;
  return h("details", { class: cls, dir: "auto" },
    h("summary", null, `${text.slice(0, BEGINNING)}…`), h("p", null, all));
}

/** A link to the page of an object. */
export function link(page, key, text) {
  return h("a", { href: hashOf(page, key), data: { link: page } }, text ?? name(key));
}

export const host = (key) => link("hosts", key);
export const clusterNetwork = (key) => link("cluster-networks", key);
export const networkConfig = (key) => link("network-configs", key);
export const vmNetwork = (key) => link("vm-networks", key);
export const vm = (key) => link("vms", key);
export const hostNetwork = (key) => link("host-networks", key);

/** An object by its kind and name: a link if it has a page. */
export function object(kind, key) {
  const hash = hashOfKind(kind, key);
  return [h("span", { class: "kind" }, `${kindWord(kind)} `), hash ? h("a", { href: hash }, name(key)) : name(key)];
}

/** The first line of a page. */
export function head(title, ...more) {
  return h("div", { class: "head", key: "head" }, h("h1", { tabindex: "-1" }, title), more);
}

/** A heading that says what kind of object the page is about. */
export function objectHead(kind, key, ...more) {
  return head([h("span", { class: "kind" }, `${kind} `), name(key)], more);
}

/** A part of a page with its own heading. */
export function section(title, ...content) {
  return h("section", { class: "section", key: `section ${title}` }, h("h2", null, title), content);
}

export const muted = (...text) => h("p", { class: "muted" }, text);

/** Says that there is nothing, and what to do next. */
export const empty = (...content) => h("div", { class: "empty" }, content);

export const badge = (text, kind, title) => h("span", { class: `badge ${kind ?? ""}`, title }, text);

/** The mark and the word of a state. */
export function state(code, withWord = true) {
  return h("span", { class: "state", data: { state: code }, title: stateMeaning(code) || null },
    h("span", { class: "mark", "aria-hidden": "true" }),
    h("span", { class: withWord ? "word" : "unseen" }, stateWord(code)));
}

/** A list of facts: pairs of a label and a value, and true if it takes a whole line; a pair with a null value is left out. */
export function facts(...pairs) {
  return h("dl", { class: "facts" }, pairs
    .filter(([, value]) => value !== null && value !== undefined)
    .map(([label, value, wide]) => h("div", { key: label, class: wide ? "whole" : null }, h("dt", null, label), h("dd", null, value))));
}

/**
 * A table. `rows` are `{key, cells, data}`; the first cell of each is its header. On a narrow screen
 * each row is a block of labelled lines, for which the roles are given once more.
 */
export function table(caption, columns, rows) {
  const element = h("div", { class: "scroller" }, h("table", { role: "table" },
    h("caption", { class: "unseen" }, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, columns.map((column) => h("th", { scope: "col", role: "columnheader" }, column)))),
    h("tbody", { role: "rowgroup" }, rows.map((row) => h("tr", { key: row.key, role: "row", data: row.data },
      row.cells.map((cell, at) => (at === 0
        ? h("th", { scope: "row", role: "rowheader" }, cell)
        : h("td", { role: "cell", data: { label: columns[at] } }, cell))))))));
  // A table that may need scrolling must be reachable by keyboard, also without a link in it.
  if (!element.querySelector("a, button")) {
    for (const [key, value] of [["tabindex", "0"], ["role", "region"], ["aria-label", caption]]) element.setAttribute(key, value);
  }
  return element;
}

/**
 * Items in one line after the other, the first `limit` of them, and a button for the rest.
 * `ui` remembers by `id` how many are shown.
 */
export function items(ui, id, list, render, limit = 24) {
  if (list.length === 0) return h("span", { class: "muted" }, "none");
  const shown = Math.min(list.length, ui.memory.get(id) ?? limit);
  const left = list.length - shown;
  const more = Math.min(left, 1000);
  return h("ul", { class: "items" },
    list.slice(0, shown).map((item) => h("li", null, render(item))),
    left > 0 && h("li", null, h("button", {
      class: "quiet", type: "button", on: { click: (event) => {
        const list = event.currentTarget.closest("ul");
        ui.memory.set(id, shown + more);
        ui.redraw();
        list.children[shown]?.querySelector("a, button")?.focus({ preventScroll: true });
      } },
    }, `and ${left.toLocaleString("en")} more${more < left ? ` (show ${more.toLocaleString("en")})` : ""}`)));
}

/** `list` rendered with a button that shows more, for tables that can be long. */
export function portion(ui, id, list, limit, one) {
  const shown = Math.min(list.length, ui.memory.get(id) ?? limit);
  const left = list.length - shown;
  const button = left > 0 && h("p", null, h("button", {
    type: "button", on: { click: () => { ui.memory.set(id, shown + limit); ui.redraw(); } },
  }, `Show ${count(Math.min(left, limit), one)} more of ${left.toLocaleString("en")}`));
  return [list.slice(0, shown), button];
}

/** An MTU, bond interval or VLAN: the number, or what its absence means. */
export const orElse = (value, words) => (value === null || value === undefined ? h("span", { class: "muted" }, words) : String(value));

/** Labels as key=value. */
export function labels(ui, id, map) {
  return items(ui, id, Object.entries(map), ([key, value]) => h("code", { class: "label" },
    name(key), "=", name(String(value))), 12);
}

/** A node selector in words. */
export function selector(ui, id, map) {
  return Object.keys(map ?? {}).length === 0 ? "all hosts" : labels(ui, id, map);
}
