// The audience over time: draws what the server put into data attributes, in the colours of the page.
"use strict";

(function () {
  function numbers(text) { return (text || "").split(",").filter(Boolean).map(Number); }

  function draw(box) {
    if (box.dataset.drawn) return;
    box.dataset.drawn = "yes";
    const style = getComputedStyle(document.documentElement);
    const colour = function (name) { return style.getPropertyValue("--" + name).trim(); };
    const grades = [["incoming", "Incoming"], ["likely", "Likely"], ["affected", "Affected"]];
    const times = numbers(box.dataset.times);
    // Stacked: each line is the sum of itself and those below it.
    const below = times.map(function () { return 0; });
    const sums = grades.slice().reverse().map(function (pair) {
      numbers(box.dataset[pair[0]]).forEach(function (value, place) { below[place] += value; });
      return below.slice();
    }).reverse();
    const axis = { stroke: colour("quiet"), font: "12px Inter, sans-serif", grid: { stroke: colour("line"), width: 1 }, ticks: { show: false } };
    const plot = new uPlot({
      width: box.clientWidth, height: 190, cursor: { points: { size: 6 } }, legend: { show: false }, padding: [8, 12, 0, 0],
      scales: { y: { range: function (u, low, high) { return [0, Math.max(high * 1.08, 1)]; } } },
      axes: [axis, Object.assign({ size: 56, values: function (u, ticks) { return ticks.map(function (tick) { return Number.isInteger(tick) ? tick.toLocaleString("en") : ""; }); } }, axis)],
      series: [{}].concat(grades.map(function (pair) {
        return { label: pair[1], stroke: colour(pair[0]), fill: colour(pair[0]), width: 1, points: { show: false }, paths: uPlot.paths.stepped({ align: 1 }) };
      })),
    }, [times].concat(sums), box);
    new ResizeObserver(function () { if (box.clientWidth) plot.setSize({ width: box.clientWidth, height: 190 }); }).observe(box);
  }

  function drawAll() { document.querySelectorAll("[data-chart]").forEach(draw); }
  document.addEventListener("htmx:afterSwap", drawAll);
  document.addEventListener("DOMContentLoaded", drawAll);
})();
