// A rater without a server: the screens come from a file, the answers stay in this browser till they are downloaded.
const home = new URL("./", location.href);
const query = new URLSearchParams(location.search);
const PLATFORMS = { prolific: "PROLIFIC_PID", mturk: "workerId" };
const FORMULA = /^[=+\-@\t\r]/;
const hex = (bytes) => Array.from(bytes, (one) => one.toString(16).padStart(2, "0")).join("");

const memory = {};
let keeps = true;
// Whether this browser keeps anything.
const place = (...of) => ["tedbench", data.study, ...of].join("/");
function kept(name, value) {
  if (value !== undefined) memory[name] = value;
  try {
    if (!keeps) return memory[name] || null;
    if (value === null) localStorage.removeItem(name);
    else if (value !== undefined) localStorage.setItem(name, value);
    return localStorage.getItem(name);
  } catch {
    keeps = false;
    return memory[name] || null;
  }
}

let number = query.has("form") ? Number(query.get("form")) : 0;
let screens = [];
let rater = "";
const fits = (one) => Number.isInteger(one) && one >= 1 && one <= data.forms;
const record = () => JSON.parse(kept(place(number, rater)) || "null");

// A platform's identifier as it stands in files: hashed with the study's tag. Random where there is none, or no https.
async function identified() {
  const platform = Object.keys(PLATFORMS).find((one) => query.get(PLATFORMS[one]));
  if (platform && window.crypto.subtle) {
    const text = [data.study, platform, query.get(PLATFORMS[platform])].join("\0");
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
    return hex(new Uint8Array(digest)).slice(0, 24);
  }
  return kept(place(number)) || hex(crypto.getRandomValues(new Uint8Array(12)));
}

async function screened() {
  let response;
  try {
    response = await fetch(new URL("forms/" + number + ".json", home), { signal: AbortSignal.timeout(20000) });
    if (response.ok) return await response.json();
  } catch { /* told below */ }
  const text = response ? "The host of this page answered " + response.status : "The questions cannot be reached";
  throw Object.assign(new Error(text), { again: !response || response.ok || response.status >= 500 });
}

function cell(value) {
  const text = FORMULA.test(value) ? "'" + value : String(value);
  return /[",\r\n]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
}

function table(answers) {
  const rows = answers.flatMap((one, slot) => {
    const { question, flipped } = screens[slot];
    const shared = { ...one, study: data.study, rater, slot, question, flipped: Number(flipped) };
    return Object.entries(one.choices).map(([aspect, choice]) => ({ ...shared, aspect, choice }));
  });
  return [data.columns, ...rows.map((row) => data.columns.map((name) => row[name]))]
    .map((row) => row.map(cell).join(",") + "\n").join("");
}

function now(answers) {
  if (answers.length < screens.length) {
    return { state: "question", slot: answers.length, of: screens.length, screen: screens[answers.length] };
  }
  const file = { name: "answers-" + rater + ".csv", text: table(answers) };
  return { state: "done", file, code: data.code, url: data.url };
}

const backend = {
  views: { number: asking },
  picture: (name) => new URL("images/" + encodeURIComponent(name), home).href,
  async state() {
    if (!fits(number)) return { state: "number" };
    screens = await screened();
    rater = await identified();
    const found = record();
    if (found) return now(found);
    kept(place("probe"), "1");
    kept(place("probe"), null);
    return { state: "consent", said: keeps ? "" : "This browser keeps nothing. Do not reload or close this page before "
      + "you have downloaded your answers." };
  },
  async start() {
    rater = await identified();  // begun meanwhile, in another tab
    kept(place(number), rater);
    if (!record()) kept(place(number, rater), "[]");
    history.replaceState(null, "", "?form=" + number);  // a platform's identifiers go from the address
    return now(record());
  },
  async answer(slot, choices, ms) {
    const answers = record();
    if (!answers) return backend.state();  // withdrawn in another tab
    const at = new Date().toISOString().slice(0, 19) + "Z";
    if (slot === answers.length) answers.push({ choices, ms, at });
    kept(place(number, rater), JSON.stringify(answers));
    return now(answers);
  },
  async withdraw() {
    kept(place(number, rater), null);
    kept(place(number), null);
    return { state: "withdrawn" };
  },
};

function asking() {
  const input = make("input", { class: "line", inputmode: "numeric", autocomplete: "off", required: true });
  const note = noted();
  const take = (event) => {
    event.preventDefault();
    number = Number(input.value.trim());
    if (fits(number)) return refresh();
    note.replaceChildren("That is no number from 1 to " + data.forms + ". Please look again at your invitation.");
    return input.focus();
  };
  bar.hidden = true;
  show("Your number", make("form", { on: { submit: take } },
    make("label", { class: "field" }, "Your participant number, as it stands in your invitation", input),
    make("p", { class: "row" }, make("button", { class: "main" }, "Continue"))), note);
  input.focus();
}
