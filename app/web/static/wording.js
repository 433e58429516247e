// The editor of words: draws the preview again a moment after one stops typing.
"use strict";

document.addEventListener("DOMContentLoaded", function () {
  const form = document.getElementById("editor");
  if (!form) return;
  let timer = 0;

  function draw() {
    htmx.trigger(form, "preview");
    // One after the other: a form has only one answer on its way, the newest.
    Array.prototype.forEach.call(form.querySelectorAll("[data-preview-frame]"), function (button, place) {
      window.setTimeout(function () { form.requestSubmit(button); }, 400 * place);
    });
  }
  form.addEventListener("input", function (event) {
    if (!(event.target instanceof Element) || !event.target.hasAttribute("data-previews")) return;
    window.clearTimeout(timer);
    timer = window.setTimeout(draw, 700);
  });
  if (form.elements.namedItem("body").value) draw();
});
