// A worker in MTurk's form: screens come with the task, and the answers leave with the form in a hidden field.
const query = new URLSearchParams(location.search);
const field = document.getElementById("answers");
const assignment = query.get("assignmentId")
  || (document.querySelector("input[name=assignmentId]") || { value: "" }).value;
const form = document.getElementById("form").value;
const bare = form.charAt(0) === "$";
// As in the requester's own preview, where the variable is not filled in.
const preview = bare || assignment === "ASSIGNMENT_ID_NOT_AVAILABLE";
const place = ["tedbench", data.study, assignment].join("/");
const holder = root.closest("form, crowd-form") || formed();
const note = noted();
const quit = button("Stop and withdraw", () => sure(WITHDRAW, withdraw), "quiet");
foot.append(note);

// Sent through the API rather than MTurk's own site, the page must bring its form along.
function formed() {
  const action = new URL("mturk/externalSubmit", query.get("turkSubmitTo") || "https://www.mturk.com/");
  const made = make("form", { method: "post", action },
    make("input", { type: "hidden", name: "assignmentId", value: assignment }));
  root.before(made);
  made.append(root, field);
  return made;
}

function opened(text) {
  const plain = atob(text.replace(/-/g, "+").replace(/_/g, "/"));
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(plain, (one) => one.charCodeAt(0))));
}

function kept(value) {
  try {
    if (value === null) sessionStorage.removeItem(place);
    else if (value !== undefined && assignment) sessionStorage.setItem(place, value);
    return JSON.parse(sessionStorage.getItem(place) || "[]");
  } catch { return []; }  // frames of other hosts may keep nothing; then a reload begins anew
}

const screens = bare ? [] : opened(form);
let answers = preview ? [] : kept();
let refuses = preview ? "This is a preview. Accept the task to begin." : "";

const picture = (name) => data.images + encodeURIComponent(name);

function next() {
  foot.replaceChildren(note, quit);
  note.replaceChildren();
  field.value = JSON.stringify(answers);
  const slot = answers.length;
  if (slot === screens.length) end();
  else ask({ slot, of: screens.length, screen: screens[slot] }, picture, (choices, ms) => {
    const { question, flipped } = screens[slot];
    const at = new Date().toISOString().slice(0, 19) + "Z";
    answers = [...answers, { slot, question, flipped, choices, ms, at }];
    kept(JSON.stringify(answers));
    next();
  });
}

function end() {
  measure(screens.length, screens.length);
  show("Thank you", make("p", {}, "You have answered every question. Submit your answers to finish the task."),
    make("p", { class: "go" }, button("Submit", submit, "main")));
}

const submit = () => (holder.requestSubmit ? holder.requestSubmit() : holder.submit());

function withdraw() {
  answers = kept(null);
  field.value = "";
  refuses = "You have withdrawn. Return the task instead of submitting it.";
  foot.replaceChildren(note);
  bar.hidden = true;
  show("You have withdrawn", make("p", {}, "Your answers have been deleted. Please return this task."));
}

// MTurk's own button stands below from the start.
function guard(event) {
  if (event.target !== holder || (answers.length === screens.length && !refuses)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
  const left = screens.length - answers.length + " of " + screens.length;
  note.replaceChildren(refuses || "Not yet: " + left + " questions are to be answered.");
}

window.addEventListener("submit", guard, true);
if (answers.length) next();
else consented(next, { closed: refuses });
