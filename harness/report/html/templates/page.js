"use strict";
(() => {
  // All charts over time show the same part of the run: two shares of the whole, 0 to 1.
  const STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200];
  const DAY_S = 86400, TICK_PX = 76, LEAST_S = 4, WIDE = 1000;
  const charts = [...document.querySelectorAll(".drawn")].map((root) => ({
    root,
    box: root.querySelector(".box"),
    svg: root.querySelector("svg"),
    across: root.querySelector(".across"),
    from: Number(root.dataset.from || 0),
    to: Number(root.dataset.to || 0),
  }));
  const timed = charts.filter((chart) => chart.to > chart.from);
  let view = [0, 1];

  const utc = (ms) => new Date(ms).toISOString();
  const clock = (ms) => utc(ms).slice(11, 19);
  const local = (ms, how) => new Intl.DateTimeFormat(undefined, how).format(ms);
  const away = new Date().getTimezoneOffset() !== 0;
  const HOUR = {hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false};

  // The reader's own time beside UTC.
  for (const element of document.querySelectorAll("time[datetime]")) {
    if (!away) break;
    const how = {...HOUR, second: undefined, timeZoneName: "short"};
    element.append(` (${local(Date.parse(element.dateTime), how)})`);
  }

  function label(chart) {
    const wide = chart.box.clientWidth || 500;
    const length = (chart.to - chart.from) / 1000;
    const [start, end] = view.map((share) => chart.from / 1000 + share * length);
    const most = Math.max(2, Math.floor(wide / TICK_PX));
    const step = STEPS_S.find((one) => (end - start) / one <= most) ||
      Math.ceil((end - start) / most / DAY_S) * DAY_S;
    const ticks = [];
    for (let at = Math.ceil(start / step) * step; at <= end; at += step) {
      const text = utc(at * 1000);
      const tick = document.createElement("span");
      const share = (at - start) / (end - start);
      tick.style.left = `${100 * share}%`;
      tick.className = share < 0.03 ? "first" : share > 0.97 ? "last" : "";
      tick.textContent = step < 60 ? text.slice(11, 19) : step < DAY_S ? text.slice(11, 16) : text.slice(5, 10);
      ticks.push(tick);
    }
    chart.across.replaceChildren(...ticks);
  }

  function show() {
    for (const chart of timed) {
      chart.svg.setAttribute("viewBox", `${WIDE * view[0]} 0 ${WIDE * (view[1] - view[0])} 100`);
      label(chart);
    }
    const told = document.querySelector(".zoom output");
    if (told && timed.length) {
      const {from, to} = timed[0];
      const text = `${view.map((share) => clock(from + share * (to - from))).join(" to ")} UTC`;
      told.textContent = view[0] <= 0 && view[1] >= 1 ? `Whole run, ${text}` : text;
    }
  }

  function look(start, length) {
    const {from, to} = timed[0];
    const least = Math.min(1, (LEAST_S * 1000) / (to - from));
    length = Math.min(Math.max(length, least), 1);
    start = Math.min(Math.max(start, 0), 1 - length);
    view = [start, start + length];
    show();
  }

  const moves = {
    in: (start, length) => look(start + length / 4, length / 2),
    out: (start, length) => look(start - length / 2, length * 2),
    earlier: (start, length) => look(start - length / 2, length),
    later: (start, length) => look(start + length / 2, length),
    all: () => look(0, 1),
  };

  const tip = document.createElement("div");
  tip.className = "tip";
  tip.hidden = true;
  document.body.append(tip);

  // What the tooltip says at a share of the width of a chart.
  function readings(chart) {
    chart.rows ||= (chart.root.dataset.readings || "").split("\n").filter(Boolean)
      .map((row) => row.split("|")).map(([name, ...texts]) => ({name, texts}));
    chart.places ||= (chart.root.dataset.places || "").split("|").filter(Boolean).map(Number);
    return chart.rows;
  }

  function point(chart, event) {
    const rows = readings(chart);
    if (!rows.length) return;
    const {left, width} = chart.box.getBoundingClientRect();
    const seen = (event.clientX - left) / width;
    if (seen < 0 || seen > 1) return hide();
    const at = timed.includes(chart) ? view[0] + seen * (view[1] - view[0]) : seen;
    const many = rows[0].texts.length;
    let place = Math.min(many - 1, Math.floor(at * many));
    if (chart.places.length) {
      const off = chart.places.map((one) => Math.abs(one - at));
      place = off.indexOf(Math.min(...off));
    }
    const lines = rows.filter(({texts}) => texts[place]).map(({name, texts}) => `${name}  ${texts[place]}`);
    if (timed.includes(chart)) {
      const ms = chart.from + (chart.to - chart.from) * (place / many);
      lines.unshift(`${clock(ms)} UTC${away ? ` (${local(ms, HOUR)})` : ""}`);
    }
    tip.textContent = lines.join("\n");
    tip.hidden = false;
    const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
    tip.style.left = `${Math.max(0, Math.min(event.clientX + 14, room)) + scrollX}px`;
    tip.style.top = `${event.clientY + 14 + scrollY}px`;
    for (const other of timed.includes(chart) ? timed : [chart]) {
      other.box.style.setProperty("--at", `${seen * 100}%`);
      other.box.classList.add("pointed");
    }
  }

  function hide() {
    tip.hidden = true;
    for (const {box} of charts) box.classList.remove("pointed");
  }

  // A drag across a chart over time zooms into what it covers; up and down still scrolls the page.
  function drags(chart) {
    let begun = null;
    const share = (event) => {
      const {left, width} = chart.box.getBoundingClientRect();
      return Math.min(1, Math.max(0, (event.clientX - left) / width));
    };
    const mark = document.createElement("i");
    mark.className = "dragged";
    chart.box.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      begun = share(event);
      chart.box.setPointerCapture(event.pointerId);
    });
    chart.box.addEventListener("pointermove", (event) => {
      if (begun === null) return;
      const [low, high] = [begun, share(event)].sort((a, b) => a - b);
      mark.style.left = `${low * 100}%`;
      mark.style.width = `${(high - low) * 100}%`;
      chart.box.append(mark);
    });
    chart.box.addEventListener("pointerup", (event) => {
      if (begun === null) return;
      const [low, high] = [begun, share(event)].sort((a, b) => a - b);
      begun = null;
      mark.remove();
      const length = view[1] - view[0];
      if (high - low > 0.01) look(view[0] + low * length, (high - low) * length);
    });
    chart.box.addEventListener("pointercancel", () => {
      begun = null;
      mark.remove();
    });
    chart.box.addEventListener("dblclick", moves.all);
  }

  for (const chart of charts) {
    chart.box.addEventListener("pointermove", (event) => point(chart, event));
    chart.box.addEventListener("pointerleave", hide);
  }
  const bar = document.querySelector(".zoom");
  if (timed.length) {
    timed.forEach(drags);
    if (bar) {
      bar.addEventListener("click", (event) => {
        const move = moves[event.target.dataset.zoom];
        if (move) move(view[0], view[1] - view[0]);
      });
      bar.hidden = false;
    }
    addEventListener("resize", show);
    for (const folded of document.querySelectorAll("details")) folded.addEventListener("toggle", show);
    show();
  }

  // A link into something folded opens it.
  function unfold() {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
    target.scrollIntoView();
  }
  addEventListener("hashchange", unfold);
  unfold();
  document.documentElement.dataset.charts = "ready";
})();
