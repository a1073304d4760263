"use strict";
(() => {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const roots = () => (window.Bokeh ? Bokeh.documents.flatMap((found) => found.roots()) : []);

  const views = () => (window.Bokeh ? [...Bokeh.index] : []);

  // The charts are drawn on canvases, which no style sheet reaches: hand them the page's colours.
  const ON_PAPER = {ink: "#444c54", line: "#b9c0c6", grid: "#e3e6e9"};

  function paint({ink, line, grid} = {
    ink: colour("--soft"), line: colour("--line"), grid: colour("--grid"),
  }) {
    for (const plot of roots()) {
      for (const part of [...plot.below, ...plot.left, ...plot.center]) {
        if ("major_label_text_color" in part) {
          part.major_label_text_color = ink;
          part.axis_label_text_color = ink;
          if (part.axis_line_color !== null) part.axis_line_color = line;
          if (part.major_tick_line_color !== null) part.major_tick_line_color = line;
        } else if ("grid_line_color" in part && part.grid_line_color !== null) {
          part.grid_line_color = grid;
        }
      }
    }
  }

  // Bokeh wants as many ticks on a phone as on a wall: fewer, or the times run into each other.
  const TICK_PX = 110;
  function spaceTicks() {
    for (const view of views()) {
      const plot = view.model;
      if (!plot.x_range || plot.x_range.name !== "time") continue;
      const wanted = Math.max(2, Math.min(8, Math.floor(view.el.clientWidth / TICK_PX)));
      for (const axis of plot.below) axis.ticker.desired_num_ticks = wanted;
    }
  }

  // Let a finger scroll the page up and down over a chart; only sideways drags zoom.
  function freeScrolling(within) {
    for (const element of within.querySelectorAll("*")) {
      if (element.shadowRoot) freeScrolling(element.shadowRoot);
      if (element.classList.contains("bk-events")) element.style.touchAction = "pan-y pinch-zoom";
    }
  }

  function clock(at) {
    return new Date(at).toISOString().slice(11, 19);
  }

  function zooming(range) {
    const bar = document.querySelector(".zoom");
    const told = bar.querySelector("output");
    const [first, last] = [range.start, range.end];
    const least = range.min_interval || 1000;
    function show() {
      const whole = range.start <= first && range.end >= last;
      const text = `${clock(range.start)} to ${clock(range.end)} UTC`;
      told.textContent = whole ? `Whole run, ${text}` : text;
    }
    function look(start, length) {
      length = Math.min(Math.max(length, least), last - first);
      start = Math.min(Math.max(start, first), last - length);
      range.setv({start, end: start + length});
    }
    const steps = {
      in: (start, length) => look(start + length / 4, length / 2),
      out: (start, length) => look(start - length / 2, length * 2),
      earlier: (start, length) => look(start - length / 2, length),
      later: (start, length) => look(start + length / 2, length),
      all: () => look(first, last - first),
    };
    bar.addEventListener("click", (event) => {
      const step = steps[event.target.dataset.zoom];
      if (step) step(range.start, range.end - range.start);
    });
    document.getElementById("time").addEventListener("dblclick", steps.all);
    range.change.connect(show);
    bar.hidden = false;
    show();
  }

  const expected = document.querySelectorAll(".canvas").length;
  function start() {
    if (roots().length < expected) return void setTimeout(start, 30);
    paint();
    spaceTicks();
    addEventListener("resize", spaceTicks);
    freeScrolling(document);
    const range = roots().map((plot) => plot.x_range).find((found) => found.name === "time");
    if (range && document.querySelector(".zoom")) zooming(range);
    document.documentElement.dataset.charts = "ready";
  }
  if (expected) start();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => paint());

  // Paper is narrower than most windows, and nothing is laid out anew for it: scale the charts.
  const PAPER_PX = 700;
  addEventListener("beforeprint", () => {
    const wide = document.querySelector(".chart .canvas");
    if (wide) {
      const scale = Math.min(1, PAPER_PX / wide.clientWidth);
      document.documentElement.style.setProperty("--paper-scale", scale);
    }
    paint(ON_PAPER);
    for (const view of views()) view.repaint();
  });
  addEventListener("afterprint", () => paint());
})();
