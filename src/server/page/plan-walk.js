// What all walks of the planner share: a form that is kept in the address and sent as it changes.

import { get, post } from "./api.js";
import { debounce, h } from "./dom.js";
import * as parts from "./parts.js";
import { hashOf, keepQuery } from "./routes.js";
import { visible } from "./words.js";

const WAIT = 200;

/**
 * Makes the view of a walk. `spec` has `title`, `lead`, `endpoint`, `initial(offers)`,
 * `fields(walk)`, and `result(answer, walk)`. A walk that needs more before it can ask has
 * `ready(form)`; one whose form the server fills has `adopt(form)`, true as long as it is to be filled;
 * one that shows more than the answer has `more(walk, signal)`, which reads it.
 */
export function makeWalk(route, ui, spec) {
  let asked = 0;
  let request = null;
  const walk = {
    ui,
    form: null,
    offers: null,
    answer: null,
    error: null,
    busy: false,
    /** Changes the form, shows it at once, and asks soon what it would do. */
    set(change) {
      walk.form = { ...walk.form, ...change };
      walk.changed();
    },
    /** Starts with another form. */
    reset(form) {
      ui.memory.clear();
      walk.form = form;
      walk.answer = null;
      walk.changed();
    },
    changed() {
      walk.busy = true;
      ui.redraw();
      askSoon();
    },
  };

  async function ask(signal) {
    const mine = (asked += 1);
    request?.abort();
    if (spec.ready && !spec.ready(walk.form)) {
      Object.assign(walk, { answer: null, error: null, busy: false });
      return;
    }
    request = new AbortController();
    signal?.addEventListener("abort", () => request?.abort());
    try {
      const answer = await post(spec.endpoint, walk.form, request.signal);
      if (mine !== asked) return;
      if (spec.adopt?.(walk.form) && answer.form) walk.form = answer.form;
      Object.assign(walk, { answer, error: null, busy: false });
    } catch (error) {
      if (error.name === "AbortError" || mine !== asked) return;
      walk.busy = false;
      walk.error = error;
      if (error.status === 404 || error.status === 400) walk.answer = null;
    }
  }

  const askSoon = debounce(async () => {
    keepQuery({ form: JSON.stringify(walk.form) });
    await ask(null);
    ui.redraw();
  }, WAIT);

  return {
    title: () => spec.title,
    async load(signal) {
      walk.offers = await get("planner", signal);
      walk.form ??= { ...spec.initial(walk.offers), ...given(route) };
      // A change that is under way is about to ask by itself.
      if (!walk.busy) await ask(signal);
      await spec.more?.(walk, signal);
      return walk;
    },
    render: () => [
      parts.head(spec.title, h("p", { class: "lead" }, spec.lead),
        h("p", { class: "head-links" }, h("a", { href: hashOf("planner", route.name) }, "Start over"), h("a", { href: hashOf("planner") }, "All plans"))),
      h("div", { class: "plan", key: "plan" },
        h("form", { class: "plan-form", id: "plan-form", "aria-label": spec.title, on: { submit: (event) => event.preventDefault() } }, spec.fields(walk)),
        h("section", { class: "plan-result", id: "plan-result", "aria-labelledby": "result-title", "aria-busy": String(walk.busy), data: { busy: walk.busy ? "yes" : "no" } },
          h("h2", { id: "result-title" }, spec.resultTitle ?? "What it would do", h("span", { class: "busy" }, walk.busy ? "checking…" : "")),
          walk.error && h("p", { class: "notice", key: "error" }, visible(walk.error.message)),
          walk.answer ? h("div", { key: "answer" }, spec.result(walk.answer, walk)) : !walk.error && parts.muted(walk.busy ? "…" : spec.nothing ?? ""))),
    ],
    end() {
      askSoon.cancel();
      asked += 1;
      request?.abort();
    },
  };
}

/** The form in the address, if it is one. */
function given(route) {
  try {
    const form = JSON.parse(route.query.get("form") ?? "{}");
    return form !== null && typeof form === "object" && !Array.isArray(form) ? form : {};
  } catch {
    return {};
  }
}
