// The fields of the planner's forms.

import { h } from "./dom.js";
import * as parts from "./parts.js";
import { count, visible } from "./words.js";

const LISTED = 100;

/** A step of a form, numbered. */
export function step(number, title, ...content) {
  return h("fieldset", { class: "step", key: `step ${title}`, data: { step: String(number) } },
    h("legend", null, h("span", { class: "step-number" }, String(number)), title), content);
}

/** A labelled control; `hint` says more below it. */
export function field(id, label, control, hint) {
  const element = h("div", { class: "field", key: id }, h("label", { for: id }, label), control);
  if (hint) {
    element.append(h("p", { class: "hint", id: `${id}-hint` }, hint));
    control.setAttribute("aria-describedby", `${id}-hint`);
  }
  return element;
}

export function text(id, value, change, props) {
  return h("input", { type: "text", id, value: value ?? "", autocomplete: "off", spellcheck: "false", on: { input: (event) => change(event.target.value) }, ...props });
}

/** A number or null. */
export function number(id, value, change, props) {
  return h("input", {
    type: "number", id, value: value === null || value === undefined ? "" : String(value), inputmode: "numeric", step: "1",
    on: { input: (event) => change(Number.isFinite(event.target.valueAsNumber) ? Math.trunc(event.target.valueAsNumber) : null) }, ...props,
  });
}

/** `options` are values, or pairs of a value and its text. */
export function select(id, value, options, change) {
  return h("select", { id, value: value ?? "", on: { change: (event) => change(event.target.value) } },
    options.map((option) => {
      const [key, label] = Array.isArray(option) ? option : [option, option];
      return h("option", { value: key }, visible(label.length > 80 ? `${label.slice(0, 79)}…` : label));
    }));
}

/** One of several ways, as radio buttons. */
export function radios(name, value, options, change) {
  return h("div", { class: "radios", key: name }, options.map(([key, label]) => h("label", { class: "check", key },
    h("input", { type: "radio", name, id: `${name}-${key}`, value: key, checked: key === value, on: { change: () => change(key) } }), label)));
}

/** Several of many names: a filter, check boxes, and what is selected. */
export function pick(ui, id, all, chosen, change, one, props) {
  const filter = ui.memory.get(`${id} filter`) ?? "";
  const wanted = filter.trim().toLowerCase();
  const fitting = wanted === "" ? all : all.filter((name) => name.toLowerCase().includes(wanted));
  const selected = new Set(chosen);
  const known = new Set(all);
  const shown = fitting.slice(0, LISTED);
  const flip = (name, on) => change(on ? [...chosen, name] : chosen.filter((item) => item !== name));
  const gone = chosen.filter((name) => !known.has(name));
  return h("div", { class: "pick", key: id, id, data: { selected: String(chosen.length) } },
    h("div", { class: "pick-bar" },
      h("input", {
        type: "search", id: `${id}-filter`, "aria-label": `Filter the ${one}s`, placeholder: "filter", value: filter, autocomplete: "off",
        on: { input: (event) => { ui.memory.set(`${id} filter`, event.target.value); ui.redraw(); } },
      }),
      fitting.length > 1 && h("button", { type: "button", on: { click: () => change([...new Set([...chosen, ...fitting])]) } },
        wanted === "" ? `Select all ${fitting.length.toLocaleString("en")}` : `Select these ${fitting.length.toLocaleString("en")}`),
      chosen.length > 0 && h("button", { type: "button", on: { click: () => change([]) } }, "Select none"),
      h("span", { class: "muted" }, `${chosen.length.toLocaleString("en")} selected`)),
    h("div", { class: "pick-list", role: "group", "aria-label": `${one}s` },
      shown.map((name) => h("label", { class: "check", key: name }, h("input", {
        type: "checkbox", checked: selected.has(name), data: { [props?.data ?? "pick"]: name }, on: { change: (event) => flip(name, event.target.checked) },
      }), parts.name(name))),
      fitting.length > shown.length && h("p", { class: "muted" }, `${count(fitting.length - shown.length, one)} more; filter to see them.`),
      fitting.length === 0 && h("p", { class: "muted" }, "None fits the filter.")),
    gone.length > 0 && h("p", { class: "hint" }, "Selected, but not in the cluster: ", gone.slice(0, 10).map((name) => [parts.name(name), " "]),
      h("button", { type: "button", class: "quiet", on: { click: () => change(chosen.filter((name) => known.has(name))) } }, "remove")));
}

/** Labels that a host must have: a key and a value in each line. */
export function labelPicker(id, offers, chosen, change) {
  const entries = Object.entries(chosen);
  const used = new Set(entries.map(([key]) => key));
  const free = offers.labels.filter((label) => !used.has(label.key));
  const put = (key, value) => change({ ...chosen, [key]: value });
  const drop = (key) => change(Object.fromEntries(entries.filter(([other]) => other !== key)));
  return h("div", { class: "labels", key: id, id },
    entries.map(([key, value], at) => {
      const offer = offers.labels.find((label) => label.key === key);
      const control = `${id}-value-${at}`;
      const values = offer?.values ?? [];
      const all = values.includes(value) ? values : [value, ...values];
      return h("div", { class: "label-row", key, data: { label: key } },
        h("label", { for: control }, h("code", null, parts.name(key)), " ="),
        offer && offer.more === 0
          ? select(control, value, all, (next) => put(key, next))
          : [h("input", { type: "text", id: control, list: `${control}-list`, value, autocomplete: "off", on: { input: (event) => put(key, event.target.value) } }),
            h("datalist", { id: `${control}-list` }, values.map((item) => h("option", { value: item })))],
        h("button", { type: "button", class: "close", "aria-label": `Remove label ${visible(key.slice(0, 100))}`, on: { click: () => drop(key) } }, "✕"));
    }),
    free.length > 0 && h("div", { class: "label-row", key: " add" },
      h("label", { for: `${id}-add` }, entries.length === 0 ? "Label" : "And label"),
      h("select", { id: `${id}-add`, value: "", on: { change: (event) => {
        const label = offers.labels.find((item) => item.key === event.target.value);
        if (label) put(label.key, label.values[0] ?? "");
      } } }, h("option", { value: "" }, "choose a label"), free.map((label) => h("option", { value: label.key }, visible(label.key.slice(0, 100)))))));
}
