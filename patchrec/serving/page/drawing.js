// A list and a history as they are drawn, whichever run they are of.

import { make } from "./asking.js";

function percent(probability) {
  if (probability < 1e-4) return "< 0.01 %";
  return `${(100 * probability).toFixed(probability < 0.01 ? 2 : 1)} %`;
}

export function decimals(value) {
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

export function noteOf(found) {
  return `${SOURCES[found.source]}${found.shortfall ?? ""}`;
}

export function measureOf(found) {
  return found.ranking.some((line) => line.probability !== null) ? "probability" : "score";
}

export function rowsOf(found, word, last) {
  // rank, title and measure of each item, with a word for what is below it and a last cell of the caller's
  const known = measureOf(found) === "probability";
  const best = Math.max(...found.ranking.map((line) => line.score ?? -Infinity));
  return found.ranking.map((line, place) => {
    const score = `${word}${decimals(line.score)}`;
    const measure = known && line.probability !== null ? [percent(line.probability), make("small", {}, score)] : [decimals(line.score)];
    const title = make("th", { scope: "row" }, make("bdi", {}, line.title), make("small", {}, make("bdi", {}, line.item_id)));
    if (line.score !== null) title.append(bar(Math.exp(line.score - best)));
    return make("tr", {}, make("td", {}, String(line.rank)), title, make("td", {}, ...measure), last(line, place));
  });
}

export function aboutHistory(read) {
  const size = read.history.length;
  const older = read.older ? `, after ${read.older} older ones that are beyond the window` : "";
  return size ? `Oldest first: ${size} ${size === 1 ? "item" : "items"}${older}.` : "It is empty.";
}

export function ownReading(read) {
  // of a run without a strategy: item by item
  const stop = read.history.length;
  const whole = { label: "item by item", num_units: stop, problem: null, spans: stop ? [{ start: 0, stop, grain: "text" }] : [] };
  return drawReading(read.readings.find((one) => one.is_own) ?? whole, read.history);
}

export function drawReading(reading, history) {
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
