// Makes the drawings over time live: figures under the pointer or the arrow keys, and a closer look
// by dragging. The figures are those of the chart's own table; without this script its SVG stays.
"use strict";
(() => {
  const GAP = 2;
  const STEPS = [1, 5, 10, 30, 60, 300, 600, 1800, 3600, 10800, 21600, 43200, 86400, 172800, 604800,
    1209600, 2592000, 7776000];
  const cents = new Intl.NumberFormat("en", { style: "currency", currency: "USD" });
  const counts = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
  // As the server writes dollars: below one, three digits that count, and cents at least.
  function dollars(value) {
    if (value === 0) return "$0";
    if (Math.abs(value) >= 1) return cents.format(value);
    const [whole, part] = Math.abs(value)
      .toFixed(Math.min(12, 2 - Math.floor(Math.log10(Math.abs(value))))).split(".");
    return `${value < 0 ? "-" : ""}$${whole}.${part.replace(/0+$/, "").padEnd(2, "0")}`;
  }

  const say = {
    usd: dollars,
    count: (value) => counts.format(value),
    share: (value) => `${(value * 100).toFixed(1)} %`,
  };

  // The rows of a table by their columns' names, and of each cell what CSV holds; null: not known.
  function rowsOf(table) {
    const names = [...table.tHead.rows[0].cells].map((cell) => cell.title);
    return [...table.tBodies[0].rows].map((row) => Object.fromEntries(
      [...row.cells].map((cell, n) => [names[n], cell.dataset.value ?? null])));
  }

  const number = (text) => (text === null || text === undefined ? null : Number(text));
  const listed = (text) => (text ? text.split(",") : []);

  // A group's name is its values as the key writes them; what the key does not name is its last.
  function read(figure) {
    const plot = figure.querySelector(".plot");
    const { start, end, step, zone, by, y, line, missing, also } = plot.dataset;
    const kinds = [...figure.querySelectorAll(".key span")].map((span) => ({
      kind: span.dataset.kind, name: span.textContent.trim(), swatch: span.querySelector("rect"),
    }));
    const parts = kinds.filter(({ kind }) => kind !== "over");
    const grouped = by !== undefined;
    const buckets = new Map();
    const table = figure.querySelector("table");
    for (const row of table ? rowsOf(table) : []) {
      const at = Date.parse(row.from) / 1000;
      const bucket = buckets.get(at) ?? { at, values: parts.map(() => 0), known: false,
        missing: 0, line: null, also: {} };
      buckets.set(at, bucket);
      if (grouped) {
        const name = listed(by).map((column) => row[column] ?? "none").join(", ");
        const found = parts.findIndex((part) => part.name === name);
        const value = number(row[y]);
        if (value !== null) {
          bucket.values[found < 0 ? parts.length - 1 : found] += value;
          bucket.known = true;
        }
      } else {
        listed(y).forEach((column) => {
          const found = parts.findIndex((part) => part.kind === column);
          bucket.values[found] += number(row[column]) ?? 0;
        });
        bucket.known = true;
      }
      if (line) bucket.line = number(row[line]);
      for (const column of listed(missing)) bucket.missing += number(row[column]) ?? 0;
      for (const column of listed(also)) bucket.also[column] = number(row[column]);
    }
    return { start: Number(start), end: Number(end), step: Number(step), zone, parts,
      over: kinds.find(({ kind }) => kind === "over"),
      buckets: [...buckets.values()].sort((a, b) => a.at - b.at) };
  }

  function begin(figure) {
    const plot = figure.querySelector(".plot");
    const drawn = [...plot.querySelectorAll("svg")].find((svg) => svg.getClientRects().length);
    if (!drawn) return;
    const reading = figure.querySelector(".reading");
    const unit = say[plot.dataset.unit];
    const rate = plot.dataset.lineUnit === "share";
    let told = read(figure);
    let seen = -1;
    let near = false;
    let span = null; // from when to when is shown, in seconds; null: all of it

    const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const colour = ({ swatch }) => getComputedStyle(swatch).fill;
    const when = (seconds, options) => new Intl.DateTimeFormat("en-GB",
      { timeZone: told.zone, ...options }).format(seconds * 1000);
    const DAY = { day: "2-digit", month: "short" };
    const TIME = { hour: "2-digit", minute: "2-digit" };
    const SECOND = { ...TIME, second: "2-digit" };
    // One mark at the very end would be cut off; midnight says which day it is.
    const marks = (u_, splits, __, ___, apart) => splits.map((at) => {
      const { min, max } = u_.scales.x;
      if (at > max - (max - min) * 0.03 || at < min) return "";
      if (apart >= 86400) return when(at, DAY);
      const time = when(at, apart < 60 ? SECOND : TIME);
      return time === "00:00" ? when(at, DAY) : time;
    });

    const totals = () => told.buckets.map(({ values }) => values.reduce((a, b) => a + b, 0));
    const middles = () => told.buckets.map(({ at }) => at + told.step / 2);
    const lines = () => {
      const values = told.buckets.map((bucket) => bucket.line);
      return rate || values.some((value) => value) ? values : values.map(() => null);
    };
    const data = () => [middles(), totals(), lines()];

    function bars(u) {
      const { ctx, bbox } = u;
      const ratio = devicePixelRatio;
      ctx.save();
      ctx.beginPath();
      ctx.rect(bbox.left, 0, bbox.width, bbox.top + bbox.height);
      ctx.clip();
      told.buckets.forEach(({ at, values, missing }, n) => {
        const left = u.valToPos(at, "x", true);
        const right = u.valToPos(at + told.step, "x", true);
        const gap = Math.min(GAP * ratio, (right - left) * 0.2);
        const wide = Math.max(1, right - left - gap);
        let below = 0;
        values.forEach((value, part) => {
          if (value <= 0) return;
          const high = u.valToPos(below + value, "y", true);
          ctx.fillStyle = colour(told.parts[part]);
          ctx.globalAlpha = near && n !== seen ? 0.55 : 1;
          ctx.fillRect(left, high, wide, u.valToPos(below, "y", true) - high);
          below += value;
        });
        ctx.globalAlpha = 1;
        if (missing) {
          ctx.fillStyle = style("--soft");
          ctx.font = `${12 * ratio}px system-ui, sans-serif`;
          ctx.textAlign = "center";
          ctx.fillText("?", (left + right) / 2, u.valToPos(below, "y", true) - 5 * ratio);
        }
      });
      over(u, ratio);
      ctx.restore();
    }

    // Joined from bucket to bucket; what lies apart stands alone.
    function over(u, ratio) {
      const { ctx } = u;
      const values = lines();
      const scale = rate ? "rate" : "y";
      ctx.strokeStyle = ctx.fillStyle = style("--ink");
      ctx.lineWidth = 1.5 * ratio;
      let last = null;
      told.buckets.forEach(({ at }, n) => {
        if (values[n] === null) return;
        const x = u.valToPos(at + told.step / 2, "x", true);
        const y = u.valToPos(values[n], scale, true);
        if (last !== null && at - last.at < told.step * 1.5) {
          ctx.beginPath();
          ctx.moveTo(last.x, last.y);
          ctx.lineTo(x, y);
          ctx.stroke();
        }
        ctx.beginPath();
        ctx.arc(x, y, (rate ? 2.5 : 1) * ratio, 0, Math.PI * 2);
        ctx.fill();
        last = { at, x, y };
      });
    }

    function tell() {
      reading.textContent = "";
      const bucket = told.buckets[seen];
      if (near && bucket) {
        const time = told.step < 60 ? SECOND : TIME;
        const until = bucket.at + told.step;
        const days = told.step >= 86400;
        const from = when(bucket.at, days ? DAY : { ...DAY, ...time });
        const said = bucket.values.map((value, n) => [told.parts[n].name.split(": ")[0], value])
          .filter(([, value]) => value).map(([name, value]) => `${name} ${unit(value)}`);
        const sum = bucket.values.reduce((a, b) => a + b, 0);
        const words = [said.length ? said.join(", ") : bucket.known ? unit(0) : "unknown"];
        if (said.length > 1) words.push(`together ${unit(sum)}`);
        if (bucket.missing) words.push(`${bucket.missing} of unknown cost`);
        if (bucket.line !== null) {
          words.push(`${told.over.name.split(": ")[0]} ${(rate ? say.share : say.count)(bucket.line)}`);
        }
        for (const [name, value] of Object.entries(bucket.also)) words.push(`${name} ${value}`);
        const strong = document.createElement("b");
        strong.textContent = days ? from : `${from} to ${when(until, time)}`;
        reading.append(strong, ` ${words.join(" · ")}`);
      } else if (!span) {
        reading.textContent = "Point at it or use the arrow keys for figures, drag for a closer look.";
      }
      if (span) closeUp();
    }

    function closeUp() {
      const back = document.createElement("button");
      back.type = "button";
      back.textContent = "Whole range";
      back.addEventListener("click", () => { reset(); holder.focus(); });
      reading.append(" ", back);
      if (!plot.dataset.range) return;
      const only = document.createElement("a");
      const range = new URLSearchParams(plot.dataset.range.slice(1));
      ["start_time", "end_time"].forEach((name, n) => {
        range.set(name, new Date(Math.round(span[n]) * 1000).toISOString().replace(".000", ""));
      });
      only.href = `?${range}`;
      only.textContent = "this range alone";
      reading.append(" ", only);
    }

    function see(index) {
      const n = Math.max(0, Math.min(told.buckets.length - 1, index));
      near = true;
      seen = n;
      u.redraw(false, false);
      tell();
    }

    function look(at) {
      span = at;
      const [min, max] = span ?? [told.start, told.end];
      u.setScale("x", { min, max });
      tell();
    }

    const reset = () => look(null);
    const inside = (u_, _, hovered, at) => {
      const found = told.buckets.findIndex((b) => b.at <= at && at < b.at + told.step);
      return found < 0 ? hovered : found;
    };
    const axis = (more) => ({ stroke: () => style("--soft"), font: "12px system-ui, sans-serif",
      ticks: { show: false }, grid: { stroke: () => style("--line"), width: 1 }, ...more });
    const top = (u_, _, most) => [0, uPlot.rangeNum(0, Math.max(most ?? 0, plot.dataset.unit === "count" ? 4 : 1e-9),
      { min: { pad: 0, soft: 0, mode: 1 }, max: { pad: 0.1, soft: 0, mode: 2 } })[1]];
    const options = {
      width: plot.clientWidth,
      height: plot.clientHeight,
      padding: [18, rate ? 0 : 10, 0, 0],
      tzDate: (at) => uPlot.tzDate(new Date(at * 1000), told.zone),
      legend: { show: false },
      select: { show: true },
      cursor: { y: false, points: { show: false }, dataIdx: inside,
        drag: { x: true, y: false, setScale: false }, bind: { dblclick: () => reset } },
      scales: {
        x: { range: () => span ?? [told.start, told.end] },
        y: { range: top },
        rate: { range: [0, 1] },
      },
      axes: [
        axis({ values: marks, grid: { show: false }, space: 64, size: 30,
          incrs: STEPS.filter((long) => long >= Math.min(told.step, 86400)) }),
        axis({ values: (_, splits) => splits.map((value) => unit(value)), size: 64, space: 40 }),
        ...(rate ? [axis({ scale: "rate", side: 1, grid: { show: false }, size: 46,
          splits: () => [0, 0.25, 0.5, 0.75, 1],
          values: (_, splits) => splits.map((value) => `${Math.round(value * 100)} %`) })] : []),
      ],
      series: [
        {},
        { paths: () => null, points: { show: false } },
        { scale: rate ? "rate" : "y", paths: () => null, points: { show: false } },
      ],
      hooks: {
        drawAxes: [bars],
        setCursor: [(u_) => {
          if (u_.cursor.idx === null || u_.cursor.left < 0) {
            if (!near || document.activeElement === holder) return;
            near = false;
            u_.redraw(false, false);
            tell();
          } else if (!near || u_.cursor.idx !== seen) {
            see(u_.cursor.idx);
          }
        }],
        setSelect: [({ select }) => {
          if (select.width < 4) return;
          const at = [select.left, select.left + select.width].map((x) => u.posToVal(x, "x"));
          u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          look([Math.max(at[0], told.start), Math.min(at[1], told.end)]);
        }],
      },
    };

    const holder = document.createElement("div");
    holder.className = "canvas";
    holder.tabIndex = 0;
    holder.setAttribute("role", "img");
    holder.setAttribute("aria-label", `${drawn.getAttribute("aria-label")}. Arrow keys read it out.`);
    plot.append(holder);
    let u = null;
    u = new uPlot(options, data(), holder);
    plot.classList.add("drawn");
    reset();

    holder.addEventListener("keydown", (event) => {
      const steps = { ArrowLeft: seen - 1, ArrowRight: seen + 1, Home: 0, End: told.buckets.length - 1 };
      if (event.key in steps && told.buckets.length) {
        if (event.key === "ArrowLeft" && seen < 0) steps.ArrowLeft = told.buckets.length - 1;
        see(steps[event.key]);
      } else if (event.key === "Escape") {
        reset();
      } else return;
      event.preventDefault();
    });
    holder.addEventListener("blur", () => { near = false; u.redraw(false, false); tell(); });
    new ResizeObserver(() => {
      if (plot.clientWidth && plot.clientWidth !== u.width) {
        u.setSize({ width: plot.clientWidth, height: plot.clientHeight });
      }
    }).observe(plot);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => u.redraw(false, true));
    figure.addEventListener("fresh", () => {
      const near_ = near;
      const at = told.buckets[seen]?.at;
      told = read(figure);
      seen = told.buckets.findIndex((bucket) => bucket.at === at);
      near = near_ && seen >= 0;
      u.setData(data(), false);
      look(span);
    });
  }

  document.querySelectorAll("figure.chart").forEach((figure) => {
    if (figure.querySelector(".plot") && figure.querySelector("table")) begin(figure);
  });
})();
