// Questions become radio buttons with an answer. A classic script, so that it also runs from
// file://. What it shows is copied from the page's own <details>; these stay for paper.
(function() {
"use strict";

function copy(from, to) {
  from.forEach(function(node) { to.append(node.cloneNode(true)); });
  return to;
}

function element(name, className) {
  var made = document.createElement(name);
  if (className) made.className = className;
  return made;
}

// The <details> that follow a question, up to the first other element.
function choices(asked) {
  var found = [];
  for (var next = asked.nextElementSibling; next && next.tagName === "DETAILS";
       next = next.nextElementSibling) {
    var summary = next.querySelector("summary");
    if (!summary || !/^\s*[a-e]\.\s/.test(summary.textContent)) break;
    found.push(next);
  }
  return found;
}

function upgrade(asked) {
  var folded = choices(asked), name = asked.dataset.question;
  if (folded.length < 2) return;
  var box = element("fieldset", "hs-quiz");
  box.append(copy(Array.prototype.slice.call(asked.childNodes), element("legend")));
  var answer = element("div", "hs-quiz-answer");
  answer.setAttribute("role", "status");
  answer.setAttribute("aria-live", "polite");
  folded.forEach(function(details, i) {
    var summary = details.querySelector("summary");
    var why = Array.prototype.filter.call(
        details.childNodes, function(node) { return node !== summary; });
    var right = /^\s*Yes\./.test(why.map(function(node) { return node.textContent; }).join(""));
    var row = element("div", "hs-quiz-choice"), button = element("input"), label = element("label");
    button.type = "radio";
    button.name = "quiz-" + name;
    button.id = "quiz-" + name + "-" + i;
    label.htmlFor = button.id;
    copy(Array.prototype.slice.call(summary.childNodes), label);
    row.append(button, label);
    box.append(row);
    button.addEventListener("change", function() {
      box.querySelectorAll(".hs-quiz-choice")
          .forEach(function(other) { other.classList.remove("hs-right", "hs-wrong"); });
      row.classList.add(right ? "hs-right" : "hs-wrong");
      answer.className = "hs-quiz-answer " + (right ? "hs-right" : "hs-wrong");
      answer.replaceChildren();
      copy(why, answer);
    });
  });
  box.append(answer);
  box.id = asked.id;
  asked.removeAttribute("id");
  asked.before(box);
  [asked].concat(folded).forEach(function(node) { node.classList.add("hs-quiz-source"); });
}

document.addEventListener(
    "DOMContentLoaded",
    function() { document.querySelectorAll("p[data-question]").forEach(upgrade); });
})();
