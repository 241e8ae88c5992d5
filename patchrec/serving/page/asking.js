// What every part of the page does: making elements, asking the server, saying what happened.
// Titles, ids and labels are text of anyone: they become text nodes and attributes' values, never markup.

let token = "";

export const $ = (id) => document.getElementById(id);

export function useToken(given) {
  token = given;
}

export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, handler] of Object.entries(value)) node.addEventListener(event, handler);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null) node.setAttribute(name, value);
  }
  node.append(...children); // strings become text
  return node;
}

export async function ask(path, body) {
  const bytes = String.fromCharCode(...new TextEncoder().encode(token)); // a header holds bytes, not letters
  const headers = { "Content-Type": "application/json", ...(token ? { Authorization: `Bearer ${bytes}` } : {}) };
  const options = body === undefined ? { headers } : { headers, method: "POST", body: JSON.stringify(body) };
  let answer, found;
  try {
    answer = await fetch(path, options);
    found = await answer.json();
  } catch {
    throw new Error("the server does not answer; is it still running?");
  }
  if (answer.status === 401) {
    $("locked").hidden = false;
    throw new Error(token ? "this is not the server's token" : "this server wants a token; type it, then ask");
  }
  if (!answer.ok) throw new Error(found.error);
  return found;
}

export function say(text, isShown = false) {
  // what is shown elsewhere already is for ears alone
  $("error").textContent = "";
  $("status").textContent = text;
  $("status").classList.toggle("heard", isShown);
}

export function fail(error) {
  $("status").textContent = "";
  $("error").textContent = error.message;
}
