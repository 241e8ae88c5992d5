// The page of `patchrec serve`: it asks the server it came from and shows what comes back.

import { $, ask, fail, make, say, useToken } from "./asking.js";
import { completing } from "./completing.js";
import { aboutHistory, decimals, drawReading, measureOf, noteOf, ownReading, rowsOf } from "./drawing.js";
import { tabbed } from "./tabs.js";
import { askBoth, drawBoth, offer, onChange, option } from "./two.js";

const chosen = []; // items of a typed history, oldest first
const drawn = { one: null, two: null }; // what each panel shows: { question, told }
let runs = []; // in service
let panel = "one"; // the one that is shown
let question = null; // asked last, where it can be asked: { after, body }
let latest = 0; // number of what was asked last: answers to earlier ones are not shown
let shown = null; // in the panel of one run: { body, ranking, explanation, units }

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

function readQuestion() {
  const k = Number($("k").value);
  if (!Number.isInteger(k) || k < 1 || k > 1000) throw new Error("how many? a whole number from 1 to 1,000");
  const after = whose();
  const where = $("where").value.trim();
  return { after, body: { ...after, k, keep_seen: $("seen").checked, ...(where ? { where } : {}) } };
}

function recommend() {
  return answered(() => {
    question = null;
    question = readQuestion();
    useToken($("token").value);
  });
}

async function answered(prepare = () => {}) {
  const number = ++latest;
  const isLatest = () => number === latest;
  const asked = panel;
  try {
    prepare();
    say("asking …");
    if (!runs.length) await begin();
    const told = await (asked === "one" ? askOne(isLatest) : askTwo(isLatest));
    if (!isLatest()) return;
    $("locked").hidden = true;
    drawn[asked] = { question, told };
    if (matchMedia("(max-width: 819px)").matches) $("answer").scrollIntoView(); // the list is below what was asked
    say(told, asked === "two"); // which the panel shows
  } catch (error) {
    if (!isLatest()) return;
    drawn.one = drawn.two = null;
    fail(error);
    $("found").hidden = $("read").hidden = $("compared").hidden = true; // what is there answers another question
    begin().catch(() => {}); // another run may be in service by now
  }
}

async function askOne(isLatest) {
  const run = runs.length > 1 ? { run: $("run").value } : {};
  const body = { ...question.body, ...run };
  const [found, read] = await Promise.all([ask("/recommend", body), ask("/readings", { ...question.after, ...run })]);
  if (!isLatest()) return "";
  shown = { body, ranking: found.ranking, explanation: null, units: [] };
  drawRanking(found);
  drawReadings(read);
  const many = found.ranking.length;
  const best = many ? `; the best: ${found.ranking[0].title}` : "";
  return `${many} ${many === 1 ? "item" : "items"} recommended${toWhom()}${best}`;
}

async function askTwo(isLatest) {
  const answers = await askBoth(question);
  return isLatest() ? `recommended by both${toWhom()}: ${drawBoth(answers)}` : "";
}

function toWhom() {
  return question.after.user === undefined ? "" : ` to ${question.after.user}`;
}

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  recommend();
});

function again() {
  if (question) answered(); // of other runs
}

$("run").addEventListener("change", again);
onChange(again);

tabbed($("tabs"), (name) => {
  panel = name;
  if (!question) return;
  if (drawn[name]?.question !== question && (name === "one" || runs.length > 1)) {
    answered();
    return;
  }
  latest += 1; // what is on its way is of the other panel
  say(drawn[name]?.told ?? "", name === "two");
});

// The list of one run

function drawRanking(found) {
  $("measure").textContent = measureOf(found);
  $("shortfall").textContent = noteOf(found);
  $("attribution").textContent = "";
  $("ranking").replaceChildren(
    ...rowsOf(found, "score ", (line, place) => {
      const why = make(
        "button",
        { type: "button", "aria-expanded": "false", "aria-label": `Why ${line.title}`, on: { click: () => explain(place, why) } },
        "Why?",
      );
      return make("td", {}, why);
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
  const others = read.readings.filter((one) => !one.is_own);
  const own = ownReading(read);
  $("read-about").textContent = aboutHistory(read);
  shown.units = own.units;
  $("own").replaceChildren(...(read.history.length ? [own.node] : []));
  $("other-readings").replaceChildren(...others.map((one) => drawReading(one, read.history).node));
  $("others").hidden = !others.length;
  $("titles").replaceChildren(...read.history.map((item) => make("li", {}, make("bdi", {}, item.title))));
  $("read").hidden = false;
}

// The runs in service

async function begin() {
  const [first, all] = await Promise.all([ask("/run"), ask("/runs")]);
  runs = all.runs;
  const users = `${first.users.toLocaleString("en")} users`;
  const items = `${first.items.toLocaleString("en")} items`;
  const named = runs.flatMap((one, place) => [place ? ", " : "", make("bdi", {}, one.run), " (", make("bdi", {}, one.label), ")"]);
  const word = runs.length === 1 ? "run " : "runs ";
  $("about").replaceChildren(word, ...named, " of ", make("bdi", {}, first.dataset), `: ${users}, ${items}`);
  const before = runs.some((one) => one.run === $("run").value) ? $("run").value : runs[0].run;
  $("run").replaceChildren(...runs.map((one) => option(one, one.run === before)));
  $("which").hidden = runs.length < 2;
  offer(runs);
}

async function start() {
  try {
    await begin();
    $("error").textContent = "";
  } catch (error) {
    fail(error);
  }
}

$("token").addEventListener("change", () => {
  useToken($("token").value);
  start();
});
$("legend-two").replaceChildren(...$("legend").cloneNode(true).childNodes);
start();
