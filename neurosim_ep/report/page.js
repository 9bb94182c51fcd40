"use strict";
(() => {
  const tip = document.getElementById("tip");
  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];

  // What is pointed at, or reached by the keyboard, says what it is.
  let told = null; // the element that the tip is about
  const place = () => {
    const box = told.getBoundingClientRect();
    tip.classList.toggle("shown", box.bottom >= 0 && box.top <= innerHeight);
    const own = tip.getBoundingClientRect();
    const left = Math.min(Math.max(4, box.left + box.width / 2 - own.width / 2), innerWidth - own.width - 4);
    const above = box.top - own.height - 8;
    tip.style.transform = `translate(${Math.max(4, left)}px, ${above > 4 ? above : box.bottom + 8}px)`;
  };
  const hide = () => {
    tip.classList.remove("shown");
    told?.classList.remove("on");
    told = null;
  };
  const show = (words, element) => {
    if (element === told) return;
    hide();
    told = element;
    told.classList.add("on");
    tip.textContent = words;
    place();
  };

  for (const item of all(".def")) {
    const words = item.title;
    item.removeAttribute("title");
    item.setAttribute("aria-description", words);
    const tell = () => show(words, item);
    item.addEventListener("pointerenter", tell);
    item.addEventListener("focus", tell);
    item.addEventListener("pointerleave", hide);
    item.addEventListener("blur", hide);
  }

  const REACH = 28; // pixels within which a mark is meant
  for (const picture of all(".canvas > svg")) {
    const marks = all(".m", picture);
    for (const mark of marks) {
      const title = mark.querySelector("title");
      mark.dataset.said = title.textContent;
      title.remove();
    }
    const nearest = (event) => {
      const direct = event.target.closest?.(".m");
      if (direct) return direct;
      let best = null;
      let least = REACH;
      for (const mark of marks) {
        const box = mark.getBoundingClientRect();
        const far = Math.hypot(event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2);
        if (far < least) [best, least] = [mark, far];
      }
      return best;
    };
    picture.addEventListener("pointermove", (event) => {
      const mark = nearest(event);
      if (mark) show(mark.dataset.said, mark);
      else hide();
    });
    picture.addEventListener("pointerleave", hide);
    picture.addEventListener("blur", hide);
    let at = -1;
    picture.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (event.key === "Escape") hide();
      if (!step || !marks.length) return;
      event.preventDefault();
      at = (Math.max(at, step > 0 ? -1 : 0) + step + marks.length) % marks.length;
      show(marks[at].dataset.said, marks[at]);
    });
  }
  addEventListener("scroll", () => told && place(), { passive: true, capture: true });
  addEventListener("keydown", (event) => event.key === "Escape" && hide());

  // Tables sort by the heads of their columns, and are saved as CSV in base units.
  const raw = (cell) => cell.dataset.v ?? cell.textContent;
  const order = (a, b) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    const [x, y] = [Number(a), Number(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en", { numeric: true }) : x - y;
  };
  const sort = (table, column) => {
    const heads = all("thead th", table);
    const down = heads[column].getAttribute("aria-sort") === "ascending";
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [raw(row.cells[column]), row]);
    const sign = down ? -1 : 1;
    rows.sort(([a], [b]) => (a === "" || b === "" ? order(a, b) : sign * order(a, b)));
    body.append(...rows.map(([, row]) => row));
  };
  const quoted = (words) => (/[",\r\n]/.test(words) ? `"${words.replaceAll('"', '""')}"` : words);
  const csv = (table) => {
    const names = all("thead th", table).map((head) => head.dataset.name);
    const rows = [...table.tBodies[0].rows].map((row) => [...row.cells].map(raw));
    return [names, ...rows].map((row) => row.map(quoted).join(",")).join("\n") + "\n";
  };
  const save = (name, words, kind) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([words], { type: `${kind};charset=utf-8` }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
  const button = (words, act) => {
    const made = document.createElement("button");
    made.type = "button";
    made.className = "tool";
    made.textContent = words;
    made.addEventListener("click", () => act(made));
    return made;
  };
  for (const table of all("table[data-file]")) {
    all("thead th", table).forEach((head, column) => {
      const words = document.createElement("button");
      words.type = "button";
      const named = head.querySelector(".def");
      if (named) {
        named.removeAttribute("tabindex");
        const meaning = named.getAttribute("aria-description");
        words.setAttribute("aria-description", meaning);
        words.addEventListener("focus", () => show(meaning, words));
        words.addEventListener("blur", hide);
      }
      words.append(...head.childNodes);
      words.addEventListener("click", () => sort(table, column));
      head.append(words);
    });
    const file = `${table.dataset.file}.csv`;
    table.closest(".table").append(button(`Save as ${file}`, () => save(file, csv(table), "text/csv")));
  }

  // Texts to take along.
  for (const text of all("pre[data-file]")) {
    text.after(button(`Save as ${text.dataset.file}`, () => save(text.dataset.file, text.textContent, "text/plain")));
  }
  for (const text of all("pre[data-copy]")) {
    text.after(button("Copy", async (made) => {
      getSelection().selectAllChildren(text);
      await navigator.clipboard.writeText(text.textContent);
      made.textContent = "Copied";
    }));
  }
  // Paper has no folded parts.
  addEventListener("beforeprint", () => all("details.paper").forEach((part) => (part.open = true)));
})();
