// Builds DOM elements from plain values, and changes a tree in place so that focus, selection and
// scroll positions survive a new version of the data. Text is always set as a text node.

/**
 * Makes an element. Props: `class`, `key` (identity among siblings), `on` (handlers by event),
 * `data` (data attributes), `value`, `checked`, `keep` (a later tree leaves the element's content
 * alone); everything else is an attribute. Children that are null or false are left out.
 */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.className = value;
    else if (name === "key") element.nodeKey = String(value);
    else if (name === "keep") element.nodeKeep = value;
    else if (name === "on") listen(element, value);
    else if (name === "data") for (const [key, item] of Object.entries(value)) {
      if (item !== null && item !== undefined && item !== false) element.dataset[key] = item;
    }
    else if (name === "value" || name === "checked") {
      element.wanted = { ...element.wanted, [name]: value };
    }
    else element.setAttribute(name, value === true ? "" : value);
  }
  append(element, children);
  if (element.wanted) Object.assign(element, element.wanted);
  return element;
}

function append(element, children) {
  for (const child of children) {
    if (Array.isArray(child)) append(element, child);
    else if (child instanceof Node) element.append(child);
    else if (child !== null && child !== undefined && child !== false) {
      element.append(document.createTextNode(String(child)));
    }
  }
}

function listen(element, handlers) {
  for (const type of Object.keys(handlers)) {
    if (!element.handlers?.[type]) element.addEventListener(type, dispatch);
  }
  element.handlers = { ...element.handlers, ...handlers };
}

// One listener per element and event looks its handler up when the event comes. So a handler can
// be replaced without touching the listeners.
function dispatch(event) {
  const handler = event.currentTarget.handlers?.[event.type];
  if (handler) handler(event);
}

/** Makes the children of `parent` equal to `wanted`, reusing elements that have the same identity. */
export function morph(parent, wanted) {
  const keys = new Set(wanted.map((node) => node.nodeKey));
  const keyed = new Map();
  for (const node of [...parent.childNodes]) {
    if (node.nodeKey === undefined) continue;
    // What goes away goes first, so that its neighbours need not be moved and keep the focus.
    if (keys.has(node.nodeKey)) keyed.set(node.nodeKey, node);
    else node.remove();
  }
  const used = new Set();
  let cursor = parent.firstChild;
  for (const next of wanted) {
    while (cursor && used.has(cursor)) cursor = cursor.nextSibling;
    const match = next.nodeKey === undefined ? following(cursor, next, used) : keyed.get(next.nodeKey);
    if (!match || used.has(match) || !sameKind(match, next)) {
      parent.insertBefore(next, cursor);
      used.add(next);
      continue;
    }
    used.add(match);
    if (next.nodeKey === undefined || match === cursor) cursor = match.nextSibling;
    else parent.insertBefore(match, cursor);
    patch(match, next);
  }
  for (const node of [...parent.childNodes]) if (!used.has(node)) node.remove();
}

/** The first node from `cursor` on that can become `next`, which has no key. */
function following(cursor, next, used) {
  for (let node = cursor; node; node = node.nextSibling) {
    if (node.nodeKey === undefined && !used.has(node) && sameKind(node, next)) return node;
  }
  return null;
}

function sameKind(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName && a.nodeKeep === b.nodeKeep;
}

function patch(old, next) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== next.data) old.data = next.data;
    return;
  }
  old.handlers = Object.fromEntries(Object.keys(old.handlers ?? {}).map((type) => [type, null]));
  if (next.handlers) relisten(old, next.handlers);
  if (old.nodeKeep) return;
  for (const { name, value } of next.attributes) {
    // Whether <details> is open is for the person who reads to say.
    if (name === "open") continue;
    // The Content-Security-Policy forbids the attribute, but not its object.
    if (name === "style") {
      if (old.style.cssText !== next.style.cssText) old.style.cssText = next.style.cssText;
    } else if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    if (name !== "open" && !next.hasAttribute(name)) old.removeAttribute(name);
  }
  morph(old, [...next.childNodes]);
  if (!next.wanted) return;
  old.wanted = next.wanted;
  for (const [name, value] of Object.entries(next.wanted)) {
    const typing = name === "value" && old === document.activeElement && old.nodeName === "INPUT";
    if (!typing && old[name] !== value) old[name] = value;
  }
}

function relisten(element, handlers) {
  for (const [type, handler] of Object.entries(handlers)) {
    if (!(type in element.handlers)) element.addEventListener(type, dispatch);
    element.handlers[type] = handler;
  }
}

/** Calls `action` once, `wait` milliseconds after the last call. */
export function debounce(action, wait) {
  let timer = 0;
  const later = (...args) => {
    clearTimeout(timer);
    timer = setTimeout(action, wait, ...args);
  };
  later.cancel = () => clearTimeout(timer);
  return later;
}
