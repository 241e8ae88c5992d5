// The page of `patchrec serve`: it asks the server it came from and shows what comes back.
// Titles, ids and labels are text of anyone: they become text nodes and attributes' values, never markup.

const $ = (id) => document.getElementById(id);
const chosen = []; // items of a typed history, oldest first
let token = "";
let latest = 0; // number of the question asked last: answers to earlier ones are not shown
let shown = null; // what is on the page: { body, ranking, explanation, units }

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, handler] of Object.entries(value)) node.addEventListener(event, handler);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null) node.setAttribute(name, value);
  }
  node.append(...children); // strings become text
  return node;
}

async function ask(path, body) {
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

// Completion (the combobox of the ARIA Authoring Practices): arrows choose, Enter takes, Escape closes

function completing(input, list, find, take) {
  let options = [];
  let active = -1;
  let asked = 0;
  let timer = 0;

  function mark(place) {
    active = place;
    [...list.children].forEach((node, number) => node.setAttribute("aria-selected", String(number === place)));
    if (place < 0) input.removeAttribute("aria-activedescendant");
    else {
      input.setAttribute("aria-activedescendant", list.children[place].id);
      list.children[place].scrollIntoView({ block: "nearest" });
    }
  }

  function close() {
    clearTimeout(timer);
    asked += 1; // what is on its way opens nothing
    options = [];
    list.hidden = true;
    list.replaceChildren();
    input.setAttribute("aria-expanded", "false");
    mark(-1);
  }

  function pick(place) {
    const option = options[place];
    close();
    take(option);
  }

  async function open() {
    const number = ++asked;
    let found;
    try {
      found = await find(input.value);
    } catch (error) {
      return fail(error);
    }
    if (number !== asked || document.activeElement !== input) return undefined;
    options = found;
    list.replaceChildren(
      ...options.map((option, place) =>
        make(
          "li",
          {
            id: `${list.id}-${place}`,
            role: "option",
            "aria-selected": "false",
            on: { pointerdown: (event) => event.preventDefault(), click: () => pick(place) },
          },
          make("bdi", {}, option.text),
          ...(option.note ? [make("small", {}, option.note)] : []),
        ),
      ),
    );
    list.hidden = !options.length;
    input.setAttribute("aria-expanded", String(options.length > 0));
    mark(-1);
    return undefined;
  }

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(open, 120);
  });
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (event.isComposing) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (list.hidden) open();
      else mark((active + (event.key === "ArrowDown" ? 1 : active < 0 ? 0 : -1) + options.length) % options.length);
    } else if (event.key === "Escape" && !list.hidden) {
      event.preventDefault();
      close();
    } else if (event.key === "Enter" && active >= 0) {
      event.preventDefault();
      pick(active);
    }
  });
}

completing(
  $("user"),
  $("users"),
  async (typed) => (await ask(`/users?q=${encodeURIComponent(typed.slice(0, 200))}`)).users.map((id) => ({ text: id, id })),
  (option) => {
    $("user").value = option.id;
    recommend();
  },
);
completing(
  $("item"),
  $("items"),
  async (typed) =>
    (await ask(`/items?q=${encodeURIComponent(typed.slice(0, 200))}`)).items.map((item) => ({
      text: item.title,
      note: item.item_id,
      item,
    })),
  (option) => add(option.item),
);
$("item").addEventListener("keydown", async (event) => {
  if (event.key !== "Enter" || event.defaultPrevented || !$("item").value.trim()) return;
  event.preventDefault(); // a title typed in full is added without a choice
  const typed = $("item").value;
  try {
    const { items } = await ask(`/items?q=${encodeURIComponent(typed.slice(0, 200))}&limit=1`);
    if (!items.length) throw new Error(`no title holds ${JSON.stringify(typed)}; type a part of one`);
    add(items[0]);
  } catch (error) {
    fail(error);
  }
});

// The typed history

function add(item) {
  chosen.push(item);
  $("item").value = "";
  drawChosen();
  say(`added ${item.title}`);
}

function drawChosen() {
  $("chosen").replaceChildren(
    ...chosen.map((item, place) =>
      make(
        "li",
        {},
        make(
          "span",
          {},
          make("bdi", {}, item.title),
          make(
            "button",
            { type: "button", "aria-label": `Remove ${item.title}`, on: { click: () => remove(place) } },
            "×",
          ),
        ),
      ),
    ),
  );
}

function remove(place) {
  const [gone] = chosen.splice(place, 1);
  drawChosen();
  const buttons = $("chosen").querySelectorAll("button");
  (buttons[Math.min(place, buttons.length - 1)] ?? $("item")).focus();
  say(`removed ${gone.title}`);
}

function chooseWhose() {
  $("of-user").hidden = !$("by-user").checked;
  $("of-history").hidden = $("by-user").checked;
}
for (const id of ["by-user", "by-history"]) $(id).addEventListener("change", chooseWhose);
chooseWhose(); // a browser may remember the other choice

// Asking

function whose() {
  if (!$("by-user").checked) return { history: chosen.map((item) => `id:${item.item_id}`) };
  if (!$("user").value) throw new Error("which user? type a part of an id and choose one");
  return { user: $("user").value };
}

async function recommend() {
  const number = ++latest;
  try {
    const k = Number($("k").value);
    if (!Number.isInteger(k) || k < 1 || k > 1000) throw new Error("how many? a whole number from 1 to 1,000");
    const after = whose();
    const where = $("where").value.trim();
    const body = { ...after, k, keep_seen: $("seen").checked, ...(where ? { where } : {}) };
    token = $("token").value;
    say("asking …");
    const [found, read] = await Promise.all([ask("/recommend", body), ask("/readings", after)]);
    if (number !== latest) return;
    $("locked").hidden = true;
    shown = { number, body, ranking: found.ranking, explanation: null, units: [] };
    drawRanking(found);
    drawReadings(read);
    if (matchMedia("(max-width: 819px)").matches) $("status").scrollIntoView(); // the list is below what was asked
    const many = found.ranking.length;
    const best = many ? `; the best: ${found.ranking[0].title}` : "";
    say(`${many} ${many === 1 ? "item" : "items"} recommended${body.user === undefined ? "" : ` to ${body.user}`}${best}`);
  } catch (error) {
    if (number !== latest) return;
    fail(error);
    $("found").hidden = $("read").hidden = true; // what is there answers another question
  }
}

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  recommend();
});

function say(text) {
  $("error").textContent = "";
  $("status").textContent = text;
}

function fail(error) {
  $("status").textContent = "";
  $("error").textContent = error.message;
}

// The list

function percent(probability) {
  if (probability < 1e-4) return "< 0.01 %";
  return `${(100 * probability).toFixed(probability < 0.01 ? 2 : 1)} %`;
}

function decimals(value) {
  return value === null ? "–" : value.toFixed(3).replace("-", "−");
}

function bar(share) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  svg.setAttribute("aria-hidden", "true");
  rect.setAttribute("width", `${(100 * share).toFixed(1)}%`);
  rect.setAttribute("height", "5");
  svg.append(rect);
  return svg;
}

const SOURCES = {
  model: "",
  "empty history": "There is no history: this is what the run makes of none. ",
  popularity: "There is no history: this is what is popular. ",
};

function drawRanking(found) {
  const known = found.ranking.some((line) => line.probability !== null);
  $("measure").textContent = known ? "probability" : "score";
  $("shortfall").textContent = `${SOURCES[found.source]}${found.shortfall ?? ""}`;
  $("attribution").textContent = "";
  const best = Math.max(...found.ranking.map((line) => line.score ?? -Infinity));
  $("ranking").replaceChildren(
    ...found.ranking.map((line, place) => {
      const score = `score ${decimals(line.score)}`;
      const measure = known && line.probability !== null ? [percent(line.probability), make("small", {}, score)] : [decimals(line.score)];
      const why = make(
        "button",
        { type: "button", "aria-expanded": "false", "aria-label": `Why ${line.title}`, on: { click: () => explain(place, why) } },
        "Why?",
      );
      const title = make("th", { scope: "row" }, make("bdi", {}, line.title), make("small", {}, make("bdi", {}, line.item_id)));
      if (line.score !== null) title.append(bar(Math.exp(line.score - best)));
      return make("tr", {}, make("td", {}, String(line.rank)), title, make("td", {}, ...measure), make("td", {}, why));
    }),
  );
  $("found").hidden = false;
}

const SHOWN_TITLES = 5; // of a part

// Why: what the score loses without each part of the history

async function explain(place, button) {
  const now = shown;
  const open = button.getAttribute("aria-expanded") === "true";
  closeWhy();
  if (open) return;
  button.setAttribute("aria-expanded", "true");
  try {
    now.explanation ??= ask("/recommend", { ...now.body, explain: true });
    const { ranking, explanation } = await now.explanation;
    if (shown !== now || button.getAttribute("aria-expanded") !== "true") return;
    const line = ranking.findIndex((one) => one.item_id === now.ranking[place].item_id);
    if (line < 0) throw new Error("the data has changed since; ask again");
    drawWhy(button.closest("tr"), explanation, line, ranking[line].title);
  } catch (error) {
    now.explanation = null;
    closeWhy();
    if (shown === now) fail(error);
  }
}

function closeWhy() {
  document.querySelectorAll("tr.why").forEach((row) => row.remove());
  document.querySelectorAll(".carried").forEach((piece) => piece.classList.remove("carried"));
  $("ranking").querySelectorAll("[aria-expanded=true]").forEach((one) => one.setAttribute("aria-expanded", "false"));
}

function drawWhy(row, explanation, line, title) {
  $("attribution").textContent = explanation.parts.length ? `+ tells ${explanation.about}.` : "";
  const carried = explanation.parts
    .map((part, place) => ({ part, place, change: part.changes[line] }))
    .filter((one) => one.change > 0)
    .sort((one, other) => other.change - one.change)
    .slice(0, 3);
  const pieces = piecesOf(explanation.parts);
  for (const { place } of carried) pieces[place]?.classList.add("carried");
  const lines = carried.map(({ part, change }) =>
    make("li", {}, make("b", {}, `+${decimals(change)}`), make("span", {}, ...titled(part.titles))),
  );
  const told = lines.length
    ? make("ol", { "aria-label": "Parts that carried it, nats" }, ...lines)
    : make("p", {}, explanation.parts.length ? "No part of the history carried it." : explanation.about);
  row.after(make("tr", { class: "why" }, make("td"), make("td", { colspan: "3" }, told)));
  const first = carried.length ? carried[0].part.titles.slice(-SHOWN_TITLES).join(", ") : "";
  const best = first ? `carried most by ${first}` : "carried by no part of the history";
  say(`${title}: ${best}`);
}

function titled(titles) {
  // of many the newest, as the command line does
  const left = titles.length - SHOWN_TITLES;
  const parts = titles.slice(-SHOWN_TITLES).map((title) => make("bdi", {}, title));
  const all = left > 0 ? [`${left} more`, ...parts] : parts;
  return all.flatMap((part, place) => (place ? [" | ", part] : [part]));
}

function piecesOf(parts) {
  const units = shown.units;
  if (units.length === parts.length) return units.map((unit) => unit.node);
  const byItem = units.flatMap((unit) => Array(unit.size).fill(unit.node)); // explained item by item
  return byItem.length === parts.length ? byItem : [];
}

// How the history is read

function drawReadings(read) {
  const own = read.readings.find((one) => one.is_own);
  const others = read.readings.filter((one) => !one.is_own);
  const size = read.history.length;
  const older = read.older ? `, after ${read.older} older ones that are beyond the window` : "";
  $("read-about").textContent = size ? `Oldest first: ${size} ${size === 1 ? "item" : "items"}${older}.` : "It is empty.";
  const whole = { label: "item by item", num_units: size, problem: null, spans: size ? [{ start: 0, stop: size, grain: "text" }] : [] };
  const drawn = drawReading(own ?? whole, read.history);
  shown.units = drawn.units;
  $("own").replaceChildren(...(size ? [drawn.node] : []));
  $("other-readings").replaceChildren(...others.map((one) => drawReading(one, read.history).node));
  $("others").hidden = !others.length;
  $("titles").replaceChildren(...read.history.map((item) => make("li", {}, make("bdi", {}, item.title))));
  $("read").hidden = false;
}

function drawReading(reading, history) {
  const title = make("h3", {}, make("bdi", {}, reading.label));
  if (reading.problem !== null) {
    return { node: make("div", { class: "reading" }, title, make("p", { class: "quiet" }, reading.problem)), units: [] };
  }
  const units = [];
  const pieces = [];
  const counts = { session: 0, item: 0, text: 0, dropped: 0 };
  for (const span of reading.spans) {
    const items = history.slice(span.start, span.stop);
    const groups = span.grain === "session" ? [items] : items.map((item) => [item]);
    for (const group of groups) {
      const titles = group.map((item) => item.title);
      const inside = span.grain === "text" ? [make("bdi", {}, titles[0])] : titles.map(() => make("i"));
      const node = make("span", { class: `piece ${span.grain}`, title: titles.join(" · ") }, ...inside);
      pieces.push(node);
      counts[span.grain] += 1;
      if (span.grain !== "dropped") units.push({ node, size: group.length });
    }
  }
  const words = [
    [counts.session, "session patch", "session patches"],
    [counts.item, "item patch", "item patches"],
    [counts.text, "title", "titles"],
    [counts.dropped, "item not shown", "items not shown"],
  ];
  const told = words.filter(([many]) => many).map(([many, one, more]) => `${many} ${many === 1 ? one : more}`).join(", ");
  title.append(make("small", {}, ` ${told}`));
  const texts = reading.spans
    .filter((span) => span.grain === "text")
    .flatMap((span) => history.slice(span.start, span.stop).map((item) => item.title));
  const label = texts.length ? `${told}; as text: ${texts.join(", ")}` : told;
  const band = make("div", { class: "band", role: "img", "aria-label": label }, ...pieces);
  return { node: make("div", { class: "reading" }, title, band), units };
}

// The run in service

async function begin() {
  try {
    const run = await ask("/run");
    const users = `${run.users.toLocaleString("en")} users`;
    const items = `${run.items.toLocaleString("en")} items`;
    $("about").replaceChildren("run ", make("bdi", {}, run.run), " (", make("bdi", {}, run.label), ") of ", make("bdi", {}, run.dataset), `: ${users}, ${items}`);
    $("error").textContent = "";
  } catch (error) {
    fail(error);
  }
}

$("token").addEventListener("change", () => {
  token = $("token").value;
  begin();
});
begin();
