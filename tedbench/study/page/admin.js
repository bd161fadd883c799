// For whoever runs the study. The token stays in this tab, and goes to the server in a header alone.
const home = new URL("./", location.href);
const PLACE = "tedbench/admin";
const EVERY = 10;  // seconds
const WORDS = {
  started: "Began", finished: "Finished", withdrawn: "Withdrew", active: "Active in the last minutes",
  planned: "To finish as planned", answers: "Answers", links_unused: "Personal links not used",
  least_answers: "Answers to the question with fewest", most_answers: "Answers to the question with most",
  median_seconds: "Median time for an answer, s",
};

let secret = "";
let watch = 0;
// Of the progress that is shown; an earlier one stops.

const api = (path, more) => reach(new URL("admin/api/" + path, home),
  { ...more, headers: { Authorization: "Bearer " + secret } });
const keep = (value) => {
  try {
    if (value) sessionStorage.setItem(PLACE, value);
    else sessionStorage.removeItem(PLACE);
  } catch { /* it lives as long as the page then */ }
  secret = value;
};
const before = () => { try { return sessionStorage.getItem(PLACE) || ""; } catch { return ""; } };
const spoken = (error) => {
  if (error.status === 401 || error.status === 403) return "This token is not the right one.";
  if (error.status === 429) return "Too many tries. Wait a minute, and try again.";
  if (error.status === 404) return "There is no such rater; answers.csv has the names.";
  return sentence(error.message);
};

function line(label, facts) {
  const input = make("input", { class: "line", autocomplete: "off", spellcheck: "false", required: true, ...facts });
  return { input, field: make("label", { class: "field" }, label, input) };
}

function form(run, ...inside) {
  return make("form", { on: { submit: (event) => { event.preventDefault(); run(); } } }, ...inside);
}

function enter(said) {
  watch += 1;
  foot.replaceChildren();
  const { input, field } = line("Admin token", { type: "password" });
  const note = noted();
  note.append(said || "");
  const open = async () => {
    keep(input.value.trim());
    note.replaceChildren("Asking…");
    try {
      overview(await api("progress"));
    } catch (error) {
      keep("");
      note.replaceChildren(spoken(error));
      input.focus();
    }
  };
  show("Sign in", form(open, field, make("p", { class: "row" }, make("button", { class: "main" }, "Sign in"))), note);
  input.focus();
}

function overview(progress) {
  const rows = make("dl", { class: "progress" });
  const when = make("p", { class: "dim" });
  const note = noted();
  const tell = (now) => {
    rows.replaceChildren(...Object.entries(now).flatMap(([name, value]) => [make("dt", {}, WORDS[name] || name),
      make("dd", {}, value === null ? "–" : String(value))]));
    when.textContent = "As of " + new Date().toLocaleTimeString() + "; asked again every " + EVERY + " s.";
    note.replaceChildren();
    measure(Math.min(now.finished, now.planned), now.planned);
    bar.setAttribute("aria-valuetext", now.finished + " of " + now.planned + " raters have finished");
  };
  show("Progress", rows, when, note, make("h2", {}, "Answers"), ...downloads(), make("h2", {}, "One rater"),
    ...lookup());
  foot.replaceChildren(button("Sign out", () => { keep(""); enter(); }, "quiet"));
  tell(progress);
  follow(tell, note, watch += 1);
}

async function follow(tell, note, mine) {
  for (;;) {
    await wait(EVERY);
    if (mine !== watch) return;
    try {
      const now = await api("progress");
      if (mine === watch) tell(now);
    } catch (error) {
      if (mine === watch && error.status === 401) enter(spoken(error));
      else note.replaceChildren(spoken(error) + " The numbers are old.");
    }
  }
}

function save(blob, name) {
  const link = make("a", { download: name });
  link.href = URL.createObjectURL(blob);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function downloads() {
  const note = noted();
  const one = (name) => button("Download " + name, async () => {
    note.replaceChildren("Asking…");
    try {
      save(await api(name, { raw: true }), name);
      note.replaceChildren(name + " was saved.");
    } catch (error) { note.replaceChildren(spoken(error)); }
  });
  const warns = "identities.csv says who is who on a platform: personal data, for payment alone.";
  return [make("p", { class: "row" }, one("answers.csv"), one("identities.csv")), make("p", { class: "dim" }, warns),
    note];
}

function lookup() {
  const { input, field } = line("Name of a rater, as in answers.csv", {});
  const found = make("div", { role: "status" });
  const look = async () => {
    found.replaceChildren("Asking…");
    try {
      const name = input.value.trim();
      found.replaceChildren(...record(name, await api("raters/" + encodeURIComponent(name)), found));
    } catch (error) { found.replaceChildren(make("p", { class: "note" }, spoken(error))); }
  };
  return [form(look, field, make("p", { class: "row" }, make("button", {}, "Look up"))), found];
}

function record(name, held, found) {
  const text = JSON.stringify(held, null, 2);
  return [make("pre", { tabindex: "0", "aria-label": "What is held about " + name }, text),
    make("p", { class: "row" },
      button("Export as JSON", () => save(new Blob([text], { type: "application/json" }), "rater-" + name + ".json")),
      button("Delete…", () => erase(name, found), "bad"))];
}

function erase(name, found) {
  const text = "Answers and identity of " + name + " will be deleted. This cannot be undone.";
  sure({ heading: "Delete this rater?", text, yes: "Delete all of it", no: "Keep" }, async (note) => {
    try {
      await api("raters/" + encodeURIComponent(name), { method: "DELETE" });
      found.replaceChildren(make("p", {}, "All that was held about " + name + " has been deleted."));
    } catch (error) {
      note.replaceChildren(spoken(error));
      return false;
    }
    return true;
  });
}

keep(before());
if (!secret) enter();
else api("progress").then(overview, (error) => { if (error.status === 401) keep(""); enter(spoken(error)); });
