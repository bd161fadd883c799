// A rater behind the server: it decides what comes next, and keeps every answer before it says so.
const token = (location.pathname.match(/\/r\/([^/]+)$/) || ["", ""])[1];
const home = new URL(token ? "../" : "./", location.href);
const mine = (path) => new URL("api/r/" + token + path, home);
const query = new URLSearchParams(location.search);
const asked = (name) => query.get(name) || "";

const person = asked("PROLIFIC_PID")
  ? { platform: "prolific", identifier: asked("PROLIFIC_PID"), session: asked("SESSION_ID"), study: asked("STUDY_ID") }
  : asked("workerId")
    ? { platform: "mturk", identifier: asked("workerId"), session: asked("assignmentId"), study: asked("hitId") }
    : { platform: "", identifier: "", session: "", study: "" };
const preview = asked("assignmentId") === "ASSIGNMENT_ID_NOT_AVAILABLE";

const memory = {};
// For browsers that keep nothing; a link of one's own resumes there too.
function kept(what, value) {
  const name = ["tedbench", data.study, person.platform, person.identifier, what].join("/");
  if (value !== undefined) memory[name] = value;
  try {
    if (value) localStorage.setItem(name, value);
    else if (value === "") localStorage.removeItem(name);
    return localStorage.getItem(name) || "";
  } catch { return memory[name] || ""; }
}
function forget() {
  try {
    for (const name of Object.keys(localStorage))
      if (name.startsWith("tedbench/") && localStorage.getItem(name) === token) localStorage.removeItem(name);
  } catch { /* nothing was kept */ }
}
// One for each beginning, so that a start whose reply was lost is known again.
function nonce() {
  if (kept("nonce")) return kept("nonce");
  const bytes = crypto.getRandomValues(new Uint8Array(24));
  return kept("nonce", Array.from(bytes, (one) => one.toString(16).padStart(2, "0")).join(""));
}
// Leaves no entry in the history, nor a platform's identifiers in the address.
const go = (to) => location.replace(new URL("r/" + encodeURIComponent(to), home));

async function told() {
  Object.assign(data, await reach(new URL("api/study", home)));
  title.textContent = data.title;
  return data;
}

const backend = {
  picture: (name) => new URL("images/" + encodeURIComponent(name), home).href,
  async state() {
    if (!token) {
      if (!preview && kept("token")) return go(kept("token"));
      const study = await told();
      const why = "Nobody can begin here now. A link that you were sent still works.";
      if (!study.open) return { state: "closed", why };
      return { state: "consent", closed: preview ? "This is a preview. Accept the task to begin." : "" };
    }
    try {
      const now = await reach(mine(""));
      if (now.state === "consent") await told();
      return now;
    } catch (error) {
      if (error.status !== 404) throw error;
      forget();
      return { state: "unknown" };
    }
  },
  async start() {
    if (!token && kept("token")) return go(kept("token"));  // begun meanwhile, in another tab
    const agreed = data.consent_version;
    const body = { consent_version: agreed, ...person, ...(token ? { token } : { nonce: nonce() }) };
    try {
      const begun = await reach(new URL("api/start", home), { method: "POST", body });
      if (token) return backend.state();
      kept("token", begun.token);
      kept("nonce", "");
      return go(begun.token);
    } catch (error) {
      if (error.body && error.body.state) return error.body;
      if (error.status !== 409 || (await told()).consent_version === agreed) throw error;
      return { state: "consent", said: "This text has changed since you opened the page. Please read it again." };
    }
  },
  answer: (slot, choices, ms) => reach(mine("/answers"), { method: "POST", body: { slot, choices, ms } }),
  withdraw: () => reach(mine("/withdraw"), { method: "POST", body: {} }),
};
