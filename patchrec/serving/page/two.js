// Two runs side by side: what each recommends, where they differ, and how each reads the history.

import { $, ask, make } from "./asking.js";
import { aboutHistory, measureOf, noteOf, ownReading, rowsOf } from "./drawing.js";

const SIDES = ["A", "B"];
const selects = [$("run-a"), $("run-b")];
let picked = ["", ""];

export function offer(runs) {
  // the runs to choose from; what was chosen stays where it is still served
  const names = runs.map((one) => one.run);
  $("alone").hidden = runs.length > 1;
  $("pair").hidden = runs.length < 2;
  $("start-two").textContent = `patchrec serve --run ${names[0]} --run OTHER`;
  const [one, other] = picked;
  const first = names.includes(one) ? one : names.find((name) => name !== other);
  picked = [first, names.includes(other) && other !== first ? other : names.find((name) => name !== first)];
  selects.forEach((select, side) => select.replaceChildren(...runs.map((run) => option(run, run.run === picked[side]))));
}

export function option(one, selected) {
  return make("option", { value: one.run, selected }, one.run === one.label ? one.run : `${one.run} (${one.label})`);
}

export function onChange(handler) {
  selects.forEach((select, side) => {
    select.addEventListener("change", () => {
      const other = selects[1 - side];
      if (other.value === select.value) other.value = picked[side]; // the same run twice tells nothing: they change places
      picked = selects.map((one) => one.value);
      handler();
    });
  });
}

export async function askBoth(question) {
  if (!picked[1]) throw new Error("this server has one run; start it with two, or ask on the other tab");
  const asked = picked.map((run) => {
    return Promise.all([ask("/recommend", { ...question.body, run }), ask("/readings", { ...question.after, run })]);
  });
  return (await Promise.all(asked)).map(([found, read]) => ({ found, read }));
}

export function drawBoth(answers) {
  const ranks = answers.map(({ found }) => new Map(found.ranking.map((line) => [line.item_id, line.rank])));
  $("sides").replaceChildren(...answers.map((answer, side) => drawSide(answer, side, ranks[1 - side])));
  $("compared").hidden = false;
  const told = shared(ranks);
  $("shared").textContent = told;
  return told;
}

function shared([one, other]) {
  const both = [...one.keys()].filter((item) => other.has(item));
  const alike = both.filter((item) => one.get(item) === other.get(item)).length;
  const most = Math.max(one.size, other.size);
  if (!most) return "Both lists are empty.";
  const many = `${both.length || "None"} of ${most} ${most === 1 ? "item is" : "items are"} in both lists`;
  return both.length ? `${many}, ${alike || "none"} of them at the same rank.` : `${many}.`;
}

function drawSide({ found, read }, side, ranks) {
  const [here, there] = [SIDES[side], SIDES[1 - side]];
  const id = `side-${here.toLowerCase()}`;
  const head = (...parts) => make("th", { scope: "col" }, ...parts);
  const measure = measureOf(found) === "score" ? ["score"] : ["probability", make("small", {}, "score")];
  const table = make(
    "table",
    { class: "ranked against", "aria-labelledby": id },
    make("thead", {}, make("tr", {}, head("rank"), head("title"), head(...measure), head(`against ${there}`))),
    make("tbody", {}, ...rowsOf(found, "", (line) => make("td", {}, ...difference(line.rank, ranks.get(line.item_id), there)))),
  );
  const { node } = ownReading(read);
  return make(
    "section",
    { "aria-labelledby": id },
    make("h2", { id }, `${here}: `, make("bdi", {}, found.run)),
    make("p", { class: "quiet" }, make("bdi", {}, found.label)),
    make("p", { class: "quiet note" }, noteOf(found)),
    table,
    make("h3", {}, "How it reads the history"),
    make("p", { class: "quiet" }, aboutHistory(read)),
    ...(read.history.length ? [node] : []),
  );
}

function difference(rank, other, there) {
  // an arrow for eyes, a sentence for ears
  if (other === undefined) return [make("b", { class: "only" }, "only here")];
  const by = other - rank;
  const arrow = by > 0 ? `↑${by}` : by < 0 ? `↓${-by}` : "=";
  const way = by > 0 ? "higher" : "lower";
  const words = by ? `${Math.abs(by)} ${way} than in ${there}, where its rank is ${other}` : `the same rank in ${there}`;
  return [
    make("b", { class: by > 0 ? "up" : by < 0 ? "down" : "same", "aria-hidden": "true" }, arrow),
    make("small", { "aria-hidden": "true" }, `${other} in ${there}`),
    make("span", { class: "heard" }, words),
  ];
}
