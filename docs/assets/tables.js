// Tables that can be sorted by a click on a heading and filtered; sections that can be chosen; records that open.
(() => {
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const number = (cell) => {
    const value = cell.dataset.value ?? cell.textContent.trim();
    if (value === "inf") return Infinity;
    return value === "" || Number.isNaN(Number(value)) ? null : Number(value);
  };

  function sortable(table) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      head.tabIndex = 0;
      head.setAttribute("aria-sort", "none");
      let turned = 0; // numbers begin with the highest, words with A
      const sort = () => {
        const words = number(table.tBodies[0].rows[0].cells[column]) === null;
        turned = -turned || (words ? 1 : -1);
        const compare = (a, b) => {
          const [x, y] = [a, b].map((row) => number(row.cells[column]));
          if (x === null || y === null) return a.cells[column].textContent.localeCompare(b.cells[column].textContent);
          return x === y ? 0 : x < y ? -1 : 1;
        };
        table.tBodies[0].append(...[...table.tBodies[0].rows].sort((a, b) => turned * compare(a, b)));
        for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
        head.setAttribute("aria-sort", turned > 0 ? "ascending" : "descending");
      };
      head.addEventListener("click", (event) => event.target.closest("a") || sort());
      head.addEventListener("keydown", (event) => event.key === "Enter" && sort());
    });
  }

  // Column numbers of the catalogue's index, by the words in their headings.
  function filtered(table) {
    const heads = [...table.tHead.rows[0].cells].map((head) => head.textContent);
    const column = (word) => heads.findIndex((head) => head.startsWith(word));
    const [bound, time, needs, traits] = ["largest f", "m = 20", "needs", "traits"].map(column);
    const rows = [...table.tBodies[0].rows];
    const known = [...new Set(rows.flatMap((row) => [...row.cells[traits].children].map((chip) => chip.textContent)))].sort();
    const wanted = new Set();
    const words = make("input", { type: "search", placeholder: "name or words", ariaLabel: "name or words" });
    const least = make("input", { type: "number", min: 0, value: 0, ariaLabel: "largest f of at least" });
    const most = make("input", { type: "number", min: 0, step: "any", placeholder: "any", ariaLabel: "at most milliseconds" });
    const alone = make("input", { type: "checkbox" });
    const count = make("output");
    const apply = () => {
      let shown = 0;
      for (const row of rows) {
        const own = [...row.cells[traits].children].map((chip) => chip.textContent);
        const visible =
          row.textContent.toLowerCase().includes(words.value.trim().toLowerCase()) &&
          number(row.cells[bound]) >= Number(least.value) &&
          (most.value === "" || number(row.cells[time]) <= Number(most.value)) &&
          (!alone.checked || row.cells[needs].textContent === "rows alone") &&
          [...wanted].every((trait) => own.includes(trait));
        row.hidden = !visible;
        shown += visible;
      }
      count.textContent = `${shown} of ${rows.length}`;
    };
    const chips = known.map((trait) => {
      const button = make("button", { type: "button", className: "chip", textContent: trait, ariaPressed: "false" });
      button.addEventListener("click", () => {
        wanted.delete(trait) || wanted.add(trait);
        button.ariaPressed = String(wanted.has(trait));
        apply();
      });
      return button;
    });
    const form = make("div", { className: "filters" });
    form.append(
      make("label", {}, "with ", words),
      make("label", {}, "f of 20 at least ", least),
      make("label", {}, "milliseconds at most ", most),
      make("label", {}, alone, " needs the rows alone"),
      make("span", { className: "chips" }, "traits ", ...chips),
      count,
    );
    form.addEventListener("input", apply);
    (table.closest(".md-typeset__scrollwrap") ?? table).before(form);
    apply();
  }

  // The leaderboard: each section has its values below its heading, and is shown if they are those chosen.
  function sections(place) {
    const marks = [...document.querySelectorAll("[data-filters]")];
    const values = marks.map((mark) => JSON.parse(mark.dataset.filters));
    const parts = marks.map((mark) => {
      const part = [mark.previousElementSibling];
      for (let next = mark; next && next.tagName !== "H2"; next = next.nextElementSibling) part.push(next);
      return part;
    });
    const chosen = {};
    const apply = () =>
      parts.forEach((part, i) => {
        const visible = Object.entries(chosen).every(([key, value]) => value === "" || values[i][key] === value);
        for (const element of part) element.hidden = !visible;
      });
    for (const key of new Set(values.flatMap(Object.keys))) {
      const all = [...new Set(values.map((each) => each[key]).filter((value) => value !== undefined))];
      const select = make("select", { ariaLabel: key });
      select.append(make("option", { value: "", textContent: "all" }));
      for (const value of all) {
        const text = value !== "" && !Number.isNaN(Number(value)) ? String(Number(Number(value).toPrecision(4))) : value;
        select.append(make("option", { value, textContent: text }));
      }
      select.addEventListener("change", () => {
        chosen[key] = select.value;
        apply();
      });
      place.append(make("label", {}, `${key} `, select));
    }
    place.classList.add("filters");
  }

  function open() {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.tagName === "DETAILS") {
      target.open = true;
      target.scrollIntoView();
    }
  }

  const start = () => {
    for (const table of document.querySelectorAll("table[data-kind]")) {
      if (table.dataset.kind.includes("sortable")) sortable(table);
      if (table.dataset.kind.includes("filtered")) filtered(table);
    }
    const place = document.getElementById("filters");
    if (place) sections(place);
    open();
  };
  addEventListener("hashchange", open);
  document.readyState === "loading" ? addEventListener("DOMContentLoaded", start) : start();
})();
