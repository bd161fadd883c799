"use strict";
// Two things that a page on paper cannot do: sort its tables, and show every picture of a sweep.

function make(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children); // text stays text, whatever it says
  return made;
}

// --- tables ---------------------------------------------------------------------------------------------------------

function keyOf(row, column) {
  const cell = row.cells[column];
  if (!("v" in cell.dataset)) return cell.textContent.trim().toLowerCase();
  return cell.dataset.v === "" ? null : Number(cell.dataset.v);
}

function compare(a, b, sign) {
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1; // what is not there comes last
  return sign * (typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a < b ? -1 : a > b ? 1 : 0);
}

function sortBy(table, head, column) {
  const turned = head.getAttribute("aria-sort");
  const first = head.dataset.first || "ascending";
  const direction = turned ? (turned === "ascending" ? "descending" : "ascending") : first;
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", direction);
  const body = table.tBodies[0];
  const sign = direction === "ascending" ? 1 : -1;
  const keyed = Array.from(body.rows, (row) => [keyOf(row, column), row]);
  keyed.sort(([a], [b]) => compare(a, b, sign));
  body.append(...keyed.map(([, row]) => row));
}

for (const table of document.querySelectorAll("table.sorts")) {
  Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
    const button = make("button", { type: "button" });
    button.append(...head.childNodes);
    button.addEventListener("click", () => sortBy(table, head, column));
    head.append(button);
  });
}

// --- pictures -------------------------------------------------------------------------------------------------------

const AT_ONCE = 12;
const SHARP = 128; // pixels below which a picture is enlarged without blur

function picture(place, said) {
  const frame = make("div", { class: "pic" });
  const source = typeof place === "number" ? album.pictures[place] : "";
  if (!source) {
    frame.classList.add("none");
    frame.append(typeof place === "string" ? place : "cannot be read");
    return frame;
  }
  const image = make("img", { alt: said, width: 128, height: 128 });
  image.addEventListener("load", () => image.classList.toggle("pixels", Math.max(image.naturalWidth, image.naturalHeight) < SHARP));
  image.src = "data:image/webp;base64," + source;
  frame.append(image);
  return frame;
}

function givenItem([name, place], card) {
  return make("li", {}, picture(place, `${name} of ${card.uid}`), make("small", {}, name));
}

function shownItem(method, card) {
  const [caption, place] = method.sweep[method.shown];
  const said = [method.label, caption].filter(Boolean).join(" ");
  const frame = picture(place, said);
  const button = make("button", { type: "button", class: frame.className, "aria-label": `${said}: all strengths` });
  button.append(...frame.childNodes);
  button.addEventListener("click", () => openSweeps(card, method, button));
  return make("li", {}, button, make("small", {}, method.label), make("small", {}, caption));
}

function cardOf(card) {
  const under = [card.uid, card.category, card.source && `input: “${card.source}”`].filter(Boolean).join(" · ");
  const strip = make("ul", { class: "strip" });
  strip.append(...card.given.map((one) => givenItem(one, card)), ...card.methods.map((one) => shownItem(one, card)));
  return make("section", { class: "card", "data-uid": card.uid }, make("h3", {}, `“${card.text}”`), make("small", {}, under), strip);
}

function openSweeps(card, first, from) {
  const view = document.getElementById("sweeps");
  const title = make("h2", { id: "sweeps-title", tabindex: "-1" }, `“${card.text}”`);
  const close = make("button", { type: "button" }, "Close");
  close.addEventListener("click", () => view.close());
  const parts = [make("header", {}, title, close)];
  if (card.given.length) parts.push(row("Given", card.given.map((one) => givenItem(one, card))));
  for (const method of [first, ...card.methods.filter((one) => one !== first)]) {
    parts.push(row(method.label, method.sweep.map(([caption, place, values]) =>
      make("li", {}, picture(place, `${method.label} ${caption}`.trim()), make("small", {}, caption), make("small", {}, values)))));
  }
  view.replaceChildren(...parts);
  view.onclose = () => { view.replaceChildren(); from.focus(); };
  view.showModal();
  title.focus();
  view.scrollTop = 0;
}

function row(label, items) {
  return make("section", {}, make("h3", {}, label),
    make("ul", { class: "strip", tabindex: "0", "aria-label": `${label}: pictures` }, ...items));
}

function worth(index, metric, method) {
  const lines = method < 0 ? album.scores[metric] : [album.scores[metric][method]];
  const found = lines.map((line) => line[index]).filter((value) => value !== null);
  return found.length ? found.reduce((a, b) => a + b / found.length, 0) : null;
}

function wanted(tools) {
  const category = tools.category ? tools.category.value : "";
  const order = album.cards.map((card, index) => index).filter((index) => !category || album.cards[index].category === category);
  if (tools.order.value === "asked") return order;
  const metric = Number(tools.metric.value);
  const sign = (tools.order.value === "best") === album.metrics[metric].higher ? -1 : 1;
  const keyed = order.map((index) => [worth(index, metric, Number(tools.method.value)), index]);
  keyed.sort(([a, i], [b, j]) => {
    if (a === null || b === null) return a === b ? i - j : a === null ? 1 : -1;
    return sign * (a - b) || i - j;
  });
  return keyed.map(([, index]) => index);
}

function startAlbum() {
  const tools = Object.fromEntries(Array.from(document.querySelectorAll(".tools select"), (one) => [one.name, one]));
  const [list, count, more] = ["cards", "count", "more"].map((id) => document.getElementById(id));
  let order = [];
  let shown = 0;
  function add() {
    list.append(...order.slice(shown, shown + AT_ONCE).map((index) => cardOf(album.cards[index])));
    shown = Math.min(shown + AT_ONCE, order.length);
    count.textContent = `${shown} of ${order.length} pairs`;
    more.hidden = shown >= order.length;
  }
  function again() {
    list.replaceChildren();
    shown = 0;
    order = wanted(tools);
    for (const name of ["metric", "method"]) tools[name].disabled = tools.order.value === "asked";
    add();
  }
  for (const one of Object.values(tools)) one.addEventListener("change", again);
  document.querySelector(".tools").hidden = false;
  more.addEventListener("click", () => {
    const first = list.children.length;
    add();
    if (more.hidden) list.children[first].querySelector("button")?.focus(); // the button that had it is gone
  });
  again();
}

const held = document.getElementById("album");
const album = held ? JSON.parse(held.textContent) : null;
if (album) startAlbum();
