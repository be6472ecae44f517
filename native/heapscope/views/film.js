/* <heap-film>: steps through a film of heapscope. Draws frame i from its snapshot, never from what
   was drawn before. Decodes nothing of the heap: roles, owners and reasons are in the film's JSON
   (film.schema.json). Whatever a program may have written goes into the page as text only. */
(function() {
"use strict";
if (!window.customElements || customElements.get("heap-film")) return;

var ROW = 16, HIGH = 46, BAND = 28, MOST = 34, SOME = 22, LANES = 10;
var FLAGS = [["A", 4], ["M", 2], ["P", 1]];
var SVG = "http://www.w3.org/2000/svg";
var FREE = ["tcache", "fastbin", "unsorted", "small bin", "large bin"];
var OURS = ["top", "tcache table", "folded", "fencepost"];  // no blocks of the program
var ORDER = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh"];
var LEGEND = [
  ["header", "size word", "P"], ["payload", "asked for", ""],
  ["slack", "usable, not asked for", ""], ["link", "written by the allocator", "→"],
  ["stale", "free: old bytes", ""], ["top", "the allocator’s own", ""],
  ["fault", "impossible", "✗"], ["goheap", "Go’s memory", ""]
];
var PAINT = {
  size: "header",
  prev_size: "link",
  link: "link",
  key: "link",
  payload: "payload",
  slack: "slack",
  stale: "stale",
  top: "top",
  internal: "top"
};
var NAMES = {
  first: "First step",
  prev: "Previous step",
  play: "Play",
  pause: "Pause",
  next: "Next step",
  last: "Last step",
  full: "Full window"
};

var made = new Map(), NUMBER = new Intl.NumberFormat("en-US");

// ---- small tools

function clean(text) {  // every character is seen: ␛ for 0x1b
  return String(text).replace(
      /[\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, c => {
        var n = c.charCodeAt(0);
        return n < 32 ? String.fromCharCode(0x2400 + n) : "\ufffd";
      });
}
function add(parent, kids) {
  kids.forEach(kid => {
    if (Array.isArray(kid))
      add(parent, kid);
    else if (kid != null && kid !== false)
      parent.append(kid.nodeType ? kid : clean(kid));
  });
  return parent;
}
function h(tag, given, ...kids) {
  var dot = tag.split("."), node = document.createElement(dot[0]);
  if (dot.length > 1) node.className = dot.slice(1).join(" ");
  for (var key in given) {
    var value = given[key];
    if (value == null || value === false || value === "") continue;
    if (key === "style")
      for (var p in value) node.style.setProperty(p, value[p]);
    else if (key === "class")
      node.className += " " + value;
    else
      node.setAttribute(key, value === true ? "" : clean(value));
  }
  return add(node, kids);
}
function s(tag, given, kids) {
  var node = document.createElementNS(SVG, tag);
  for (var key in given) node.setAttribute(key, given[key]);
  node.append(...(kids || []));
  return node;
}
function twin(key, make) {  // equal nodes are made once: a copy costs less
  key = JSON.stringify(key);
  if (made.size > 4000) made.clear();
  if (!made.has(key)) made.set(key, make());
  return made.get(key).cloneNode(true);
}
function num(x) { return x == null ? null : Number(x); }
function big(n) { return NUMBER.format(n); }
function count(n) { return big(n) + (n === 1 ? " byte" : " bytes"); }
function hex(n) { return "0x" + n.toString(16); }
function pad(n) { return n.toString(16).padStart(2, "0"); }
function last(list) { return list[list.length - 1]; }
function by(list, key) { return list.sort((a, b) => a[key] - b[key]); }
function unhex(text) {
  var out = new Uint8Array(text.length >> 1);
  for (var i = 0; i < out.length; i++) out[i] = parseInt(text.substr(2 * i, 2), 16);
  return out;
}
function runs(places) {
  var out = [];
  places.slice().sort((a, b) => a - b).forEach(n => {
    if (out.length && last(out)[1] === n - 1)
      last(out)[1] = n;
    else
      out.push([n, n]);
  });
  return out;
}

// ---- the film's JSON: what a frame does not mention is as in the frame before it

function decode(form, known) {  // `known`: a track of which the first frames are the same
  var old = {
    regions: [],
    chunks: new Map(),
    words: new Map(),
    lists: [],
    pointers: [],
    faults: [],
    stack: [],
    go: {},
    output: "",
    line: null,
    note: null,
    stop: null,
    glibc: "",
    arch: ""
  };
  return form.frames.map((f, i) => {
    if (known && known.form.frames[i] === f) return (old = known.shots[i]);
    known = null;
    var shot = {events: f.events || [], changes: new Map()};
    ["glibc", "arch", "lists", "pointers", "faults", "stack", "go", "output", "line", "note",
     "stop"]
        .forEach(k => {
          shot[k] = k in f ? f[k] : old[k];
        });
    var had = new Map(old.regions.map(r => [r.base, r]));
    shot.regions = (f.regions || old.regions).map(r => {
      var base = num(r.base), before = had.get(base), length = f.regions ? r.data : r.data.length,
          data = before && before.data, change = f.bytes && f.bytes[hex(base)];
      if (change || !data || data.length !== length) {
        data = new Uint8Array(length);
        if (before) data.set(before.data.subarray(0, length));
        (change || []).forEach(run => {
          var part = unhex(run[1]);
          for (var n = 0; n < (run[2] || 1); n++) data.set(part, run[0] + n * part.length);
        });
      }
      return {
        name: r.name,
        base: base,
        data: data,
        end: base + Math.max(r.size || 0, r.end - r.base || 0, length)
      };
    });
    by(shot.regions, "base");
    ["chunks", "words"].forEach(kind => {
      var map = new Map(old[kind]), part = f[kind] || {};
      (part.drop || []).forEach(at => {
        map.delete(num(at));
      });
      (part.set || []).forEach(item => {
        item.at = num(item.at);
        item.chunk = num(item.chunk);
        map.set(item.at, item);
      });
      shot[kind] = map;
    });
    (f.changes || []).forEach(c => {
      shot.changes.set(num(c.at), c);
    });
    shot.order = by([...shot.chunks.values()], "at");
    shot.order.forEach(c => {
      c.end = c.at + c.size;
      c.user = c.at + ROW;
      c.free = FREE.includes(c.state);
      c.ours = OURS.includes(c.state);
    });
    old = shot;
    return shot;
  });
}

// ---- a snapshot in words (as views/words.py says them)

function regionOf(shot, at) { return shot.regions.find(r => r.base <= at && at < r.end); }
function offset(shot, at) {
  var r = regionOf(shot, at);
  if (!r) return hex(at);
  return (r === shot.regions[0] ? "" : r.name + " ") + "+" + hex(at - r.base);
}
function chunkAt(shot, at) { return shot.chunks.get(at) || shot.chunks.get(at - ROW); }
function owner(shot, at) { return shot.order.find(c => c.at <= at && at < c.end); }
function nameOf(shot, c) { return c.name || c.label || "block " + offset(shot, c.user); }
function target(shot, text) {
  var at = num(text);
  if (!at) return "∅";
  var c = chunkAt(shot, at);
  if (c) return c.name || c.label || offset(shot, at);
  if (regionOf(shot, at)) return offset(shot, at);
  return shot.lists.some(
             l => !l.fault && l.kind !== "tcache" && l.kind !== "fastbin" && l.links.length &&
                 num(last(l.links).target || 0) === at) ||
          [...shot.words.values()].some(
              w => w.role === "link" && !w.fault && num(w.target) === at) &&
              at > 0x7f0000000000 ?
      "list head" :
      String(text);
}
function place(shot, c) {
  if (!c.free)
    return c.state === "mmapped"         ? "in use, a mapping of its own" :
        c.state === "unknown" && c.label ? c.label :
                                           c.state;
  var text = "free, " + (c.free_list || c.state);
  shot.lists.forEach(l => {
    if (l.name !== c.free_list || (l.arena || "main") !== (c.arena || "main")) return;
    l.links.forEach((x, n) => {
      if (num(x.chunk) === c.at)
        text = "free, " + (ORDER[n] || "number " + (n + 1)) + " in " + l.name;
    });
  });
  return text;
}
function sizes(c) {
  return [
    c.requested == null ? "" : "requested\u00a0" + big(c.requested),
    c.ours ? "" : "usable\u00a0" + big(c.usable || 0), "chunk\u00a0" + big(c.size)
  ].filter(Boolean)
      .join(" · ");
}
function bytesAt(shot, at, n) {
  var r = regionOf(shot, at), out = new Uint8Array(n);
  if (!r || at + n > r.end) return null;
  out.set(r.data.subarray(at - r.base, at - r.base + n));
  return out;
}
function wordAt(shot, at) {  // a word of the heap with its bytes; null where no memory is
  var w = shot.words.get(at), data = w && w.data ? unhex(w.data) : bytesAt(shot, at, 8);
  if (!data) return null;
  if (!w) {
    var c = shot.order.find(x => x.at + 8 <= at && at < x.end + 8);
    w = {at: at, role: c && c.state === "top" ? "top" : "internal", chunk: c ? c.at : null};
  }
  return {
    at: at,
    role: w.role,
    chunk: w.chunk,
    target: w.target,
    payload: w.payload,
    fault: w.fault,
    data: data,
    change: shot.changes.get(at)
  };
}
function numberOf(data) {
  var value = 0n;
  for (var i = 7; i >= 0; i--) value = value * 256n + BigInt(data[i]);
  return value;
}
function textOf(data) {
  var n = 8;
  while (n && !data[n - 1]) n--;
  if (n < 2) return null;
  for (var i = 0; i < n; i++)
    if (data[i] < 32 || data[i] > 126) return null;
  return String.fromCharCode(...data.subarray(0, n));
}
function value(shot, w) {
  var n = numberOf(w.data), text;
  if (w.role === "size") return "0x" + n.toString(16);
  if (w.role === "link") return "→ " + target(shot, w.target || 0);
  if (w.role === "key") return "key";
  if (w.role === "prev_size" && n && w.chunk !== null) return "0x" + n.toString(16);
  if (!n) return "0";
  if (w.role === "internal" && w.target) return "→ " + target(shot, w.target);
  text = textOf(w.data);
  if (text !== null) return text;
  if (n < 4294967296n) return big(n);
  if (n < 1n << 53n) {
    var at = Number(n),
        o = (shot.go.objects || []).find(x => num(x.at) <= at && at < num(x.at) + x.size);
    if (regionOf(shot, at)) return "→ " + target(shot, at);
    if (o) return "→ Go " + (o.held_by.length ? o.held_by[0].name : "");
  }
  var low = Number(BigInt.asIntN(32, n)), high = Number(BigInt.asIntN(32, n >> 32n));
  if ((w.role === "payload" || w.role === "stale") && Math.abs(low) < 1 << 24 &&
      Math.abs(high) < 1 << 24)
    return big(low) + " | " + big(high);
  return "";
}
function hexes(data) { return Array.from(data, pad).join(" "); }
function decoded(x) {
  return x.protected ?
      x.raw + " ⊕ (" + x.at + " >> 12) = " + (num(x.target) ? x.target : "0, the end") :
      x.raw;
}
function alt(shot, said) {
  var own = shot.order.filter(c => !c.foreign), mine = own.slice(0, 12).map(c => {
    var lie = c.claims === undefined ? "" : ", its size word claims " + big(num(c.claims));
    return nameOf(shot, c) + " at " + offset(shot, c.at) + ", " +
        (c.ours ? count(c.size) : place(shot, c) + ", " + sizes(c).replace(/ · /g, ", ")) + lie;
  });
  if (own.length > 12) mine.push(own.length - 12 + " more chunks, listed in the table");
  return said + (mine.length ? " In address order: " + mine.join("; ") + "." : "");
}

// ---- which rows of 16 bytes are shown: the same in all frames, so that nothing moves

function wanted(shot, c) {
  if (c.state === "top") return [c.at];
  if (c.ours) return [];
  var set = new Set([c.at]), special = [], full = new Set();
  shot.words.forEach((w, at) => {
    if (w.chunk !== c.at || at >= c.end) return;
    var row = at - at % ROW, data = bytesAt(shot, at, 8);
    set.add(row);
    if (w.fault || shot.changes.has(at)) special.push(row);
    if (w.fault || (data && data.some(Boolean))) full.add(row);
  });
  var every = Array.from(set).sort((a, b) => a - b);
  if (every.length <= 7) return every;
  var head = every.slice(0, 4);
  while (head.length > 2 && !full.has(last(head)) && special.indexOf(last(head)) < 0) head.pop();
  return head.concat(special.slice(0, 4), [last(every)]);
}
function layOut(frames, regions) {  // rows and bands in address order
  var shown = new Set(), lines = [];
  frames.forEach(f => {
    f.forEach(at => {
      shown.add(at);
    });
  });
  var sorted = Array.from(shown).sort((a, b) => a - b);
  regions.forEach(r => {
    var mine = sorted.filter(at => r.base <= at && at < r.end), next = r.base;
    if (!mine.length) return;
    if (regions.length > 1) lines.push({kind: "region", at: r.base, end: r.base, region: r});
    mine.forEach(at => {
      if (at > next) lines.push({kind: "band", at: next, end: at});
      lines.push({kind: "row", at: at, end: at + ROW});
      next = at + ROW;
    });
    if (next < r.end) lines.push({kind: "torn", at: next, end: r.end});
  });
  var y = 0;
  lines.forEach(line => {
    line.y = y;
    line.high = line.kind === "row" ? HIGH : BAND;
    y += line.high;
  });
  lines.high = y;
  return lines;
}
class Track {
  constructor(form, known) {
    this.form = form.film;
    this.steps = form.steps || [];
    this.shots = decode(form.film, known);
    // free blocks that were there before the first line are nobody's the reader knows
    this.shots[0] && !this.shots[0].events.length &&
        this.shots[0].order.filter(c => !c.ours && !c.name).forEach(c => this.shots.forEach(x => {
          var same = x.chunks.get(c.at);
          if (same && same.size === c.size && !same.name && same.state !== "top")
            same.ours = same.foreign = true;
        }));
    this.blocks = form.film.blocks || [];
    this.source = form.film.source || [];
    this.calls = !this.source.length;
    this.go = this.shots.some(x => Object.keys(x.go).length);
    this.regions = new Map();
    this.shots.forEach(x => {
      x.regions.forEach(r => {
        var old = this.regions.get(r.base);
        if (!old || old.end < r.end)
          this.regions.set(r.base, {base: r.base, end: r.end, name: r.name});
      });
    });
    this.regions = by([...this.regions.values()], "base");
    this.want = this.shots.map(
        (x, i) => known && known.shots[i] === x ?
            known.want[i] :
            x.order.reduce((all, c) => all.concat(wanted(x, c)), []));
    var union = layOut(this.want, this.regions);
    this.still = union.filter(l => l.kind === "row").length <= MOST ? union : null;
    this.outputs = this.shots.some(x => x.output);
    this.deep = this.shots.some(x => x.stack.length > 1);
    this.listed = Math.max.apply(
        null,
        this.shots
            .map(x => {
              return x.lists.reduce(
                  (sum, l) => sum +
                      (l.fault || l.links.some(k => {
                                var c = x.chunks.get(num(k.chunk));
                                return c && !c.foreign;
                              }) ?
                           34 + 19 * Math.min(4, l.links.length) :
                           0),
                  0);
            })
            .concat(0));
    this.say = i => {
      return this.steps[i] ||
          [(this.shots[i].events.map(e => e.text).join("; ")) || "step " + i, "", "", 0];
    };
    this.longName = Math.max(0, ...this.blocks.map(b => b.name.length));
    this.longest = Math.max(...this.shots.map((_, i) => this.say(i)[2].length));
    this.placeVariables();
  }
  lines(i) {
    if (this.still) return this.still;
    var shot = this.shots[i], near = new Set(), kept = [];
    // a long film: what changed or is impossible first, then the ends, then what is left
    shot.changes.forEach((_, at) => {
      near.add((shot.words.get(at) || {}).chunk);
    });
    shot.faults.forEach(f => {
      near.add(num(f.chunk));
    });
    shot.events.forEach(e => {
      near.add(num(e.chunk));
    });
    var plain = shot.order.filter(c => !c.ours), top = shot.order.filter(c => c.state === "top");
    plain.filter(c => near.has(c.at))
        .concat(top, plain.slice(0, 2), plain.slice(-2), plain)
        .forEach(c => {
          var rows = wanted(shot, c);
          if (!kept.length || kept.length + rows.length <= SOME) kept = kept.concat(rows);
        });
    return layOut([kept], shot.regions);
  }
  goObjects(shot) {  // those that variables lead to; the table has all
    var held = (shot.go.objects || []).filter(o => o.copied || o.held_by && o.held_by.length);
    return held.filter(o => o.where !== "go")
        .slice(0, 2)
        .concat(held.filter(o => o.where === "go").slice(0, 5));
  }
  placeVariables() {
    // a variable stands at the height of the block it first points to: arrows are level, and
    // nothing moves; variables that are never seen together may share a place
    var seen = new Map(), first = 0;
    this.shots.forEach((x, i) => {
      first = Math.max(first, 56 * this.goObjects(x).filter(o => o.where !== "go").length);
      x.pointers.forEach(p => {
        var key = keyOf(p), v = seen.get(key);
        if (!v) seen.set(key, v = {at: null, frames: []});
        v.frames.push(i);
        if (v.at === null && p.value && regionOf(x, num(p.value))) {
          v.at = num(p.value);
          v.i = i;
        }
        v.cells = v.cells || (p.cells && p.cells.length);
      });
    });
    this.vars = seen;
    this.varsHigh = first;
    var placed = [], rank = v => +(v.at === null && !v.cells);
    [...seen.values()].sort((a, b) => rank(a) - rank(b)).forEach(v => {
      var lines = this.lines(v.i || 0), line = v.at === null ? null : lines[lineOf(lines, v.at)],
          other;
      v.high = v.cells ? 62 : rank(v) ? 28 : 50;
      v.small = rank(v);
      v.y = Math.max(first, line ? line.y + 1 : 0);
      while (
          (other = placed.find(
               o => o.y < v.y + v.high && v.y < o.y + o.high &&
                   o.frames.some(f => v.frames.includes(f)))))
        v.y = other.y + other.high;
      placed.push(v);
      this.varsHigh = Math.max(this.varsHigh, v.y + v.high);
    });
  }
}
function lineOf(lines, at) {
  return lines.findIndex(l => l.kind !== "region" && l.at <= at && at < l.end);
}
function keyOf(p) { return (p.scope || "") + "\n" + p.name; }
function elbow(x0, y0, x, y1, x1) {  // along a row, down or up at x, along another
  var d = y1 > y0 ? 5 : -5;
  return `M${x0} ${y0}H${x + 5}Q${x} ${y0} ${x} ${y0 + d}V${y1 - d}Q${x} ${y1} ${x + 5} ${y1}H${
      x1}`;
}

// ---- one frame of one film

class Stage {
  constructor(track, id) {
    this.track = track;
    this.id = id;
    this.node = h("div.hf-stage", {"data-go": track.go});
  }
  show(i, more) {
    var t = this.track, shot = t.shots[i];
    this.i = i;
    this.shot = shot;
    this.more = more || {};
    this.lines = t.lines(i);
    this.said = t.say(i);
    var has = t.vars.size > 0 || t.go;
    var svg = s("svg", {class: "hf-arrows", "aria-hidden": "true"}), old = this.node.firstChild,
        grid =
            h("div.hf-grid", {class: (has ? "" : "hf-novars") + (t.go ? " hf-two" : "")},
              this.source(), this.side(), has && (t.go ? this.goSide() : this.variables()),
              t.go && h("div.hf-border", {}, h("span", {}, "cgo")), this.heap(), svg);
    if (this.more.keep && old)
      this.more.keep(old, grid);
    else
      this.node.replaceChildren(grid);
    this.svg = this.node.querySelector(".hf-arrows");
  }
  source() {
    var t = this.track, now, next, list;
    if (t.calls) {
      now = this.i;
      next = this.i + 1;
      list = t.shots.map((_, n) => [n, t.say(n)[0], n]);
    } else {
      var first = new Map();
      t.shots.forEach((x, n) => {
        if (x.line !== null && !first.has(x.line)) first.set(x.line, n);
      });
      now = this.shot.line;
      next = this.i + 1 < t.shots.length ? t.shots[this.i + 1].line : null;
      list = t.source.map((text, n) => [n + 1, text, first.has(n + 1) ? first.get(n + 1) : null]);
    }
    var at = list.findIndex(x => x[0] === (now === null ? next : now));
    function near(n, size) {
      var a = Math.max(0, Math.min(list.length - size, at - (size >> 1)));
      return n >= a && n < a + size;
    }
    return h(
        "section.hf-src", {}, h("p.hf-h", {}, t.calls ? "Calls" : t.form.file || "Source"),
        h("ol", {
          tabindex: "0",
          "aria-label": t.calls ? "Calls" : "Source of " + (t.form.file || "the program")
        },
          list.map((x, n) => {
            var on = x[0] === now, cut = t.calls ? -1 : x[1].search(/\s*(\/\/|\/\*)/),
                seen = (on ? "on " : "") + (x[0] === next ? "next " : "") +
                (near(n, 9) ? "w9 " : "") + (near(n, 3) ? "w3" : ""),
                href = x[2] === null || this.more.bare ?
                0 :
                "#" + this.id + "-" + (this.more.step ? this.more.step(x[2]) : x[2]);
            return twin(
                [seen, x, href, cut],
                () => h(
                    "li", {class: seen, "aria-current": on && "step"},
                    href ? h("a", {href: href, tabindex: "-1", title: "Go to this line’s step"},
                             x[0]) :
                           h("span", {}, x[0]),
                    h("code", {},
                      cut < 0 ? x[1] || " " : [x[1].slice(0, cut), h("i", {}, x[1].slice(cut))])));
          })));
  }
  side() {
    var t = this.track, shot = this.shot, before = this.i ? t.shots[this.i - 1] : null;
    var every = shot.lists.filter(l => l.links.length || l.fault);
    var lists = every.filter(l => l.fault || l.links.some(x => {
      var c = shot.chunks.get(num(x.chunk));
      return !c || !c.foreign;
    })),
        rest = every.length - lists.length;
    var old = before && shot.output.indexOf(before.output) === 0 ? before.output : "";
    return h(
        "section.hf-side", {}, h("p.hf-h", {}, "Free lists", h("small", {}, "next out first")),
        h("div.hf-lists", {style: {"--most": Math.min(t.listed, 230) + "px"}},
          lists.length ? lists.slice(0, 8).map(l => {
            return h(
                "div.hf-list", {},
                h("p.hf-chain", {},
                  h("b", {},
                    l.name +
                        (l.arena && l.arena !== "main" ?
                             (l.kind === "tcache" ? " of " : " of arena ") + l.arena :
                             "")),
                  l.links.slice(0, 12).map(x => {
                    var label = x.name || target(shot, x.at);
                    return [" → ", h("span.hf-chip", {"data-b": num(x.chunk)}, label)];
                  }),
                  l.links.length > 12 ? " → … " + (l.links.length - 12) + " more" : "", " → ",
                  l.fault ? h("em", {}, "✗") : "∅"),
                l.fault && h("p.hf-bad", {}, l.fault.split(": ")[0]),
                l.links.slice(0, 4)
                    .filter(x => x.protected)
                    .map(
                        x =>
                            h("p.hf-dec", {}, h("b", {}, (x.name || target(shot, x.at)) + " "),
                              decoded(x))));
          }) :
                         h("p.hf-dim", {}, rest ? "Nothing of this program’s." : "All empty."),
          rest > 0 &&
              h("p.hf-dim", {},
                rest + (rest === 1 ? " list holds" : " lists hold") +
                    " blocks from before the first line.")),
        lists.length > 8 && h("p.hf-dim", {}, lists.length - 8 + " more in the table"),
        t.deep &&
            h("div.hf-stack", {}, h("p.hf-h", {}, "Call stack"),
              h("p", {}, shot.stack.map((f, n) => [n ? " ← " : "", h("code", {}, f)]))),
        t.outputs &&
            h("div.hf-out", {}, h("p.hf-h", {}, "Output"),
              shot.output ? h("pre", {tabindex: "0", role: "group", "aria-label": "Output so far"},
                              old, h("b", {}, shot.output.slice(old.length))) :
                            h("p.hf-dim", {}, "Nothing so far.")));
  }
  variable(p) {
    var shot = this.shot, v = this.track.vars.get(keyOf(p)), dead = p.state === "dangling";
    var to = p.value && p.state !== "unset" && regionOf(shot, num(p.value)) ? num(p.value) : null;
    return h(
        "div.hf-var", {
          class: (p.state || "") + (v.small ? " small" : "") +
              (p.cells && p.cells.length ? " cells" : ""),
          "data-to": to,
          "data-b": num(p.to),
          style: {"--y": v.y + "px"}
        },
        h("b", {}, p.name), h("small", {}, p.type || ""),
        p.cells && p.cells.length && p.state !== "unset" ?
            h("span.hf-cells", {},
              p.cells.map(
                  c =>
                      h("span", {"data-ptr": c[0] === "ptr" && num(c[1])},
                        c[0] === "ptr" ? (num(c[1]) ? "● ptr" : "ptr nil") :
                                         c[0] + " " + big(num(c[1]))))) :
            h("span.hf-val", {}, shownValue(shot, p), dead ? " ✗" : ""));
  }
  variables() {
    var shot = this.shot, scopes = [...new Set(shot.pointers.map(p => p.scope || ""))];
    return h(
        "section.hf-vars", {style: {"--high": this.track.varsHigh + "px"}},
        h("p.hf-h", {}, "Variables", h("small", {}, scopes.filter(Boolean).join(", "))),
        h("div.hf-at", {}, shot.pointers.map(p => this.variable(p))));
  }
  goSide() {
    var shot = this.shot, go = shot.go, t = this.track, y = [0, t.varsHigh + 22],
        copies = this.copies();
    function object(o) {
      var data = unhex(o.bytes || ""), size = o.size || data.length,
          n = Math.max(1, Math.min(ROW, size)), high = o.where === "go", at = num(o.at), cells = [];
      // a variable's part goes as far as its length says, or the next one's beginning
      var parts = (o.held_by || [])
                      .map(p => {
                        var v = shot.pointers.find(
                                x => x.name === p.name && (x.scope || "") === (p.scope || "")),
                            len = v && (v.cells || []).find(c => c[0] === "len"),
                            flat = v && /^(string|\[\](byte|uint8|int8))$/.test(v.type || "");
                        return {
                          name: p.name,
                          from: p.offset,
                          size: len && flat ? num(len[1]) : size - p.offset
                        };
                      })
                      .filter(p => p.from < ROW);
      for (var k = 0; k < n; k++) {
        var part = parts.find(p => k >= p.from && k < p.from + p.size),
            used = !high || !parts.length || part, c = data[k] || 0;
        cells.push(
            h("i", {
              class: (used ? "" : "un ") +
                  (part && copies.some(x => x.toGo && x.go === at + part.from) ? "new" : "")
            },
              used ? (c > 32 && c < 127 ? String.fromCharCode(c) :
                          n > 12        ? "·" :
                                          pad(c)) :
                     "·"));
      }
      var top = y[+high], seen = {};
      y[+high] += high ? 62 : 56;
      return h(
          "div.hf-obj", {
            class: (high ? "heap" : "") + (o.pinned ? " pinned" : "") + (o.lent ? " lent" : ""),
            "data-at": at,
            "data-end": at + Math.max(1, size),
            style: {"--y": top + "px", "--n": n}
          },
          h("small", {},
            {go: "Go heap", stack: "goroutine’s stack", static: "read-only data"}[o.where] || "Go",
            o.pinned && h("b.hf-pin", {}, "pinned"),
            (o.lent || []).map(f => h("b.hf-lent", {}, "lent to C." + f)),
            o.type && !o.pinned && !o.lent ? " · " + o.type : "",
            size > ROW ? ", first 16 of " + count(size) : ""),
          h("div.hf-gbytes", {}, cells),
          h("div.hf-parts", {},
            parts.filter(p => !seen[p.from] && (seen[p.from] = 1))
                .map(
                    p =>
                        h("span", {
                          style: {
                            "grid-column":
                                p.from + 1 + "/span " + Math.max(1, Math.min(p.size, ROW - p.from))
                          }
                        },
                          h("b", {},
                            parts.filter(q => q.from === p.from).map(q => q.name).join(", "))))));
    }
    var all = t.goObjects(shot), nodes = all.map(object);
    var most = Math.max(...t.shots.map(x => t.goObjects(x).filter(o => o.where === "go").length));
    return h(
        "section.hf-vars.hf-go",
        {style: {"--high": t.varsHigh + 34 + 62 * Math.max(1, most) + "px"}},
        h("p.hf-h", {}, "Go", h("small", {}, go.gc ? "GC cycles so far: " + go.gc : "")),
        h("div.hf-at", {}, nodes.filter(n => !n.classList.contains("heap")),
          shot.pointers.map(p => this.variable(p)), nodes.filter(n => n.classList.contains("heap")),
          y[1] === t.varsHigh + 22 &&
              h("p.hf-dim.hf-obj", {style: {"--y": y[1] + "px"}},
                "Go heap: nothing of this program’s")));
  }
  copies() {
    var shot = this.shot, from = (shot.go.copies || []).map(num);
    return shot.events.filter(e => e.kind === "copy").map(e => {
      var said = e.text + " " + (e.note || ""), toGo = /from C to Go/.test(said),
          name = e.text.split(" = ")[0];
      var v = toGo && shot.pointers.find(p => p.name === name && p.cells && p.cells.length);
      return {
        go: v    ? num(v.cells[0][1]) :
            toGo ? null :
                   from.shift(),
        n: num((e.args || [0])[0]),
        chunk: num(e.chunk),
        toGo: toGo,
        text: said
      };
    });
  }
  word(w, edges, column, row) {
    var shot = this.shot, changed = w.change ? w.change.bytes : [],
        dif = this.more.differs === w.at;
    var paint = w.fault                            ? "fault" :
        w.role === "prev_size" && w.chunk === null ? "top" :
                                                     PAINT[w.role] || "top";
    var plain = ["payload", "stale", "slack"].includes(w.role),
        text = plain ? textOf(w.data) : null, meaning = value(shot, w), note = "";
    var c = w.chunk === null ? null : shot.chunks.get(w.chunk), top = c && c.state === "top";
    if (top && !w.fault) paint = "top";
    if (w.role === "link" && c)
      note = c.state === "tcache" ?
          (w.at === c.user ? "next" : "") :
          ["fd", "bk", "fd_nextsize", "bk_nextsize"][(w.at - c.user) / 8] || "";
    if (w.role === "prev_size")
      note = w.chunk === null ? "unused" : meaning === "0" ? "" : "size of the free block";
    if (w.role === "internal") note = w.chunk === null ? "unused" : "last word";
    if ((w.role === "internal" || (w.role === "prev_size" && w.chunk === null)) && meaning === "0")
      meaning = "";
    if (top && meaning === "0") meaning = "";
    var more = w.change || w.fault || w.role === "link" || w.role === "key" ||
        (!meaning && paint !== "top");
    return twin(
        [
          paint, edges, column, row, meaning, note, text !== null, w.data.join(), changed, dif,
          more, w.at, w.role, w.chunk, w.payload, w.fault
        ],
        () =>
            h("div.hf-w", {
              class: "p-" + paint + edges + (changed.length ? " ch" : "") + (dif ? " dif" : "") +
                  (more ? " more" : "") +
                  (w.payload != null && w.payload < 8 && paint === "payload" ? " part" : ""),
              "data-at": hex(w.at),
              "data-b": w.chunk,
              style: {
                "grid-column": column,
                "grid-row": row,
                "--n": w.payload == null ? null : w.payload
              }
            },
              h("span.hf-bx"),
              text !== null ?
                  h("span.hf-m.hf-txt", {},
                    Array.from(w.data, b => h("i", {}, b ? String.fromCharCode(b) : "·"))) :
                  h("span.hf-m",
                    {class: meaning === "0" ? "zero" :
                         meaning.length > 9 ? "long" :
                                              ""},
                    meaning + (w.fault ? " ✗" : ""), note && h("small", {}, note)),
              w.role === "size" &&
                  h("span.hf-fl", {},
                    FLAGS.map(f => h("i", {class: w.data[0] & f[1] ? "yes" : ""}, f[0]))),
              h("span.hf-by", {},
                Array.from(
                    w.data,
                    (b, n) =>
                        [n > 0 && " ",
                         h("i",
                          {class: changed.includes(n) ? "c" :
                               b                      ? "" :
                                                        "z"},
                          pad(b))])),
              runs(changed).map(r => h("u", {style: {"--a": r[0], "--z": r[1] + 1}}))));
  }
  band(line, row) {
    var shot = this.shot, size = line.end - line.at, text, paint = "top",
        r = regionOf(shot, line.at);
    var over = shot.order.filter(c => c.at < line.end && c.end > line.at);
    var first = over[0],
        partly = over.length === 1 && !first.ours && (first.at < line.at || first.end > line.end);
    var changes = [...shot.changes.values()].filter(c => {
      var at = num(c.at);
      return at >= line.at && at < line.end;
    });
    var mine = over.filter(c => !c.ours);
    if (!r)
      text = shot.regions.length ? "not mapped" :
                                   "no heap yet: the first malloc asks the kernel for one";
    else if (!over.length)
      text = count(size);
    else if (line.kind === "torn" && last(over).state === "top" && over.length === 1)
      text = "top: " + count(first.size) + " not handed out yet";
    else if (partly) {
      var data = bytesAt(shot, line.at, Math.min(size, r.end - line.at)),
          zero = data && !data.some(Boolean);
      text = "⋯ " + count(size) + " more of " + nameOf(shot, first) + (zero ? ", all 0" : "");
      paint = first.free ? "stale" : "payload";
    } else if (over.length === 1) {
      text = first.foreign ? "a free block of others, " + count(first.size) :
                             nameOf(shot, first) + (first.ours ? "" : ", " + place(shot, first)) +
              ", " + count(first.size);
    } else if (!mine.length)
      text =
          (over.length > 2 ?
               over.length + " blocks of others" :
               over.map(c => c.foreign ? "a free block of others" : nameOf(shot, c)).join(", ")) +
          ", " + count(size);
    else {
      var free = mine.filter(c => c.free).length;
      text = "⋯ " + mine.length + (mine.length === 1 ? " block" : " blocks") + ", " + count(size) +
          (free ? ", " + free + " free" : ", all in use");
    }
    var whys = [...new Set(changes.map(c => c.why).filter(Boolean))].sort(
        (a, b) => b.includes("→") - a.includes("→"));  // a new head says more than a count
    return h(
        "div.hf-band", {
          class: "p-" + paint + (line.kind === "torn" && r ? " torn" : "") +
              (changes.length ? " ch" : "") + (r ? "" : " none"),
          "data-at": hex(line.at),
          style: {"grid-row": row}
        },
        h("span.hf-bx"), h("span", {}, text),
        whys.length > 0 && h("b", {}, "▲ " + whys[0] + (whys.length > 1 ? " …" : "")));
  }
  heap() {
    var shot = this.shot, lines = this.lines, cells = [],
        base = shot.regions.length ? shot.regions[0].base :
        this.track.regions.length  ? this.track.regions[0].base :
                                     0;
    var words =
        lines.map(l => l.kind === "row" ? [wordAt(shot, l.at), wordAt(shot, l.at + 8)] : null);
    function own(n, side) {
      if (!words[n]) {
        var l = lines[n];
        if (!l || l.kind === "region") return -2;
        var o = owner(shot, l.at);
        return o && o.at <= l.at && (l.kind === "torn" || o.at < l.at) ? o.at : -2;
      }
      return words[n][side] ? words[n][side].chunk : -3;
    }
    lines.forEach((line, n) => {
      var row = n + 1, at = line.at;
      if (line.kind === "region") {
        cells.push(
            h("div.hf-region", {style: {"grid-row": row}}, h("b", {}, line.region.name),
              " base " + hex(line.at)));
        return;
      }
      var r = regionOf(shot, at), users = shot.chunks.get(at - ROW), start = shot.chunks.get(at),
          text = "+0x" + (r ? at - r.base : at - base).toString(16).padStart(3, "0");
      var mark = line.kind !== "row"                    ? "" :
          users && users.state !== "top" && !users.ours ? "▼ " + (users.name || "") :
          start                                         ? "▽" :
                                                          "";
      cells.push(
          h("div.hf-off", {
            class: line.kind === "row" ? (mark[0] === "▼" ? "user" : "") : "small",
            "data-row": at,
            style: {"grid-row": row}
          },
            line.kind === "torn" ? "" : text,
            mark && h("span", {}, mark, mark === "▽" && h("small", {}, " chunk"))));
      if (line.kind !== "row") {
        cells.push(this.band(line, row));
        return;
      }
      words[n].forEach((w, side) => {
        var me = own(n, side),
            edges = (own(n - 1, side) !== me ? " gt" : "") +
            (own(n + 1, side) !== me ? " gb" : "") +
            (side                 ? (own(n, 0) !== me ? " gl" : "") :
                 own(n, 1) !== me ? " gr" :
                                    "") +
            (side ? " right" : "");
        cells.push(
            w ? this.word(w, edges, 3 + side, row) :
                h("div.hf-w.none", {style: {"grid-column": 3 + side, "grid-row": row}},
                  h("span.hf-bx")));
      });
    });
    shot.order.forEach(c => {
      if (c.ours && c.state !== "top") return;
      var from = lines.findIndex(l => l.kind === "row" && l.at === c.at);
      if (from < 0) return;
      var to = from, lie = from, claims = c.claims == null ? null : num(c.claims);
      lines.forEach((l, n) => {
        if (l.kind === "region" || n < from) return;
        if (l.at < c.end && (l.kind !== "torn" || c.state === "top")) to = n;
        if (claims !== null && l.kind === "row" && l.at < c.at + claims) lie = n;
      });
      var own = [...shot.changes.values()].filter(x => {
        var w = shot.words.get(num(x.at));
        return w && w.chunk === c.at && x.why;
      });
      var whys = [...new Set(own.map(x => x.why))];
      var bad = claims === null && shot.faults.some(f => num(f.chunk) === c.at),
          span = z => from + 1 + "/" + (z + 2);
      cells.push(h("div.hf-brk", {style: {"grid-row": span(to)}}));
      if (claims !== null) cells.push(h("div.hf-claim", {style: {"grid-row": span(lie)}}));
      cells.push(
          h("div.hf-card", {
            class: whys.length || bad || claims !== null ? "has" : "",
            "data-b": c.at,
            style: {"grid-row": span(to)}
          },
            h("p", {}, h("b", {}, nameOf(shot, c)), " ",
              c.state === "top" ? count(c.size) + " left" : place(shot, c)),
            c.state !== "top" && h("p.hf-sizes", {}, sizes(c)),
            c.name && shot.go.c_blocks && shot.go.c_blocks[c.name] &&
                h("p.hf-sizes", {}, shot.go.c_blocks[c.name] + ", then C.free"),
            claims !== null ? h("p.hf-bad", {}, "✗ claims " + big(claims) + ", is " + big(c.size)) :
                              bad && h("p.hf-bad", {}, "✗ a word here is impossible"),
            whys.slice(0, 2).map(why => h("p.hf-why", {}, "▲ " + why)),
            whys.length > 2 && h("p.hf-why", {}, "▲ " + (whys.length - 2) + " more")));
    });
    return h(
        "section.hf-heap",
        {style: {"--label": Math.min(104, 7.4 * this.track.longName + 22) + "px"}},
        h("p.hf-h", {}, "C heap", h("small", {}, base ? "base " + hex(base) : "")),
        lines.length ? h("div.hf-mem", {
          role: "img",
          "aria-label": alt(shot, this.said[2]),
          style: {"grid-template-rows": lines.map(l => l.high + "px").join(" ")}
        },
                         cells) :
                       h("p.hf-dim", {}, "No heap yet: the first malloc asks the kernel for one."),
        h("p.hf-axis", {},
          "↓ higher addresses · ▼ what malloc returned · ▽ where the chunk starts"));
  }
  fit() {
    var self = this, svg = this.svg, shot = this.shot, o = svg.getBoundingClientRect(), out = [];
    var on = this.node.querySelector(".hf-src .on"), box = this.node.querySelector(".hf-src ol");
    if (on && box.scrollHeight > box.clientHeight)
      box.scrollTop = on.offsetTop - box.offsetTop - box.clientHeight / 2;
    if (!o.width) return;
    function R(e) {
      var b = e.getBoundingClientRect();
      return {
        l: b.left - o.left,
        r: b.right - o.left,
        t: b.top - o.top,
        b: b.bottom - o.top,
        y: (b.top + b.bottom) / 2 - o.top
      };
    }
    function all(q) { return Array.from(self.node.querySelectorAll(q)); }
    function label(at) {
      var n = lineOf(self.lines, at);
      return n < 0 ? null :
                     self.node.querySelector(".hf-off[data-row=\"" + self.lines[n].at + "\"]");
    }
    function g(kind, paths, b) {
      out.push(
          s("g", {class: "a-" + kind, "data-b": b == null ? "" : b},
            paths.map(p => s("path", {d: p[0], class: p[1] || ""}))));
    }
    var wide = this.node.querySelector(".hf-at"),
        level = wide && getComputedStyle(wide).position === "relative";
    if (level)
      all(".hf-var[data-to]").forEach(v => {
        var to = num(v.dataset.to), end = label(to);
        if (!end) return;
        var a = R(v), z = R(end), x = z.l + 2, y = z.t + 12, m = (x - a.r) / 2,
            dead = v.classList.contains("dangling"),
            start = Math.min(Math.max(y, a.t + 10), a.b - 8);
        if (x - a.r < 6) return;
        g(dead ? "dead" : "prog",
          [
            [
              `M${a.r} ${start}C${a.r + m} ${start} ${x - m} ${y} ${x - (dead ? 10 : 0)} ${y}`,
              "line"
            ],
            [dead ? `M${x - 9} ${y - 5}l10 10m0 -10l-10 10` : `M${x - 7} ${y - 5}l7 5l-7 5`]
          ],
          v.dataset.b);
      });
    // the allocator's links, in a gutter of their own
    var lanes = [[], [], []];
    self.lines.forEach(l => {
      var w = l.kind === "row" && shot.words.get(l.at);
      if (!w || w.role !== "link" || !num(w.target)) return;
      var goal = num(w.target) - num(w.target) % ROW, n = lineOf(self.lines, goal);
      if (n < 0 || self.lines[n].kind !== "row" || Math.abs(self.lines[n].y - l.y) < HIGH) return;
      var a = R(self.node.querySelector(".hf-w[data-at=\"" + hex(l.at) + "\"]")),
          z = R(self.node.querySelector(".hf-w[data-at=\"" + hex(goal) + "\"]"));
      var low = Math.min(a.t, z.t), high = Math.max(a.b, z.b),
          lane = lanes.findIndex(k => k.every(x => high < x[0] || low > x[1]));
      if (lane < 0) lane = 2;
      lanes[lane].push([low, high]);
      var x = a.l - 8 - 5 * lane, y = a.y + 6, end = z.t + 12;
      g("link", [[elbow(a.l + 3, y, x, end, z.l - 4)], [`M${z.l + 3} ${end}l-8 -4.5v9z`, "full"]],
        w.chunk);
    });
    if (self.track.go) {
      all(".hf-go [data-ptr]").forEach(p => {
        var at = num(p.dataset.ptr),
            box = all(".hf-obj[data-at]")
                      .find(b => num(b.dataset.at) <= at && at < num(b.dataset.end));
        if (!box || !level) return;
        var b = R(box.querySelector(".hf-gbytes")), k = at - num(box.dataset.at),
            n = num(box.style.getPropertyValue("--n")), a = R(p),
            x = b.l + (b.r - b.l) * (Math.min(k, n - 1) + .5) / n, side = b.l - 9 - (k ? 5 : 0);
        g("go",
          k ?
              [
                [elbow(a.l, a.y, side, b.t - 9, x - 5) + `Q${x} ${b.t - 9} ${x} ${b.t - 4}`],
                [`M${x - 4} ${b.t - 6}l4 6l4 -6`]
              ] :
              [[elbow(a.l, a.y, side, b.y, b.l)], [`M${b.l - 6} ${b.y - 4}l6 4l-6 4`]]);
      });
      var border = self.node.querySelector(".hf-border"), bd = R(border);
      all(".hf-pill").forEach(p => {
        p.remove();
      });
      self.copies().forEach((c, n) => {
        var pill =
            h("b.hf-pill", {title: c.text}, big(c.n) + (c.n === 1 ? " byte" : " bytes"),
              h("span", {}, c.toGo ? " C → Go" : " Go → C"));
        border.append(pill);
        var box = all(".hf-obj[data-at]")
                      .find(b => num(b.dataset.at) <= c.go && c.go < num(b.dataset.end)),
            end = c.chunk === null ? null : label(c.chunk + ROW);
        if (!level) return;
        if (!end) {
          pill.style.top = 30 + 28 * n + "px";
          return;
        }
        var z = R(end), b = box ? R(box.querySelector(".hf-gbytes")) : null,
            G = b ? [b.r + 3, b.y] : [bd.l + 2, z.t + 62], C = [z.l + 2, z.t + 34],
            a = c.toGo ? C : G, e = c.toGo ? G : C, dir = e[0] > a[0] ? 1 : -1,
            m = (e[0] - a[0]) / 2;
        var d = `M${a}C${a[0] + m} ${a[1]} ${e[0] - m} ${e[1]} ${e[0] - 9 * dir} ${e[1]}`,
            back = e[0] - 11 * dir;
        g("copy",
          [[d, "out"], [d, "in"], [`M${back} ${e[1] - 8}L${e}L${back} ${e[1] + 8}z`, "tip"]],
          c.chunk);
        pill.style.top = (a[1] + e[1]) / 2 - bd.t + "px";
      });
    }
    svg.replaceChildren(...out);
  }
  tables() {
    var shot = this.shot;
    function table(caption, head, rows) {
      return rows.length ? h("table.hs-grid", {}, h("caption", {}, caption),
                             h("thead", {}, h("tr", {}, head.map(x => h("th", {scope: "col"}, x)))),
                             h("tbody", {},
                               rows.map(
                                   r =>
                                       h("tr", {}, h("th", {scope: "row"}, r[0]),
                                         r.slice(1).map(x => h("td", {}, x)))))) :
                           null;
    }
    var shownWords =
        this.lines.filter(l => l.kind === "row")
            .reduce((all, l) => all.concat([wordAt(shot, l.at), wordAt(shot, l.at + 8)]), [])
            .filter(Boolean);
    return [
      h("p", {}, this.said[2]),
      table(
          "Chunks in address order, sizes in bytes",
          ["block", "chunk at", "state", "requested", "usable", "chunk", "flags"],
          shot.order.map(c => {
            return [
              nameOf(shot, c), offset(shot, c.at), place(shot, c),
              c.ours                        ? "" :
                  c.requested === undefined ? "not known" :
                                              big(c.requested),
              c.ours && !c.foreign ? "" : big(c.usable || 0),
              big(c.size) +
                  (c.claims === undefined ? "" :
                                            " (its size word claims " + big(num(c.claims)) + ")"),
              FLAGS.filter(f => c.flags & f[1]).map(f => f[0]).join(" ") || "none"
            ];
          })),
      table(
          "Free lists in list order", ["list, next out first", "stored links", "fault"],
          shot.lists.filter(l => l.links.length || l.fault).map(l => {
            return [
              [l.name]
                  .concat(l.links.map(x => x.name || target(shot, x.at)), l.fault ? "✗" : "∅")
                  .join(" → "),
              l.links.map(x => (x.name || target(shot, x.at)) + ": " + decoded(x)).join("; "),
              l.fault || ""
            ];
          })),
      table(
          "Variables", ["variable", "type", "value", "state"],
          shot.pointers.map(
              p =>
                  [p.name, p.type || "",
                   (p.cells || [])
                           .map(c => c[0] + " " + (c[0] === "ptr" ? c[1] : big(num(c[1]))))
                           .join(", ") ||
                       shownValue(shot, p),
                   p.state || "ok"])),
      table(
          "Go’s memory", ["at", "where", "type", "bytes", "held by"],
          (shot.go.objects || [])
              .map(
                  o =>
                      [hex(num(o.at)),
                       [o.where, o.pinned && "pinned"]
                           .concat((o.lent || []).map(f => "lent to C." + f))
                           .filter(Boolean)
                           .join(", "),
                       o.type || "", hexes(unhex(o.bytes || "")),
                       (o.held_by || [])
                           .map(p => p.name + (p.offset ? " (+" + p.offset + ")" : ""))
                           .join(", ")])),
      table(
          "Words of the picture",
          ["word at", "block", "role", "value", "bytes", "what changed, or what is impossible"],
          shownWords.map(w => {
            var c = w.chunk === null ? null : shot.chunks.get(w.chunk);
            return [
              offset(shot, w.at), c ? nameOf(shot, c) : "", w.role.replace("_", " "),
              value(shot, w), hexes(w.data),
              [w.change ? w.change.why || "changed" : "", w.fault || ""].filter(Boolean).join("; ")
            ];
          }))
    ];
  }
}
function shownValue(shot, p) {
  if (p.state === "unset") return "not set yet";
  if (p.text !== undefined) return p.text;
  if (p.value === undefined) return "?";
  return num(p.value) ? offset(shot, num(p.value)) : "NULL";
}
// after drawing and after each change of width: the line in view, the arrows in place

// ---- the element

class HeapFilm extends HTMLElement {
  connectedCallback() {
    if (this.film) return;
    if (this.querySelector("script"))
      this.start();
    else
      document.addEventListener("DOMContentLoaded", () => {
        if (!this.film && this.isConnected) this.start();
      });
  }
  start() {
    var form, data = this.querySelector("script[type=\"application/json\"]");
    try {
      form = JSON.parse(data.textContent);
      this.film = new Track(form);
    } catch (error) {
      console.error("heap-film: " + error);
      return;
    }  // the list of steps stays
    if (!this.film.shots.length) return;
    this.other = form.other ? new Track(form.other) : null;
    this.pairs = form.pairs || this.film.shots.map((_, i) => [i, i]);
    this.differs = form.differs || null;
    this.questions = form.questions || {};
    this.told = {};
    this.n = this.pairs.length;
    this.step = -1;
    var twin = this.id && document.getElementById(this.id);
    if (!this.id || (twin && twin !== this)) {  // the same film twice on a page
      var k = 2, base = this.id || "film";
      while (document.getElementById(base + "-" + k + "x")) k++;
      this.id = base + "-" + k + "x";
    }
    this.fallback = Array.from(this.children).filter(e => e !== data);
    this.fallback.forEach(e => {
      e.remove();
    });
    this.stages = [this.film, this.other].filter(Boolean).map(t => new Stage(t, this.id));
    this.build();
    var now = this.linked();
    this.show(now === null ? 0 : now);
    if (now !== null)
      setTimeout(() => {
        this.scrollIntoView();
      }, 0);
    this.onhash = () => {
      var to = this.linked();
      if (to !== null) {
        this.play(false);
        this.show(to);
        this.scrollIntoView({block: "nearest"});
      }
    };
    addEventListener("hashchange", this.onhash);
    addEventListener("resize", this.onresize = () => {
      this.widen();
    });
    if (this.hasAttribute("autoplay") && now === null &&
        !matchMedia("(prefers-reduced-motion: reduce)").matches) {  // until the reader touches it
      ["pointerdown", "keydown"].forEach(name => {
        this.fig.addEventListener(name, e => {
          if (this.slow && !this.buttons.play.contains(e.target)) this.play(false);
        });
      });
      this.play(true, 3000);
    }
    this.widen();
    if (window.ResizeObserver)
      new ResizeObserver(() => {
        this.fit();
      }).observe(this);
    if (document.fonts && document.fonts.ready)
      document.fonts.ready.then(() => {
        this.fit();
      });
  }
  load(form, step, keep) {  // of the new film the first frames may be the same; keep(old, new)
                            // changes the drawing
    this.play(false);
    this.film = new Track(form, this.film);
    this.n = this.film.shots.length;
    this.step = -1;
    this.told = {};
    this.pairs = this.film.shots.map((_, i) => [i, i]);
    this.stages[0].track = this.film;
    this.range.max = this.n - 1;
    var old = this.bars;
    this.bars = this.lanes();
    old.forEach((node, n) => {
      node.replaceWith(this.bars[n]);
    });
    this.marks();
    this.keep = keep;
    this.show(step);
    this.keep = null;
  }
  widen() {  // into the site's margin, where nothing stands
    var main = this.closest(".bd-main"), side = document.querySelector(".bd-sidebar-secondary"),
        own, right;
    if (!main) return;
    this.style.width = "";
    own = this.getBoundingClientRect();
    right =
        (side && side.offsetWidth ? side.getBoundingClientRect().left :
                                    main.getBoundingClientRect().right);
    right = Math.min(right, document.documentElement.clientWidth) -
        16;  // narrow: the bar waits outside the window
    if (right - own.right > 60) this.style.width = Math.min(1352, right - own.left) + "px";
  }
  disconnectedCallback() {
    this.play(false);
    removeEventListener("hashchange", this.onhash);
    removeEventListener("resize", this.onresize);
  }
  linked() {  // the step that the page's address names
    var hash = "", found;
    try {
      hash = decodeURIComponent(location.hash.slice(1));
    } catch (_) {
      return null;
    }
    if (hash === this.id) return Math.max(0, this.step);
    found = hash.indexOf(this.id + "-") === 0 && /^\d+$/.test(hash.slice(this.id.length + 1)) ?
        Number(hash.slice(this.id.length + 1)) :
        null;
    return found === null || found >= this.n ? null : found;
  }
  stepOf(side, frame) {
    var to = this.pairs.findIndex(p => p[side] === frame);
    return Math.max(0, to);
  }
  build() {
    var self = this, f = this.film.form, title = f.title || f.file || "Film",
        head = this.other ?
        title + " · " + (this.other.form.title || this.other.form.file || "the other program") :
        title;
    this.buttons = {};
    function button(k) {
      var b =
          h("button", {type: "button", "data-icon": k, "aria-label": NAMES[k], title: NAMES[k]});
      self.buttons[k] = b;
      b.addEventListener("click", () => {
        if (k === "play") return self.play(!self.timer);
        if (k === "full")
          return document.fullscreenElement ? document.exitFullscreen() :
                                              self.fig.requestFullscreen();
        self.play(false);
        self.show({first: 0, prev: self.step - 1, next: self.step + 1, last: self.n - 1}[k]);
      });
      return b;
    }
    this.range = h("input", {
      type: "range",
      min: 0,
      max: Math.max(0, this.n - 1),
      value: 0,
      step: 1,
      "aria-label": "Step of the film"
    });
    this.range.addEventListener("keydown", e => {
      var b = self.ask.querySelector("button");
      if (b && e.key === "Enter") b.click();
    });
    this.range.addEventListener("input", () => {
      self.play(false);
      self.show(Number(self.range.value));
    });
    this.pre = h("p.hf-pre");
    this.post = h("p.hf-post");
    this.place = h("small");
    this.call = h("code");
    this.say = h("p.hf-say");
    this.ask = h("p.hf-ask", {role: "status"});
    this.now =
        h("div.hf-cur", {"aria-live": "polite", "aria-atomic": "true"},
          h("p.hf-call", {}, this.place, this.call), this.say);
    this.link = h("a.hf-link", {}, "Link to this step");
    this.twin = h("div.hf-twin", {tabindex: "0", role: "group", "aria-label": "The same in words"});
    this.details = h("details", {}, h("summary", {}, "The same in words"), this.twin);
    this.details.addEventListener("toggle", () => {
      self.words();
    });
    this.legend = h("ul.hs-legend", {"aria-label": "Legend"});
    this.fig =
        h("figure.hf", {"aria-label": "Film: " + head, class: this.other ? "hf-both" : ""},
          h("div.hf-head", {}, h("p.hf-title", {}, head),
            document.fullscreenEnabled && button("full")),
          h("div.hf-now", {}, this.pre, this.now, this.post, this.ask),
          h("div.hf-time", {},
            h("div.hf-btns", {role: "group", "aria-label": "Step through the film"},
              ["first", "prev", "play", "next", "last"].map(button)),
            h("div.hf-slide", {}, this.range), this.bars = this.lanes()),
          h("div.hf-stages", {}, this.stages.map((x, n) => {
            if (!self.other) return x.node;
            x.title = h("p.hf-own");
            return h(
                "div.hf-one", {},
                h("p.hf-title", {},
                  x.track.form.title || x.track.form.file || ["One program", "The other"][n]),
                x.title, x.node);
          })),
          h("figcaption", {}, this.legend,
            h("p.hf-dim", {}, f.caption || "",
              this.film.shots[0].note ? " · " + this.film.shots[0].note : ""),
            h("p.hf-feet", {}, this.link), this.details));
    function hot(on) {
      return e => {
        var at = e.target.closest && e.target.closest("[data-b]"), b = at && at.dataset.b,
            stage = at && at.closest(".hf-stage");
        if (b && stage)
          stage.querySelectorAll("[data-b=\"" + b + "\"]").forEach(x => {
            x.classList.toggle("hot", on);
          });
      };
    }
    this.fig.addEventListener("pointerover", hot(true));
    this.fig.addEventListener("pointerout", hot(false));
    this.append(this.fig);
    this.marks();
  }
  lanes() {  // time from left to right; a block from its malloc to its free
    var n = this.n - 1 || 1, x = i => 100 * i / n + "%", names = [], bars = [];
    bars.push(this.pairs.map(
        (_, i) =>
            h("i.hf-tick",
              {style: {left: x(i)}, class: this.differs && this.differs.step === i ? "dif" : ""})));
    this.ticks = bars[0];
    this.stages.forEach((stage, side) => {
      var t = stage.track, blocks = t.blocks.slice();
      if (blocks.length > LANES) {  // what went wrong first, then leaks, then the others
        var rank = blocks.slice()
                       .sort(
                           (a, b) => (b.marks || []).length - (a.marks || []).length ||
                               (a.died != null) - (b.died != null))
                       .slice(0, LANES);
        blocks = blocks.filter(b => rank.includes(b));
      }
      blocks.forEach(b => {
        var from = this.stepOf(side, b.born), dead = b.died != null,
            to = dead ? this.stepOf(side, b.died) : n;
        var call = t.shots[b.born].events.find(
            e => num(e.chunk) === num(b.places[0].at) && e.kind !== "copy");
        var label = call                  ? call.text.replace(/^[^=(]*=\s*/, "") :
            b.places[0].requested == null ? "" :
                                            count(b.places[0].requested);
        names.push(h("span", {}, b.name));
        bars.push(h(
            "div.hf-lane", {},
            h("div.hf-bar",
              {class: dead ? "" : "leak", style: {left: x(from), right: 100 - 100 * to / n + "%"}},
              h("span", {}, label), !dead && h("em", {}, "never freed")),
            dead && h("i.hf-gone", {style: {left: x(to)}}),
            (b.places || [])
                .slice(1)
                .map(
                    p =>
                        h("i.hf-moved",
                          {style: {left: x(this.stepOf(side, p.frame))}, title: "moved or resized"},
                          "↷")),
            (b.marks || [])
                .map(
                    m =>
                        h("b.hf-x", {style: {left: x(this.stepOf(side, m.frame))}, title: m.text},
                          "✗"))));
      });
      if (t.blocks.length > blocks.length) {
        names.push(h("span"));
        bars.push(h("div.hf-lane.hf-dim", {}, t.blocks.length - blocks.length + " more blocks"));
      }
      if (this.other && !side) {
        names.push(h("hr"));
        bars.push(h("hr"));
      }
    });
    return [
      h("div.hf-names", {"aria-hidden": "true"}, names),
      h("div.hf-lanes", {"aria-hidden": "true"}, bars)
    ];
  }
  play(on, pace) {
    clearInterval(this.timer);
    this.timer = 0;
    this.slow = Boolean(on && pace);  // it began by itself
    if (!this.buttons) return;
    if (on) {
      if (this.step === this.n - 1) this.show(0);
      this.timer = setInterval(() => {
        if (this.step < this.n - 1 && this.isConnected)
          this.show(this.step + 1);
        else
          this.play(false);
      }, pace || 1700);
    }
    this.now.setAttribute("aria-live", on ? "off" : "polite");  // nobody can listen that fast
    var b = this.buttons.play, k = on ? "pause" : "play";
    b.dataset.icon = k;
    b.setAttribute("aria-label", NAMES[k]);
    b.title = NAMES[k];
  }
  show(step) {
    step = Math.max(0, Math.min(this.n - 1, step));
    var self = this, first = step !== this.step || this.redo;
    if (!first) return;
    this.step = step;
    this.redo = false;
    var asked = this.questions[step] && !this.told[step] ? this.questions[step] : null,
        pair = this.pairs[step], said = this.film.say(pair[0]), shot = this.film.shots[pair[0]];
    this.fig.classList.toggle("bad", !asked && !this.other && Boolean(said[3]));
    this.fig.classList.toggle("asks", Boolean(asked));
    function side(node, word, to) {
      var call = to >= 0 && to < self.n ? self.film.say(self.pairs[to][0])[0] : "—";
      node.replaceChildren(h("small", {}, word), h("code", {title: call}, call));
    }
    side(this.pre, "before", step - 1);
    side(this.post, "next", step + 1);
    this.place.textContent = "step " + step + " of " + (this.n - 1) +
        (shot.line !== null && !this.other ? " · line " + shot.line : "");
    this.call.replaceChildren(clean(said[0]), said[1] && !asked ? h("i", {}, " → " + said[1]) : "");
    this.say.textContent = clean(asked ? "" : said[2]);
    this.ask.replaceChildren();
    if (asked) {
      var show = h("button", {type: "button"}, "Show what happens");
      show.addEventListener("click", () => {
        self.told[step] = true;
        self.redo = true;
        self.show(step);
        self.range.focus();
      });
      this.ask.append(h("b", {}, "Predict. "), clean(asked), " ", show);
    }
    this.range.value = step;
    this.range.setAttribute(
        "aria-valuetext", clean("step " + step + " of " + (this.n - 1) + ": " + said[0]));
    this.range.style.setProperty("--pos", 100 * step / (this.n - 1 || 1) + "%");
    [["first", 0], ["prev", 0], ["next", this.n - 1], ["last", this.n - 1]].forEach(b => {
      self.buttons[b[0]].setAttribute("aria-disabled", String(step === b[1]));
    });  // a disabled button would lose the focus
    this.ticks.forEach((tick, i) => {
      tick.classList.toggle("on", i === step);
    });
    this.link.href = "#" + this.id + "-" + step;
    this.draw(
        this.stages, asked ? [Math.max(0, pair[0] - 1), Math.max(0, pair[1] - 1)] : pair, step,
        false);
    if (this.other) {
      var d = this.differs;
      this.say.textContent = clean(
          !d ? "The two heaps never differ." :
              step < d.step   ? "The two heaps are equal so far." :
              step === d.step ? "Here the heaps differ for the first time" +
                  (d.at ? ", in the word at " + offset(shot, num(d.at)) : "") + ": " + d.here +
                  " on the first side, " + d.there + " on the second." :
                                "The heaps have differed since step " + d.step + ".");
    }
    this.words();
    this.fit();
  }
  draw(stages, pair, step, bare) {
    var d = this.differs, at = null;
    if (this.other && d && d.at && step >= d.step) {
      var both = [0, 1].map(k => wordAt([this.film, this.other][k].shots[pair[k]], num(d.at)));
      if (!both[0] || !both[1] || hexes(both[0].data) !== hexes(both[1].data)) at = num(d.at);
    }
    stages.forEach((stage, k) => {
      stage.show(
          pair[k],
          {differs: at, bare: bare, keep: this.keep, step: frame => this.stepOf(k, frame)});
      if (stage.title) {
        var said = stage.track.say(pair[k]);
        stage.title.className = "hf-own" + (said[3] ? " bad" : "");
        stage.title.replaceChildren(h("code", {}, said[0]), h("span", {}, said[2]));
      }
    });
  }
  marks() {  // the legend: what is drawn anywhere in the film
    var used = 0, bit = kind => 1 << LEGEND.findIndex(l => l[0] === kind);
    this.stages.forEach(x => {
      if (x.track.go) used |= bit("goheap");
      x.track.shots.forEach(shot => {
        if (!shot.used)
          shot.words.forEach(w => {
            shot.used |= bit(w.fault ? "fault" : PAINT[w.role]) | (w.payload < 8 && bit("slack"));
          });
        used |= shot.used;
      });
    });
    if (used === this.used) return;
    this.used = used;
    this.legend.replaceChildren(
        ...[...LEGEND.filter((_, n) => used >> n & 1), ["changed", "changed just now", "▲"],
            this.other && ["", "the first word that differs", "≠"]]
            .filter(Boolean)
            .map(
                l =>
                    h("li", {},
                      h("span.hs-swatch." + (l[0] ? "hs-" + l[0] : "hf-dif"),
                        {"aria-hidden": "true"}, l[2]),
                      l[1])));
  }
  words() {
    if (this.details.open) {
      this.twin.replaceChildren();
      this.stages.forEach(function(x) {
        add(this.twin, [
          this.other && h("p.hf-title", {}, x.track.form.title || x.track.form.file), x.tables()
        ]);
      }, this);
    }
  }
  fit() {
    if (!this.fig) return;
    // room for the longest sentence, so that what is below stays in its place
    var width = this.now.clientWidth, most = this.other ? 90 : this.film.longest;
    if (width)
      this.say.style.minHeight =
          1.45 * Math.max(1, Math.ceil(most * 7.3 / Math.min(width - 16, 760))) + "em";
    this.stages.forEach(x => {
      x.fit();
    });
  }
  // paper: all steps below each other
  unroll() {
    if (!this.fig || this.sheets || this.n > 60) {
      if (this.fig && this.n > 60 && !this.sheets) {
        this.sheets = this.fallback;
        this.append(...this.sheets);
      }
      return;
    }
    this.sheets = this.pairs.map((pair, step) => {
      var stages = [this.film, this.other].filter(Boolean).map(t => new Stage(t, this.id)),
          said = this.film.say(pair[0]);
      var sheet =
          h("figure.hf.hf-sheet", {class: (said[3] ? "bad" : "") + (this.other ? " hf-both" : "")},
            h("div.hf-now", {},
              h("div.hf-cur", {},
                h("p.hf-call", {}, h("small", {}, "step " + step + " of " + (this.n - 1)),
                  h("code", {}, said[0], said[1] ? h("i", {}, " → " + said[1]) : "")),
                h("p.hf-say", {}, said[2]))),
            h("div.hf-stages", {}, stages.map(x => x.node)));
      this.append(sheet);
      this.draw(stages, pair, step, true);
      stages.forEach(x => {
        x.fit();
      });
      return sheet;
    });
    this.classList.add("hf-paper");
  }
  roll() {
    if (!this.sheets) return;
    this.sheets.forEach(x => {
      x.remove();
    });
    this.sheets = null;
    this.classList.remove("hf-paper");
    this.fit();
  }
}
addEventListener("beforeprint", () => {
  document.querySelectorAll("heap-film").forEach(f => {
    if (f.unroll) f.unroll();
  });
});
addEventListener("afterprint", () => {
  document.querySelectorAll("heap-film").forEach(f => {
    if (f.roll) f.roll();
  });
});
customElements.define("heap-film", HeapFilm);
})();
