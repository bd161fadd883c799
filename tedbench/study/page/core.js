// What every page shares: making elements, and one question with its pictures and its clock.
// No template literals here: MTurk would take a dollar sign with a brace for a variable of its own.
const data = JSON.parse(document.getElementById("data").textContent);
const root = document.getElementById("study");
const LEAST = 120;  // CSS pixels of a picture's longer side; what does not fit then scrolls,
const BELOW = 170;  // and the results should fit with so much of what is below them
const GAP = 8;  // between two pictures, as in page.css
const PATIENCE = 30;  // seconds for a picture
const LONGEST = 3600000;  // milliseconds; whoever went to lunch is not refused for it

function make(tag, facts, ...inside) {
  const one = document.createElement(tag);
  for (const [name, value] of Object.entries(facts || {})) {
    if (name === "on") for (const [event, run] of Object.entries(value)) one.addEventListener(event, run);
    else if (value === true) one.setAttribute(name, "");
    else if (value !== false && value !== undefined) one.setAttribute(name, value);
  }
  one.append(...inside.filter((part) => part !== null && part !== undefined));
  return one;
}

const button = (text, run, kind) => make("button", { type: "button", class: kind || "", on: { click: run } }, text);
const paragraphs = (text) => text.split(/\n\s*\n/).map((part) => make("p", {}, part));
const web = (url) => (/^https?:\/\//i.test(url || "") ? url : "");
const wait = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));
const noted = () => make("p", { class: "note", role: "status" });
const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1).replace(/\.?$/, ".");

const live = make("p", { class: "unseen", role: "status" });
const title = make("h1", { class: "title" }, data.title);
const bar = make("progress", { max: 1, value: 0, hidden: true, "aria-label": "Progress" });
const view = make("div", { class: "view" });
const foot = make("footer", {});
root.append(make("header", {}, title, bar), live, make("main", {}, view), foot);

let leave = () => {};
// Called before another view comes: takes the question's listeners away.

function show(heading, ...inside) {
  leave();
  leave = () => {};
  const top = make("h2", { tabindex: "-1" }, heading);
  view.replaceChildren(top, ...inside.filter(Boolean));
  live.textContent = "";
  window.scrollTo(0, 0);
  top.focus({ preventScroll: true });  // which reads it out
  return top;
}

function measure(done, of) {
  bar.hidden = false;
  bar.max = of;
  bar.value = done;
  bar.setAttribute("aria-valuetext", done + " of " + of + " answered");
}

// Asks before `run`, which gets a note for its troubles and says false where it must be tried again.
// left: for when somebody closes the dialog while it runs.
function sure({ heading, text, yes, no }, run, left) {
  const note = noted();
  let going = false;
  const go = button(yes, async () => {
    going = go.disabled = true;
    const done = await run(note);
    going = go.disabled = false;
    if (done !== false) dialog.close();
  }, "bad");
  const dialog = make("dialog", { "aria-labelledby": "sure" }, make("h2", { id: "sure" }, heading),
    make("p", {}, text), note, make("p", { class: "go" }, button(no, () => dialog.close(), "main"), go));
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (going && left) left();
  });
  root.append(dialog);
  dialog.showModal();
}

const WITHDRAW = {
  heading: "Withdraw from the study?", text: "All your answers will be deleted. This cannot be undone.",
  yes: "Withdraw and delete my answers", no: "Go on with the study",
};

// closed: why nobody may begin here; said: what there is to know before beginning.
function consented(begin, { closed = "", said = "" } = {}) {
  const start = button("Begin", begin, "main");
  const note = noted();
  note.append(closed);
  start.disabled = Boolean(closed);
  const list = make("dl", {});
  for (const [what, text] of data.about || []) list.append(make("dt", {}, what), make("dd", {}, text));
  bar.hidden = true;
  show("Before you begin", said ? make("p", { class: "warn" }, said) : null, ...paragraphs(data.consent), list,
    make("p", { class: "dim" }, "There are " + data.screens + " questions. "
      + "By choosing Begin you agree to take part. Version " + data.consent_version + " of this text."),
    make("p", { class: "go" }, start), note);
  return { start, note };
}

const named = (choice) => ({ left: "Left", right: "Right" }[choice] || (data.words || {})[choice] || choice);
const key = (text) => make("kbd", { "aria-hidden": "true" }, text);

function pictured(which) {
  const called = which === "input" ? "Input" : named(which);
  const alt = which === "input" ? "Input photograph" : called + " result";
  const image = make("img", { alt, class: "waiting", draggable: "false" });
  const figure = make("figure", { class: which }, make("div", { class: "frame" }, image),
    make("figcaption", {}, called));
  return { which, image, figure, loaded: false };
}

function grouped(aspect, choose) {
  const radios = data.choices.map((choice, at) => make("input", { type: "radio", name: "aspect-" + aspect.name,
    value: choice, "aria-keyshortcuts": String(at + 1), on: { change: () => choose(aspect.name, choice) } }));
  const labels = radios.map((one, at) => make("label", {}, one, make("span", {}, named(one.value)), key(at + 1)));
  const set = make("fieldset", { disabled: true, "data-n": radios.length }, make("legend", {}, aspect.wording),
    make("div", { class: "choices" }, ...labels));
  return { name: aspect.name, set, radios };
}

// Small pictures grow by whole numbers of the screen's own dots; large ones take what room there is.
function fit(pictures) {
  const there = pictures.filter((one) => one.naturalWidth > 1);
  const talls = there.map((one) => one.naturalHeight);
  const natural = Math.max(...there.map((one) => one.naturalWidth), ...talls, there.length ? 1 : data.size || 512);
  const tall = there.length ? Math.max(...talls) / natural : 1;
  const wide = (view.clientWidth - GAP) / 2;
  const over = () => root.getBoundingClientRect().height - window.innerHeight;
  const size = (wanted) => sized(pictures, natural, tall, wanted);
  let side = size(wide);
  for (let turn = 0; turn < 8 && over() > 0 && side > LEAST; turn += 1) {
    side = size(Math.max(LEAST, side - over() / (2 * tall)));
  }
  if (over() > 0) size(Math.min(wide, Math.max(LEAST, (window.innerHeight - BELOW) / tall)));
}

// Gives the pictures a longer side of at most so much, and returns it, in CSS pixels.
function sized(pictures, natural, tall, wanted) {
  const dots = window.devicePixelRatio || 1;
  const times = natural <= 256 ? Math.floor(wanted * dots / natural) : 0;
  const side = times ? times * natural / dots : Math.floor(wanted * dots) / dots;
  root.style.setProperty("--side", side + "px");
  root.style.setProperty("--tall", side * tall + "px");
  for (const one of pictures) {
    one.style.width = (one.naturalWidth || natural) * side / natural + "px";
    one.style.height = (one.naturalHeight || natural * tall) * side / natural + "px";
    one.classList.toggle("pixels", times > 0);
  }
  return side;
}

async function decoded(image, address) {
  image.src = address;
  try {
    await Promise.race([image.decode(), wait(PATIENCE).then(() => { throw new Error("slow"); })]);
    return image.naturalWidth > 0;
  } catch {
    return false;
  }
}

// question: { slot, of, screen: { text, input, left, right } }; url: name → address; done: (choices, ms), once.
function ask(question, url, done) {
  const { screen } = question;
  const chosen = {};
  let begun = 0, sent = false, ready = false;
  const figures = ["input", "left", "right"].map(pictured);
  const pictures = figures.map((one) => one.image);
  const groups = data.aspects.map((aspect) => grouped(aspect, choose));
  const next = make("button", { type: "button", class: "main next", disabled: true, on: { click: send } },
    "Next", key("Enter"));
  const note = noted();
  const large = screen.text.length > 120 ? "text long" : "text";
  const heading = show("Question " + (question.slot + 1) + " of " + question.of,
    make("div", { class: "pictures" }, figures[0].figure,
      make("div", { class: "said" }, make("h3", {}, "Text"), make("p", { dir: "auto", class: large }, screen.text)),
      figures[1].figure, figures[2].figure),
    note, make("div", { class: "answering", "data-n": groups.length }, ...groups.map((one) => one.set),
      make("p", { class: "go" }, next)));
  root.classList.add("asking");
  measure(question.slot, question.of);

  function choose(name, choice) {
    if (!ready || sent) return;
    chosen[name] = choice;
    const group = groups.find((one) => one.name === name);
    for (const radio of group.radios) radio.checked = radio.value === choice;
    if (groups.length === 1) for (const one of figures) one.figure.classList.toggle("chosen", one.which === choice);
    next.disabled = groups.some((one) => !(one.name in chosen));
  }

  function send() {
    if (!ready || sent || next.disabled) return;
    sent = true;
    next.disabled = true;
    for (const one of groups) one.set.disabled = true;
    done({ ...chosen }, Math.min(LONGEST, Math.max(0, Math.round(performance.now() - begun))));
  }

  function typed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.key === "Enter" && !event.target.closest("button, a")) {
      event.preventDefault();  // else a form round us would be sent
      if (!event.repeat) send();
      return;
    }
    const at = { ArrowLeft: 0, ArrowRight: 1, 1: 0, 2: 1, 3: 2, 4: 3 }[event.key];
    if (at === undefined || at >= data.choices.length) return;
    event.preventDefault();
    const group = groups.find((one) => one.set.contains(document.activeElement))
      || groups.find((one) => !(one.name in chosen)) || groups[groups.length - 1];
    choose(group.name, data.choices[at]);
    if (group.set.contains(document.activeElement)) group.radios[at].focus();
    else if (ready && !sent) live.textContent = named(data.choices[at]) + " chosen";
  }

  async function load(again) {
    setTimeout(() => { if (!ready && !note.hasChildNodes()) note.append("Loading the pictures…"); }, 400);
    note.replaceChildren();
    await Promise.all(figures.filter((one) => !one.loaded).map(async (one) => {
      const address = url(screen[one.which]);
      one.loaded = await decoded(one.image, again ? address + "?again=" + again : address);
    }));
    if (!heading.isConnected) return;
    if (figures.some((one) => !one.loaded)) {
      note.replaceChildren("A picture could not be loaded. ", button("Try again", () => load(again + 1)));
      return;
    }
    fit(pictures);
    for (const one of pictures) one.classList.remove("waiting");
    note.replaceChildren();
    requestAnimationFrame(() => requestAnimationFrame(begin));  // twice: now they are on the screen
  }

  function begin() {
    if (!heading.isConnected) return;
    for (const one of groups) one.set.disabled = false;
    ready = true;
    begun = performance.now();
    live.textContent = "The pictures are shown.";
  }

  if (groups.length === 1) {
    for (const { which, figure } of figures.slice(1)) {
      figure.classList.add("choosable");
      figure.addEventListener("click", () => choose(groups[0].name, which));
    }
  }
  const refit = () => fit(pictures);
  document.addEventListener("keydown", typed);
  window.addEventListener("resize", refit);
  leave = () => {
    document.removeEventListener("keydown", typed);
    window.removeEventListener("resize", refit);
    root.classList.remove("asking");
  };
  refit();
  load(0);
  return { note };
}
