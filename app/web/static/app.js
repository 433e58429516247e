// The little that the pages need beside HTMX; every page also works without it, save the live parts.
"use strict";

(function () {
  const year = "; path=/; max-age=31536000; samesite=lax";

  // The server shows times in the reader's zone; only the browser knows it.
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone) document.cookie = "outreach_zone=" + encodeURIComponent(zone) + year;

  const root = document.documentElement;
  root.classList.add("js");
  const themes = ["light", "dark", "system"];

  document.addEventListener("click", function (event) {
    const target = event.target instanceof Element ? event.target : null;
    if (!target) return;
    if (target.closest("[data-theme-switch]")) {
      const next = themes[(themes.indexOf(root.dataset.theme || "system") + 1) % themes.length];
      if (next === "system") delete root.dataset.theme; else root.dataset.theme = next;
      document.cookie = "outreach_theme=" + next + year;
    }
    const opener = target.closest("[data-opens]");
    if (opener) {
      const box = document.getElementById(opener.getAttribute("data-opens"));
      if (box instanceof HTMLDialogElement) { box.showModal(); event.preventDefault(); }
      else if (box instanceof HTMLDetailsElement) {
        box.open = true;
        const field = box.querySelector("input:not([type=hidden]), textarea, select, button");
        if (field) field.focus();
        event.preventDefault();
      }
    }
    if (target.closest("[data-closes]")) { const box = target.closest("dialog"); if (box) box.close(); }
    const fills = target.closest("[data-fills]");
    if (fills) {
      const field = document.getElementById(fills.getAttribute("data-fills"));
      if (field) { field.value = fills.getAttribute("data-value") || ""; field.dispatchEvent(new Event("input", { bubbles: true })); field.focus(); }
    }
    document.querySelectorAll("details.dropdown-up[open]").forEach(function (menu) { if (!menu.contains(target)) menu.open = false; });
  });

  document.addEventListener("change", function (event) {
    if (event.target instanceof Element && event.target.matches("[data-submits]")) event.target.form.requestSubmit();
  });

  document.addEventListener("keydown", function (event) {
    if (event.key !== "Escape") return;
    const open = document.querySelector("details.dropdown-up[open]");
    if (open) { open.open = false; open.querySelector("summary").focus(); }
  });

  // A button that must not be pressed twice while the answer is on its way.
  document.addEventListener("submit", function (event) {
    const form = event.target;
    if (!(form instanceof HTMLFormElement) || form.hasAttribute("hx-post") || event.submitter && event.submitter.formTarget) return;
    window.setTimeout(function () { form.querySelectorAll("button:not([type=button])").forEach(function (b) { b.disabled = true; }); }, 0);
  });

  function ready() {
    const first = document.querySelector("[data-focus]");
    if (first) first.focus();
  }
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", ready); else ready();
})();
