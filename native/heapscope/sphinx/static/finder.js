// The failure index: show the entries whose words occur in what was pasted.
(function() {
"use strict";

function plain(text) {
  return text.toLowerCase().replace(/[‘’`'"]/g, "'").replace(/\s+/g, " ").trim();
}

document.addEventListener("DOMContentLoaded", function() {
  var form = document.querySelector("form.hs-finder");
  if (!form) return;
  var field = form.querySelector("textarea"), status = form.querySelector("[role=status]");
  var entries =
      Array.prototype.map.call(document.querySelectorAll("article h3 > code"), function(heading) {
        return {
          link: heading.closest("section").id,
          name: heading.textContent,
          parts: plain(heading.textContent).split("…").map(plain)
        };
      });

  function contains(text, parts) {
    var at = 0;
    return parts.every(function(part) {
      var found = text.indexOf(part, at);
      at = found + part.length;
      return found >= 0;
    });
  }

  function find() {
    var pasted = plain(field.value);
    status.textContent = "";
    if (pasted.length < 3) return;
    // The message holds a heading's words; or a heading holds what was typed so far.
    var hits = entries.filter(function(entry) { return contains(pasted, entry.parts); });
    if (!hits.length)
      hits = entries.filter(function(entry) { return entry.parts.join(" ").indexOf(pasted) >= 0; });
    // "corrupted size vs. prev_size" is not meant where a longer name fits.
    hits = hits.filter(function(hit) {
      return !hits.some(function(other) {
        return other !== hit && other.parts.length === 1 && hit.parts.length === 1 &&
            contains(pasted, other.parts) && other.parts[0].indexOf(hit.parts[0]) >= 0;
      });
    });
    if (!hits.length) {
      status.textContent = "No entry has these words. Try the part after the last colon.";
      return;
    }
    status.append(hits.length === 1 ? "This entry: " : "These entries: ");
    hits.slice(0, 6).forEach(function(hit, i) {
      var link = document.createElement("a");
      link.href = "#" + hit.link;
      link.textContent = hit.name;
      if (i) status.append(", ");
      status.append(link);
    });
    if (hits.length > 6) status.append(", and " + (hits.length - 6) + " more");
  }

  form.hidden = false;
  field.addEventListener("input", find);
  form.addEventListener("submit", function(event) { event.preventDefault(); });
});
})();
