// The tabs of the ARIA Authoring Practices: arrows go round, Home and End to the ends; the focus shows its panel.

import { $ } from "./asking.js";

export function tabbed(list, shown) {
  const tabs = [...list.querySelectorAll("[role=tab]")];

  function select(chosen) {
    for (const tab of tabs) {
      tab.setAttribute("aria-selected", String(tab === chosen));
      tab.tabIndex = tab === chosen ? 0 : -1;
      $(tab.getAttribute("aria-controls")).hidden = tab !== chosen;
    }
    shown(chosen.getAttribute("aria-controls"));
  }

  tabs.forEach((tab, place) => {
    tab.addEventListener("click", () => select(tab));
    tab.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
      const to = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: tabs.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      const chosen = tabs[(to + tabs.length) % tabs.length];
      chosen.focus();
      if (chosen !== tab) select(chosen);
    });
  });
}
