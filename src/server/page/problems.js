// The page of problems: everything that is wrong now, by kind of problem.

import { get } from "./api.js";
import { h } from "./dom.js";
import * as parts from "./parts.js";
import { keepQuery } from "./routes.js";
import { count, visible } from "./words.js";

export function problemsView(route, ui) {
  let code = route.query.get("code") ?? "";
  return {
    title: (data) => (data.problems.length === 0 ? "No problems" : count(data.problems.length, "problem")),
    countsProblems: true,
    async load(signal) {
      const data = await get("problems", signal);
      ui.problems(data.problems.length);
      return data;
    },
    render(data) {
      if (data.problems.length === 0) return [parts.head("Problems"), parts.empty("Nothing is wrong as far as Lanekeeper can see.")];
      const codes = new Map();
      for (const problem of data.problems) codes.set(problem.code, (codes.get(problem.code) ?? 0) + 1);
      if (code !== "" && !codes.has(code)) codes.set(code, 0);
      const wanted = code === "" ? data.problems : data.problems.filter((problem) => problem.code === code);
      const [shown, more] = parts.portion(ui, "problems", wanted, 200, "problem");
      return [
        parts.head("Problems", h("p", { class: "lead" }, "What is wrong now, where, and what to do. The same as lanekeeper check says.")),
        h("div", { class: "toolbar", key: "toolbar" },
          h("label", { class: "field-inline" }, "Show ", h("select", {
            id: "problem-code", value: code,
            on: { change: (event) => { code = event.target.value; keepQuery({ code }); ui.redraw(); } },
          }, h("option", { value: "" }, `all (${data.problems.length})`),
          [...codes].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, number]) => h("option", { value: key }, `${visible(key.slice(0, 80))} (${number})`)))),
          h("p", { class: "muted shown", role: "status" }, count(wanted.length, "problem"))),
        h("ul", { class: "problems", key: "problems" }, shown.map((problem) => h("li", { class: "problem", data: { code: problem.code } },
          h("p", { class: "cause-head" }, h("code", { class: "code" }, parts.name(problem.code)),
            problem.kind && problem.object && h("span", null, parts.object(problem.kind, problem.object))),
          parts.prose(problem.message, "message"),
          problem.hosts.length > 0 && h("div", { class: "on-hosts" }, h("span", { class: "muted" }, `${count(problem.hosts.length, "host")}:`),
            parts.items(ui, `hosts ${problem.code} ${problem.object}`, problem.hosts, parts.host, 10))))),
        more && h("div", { key: "more" }, more),
      ].filter(Boolean);
    },
  };
}
