// Asking the server; what goes wrong becomes one sentence, and whether trying again may help.
class Trouble extends Error {
  constructor(text, again, status, body) {
    super(text);
    Object.assign(this, { again, status, body: body || {} });
  }
}

async function reach(address, { method = "GET", body, headers = {}, raw = false } = {}) {
  const sent = body === undefined ? headers : { ...headers, "Content-Type": "application/json" };
  const text = body === undefined ? undefined : JSON.stringify(body);
  let response, said;
  try {
    response = await fetch(address, { method, headers: sent, body: text, cache: "no-store", credentials: "omit",
      redirect: "error", signal: AbortSignal.timeout(20000) });
    said = response.ok && raw ? await response.blob() : await response.json();
  } catch {  // no connection, one that broke off, or somebody else's page in between
    if (!response || response.ok) throw new Trouble("The server cannot be reached", true, 0);
    said = {};
  }
  if (response.ok) return said;
  const why = said && typeof said.error === "string" ? said.error : "the server answered " + response.status;
  throw new Trouble(why, response.status === 429 || response.status >= 500, response.status, said);
}
