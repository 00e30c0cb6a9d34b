// Two rules side by side, from what catalogue/compare.html loads as window.BYZSIM.
(() => {
  const place = document.getElementById("compare");
  const { rules, tables, traits } = window.BYZSIM;
  const make = (tag, html = "") => {
    const element = document.createElement(tag);
    element.innerHTML = html;
    return element;
  };
  const escape = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
  const link = ([text, address]) => `<a href="${escape(address)}">${escape(text)}</a>`;
  const asked = () => decodeURIComponent(location.hash.slice(1)).split(",").filter((name) => name in rules);
  const selects = [0, 1].map((i) => {
    const select = make("select", Object.keys(rules).map((name) => `<option>${escape(name)}</option>`).join(""));
    select.ariaLabel = `rule ${i + 1}`;
    select.addEventListener("change", () => {
      history.replaceState(null, "", `#${selects.map((each) => each.value).join(",")}`);
      show();
    });
    return select;
  });
  const body = make("div");

  function row(label, values) {
    const same = values[0] === values[1];
    return `<tr class="${same ? "same" : "differs"}"><th>${escape(label)}</th>${values.map((v) => `<td>${v}</td>`).join("")}</tr>`;
  }

  function show() {
    const names = selects.map((select) => select.value);
    const both = names.map((name) => rules[name]);
    const rows = Object.keys(both[0])
      .filter((key) => key !== "traits")
      .map((key) => row(key, both.map((rule) => (key === "formula" ? rule[key] : escape(rule[key])))));
    for (const [trait, meaning] of Object.entries(traits)) {
      if (both.some((rule) => rule.traits.includes(trait))) {
        rows.push(row(meaning, both.map((rule) => (rule.traits.includes(trait) ? "yes" : "no"))));
      }
    }
    const head = `<tr><th></th>${names.map((name) => `<th><a href="rules/${name}.html">${escape(name)}</a></th>`).join("")}</tr>`;
    const parts = [`<table><thead>${head}</thead><tbody>${rows.join("")}</tbody></table>`];
    for (const table of tables.filter((each) => names.some((name) => name in each.cells))) {
      const under = table.attacks.map((attack) =>
        row(attack, names.map((name) => (table.cells[name]?.[attack] ? link(table.cells[name][attack]) : "–"))),
      );
      parts.push(`<details><summary>${escape(table.title)}: accuracy (%)</summary><table><thead>${head}</thead><tbody>${under.join("")}</tbody></table></details>`);
    }
    body.innerHTML = parts.join("");
  }

  function choose() {
    const [a = "krum", b = "median"] = asked();
    selects[0].value = a;
    selects[1].value = b;
    show();
  }
  const bar = make("div");
  bar.className = "filters";
  bar.append(selects[0], " and ", selects[1]);
  place.append(bar, body);
  addEventListener("hashchange", choose);
  choose();
})();
