// Filters on the ledger's page. Without this script the page is the whole list.
(function() {
"use strict";

function choice(label, options) {
  var box = document.createElement("label"), select = document.createElement("select");
  box.append(label, select);
  options.forEach(function(option) { select.add(new Option(option[1], option[0])); });
  return {box: box, select: select};
}

document.addEventListener("DOMContentLoaded", function() {
  var summary = document.querySelector(".hs-ledger-summary");
  var rows = Array.prototype.slice.call(document.querySelectorAll(".hs-ledger-row"));
  if (!summary || rows.length < 8) return;
  var state = choice("This build: ", [
    ["", "all"], ["holds", "checked here"], ["differs", "differs here"], ["fails", "fails here"],
    ["open", "not yet checked"]
  ]);
  var verdict = choice("The article: ", [
    ["", "all"], ["holds", "is right"], ["caveat", "needs a caveat"],
    ["wrong", "is wrong or out of date"], ["omitted", "does not say it"]
  ]);
  var count = document.createElement("output");
  var bar = document.createElement("div");
  bar.className = "hs-ledger-filter";
  bar.append(state.box, verdict.box, count);
  summary.append(bar);

  function filter() {
    var shown = 0;
    rows.forEach(function(row) {
      var fits =
          (!state.select.value || row.classList.contains("hs-state-" + state.select.value)) &&
          (!verdict.select.value || row.classList.contains("hs-verdict-" + verdict.select.value));
      row.hidden = !fits;
      shown += fits;
    });
    document.querySelectorAll("section.hs-ledger").forEach(function(section) {
      section.hidden = !section.querySelector(".hs-ledger-row:not([hidden])");
    });
    count.textContent = shown === rows.length ? "" : shown + " of " + rows.length + " shown";
  }
  state.select.addEventListener("change", filter);
  verdict.select.addEventListener("change", filter);
});
})();
