// What every page needs a script for. A classic script, so that it also runs from file://.
(function() {
"use strict";

// A box that scrolls sideways must be reachable by keyboard; one that does not scroll must not be a
// stop.
var boxes =
    "pre, .pst-scrollable-table-container, .hs-table, .hs-scroll, div.cell_output .text_html";
function reachable() {
  document.querySelectorAll(boxes).forEach(function(box) {
    var scrolls =
        box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box).overflowX !== "visible";
    if (scrolls && !box.hasAttribute("tabindex")) {
      box.setAttribute("tabindex", "0");
      box.dataset.hsScrolls = "";
    } else if (!scrolls && "hsScrolls" in box.dataset) {
      box.removeAttribute("tabindex");
      delete box.dataset.hsScrolls;
    }
  });
}

// A link to a place inside a closed <details> opens it.
function open() {
  var at = location.hash.length > 1 &&
      document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (var box = at && at.closest("details"); box;
       box = box.parentElement && box.parentElement.closest("details"))
    box.open = true;
  if (at) at.scrollIntoView();
}

// Paper cannot be clicked.
var closed = [];
window.addEventListener("beforeprint", function() {
  closed = Array.prototype.slice.call(document.querySelectorAll("details:not([open])"));
  closed.forEach(function(box) { box.open = true; });
});
window.addEventListener("afterprint", function() {
  closed.forEach(function(box) { box.open = false; });
  closed = [];
});

document.addEventListener("DOMContentLoaded", function() {
  reachable();
  if (location.hash) open();
});
// The theme's two buttons, whose inline handlers the build takes away.
document.addEventListener("click", function(event) {
  var button =
      event.target.closest && event.target.closest("[data-hs-print], [data-hs-fullscreen]");
  if (!button) return;
  if ("hsPrint" in button.dataset)
    window.print();
  else if (window.toggleFullScreen)
    window.toggleFullScreen();
});
document.addEventListener("toggle", reachable, true);
window.addEventListener("resize", reachable);
window.addEventListener("hashchange", open);
})();
