// Six rules on rows of numbers, in float64, with the defaults of byzsim. tests/test_site.py compares them with the library.
(function (global) {
  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const columns = (rows) => rows[0].map((_, c) => rows.map((row) => row[c]));
  const mean = (rows) => columns(rows).map((column) => sum(column) / rows.length);
  const squared = (a, b) => sum(a.map((value, c) => (value - b[c]) ** 2));
  const ascending = (values) => [...values].sort((a, b) => a - b);

  // The indices of the `count` smallest scores; of equal ones the lowest index first.
  const smallest = (scores, count) =>
    scores
      .map((score, i) => [score, i])
      .sort((a, b) => a[0] - b[0] || a[1] - b[1])
      .slice(0, count)
      .map(([, i]) => i);
  const middle = (column, lower) => {
    const sorted = ascending(column);
    const low = sorted[Math.floor((sorted.length - 1) / 2)];
    return lower ? low : (low + sorted[Math.floor(sorted.length / 2)]) / 2;
  };
  const median = (rows, lower = false) => columns(rows).map((column) => middle(column, lower));

  // The row with the smallest sum of squared distances to its m - f - 2 nearest others (at least one).
  function krum(rows, f) {
    const near = Math.min(Math.max(rows.length - f - 2, 1), rows.length - 1);
    const scores = rows.map((row, i) =>
      sum(ascending(rows.filter((_, j) => j !== i).map((other) => squared(row, other))).slice(0, near)),
    );
    return rows[smallest(scores, 1)[0]];
  }

  // Weiszfeld's steps with smoothed distances: three from zero (the default), or until z rests.
  function geometricMedian(rows, { steps = 3, nu = 0.1, start = null, tolerance = 0 } = {}) {
    let z = start ?? rows[0].map(() => 0);
    for (let step = 0; step < steps; step++) {
      const weights = rows.map((row) => 1 / Math.max(Math.sqrt(squared(row, z)), nu));
      const total = sum(weights);
      const next = columns(rows).map((column) => sum(column.map((value, i) => (weights[i] / total) * value)));
      const moved = squared(next, z) > ((tolerance * rows.length) / total) ** 2;
      z = next;
      if (!moved) break;
    }
    return z;
  }

  // The mean of the rows that are near the median and most often on the larger side of the column means.
  function brsgd(rows) {
    const m = rows.length;
    const centre = median(rows);
    const distance = rows.map((row) => sum(row.map((value, c) => Math.abs(value - centre[c]))));
    const average = mean(rows);
    const upper = columns(rows).map((column, c) => 2 * column.filter((value) => value >= average[c]).length >= m);
    const score = rows.map((row) => row.filter((value, c) => value >= average[c] === upper[c]).length);
    const twoT = ascending(distance)[Math.floor(m / 2)];
    const top = smallest(score.map((value) => -value), Math.ceil(m / 2 - 1e-4));
    const both = top.filter((i) => distance[i] <= twoT);
    const nearest = top[smallest(top.map((i) => distance[i]), 1)[0]];
    return mean((both.length ? both : [nearest]).map((i) => rows[i]));
  }

  // The mean of the floor((m + 1) / 2) rows that are nearest to the lower median.
  function aksel(rows) {
    const centre = median(rows, true);
    const kept = smallest(rows.map((row) => squared(row, centre)), Math.floor((rows.length + 1) / 2));
    return mean(kept.map((i) => rows[i]));
  }

  const RULES = {
    mean: (rows) => mean(rows),
    median: (rows) => median(rows),
    krum,
    geometric_median: (rows) =>
      geometricMedian(rows, { start: mean(rows), steps: 1000, nu: 1e-6, tolerance: 1e-6 }),
    brsgd: (rows) => brsgd(rows),
    aksel: (rows) => aksel(rows),
  };
  // As byzsim.aggregate(name, rows, f=f, variant=...): the geometric median is the converged one, which does not depend
  // on where zero is.
  const VARIANTS = { geometric_median: "converged" };
  global.byzsimRules = { RULES, VARIANTS };
  if (typeof module !== "undefined") module.exports = global.byzsimRules;
})(typeof window === "undefined" ? globalThis : window);
