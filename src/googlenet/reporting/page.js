"use strict";
(() => {
  const root = document.documentElement;
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const images = read("images");

  // Language: that of the reader; the button changes it.
  const button = document.getElementById("language");
  const speak = (language) => { root.dataset.language = root.lang = language; };
  speak((navigator.languages || [navigator.language]).map((each) => each.slice(0, 2)).find((each) => each === "zh" || each === "en") || "en");
  button.hidden = false;
  button.addEventListener("click", () => speak(root.lang === "zh" ? "en" : "zh"));

  // Tables: a click on a heading sorts, a second one turns the order round.
  for (const table of document.querySelectorAll("table.sorts")) {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, at) => heading.querySelector(".sort").addEventListener("click", () => {
      const numeric = heading.classList.contains("number");
      const before = heading.getAttribute("aria-sort");
      const order = before ? (before === "ascending" ? "descending" : "ascending") : numeric ? "descending" : "ascending";
      const sign = order === "ascending" ? 1 : -1;
      headings.forEach((each) => each.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", order);
      const value = (row) => row.cells[at].dataset.v ?? "";
      const compare = numeric ? (a, b) => value(a) - value(b) : (a, b) => value(a).localeCompare(value(b), undefined, { numeric: true });
      const body = table.tBodies[0];
      body.append(...[...body.rows].sort((a, b) => sign * compare(a, b)));
    }));
    const search = table.parentElement.previousElementSibling?.querySelector("input[type=search]");
    search?.addEventListener("input", () => {
      const wanted = search.value.trim().toLowerCase();
      for (const row of table.tBodies[0].rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
    });
  }

  // Matrices: one stop of the Tab key; the arrow keys move within.
  for (const matrix of document.querySelectorAll("table.matrix")) {
    const buttons = [...matrix.querySelectorAll("button")];
    buttons.forEach((each, at) => { each.tabIndex = at ? -1 : 0; });
    matrix.addEventListener("keydown", (event) => {
      const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
      const cell = document.activeElement.closest("td");
      if (!step || !cell) return;
      event.preventDefault();
      let [row, column] = [cell.parentElement.rowIndex, cell.cellIndex];
      for (let next = null; !next;) {
        [row, column] = [row + step[0], column + step[1]];
        next = matrix.rows[row]?.cells[column];
        if (!next || row === 0 || column === 0) return;
        next = next.querySelector("button");
        if (next) {
          buttons.forEach((each) => { each.tabIndex = -1; });
          next.tabIndex = 0;
          next.focus();
        }
      }
    });
  }

  // The images behind a count.
  const dialog = document.getElementById("behind");
  const place = document.getElementById("behind-images");
  const said = (className, text, language) => {
    const element = document.createElement("span");
    element.className = className;
    if (language) element.lang = language;
    element.textContent = text;
    return element;
  };
  const both = (en, zh) => [said("en", en, "en"), said("zh", zh, "zh")];
  const isolated = (text) => Object.assign(document.createElement("bdi"), { textContent: text });
  const figure = (number) => {
    const [name, shown, probability] = images.images[number];
    const made = document.createElement("figure");
    const url = images.thumbs[number] || document.getElementById(`image-${number}`)?.src;
    if (url) made.append(Object.assign(new Image(), { src: url, alt: "" }));
    const caption = document.createElement("figcaption");
    const first = document.createElement("div");
    first.append(isolated(shown), ` ${probability}`);
    const second = document.createElement("div");
    second.append(isolated(name));
    caption.append(first, second);
    made.append(caption);
    return made;
  };
  document.addEventListener("click", (event) => {
    const opener = event.target.closest?.("[data-open]");
    if (!opener) return;
    const { numbers, title, count } = images.behind[opener.dataset.open];
    const heading = document.getElementById("behind-title");
    heading.replaceChildren();
    if (title.length === 2) heading.append(...both("true: ", "真实："), isolated(title[0]), ...both(", called: ", "，识别为："), isolated(title[1]));
    else heading.append(isolated(title[0]));
    heading.append(` (${count})`);
    place.replaceChildren(...numbers.map(figure));
    document.getElementById("behind-more").hidden = numbers.length >= count;
    dialog.showModal();
    dialog.scrollTop = 0;
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

  // The figures as a file, unpacked where they are compressed.
  const figures = document.getElementById("figures");
  const text = async () => {
    if (!figures.dataset.encoding) return figures.textContent;
    const bytes = Uint8Array.from(atob(figures.textContent), (each) => each.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  };
  const save = document.getElementById("save");
  save.hidden = false;
  save.addEventListener("click", async () => {
    const url = URL.createObjectURL(new Blob([await text()], { type: "application/json" }));
    Object.assign(document.createElement("a"), { href: url, download: "figures.json" }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60000);
  });

  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => { each.open = true; }));
})();
