// Keyboard shortcuts: a key presses, opens or focuses what carries it (data-key), j and k walk through rows (data-row).
// Never while somebody types, never with Ctrl, Alt or Meta, and they can be turned off (WCAG 2.1.4).
"use strict";

(function () {
  const cookie = "outreach_keys=off";
  let off = document.cookie.split("; ").includes(cookie);
  const opens = { s: "snoozing", c: "correcting", t: "ticketing" };

  function show() {
    document.querySelectorAll("[data-keys-switch]").forEach(function (button) {
      button.setAttribute("aria-pressed", String(off));
      button.textContent = off ? "Turn shortcuts on" : "Turn shortcuts off";
    });
  }

  function typing(element) {
    return element instanceof HTMLElement && (element.isContentEditable || element.matches("input, textarea, select"));
  }

  function walk(step) {
    const rows = Array.from(document.querySelectorAll("[data-row]"));
    if (!rows.length) return false;
    const at = rows.indexOf(document.activeElement);
    const next = rows[Math.min(rows.length - 1, Math.max(0, at < 0 ? 0 : at + step))];
    next.focus();
    next.scrollIntoView({ block: "nearest" });
    return true;
  }

  function open(box) {
    if (!box) return false;
    box.open = true;
    const first = box.querySelector("select, button, input:not([type=hidden]), textarea");
    if (first) first.focus();
    return true;
  }

  function press(key) {
    if ((key === "j" && walk(1)) || (key === "k" && walk(-1))) return true;
    if (key === "o" && document.activeElement && document.activeElement.matches("[data-row]")) {
      document.activeElement.click();
      return true;
    }
    if (key in opens) return open(document.getElementById(opens[key]));
    const target = document.querySelector('[data-key="' + CSS.escape(key) + '"]');
    if (!target) return false;
    if (typing(target)) { target.focus(); target.scrollIntoView({ block: "center" }); } else target.click();
    return true;
  }

  document.addEventListener("click", function (event) {
    if (!(event.target instanceof Element) || !event.target.closest("[data-keys-switch]")) return;
    off = !off;
    document.cookie = (off ? cookie : "outreach_keys=on") + "; path=/; max-age=31536000; samesite=lax";
    show();
  });

  document.addEventListener("keydown", function (event) {
    const sends = (event.ctrlKey || event.metaKey) && event.key === "Enter";
    if (sends && event.target instanceof HTMLElement && event.target.matches("textarea")) {
      const button = event.target.form && event.target.form.querySelector("[data-key-send]");
      if (button) { event.preventDefault(); button.click(); }
      return;
    }
    if (off && event.key !== "?") return;
    if (event.ctrlKey || event.altKey || event.metaKey || typing(event.target) || document.querySelector("dialog[open]")) return;
    if (press(event.key)) event.preventDefault();
  });

  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", show); else show();
})();
