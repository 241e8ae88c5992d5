// Completion (the combobox of the ARIA Authoring Practices): arrows choose, Enter takes, Escape closes.

import { fail, make } from "./asking.js";

export function completing(input, list, find, take) {
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
