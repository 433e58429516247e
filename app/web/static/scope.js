// The scope builder: asks the server for the form again when a choice changes its shape, and for values as one types.
"use strict";

(function () {
  let timer = 0;
  let leaving = false;

  function tree() { return document.getElementById("builder"); }

  // From the part that is drawn anew, as its buttons do: the later request calls off the earlier one.
  function redraw() {
    htmx.ajax("POST", tree().getAttribute("action") + "/edit", { source: "#tree", target: "#tree", swap: "innerHTML" });
  }

  document.addEventListener("change", function (event) {
    const field = event.target;
    if (!(field instanceof HTMLElement) || !field.hasAttribute("data-restructures") && !(field.matches && field.matches("select[name$=':other']"))) return;
    redraw();
  });

  // Somebody may have chosen before this script was there.
  document.addEventListener("DOMContentLoaded", function () {
    const choices = tree() ? tree().querySelectorAll("select[data-restructures]") : [];
    const early = Array.prototype.some.call(choices, function (each) {
      const drawn = Array.prototype.find.call(each.options, function (option) { return option.defaultSelected; });
      return each.selectedIndex !== (drawn ? drawn.index : 0);
    });
    if (early) redraw();
  });

  // After the form was drawn anew, focus stays where it was, and the numbers are asked for again.
  let focused = "";
  document.addEventListener("htmx:beforeSwap", function (event) {
    if (event.detail.target.id === "tree") focused = document.activeElement ? document.activeElement.name || "" : "";
    if (event.detail.target.id === "preview") event.detail.target.setAttribute("aria-busy", "false");
  });
  document.addEventListener("htmx:afterSwap", function (event) {
    if (event.detail.target.id !== "tree") return;
    const again = focused && focused !== "do" ? tree().elements.namedItem(focused) : null;
    const fresh = event.detail.target.querySelectorAll("select[name$=':field']");
    const empty = Array.prototype.filter.call(fresh, function (each) { return !each.value; }).pop();
    if (again instanceof HTMLElement) again.focus(); else if (empty) empty.focus();
    htmx.trigger(tree(), "changed");
  });
  document.addEventListener("htmx:beforeRequest", function (event) {
    if (!event.detail.target || event.detail.target.id !== "preview") return;
    if (leaving) event.preventDefault(); else event.detail.target.setAttribute("aria-busy", "true");
  });

  function suggest(field) {
    const list = document.getElementById(field.getAttribute("list"));
    const asked = new URLSearchParams({ field: field.dataset.field, related: field.dataset.related, typed: field.value });
    if (list) htmx.ajax("GET", "/rules/values?" + asked, { source: list, target: list, swap: "innerHTML" });
  }
  document.addEventListener("focusin", function (event) { if (event.target.dataset && event.target.dataset.field) suggest(event.target); });
  document.addEventListener("input", function (event) {
    leaving = false;
    if (!event.target.dataset || !event.target.dataset.field) return;
    window.clearTimeout(timer);
    timer = window.setTimeout(function () { suggest(event.target); }, 200);
  });

  // Saving leaves the page, and nobody waits for numbers any more; whoever comes back or goes on after all does.
  window.addEventListener("pageshow", function () { leaving = false; });
  document.addEventListener("click", function (event) {
    const button = event.target instanceof Element ? event.target.closest("[data-native]") : null;
    if (!button) return;
    event.preventDefault();
    leaving = true;
    HTMLFormElement.prototype.submit.call(tree());
  });
})();
