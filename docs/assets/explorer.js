// Drag the attackers, see what six rules give. The arithmetic is in rules2d.js.
(() => {
  const place = document.getElementById("plane");
  const { RULES } = window.byzsimRules;
  const HALF = 6; // the plane is [-6, 6] x [-6, 6]
  const SIZE = 480;
  const SPACE = "http://www.w3.org/2000/svg";
  const SHAPES = { mean: "●", median: "■", krum: "▲", geometric_median: "◆", brsgd: "★", aksel: "⬟" };
  const svg = (tag, attributes, text = "") => {
    const element = document.createElementNS(SPACE, tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.textContent = text;
    return element;
  };
  const toScreen = ([x, y]) => [((x + HALF) / (2 * HALF)) * SIZE, ((HALF - y) / (2 * HALF)) * SIZE];
  const toPlane = ([x, y]) => [(x / SIZE) * 2 * HALF - HALF, HALF - (y / SIZE) * 2 * HALF];
  const format = (value) => value.toFixed(2).replace("-", "−");

  // A small generator of its own, so that the first picture is always the same.
  let seed = 1;
  const random = () => ((seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0) + 0.5) / 2 ** 32;
  const normal = () => Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random());
  const draw = (n, x, y, spread) => Array.from({ length: n }, () => [x + spread * normal(), y + spread * normal()]);
  const state = { honest: draw(8, 1.5, 1, 0.7), byzantine: draw(3, -3.5, -2.5, 0.3) };

  place.innerHTML = `
    <div class="filters">
      <label>honest <input type="range" id="honest" min="3" max="15" value="8"> <output></output></label>
      <label>attackers <input type="range" id="attackers" min="0" max="8" value="3"> <output></output></label>
      <label>declared f <input type="range" id="declared" min="0" max="8" value="3"> <output></output></label>
      <button type="button" class="md-button" id="together">all attackers at one point</button>
      <button type="button" class="md-button" id="again">new honest rows</button>
    </div>
    <div class="explorer">
      <svg viewBox="0 0 ${SIZE} ${SIZE}" role="img" aria-label="gradients of workers and what the rules give"></svg>
      <table><thead><tr><th>rule</th><th>gives</th><th>error</th></tr></thead><tbody></tbody></table>
    </div>`;
  const picture = place.querySelector("svg");
  const body = place.querySelector("tbody");
  const sliders = Object.fromEntries([...place.querySelectorAll("input")].map((input) => [input.id, input]));

  function show() {
    const rows = [...state.byzantine, ...state.honest];
    const f = Number(sliders.declared.value);
    const centre = RULES.mean(state.honest);
    const results = Object.entries(RULES).map(([name, rule]) => [name, rule(rows, f)]);
    place.dataset.rows = JSON.stringify(rows); // for the test in a browser
    place.dataset.f = f;
    picture.replaceChildren();
    for (let k = -HALF; k <= HALF; k += 2) {
      const [x, y] = toScreen([k, k]);
      const zero = k === 0 ? "grid zero" : "grid";
      picture.append(svg("line", { x1: x, x2: x, y1: 0, y2: SIZE, class: zero }));
      picture.append(svg("line", { x1: 0, x2: SIZE, y1: y, y2: y, class: zero }));
    }
    const point = (at, kind, i) => {
      const [cx, cy] = toScreen(at);
      const circle = svg("circle", { cx, cy, r: kind === "byzantine" ? 9 : 5, class: kind, "data-kind": kind, "data-i": i });
      circle.append(svg("title", {}, `${kind} (${at.map(format).join(", ")})`));
      picture.append(circle);
    };
    state.honest.forEach((at, i) => point(at, "honest", i));
    state.byzantine.forEach((at, i) => point(at, "byzantine", i));
    const [hx, hy] = toScreen(centre);
    picture.append(svg("circle", { cx: hx, cy: hy, r: 11, class: "target" }));
    body.replaceChildren();
    results.forEach(([name, at], i) => {
      const [x, y] = toScreen(at);
      const mark = svg("text", { x, y: y + 6, class: `rule rule-${i}`, "text-anchor": "middle" }, SHAPES[name]);
      mark.append(svg("title", {}, `${name} (${at.map(format).join(", ")})`));
      picture.append(mark);
      const error = Math.hypot(at[0] - centre[0], at[1] - centre[1]);
      const row = document.createElement("tr");
      row.dataset.rule = name;
      row.dataset.x = at[0];
      row.dataset.y = at[1];
      row.innerHTML =
        `<td><span class="rule-${i}">${SHAPES[name]}</span> <a href="catalogue/rules/${name}.html">${name}</a></td>` +
        `<td>(${at.map(format).join(", ")})</td><td>${format(error)}</td>`;
      body.append(row);
    });
    for (const input of Object.values(sliders)) input.nextElementSibling.textContent = input.value;
  }

  const at = (event) => {
    const box = picture.getBoundingClientRect();
    const inside = [event.clientX - box.left, event.clientY - box.top].map((value) => (value * SIZE) / box.width);
    return toPlane(inside).map((value) => Math.min(Math.max(value, -HALF), HALF));
  };
  let held = null;
  picture.addEventListener("pointerdown", (event) => {
    if (!event.target.dataset.kind) return;
    held = [event.target.dataset.kind, Number(event.target.dataset.i)];
    picture.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  picture.addEventListener("pointermove", (event) => {
    if (!held) return;
    state[held[0]][held[1]] = at(event);
    show();
  });
  for (const end of ["pointerup", "pointercancel"]) picture.addEventListener(end, () => (held = null));
  const resize = (kind, count, make) => {
    state[kind] = [...state[kind].slice(0, count), ...Array.from({ length: Math.max(count - state[kind].length, 0) }, make)];
  };
  sliders.honest.addEventListener("input", () => {
    resize("honest", Number(sliders.honest.value), () => draw(1, 1.5, 1, 0.7)[0]);
    show();
  });
  sliders.attackers.addEventListener("input", () => {
    resize("byzantine", Number(sliders.attackers.value), () => draw(1, -3.5, -2.5, 0.3)[0]);
    show();
  });
  sliders.declared.addEventListener("input", show);
  place.querySelector("#together").addEventListener("click", () => {
    const [first = [-3.5, -2.5]] = state.byzantine;
    state.byzantine = state.byzantine.map(() => [...first]);
    show();
  });
  place.querySelector("#again").addEventListener("click", () => {
    state.honest = draw(state.honest.length, 1.5, 1, 0.7);
    show();
  });
  show();
})();
