// From consent to the end, whoever keeps the answers: `backend` has picture, state, start, answer and withdraw.
let turn = 0;
// Of what is under way; only the latest may change the page.

// Tries until it works: what was answered is neither lost nor, since the backend knows slots, counted twice.
async function insist(run, note, what, stale) {
  for (let pause = 1; ; pause = Math.min(pause * 2, 30)) {
    try {
      return await run();
    } catch (error) {
      if (!error.again || stale()) throw error;
      await new Promise((done) => {
        note.replaceChildren(sentence(error.message) + " " + what + " Trying again in " + pause + " s. ",
          button("Try now", done));
        wait(pause).then(done);
      });
      if (stale()) throw error;
      note.replaceChildren("Trying again…");
    }
  }
}

async function step(run, note, what) {
  const mine = turn += 1;
  let state;
  try {
    state = await insist(run, note, what, () => mine !== turn);
  } catch (error) {
    state = { state: "trouble", error };
  }
  if (state && mine === turn) put(state);
}

function refresh() {
  const note = noted();
  note.append("Loading…");
  view.append(note);
  return step(() => backend.state(), note, "");
}

const views = {
  consent(state) {
    const { start, note } = consented(() => {
      start.disabled = true;
      step(() => backend.start(), note, "You have not begun yet.");
    }, state);
  },
  question(state) {
    const { note } = ask(state, backend.picture, (choices, ms) =>
      step(() => backend.answer(state.slot, choices, ms), note, "Your answer is kept here until it has arrived."));
  },
  done(state) {
    measure(data.screens, data.screens);
    const code = state.code ? make("code", { class: "code" }, state.code) : null;
    const copied = make("span", { role: "status" });
    const url = web(state.url);
    show("Thank you", make("p", {}, "You have answered every question."), ...(state.file ? saved(state.file) : []),
      code ? make("p", {}, "Your completion code is:") : null,
      code ? make("p", { class: "row" }, code, button("Copy", () => copy(code, copied)), copied) : null,
      url ? make("p", { class: "go" }, make("a", { href: url, class: "main", rel: "noreferrer" }, "Go back")) : null);
  },
  withdrawn() {
    ended("You have withdrawn", "Your answers have been deleted. You can close this page.");
  },
  closed(state) {
    ended("The study is closed", state.why || "It has all the answers it needs. Thank you for coming.");
  },
  unknown() {
    ended("This link is not known", "Please check that you copied all of it.");
  },
  trouble({ error }) {
    const again = make("p", { class: "go" }, button("Try again", refresh, "main"));
    ended("This did not work", sentence(error.message), again);
  },
};

function ended(heading, text, more) {
  bar.hidden = true;
  show(heading, make("p", {}, text), more);
}

function put(state) {
  const quit = ["question", "done"].includes(state.state) ? [button("Stop and withdraw", withdraw, "quiet")] : [];
  foot.replaceChildren(...quit);  // first: what is in the foot takes room from the pictures
  ({ ...views, ...backend.views }[state.state] || views.unknown)(state);
}

function saved(file) {
  const link = make("a", { class: "main", download: file.name }, "Download your answers");
  link.href = URL.createObjectURL(new Blob([file.text], { type: "text/csv" }));
  const says = "Your answers are on this device alone. Download them, and send the file to whoever invited you.";
  return [make("p", {}, says), make("p", { class: "go" }, link)];
}

async function copy(code, said) {
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {  // no permission, or no https
    getSelection().selectAllChildren(code);
    document.execCommand("copy");
  }
  said.textContent = "Copied";
}

// Who leaves while it is under way sees what is so: nobody knows whether the server heard of it.
function withdraw() {
  sure(WITHDRAW, (note) => step(() => backend.withdraw(), note, ""), refresh);
}

window.addEventListener("pageshow", (event) => { if (event.persisted) refresh(); });
refresh();
