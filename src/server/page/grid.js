// A grid of many rows of which only those in view are in the document, for mouse and keyboard.

import { h } from "./dom.js";
import { hashOf } from "./routes.js";
import { cellKey } from "./rows.js";
import { count, stateMeaning, stateWord, visible } from "./words.js";

const ROW = 32;
const AROUND = 6;
const FLASH = 2500;

/** The matrix of hosts × cluster networks. `on` has `select(row, column)` and `toggle(key)`. */
export class Grid {
  constructor(on) {
    this.on = on;
    this.rows = [];
    this.columns = [];
    this.codes = [];
    this.slots = [];
    this.stamp = 0;
    this.at = { row: 0, column: 0 };
    this.atKey = null;
    this.selected = null;
    this.changes = new Map();
    this.headRow = h("div", { class: "grid-head", role: "row", "aria-rowindex": "1" });
    this.body = h("div", { class: "grid-body", role: "rowgroup" });
    this.element = h("div", {
      class: "grid", role: "grid", tabindex: "-1", id: "matrix", "aria-label": "Hosts and cluster networks",
      on: { scroll: () => this.drawSoon(), keydown: (event) => this.key(event), click: (event) => this.click(event), focusin: (event) => this.focused(event), mouseover: (event) => this.describe(event) },
    }, h("div", { class: "grid-top", role: "rowgroup" }, this.headRow), this.body);
    this.resize = new ResizeObserver(() => this.layout());
    this.resize.observe(this.element);
  }

  end() {
    this.resize.disconnect();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.fading);
  }

  /** Shows other rows or columns, and marks the cells of `changed` for a moment. */
  update(overview, rows, changed, selected) {
    this.stamp += 1;
    this.rows = rows;
    this.columns = overview.clusterNetworks;
    this.total = overview.hosts.length;
    this.codes = overview.codes;
    this.selected = selected;
    const until = performance.now() + FLASH;
    for (const key of changed) this.changes.set(key, until);
    if (this.changes.size > 0) {
      clearTimeout(this.fading);
      this.fading = setTimeout(() => this.fade(), FLASH + 50);
    }
    if (this.atKey !== null) {
      const row = rows.findIndex((item) => item.key === this.atKey);
      if (row >= 0) this.at.row = row + 1;
    }
    this.at.row = Math.min(this.at.row, rows.length);
    this.at.column = Math.min(this.at.column, this.columns.length);
    this.element.setAttribute("aria-rowcount", String(rows.length + 1));
    this.element.setAttribute("aria-colcount", String(this.columns.length + 1));
    this.body.style.setProperty("height", `${rows.length * ROW}px`);
    this.layout();
  }

  fade() {
    const now = performance.now();
    for (const [key, until] of this.changes) if (until <= now) this.changes.delete(key);
    this.stamp += 1;
    this.draw();
  }

  /** Chooses widths: cells with words if there is room, else marks below upright names. */
  layout() {
    const width = this.element.clientWidth;
    if (width === 0) return;
    const first = width < 560 ? 132 : width < 900 ? 200 : 270;
    const room = Math.floor((100 * (width - first)) / Math.max(1, this.columns.length)) / 100;
    const wide = room >= 132;
    const cell = Math.max(32, room);
    const style = this.element.style;
    style.setProperty("--first", `${first}px`);
    style.setProperty("--cell", `${cell}px`);
    style.setProperty("--whole", `${first + cell * this.columns.length}px`);
    this.element.classList.toggle("wide", wide);
    this.wide = wide;
    this.first = first;
    this.cell = cell;
    this.drawHead();
    this.draw();
  }

  drawHead() {
    // A link that is replaced between the press and the release of a button gets no click.
    const like = JSON.stringify([this.wide, this.total, this.columns.map((network) => [network.name, network.active])]);
    if (this.headLike === like) return;
    this.headLike = like;
    const cells = [h("div", { class: "cell corner", role: "columnheader", "aria-colindex": "1" }, h("span", null, "Host"), !this.wide && h("span", { class: "column-count", "aria-hidden": "true" }, "active on"))];
    this.columns.forEach((network, at) => {
      const text = `${network.name}: active on ${network.active} of ${this.total} hosts`;
      cells.push(h("div", { class: "cell", role: "columnheader", "aria-colindex": String(at + 2), data: { network: network.name } },
        h("a", { href: hashOf("cluster-networks", network.name), tabindex: "-1", title: visible(text.slice(0, 400)) },
          h("bdi", { class: "column-name" }, visible(network.name.slice(0, 100))),
          h("span", { class: "column-count" }, this.wide ? `${network.active} of ${this.total}` : String(network.active)))));
    });
    const focused = this.headRow.contains(document.activeElement);
    this.headRow.replaceChildren(...cells);
    this.rove();
    if (focused) this.focusCell();
  }

  drawSoon() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  draw() {
    const height = this.element.clientHeight;
    if (height === 0) return;
    const top = this.element.scrollTop;
    const from = Math.max(0, Math.floor(top / ROW) - AROUND);
    const to = Math.min(this.rows.length, Math.ceil((top + height) / ROW) + AROUND);
    const wanted = Math.ceil(height / ROW) + 2 * AROUND + 2;
    const shape = this.columns.length;
    if (this.slots.length < wanted || this.shape !== shape) this.makeSlots(wanted, shape);
    for (const slot of this.slots) {
      if (slot.index >= 0 && (slot.index < from || slot.index >= to)) this.release(slot);
    }
    for (let index = from; index < to; index += 1) {
      const slot = this.slots[index % this.slots.length];
      if (slot.index !== index || slot.stamp !== this.stamp) this.fill(slot, index);
    }
    this.rove();
    if (this.away && this.cellAt(this.at)) {
      this.away = false;
      if (document.activeElement === this.element) this.focusCell();
    }
  }

  makeSlots(wanted, columns) {
    const focused = this.body.contains(document.activeElement);
    this.shape = columns;
    this.slots = Array.from({ length: wanted }, () => {
      const header = h("div", { class: "cell first", role: "rowheader", "aria-colindex": "1", data: { column: "0" } });
      const cells = Array.from({ length: columns }, (_, at) => {
        const word = document.createTextNode("");
        const element = h("div", { class: "cell state", role: "gridcell", "aria-colindex": String(at + 2), data: { column: String(at + 1) } },
          h("span", { class: "mark", "aria-hidden": "true" }), h("span", { class: "word" }, word));
        return { element, word, code: null, network: null, changed: false, chosen: false };
      });
      const element = h("div", { class: "grid-row", role: "row", hidden: true }, header, cells.map((cell) => cell.element));
      return { element, header, cells, index: -1, stamp: -1 };
    });
    this.body.replaceChildren(...this.slots.map((slot) => slot.element));
    if (focused) this.leave();
  }

  release(slot) {
    if (slot.element.contains(document.activeElement)) this.leave();
    slot.index = -1;
    slot.element.hidden = true;
  }

  /** The focused cell scrolls out of view: the grid keeps the focus until the cell comes back. */
  leave() {
    this.away = true;
    this.element.focus({ preventScroll: true });
  }

  fill(slot, index) {
    const row = this.rows[index];
    const host = row.host ?? row.group[0];
    const moved = slot.index !== index;
    if (moved && slot.index >= 0) this.release(slot);
    slot.index = index;
    slot.stamp = this.stamp;
    const { element } = slot;
    element.hidden = false;
    element.style.setProperty("top", `${index * ROW}px`);
    element.setAttribute("aria-rowindex", String(index + 2));
    element.classList.toggle("odd", index % 2 === 1);
    element.dataset.row = row.key.slice(0, 300);
    if (row.group) delete element.dataset.host;
    else element.dataset.host = host.name;
    this.fillHeader(slot, row);
    const chosenIn = this.selected?.key === row.key ? this.selected.network : null;
    slot.cells.forEach((cell, at) => {
      const network = this.columns[at].name;
      const code = this.codes[host.states[at]] ?? "unknown";
      if (cell.network !== network) cell.element.dataset.network = cell.network = network;
      if (cell.code !== code) {
        cell.element.dataset.state = cell.code = code;
        cell.word.data = stateWord(code);
        cell.element.setAttribute("aria-label", cell.word.data);
      }
      if (row.group) delete cell.element.dataset.host;
      else cell.element.dataset.host = host.name;
      mark(cell, "changed", this.changes.size > 0 && this.isChanged(row, network));
      mark(cell, "chosen", chosenIn === network);
    });
  }

  /** The tooltip of a cell is written only when the pointer comes. */
  describe(event) {
    const cell = event.target.closest?.("[role=gridcell]");
    if (!cell) return;
    const { state, network } = cell.dataset;
    cell.title = `${visible(network.slice(0, 100))}: ${stateWord(state)}. ${stateMeaning(state)}`;
  }

  isChanged(row, network) {
    if (row.host) return this.changes.has(cellKey(network, row.host.name));
    return row.group.some((host) => this.changes.has(cellKey(network, host.name)));
  }

  fillHeader(slot, row) {
    const { header } = slot;
    const like = row.group
      ? JSON.stringify([row.open, row.group.length, row.group.slice(0, 9).map((host) => host.name)])
      : JSON.stringify([row.host.name, row.host.witness, row.host.linksDown, Boolean(row.inGroup)]);
    if (slot.headerLike === like) return;
    slot.headerLike = like;
    if (row.group) {
      const names = row.group.slice(0, 8).map((host) => visible(host.name.slice(0, 60))).join(", ");
      const label = `${count(row.group.length, "host")}: ${names}${row.group.length > 8 ? ", …" : ""}`;
      header.className = "cell first grouped";
      header.title = label;
      header.setAttribute("aria-expanded", String(row.open));
      header.replaceChildren(h("span", { class: "fold", "aria-hidden": "true" }),
        h("strong", null, count(row.group.length, "host")), h("bdi", { class: "names" }, ` ${names}`));
      return;
    }
    const { host } = row;
    header.className = row.inGroup ? "cell first inside" : "cell first";
    header.removeAttribute("aria-expanded");
    header.title = visible(host.name.slice(0, 400));
    header.replaceChildren(...[
      h("a", { href: hashOf("hosts", host.name), tabindex: "-1" }, h("bdi", null, visible(host.name.slice(0, 120)))),
      host.witness && h("span", { class: "tag" }, "witness"),
      host.linksDown > 0 && h("span", { class: "tag", title: `${count(host.linksDown, "link")} down` }, `${host.linksDown} down`),
    ].filter(Boolean));
  }

  cellAt({ row, column }) {
    if (row === 0) return this.headRow.children[column] ?? null;
    const slot = this.slots.find((item) => item.index === row - 1);
    if (!slot) return null;
    return column === 0 ? slot.header : slot.cells[column - 1]?.element ?? null;
  }

  /** Exactly one cell of the grid can be reached by Tab. */
  rove() {
    const cell = this.cellAt(this.at);
    if (this.tabbed && this.tabbed !== cell) this.tabbed.tabIndex = -1;
    this.tabbed = cell;
    if (cell) cell.tabIndex = 0;
    this.element.tabIndex = cell ? -1 : 0;
  }

  focusCell() {
    const cell = this.cellAt(this.at);
    if (cell) cell.focus({ preventScroll: true });
  }

  /** Other rows come: they are shown from the first one on. */
  top() {
    this.element.scrollTop = 0;
    this.at = { row: 0, column: 0 };
    this.atKey = null;
  }

  /** Moves the focus to a cell and scrolls it into view. */
  go(row, column) {
    this.at = { row: Math.max(0, Math.min(row, this.rows.length)), column: Math.max(0, Math.min(column, this.columns.length)) };
    this.atKey = this.at.row === 0 ? null : this.rows[this.at.row - 1].key;
    const element = this.element;
    if (this.at.row > 0) {
      const top = (this.at.row - 1) * ROW;
      const view = element.clientHeight - this.headRow.offsetHeight;
      if (top < element.scrollTop) element.scrollTop = top;
      else if (top + ROW > element.scrollTop + view - 14) element.scrollTop = top + ROW - view + 14;
    }
    if (this.at.column > 0) {
      const left = (this.at.column - 1) * this.cell;
      const view = element.clientWidth - this.first;
      if (left < element.scrollLeft) element.scrollLeft = left;
      else if (left + this.cell > element.scrollLeft + view) element.scrollLeft = left + this.cell - view;
    } else element.scrollLeft = 0;
    this.draw();
    this.focusCell();
  }

  key(event) {
    if (event.altKey || event.metaKey) return;
    const { row, column } = this.at;
    const page = Math.max(1, Math.floor(this.element.clientHeight / ROW) - 3);
    const all = event.ctrlKey;
    const to = {
      ArrowUp: [row - 1, column], ArrowDown: [row + 1, column],
      ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1],
      Home: [all ? 1 : row, 0], End: [all ? this.rows.length : row, this.columns.length],
      PageUp: [Math.max(1, row - page), column], PageDown: [row + page, column],
    }[event.key];
    if (to) {
      event.preventDefault();
      this.go(...to);
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.act(row, column);
    }
  }

  act(row, column) {
    if (row === 0) {
      if (column > 0) location.hash = hashOf("cluster-networks", this.columns[column - 1].name);
      return;
    }
    const item = this.rows[row - 1];
    if (!item) return;
    if (column > 0) this.on.select(item, this.columns[column - 1].name);
    else if (item.group) this.on.toggle(item.key);
    else location.hash = hashOf("hosts", item.host.name);
  }

  place(target) {
    const cell = target.closest?.("[role=gridcell],[role=rowheader],[role=columnheader]");
    if (!cell || !this.element.contains(cell)) return null;
    if (this.headRow.contains(cell)) return { row: 0, column: [...this.headRow.children].indexOf(cell) };
    const slot = this.slots.find((item) => item.element.contains(cell));
    return slot && slot.index >= 0 ? { row: slot.index + 1, column: Number(cell.dataset.column) } : null;
  }

  focused(event) {
    const at = this.place(event.target);
    if (!at) return;
    this.at = at;
    this.atKey = at.row === 0 ? null : this.rows[at.row - 1].key;
    this.rove();
  }

  click(event) {
    if (event.target.closest("a")) return;
    const at = this.place(event.target);
    if (!at) return;
    this.go(at.row, at.column);
    if (at.row > 0) this.act(at.row, at.column);
  }
}

/** Sets a class of a cell, and touches the element only if that changes something. */
function mark(cell, name, on) {
  if (cell[name] === on) return;
  cell[name] = on;
  cell.element.classList.toggle(name, on);
  if (name === "chosen") cell.element.setAttribute("aria-selected", String(on));
}
