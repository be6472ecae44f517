/* From the bytes of a glibc heap to the frames of a film (film.schema.json), in the page.

   The same as heapscope/glibc/*.py, model/canonical.py and model/codec.py do for a main arena, with
   the same data file, glibc/layouts.json; tests/playground compares the two word by word. Whatever
   the bytes are, it ends and it throws nothing: what is impossible is said in faults.

   Addresses and sizes are numbers (no address of a heap needs more than 48 bits), words BigInts. */
(function() {
"use strict";
var WORD = 8, HEADER = 16, ALIGN = 16, MIN_CHUNK = 32, PAGE = 4096, P = 1, M = 2, A = 4;
var TCACHE_MAX = 0x400, HEAD_WORDS = 16, TAIL_ROWS = 2, MOST_CHANGES = 32, SAFE = 2 ** 53;
var HEAP = 0x555555559000, MORE_HEAP = 0x555600000000, STEP = 0x1000000;
var MMAP_TOP = 0x7ffff7c00000, MMAP_TOP_BIG = 0x7fffe0000000, MMAP_FLOOR = 0x7ffff4000000;
var MAIN_ARENA = 0x7ffff7fa0000, KEY = 0x9e3779b97f4a7c15n, SHIFT = 12n, LOW = 2 ** 32, BYTE = 255n;
var UNALIGNED = "unaligned", OUTSIDE = "outside", LOOP = "loop", NO_CHUNK = "no chunk";
var BINNED = ["unsorted", "small bin", "large bin"], FREE = BINNED.concat("tcache", "fastbin");
var INTERNAL = ["tcache table", "folded", "fencepost"], NO_BLOCKS = INTERNAL.concat("top");

// ---- small tools

function hex(n) { return "0x" + n.toString(16); }
function page(at) { return Math.floor(at / PAGE); }
function up(n, unit) { return Math.ceil(n / unit) * unit; }
function has(list, item) { return list.indexOf(item) >= 0; }
function range(from, to) {
  var out = [];
  for (var i = from; i < to; i++) out.push(i);
  return out;
}
function ascending(list) { return list.sort((a, b) => a - b); }
function plausible(size) { return size >= MIN_CHUNK && size % ALIGN === 0; }
function chunkSize(asked) { return Math.max(MIN_CHUNK, up(asked + WORD, ALIGN)); }
function last(list) { return list[list.length - 1]; }
function low(list, value) {  // how many of an ascending list are less
  var a = 0, z = list.length;
  while (a < z) {
    var m = (a + z) >> 1;
    if (list[m] < value)
      a = m + 1;
    else
      z = m;
  }
  return a;
}
function letter(number) {
  var name = "";
  for (number++; number > 0; number = Math.floor((number - 1) / 26))
    name = String.fromCharCode(65 + (number - 1) % 26) + name;
  return name || "?";
}
function wordsOf(data) {  // little-endian; a rest is filled with zeros
  var padded = new Uint8Array(up(data.length, WORD));
  padded.set(data);
  var view = new DataView(padded.buffer), out = new Array(padded.length / WORD);
  for (var i = 0; i < out.length; i++) out[i] = view.getBigUint64(i * WORD, true);
  return out;
}
function hexOf(words) {
  var text = "";
  words.forEach(word => {
    for (var i = 0; i < WORD; i++, word >>= 8n) text += (word & BYTE).toString(16).padStart(2, "0");
  });
  return text;
}
function same(a, b) { return JSON.stringify(a) === JSON.stringify(b); }

// ---- names of lists; `facts` is what layouts.json says of the version

function tcacheName(facts, index) {
  if (index < facts.small_bins) return "tcache[" + hex(MIN_CHUNK + ALIGN * index) + "]";
  return "tcache[" +
      hex(index === facts.small_bins ? 0x420 : 0x400 * 2 ** (index - facts.small_bins)) + "+]";
}
function tcacheRange(facts, index) {
  if (index < facts.small_bins) return [MIN_CHUNK + ALIGN * index, MIN_CHUNK + ALIGN * index];
  var lowest = 0x400 * 2 ** (index - facts.small_bins);
  return [Math.max(lowest, 0x420), 2 * lowest - ALIGN];
}
function lowest(bins, index) {  // smallest chunk of a bin
  if (index < bins.first_large) return index * ALIGN;
  var floor = bins.min_large;
  for (var rule of bins.large) {
    if (index <= rule.up_to + rule.add)
      return Math.max(floor, (index - rule.add) * 2 ** rule.shift);
    floor = (rule.up_to + 1) * 2 ** rule.shift;
  }
  return floor;
}
function binName(bins, index) {
  return index === 1 ?
      "unsorted" :
      (index < bins.first_large ? "small[" : "large[") + hex(lowest(bins, index)) + "]";
}

// ---- fixed addresses (model/canonical.py)

class Canon {
  constructor() {
    this.key = null;
    this.ranges = new Map();
    this.live = [];
    this.bases = [];
    this.counts = {};
    this.last = new Map();
    this.arena = null;
  }
  learn(wanted, arena) {  // [base, length, kind] each
    var live = [];
    this.arena = arena;
    wanted.forEach(x => {
      var key = x[2] + x[0], old = this.ranges.get(key),
          grown = old && {base: x[0], end: x[0] + x[1], to: old.to, name: old.name, kind: x[2]};
      if (!old ||
          live.some(
              o => grown.to < o.to + o.end - o.base && o.to < grown.to + grown.end - grown.base))
        grown = this.place(x[0], x[1], x[2], live);
      live.push(grown);
      this.ranges.set(key, grown);
    });
    this.live = live.slice().sort((a, b) => a.base - b.base);
    this.bases = this.live.map(r => r.base);
    return live;
  }
  place(base, length, kind, live) {
    var n = this.counts[kind] = (this.counts[kind] || 0) + 1, rest = base % PAGE,
        to = this.below(length, live) + rest;
    if (kind === "heap") to = (n === 1 ? HEAP : MORE_HEAP + (n - 2) * STEP) + rest;
    return {
      base: base,
      end: base + length,
      to: to,
      name: kind === "heap" && n === 1 ? kind : kind + " " + n,
      kind: kind
    };
  }
  below(length, live) {  // room for a mapping, from the top downwards
    var room = up(Math.max(length, 1), PAGE), taken = [
      ...this.ranges.values(), ...live
    ].map(r => [r.to, r.to + r.end - r.base]).sort((a, b) => b[0] - a[0] || b[1] - a[1]);
    for (var part of [[MMAP_TOP, MMAP_FLOOR], [MMAP_TOP_BIG, 0]]) {
      var end = part[0];
      taken.forEach(t => {
        if (t[1] > end - room && t[0] < end) end = page(t[0]) * PAGE;
      });
      if (end - room >= part[1]) return end - room;
    }
    return MMAP_TOP_BIG - room;
  }
  rangeOf(at) {
    at = Number(at);
    var found = this.live[low(this.bases, at + 1) - 1];
    return found && at < found.end ? found : null;
  }
  gone(at) {
    return this.rangeOf(at) ?
        null :
        [...this.ranges.values()].find(r => r.base <= at && at < r.end) || null;
  }
  address(real) {  // canonical, or null; a number for a number or a word
    var found = this.rangeOf(real), arena = this.arena, at = Number(real);
    if (found) return at - found.base + found.to;
    return arena && arena[0] <= at && at < arena[1] ? at - arena[0] + MAIN_ARENA : null;
  }
  anywhere(real) {
    var found = this.address(real), old = found === null && this.gone(Number(real));
    return old ? Number(real) - old.base + old.to : found;
  }
  pointer(word) {
    var moved = this.address(word);
    return moved === null ? word : BigInt(moved);
  }
  protected(word, at) {
    var here = this.address(at), target = word ^ BigInt(at) >> SHIFT;
    if (here === null) return null;
    if (!target) return BigInt(page(here));
    var moved = this.address(target);
    return moved === null ? null : BigInt(moved) ^ BigInt(page(here));
  }
  before(at) {  // real and canonical word of the frame before
    var found = this.rangeOf(at), known = found && this.last.get(found.base),
        index = found && Math.floor((at - found.base) / WORD);
    return known && index < known.raw.length ? [known.raw[index], known.made[index]] : null;
  }
  patched(word, at) {  // of a rewritten word, what the program left keeps its rewritten form
    var was = this.before(at), head = 0, tail = 0, proof = 0;
    if (!was) return null;
    var raw = word, byte = (w, i) => w >> BigInt(8 * i) & BYTE;
    while (head < WORD && byte(raw, head) === byte(was[0], head)) head++;
    while (tail < WORD - head && byte(raw, 7 - tail) === byte(was[0], 7 - tail)) {
      proof += proof || byte(raw, 7 - tail) ? 1 : 0;  // zeros at the top prove nothing
      tail++;
    }
    tail = proof >= 2 ? tail : 0;
    head = head >= 2 ? head : 0;
    if (!head && !tail) return null;
    var out = 0n;
    for (var i = 7; i >= 0; i--)
      out = out << 8n | byte(i < head || i >= WORD - tail ? was[1] : raw, i);
    return out;
  }
  rewrite(base, words, fixed, plain) {
    var known = this.last.get(base), reach = this.reach();
    var made = words.map((word, index) => {
      if (!word) return word;
      var at = base + index * WORD, better;
      if (fixed.has(at)) return fixed.get(at);
      if (plain && plain.get(at) === word) return word;  // a number that the program wrote itself
      if (known && known.raw[index] === word) return known.made[index];
      if (word === this.key) return KEY;
      var near = Number(word);
      if (reach.some(r => r[0] <= near && near < r[1])) {
        better = this.guess(word, at);
        if (better !== null) return better;
      }
      better = known ? this.patched(word, at) : null;
      return better === null ? word : better;
    });
    this.last.set(base, {raw: words.slice(), made: made});
    return made;
  }
  forget(bases) {
    for (var base of this.last.keys())
      if (!bases.has(base)) this.last.delete(base);
  }
  reach() {  // what can be a pointer or a protected link, to skip other words quickly
    var out = this.live.map(r => [r.base, r.end]);
    if (this.arena) out.push(this.arena);
    this.live.forEach(r => {
      var unit = 2 ** page(r.end).toString(2).length;
      out.push([Math.floor(r.base / unit) * unit, (Math.floor(r.end / unit) + 1) * unit]);
      if (r.base >= LOW) out.push([page(r.base), page(r.end) + 1]);
    });
    return out;
  }
  guess(word, at) {  // a word of the program, or an old one, that decodes as an address
    var moved = this.address(word), own = page(at), value = Number(word);
    if (moved !== null) return BigInt(moved);
    if (value <= PAGE) return null;
    var found = this.unlink(word, own);
    if (found !== null) return found;
    for (var other of this.live) {
      if (other.kind !== "heap") continue;
      var first = page(other.base), end = page(other.end - 1);
      if (first <= value && value <= end)
        return other.base >= LOW ? BigInt(value - first + page(other.to)) : null;
      var bits = BigInt((BigInt(first) ^ BigInt(end)).toString(2).length),
          near = Number((word ^ BigInt(first)) >> bits << bits), wide = 2 ** Number(bits);
      if (first === end) {
        near = Number(word ^ BigInt(first));
        wide = 1;
      }
      if (!this.live.some(r => r.base < near + wide && near < r.end)) continue;
      for (var n = first; n <= Math.min(end, first + 4096); n++) {
        found = n === own ? null : this.unlink(word, n);
        if (found !== null) return found;
      }
    }
    return null;
  }
  unlink(word, number) {
    var target = word ^ BigInt(number), to = this.address(number * PAGE);
    if (to === null) return null;
    if (!target) return number * PAGE >= LOW ? BigInt(page(to)) : null;
    var found = this.rangeOf(target);
    return found && target % 16n === 0n ?
        BigInt(Number(target) - found.base + found.to) ^ BigInt(page(to)) :
        null;
  }
}

// ---- memory, in words

class Span {
  constructor(map) {
    this.words = wordsOf(map.data);
    this.base = map.base;
    this.first = map.first || 0;
    this.kind = map.kind;
    this.end = map.base + Math.floor(Math.max(map.size || 0, map.data.length) / WORD) * WORD;
  }
  u64(at) { return this.words[Math.floor((at - this.base) / WORD)] || 0n; }
}
class Memory {
  constructor(maps) {
    this.spans = [];
    maps.map(m => new Span(m)).sort((a, b) => a.base - b.base).forEach(s => {
      if (s.base % WORD === 0 && s.end > s.base &&
          (!this.spans.length || s.base >= last(this.spans).end))
        this.spans.push(s);
    });
    this.bases = this.spans.map(s => s.base);
  }
  span(at) {
    var s = this.spans[low(this.bases, at + 1) - 1];
    return s && at < s.end ? s : null;
  }
  u64(at) {
    var s = at % WORD ? null : this.span(at);
    return s ? s.u64(at) : null;
  }
}

// ---- one frame in the making: what is known, and how to speak of it (glibc/scene.py)

class Scene {
  constructor(reading, before, canon, facts) {
    this.reading = reading;
    this.before = before;
    this.canon = canon;
    this.facts = facts;
    this.notes = [];
    this.memory = new Memory(reading.mappings);
    this.chunksBefore = new Map(before ? before.chunks.map(c => [c.at, c]) : []);
    var spans = new Set(this.memory.bases), maps = reading.mappings.filter(m => spans.has(m.base)),
        arena = reading.main_arena;
    this.arena = null;
    this.tables = new Map();
    this.lists = [];
    this.top = null;
    this.pieces = [];
    this.starts = [];
    this.byStart = new Map();
    this.faults = [];
    this.wordFaults = new Map();
    this.fixed = new Map();
    this.targets = new Map();
    var found = canon.learn(
        maps.map(m => [m.base, Math.max(m.size || 0, m.data.length), m.kind]),
        arena && [arena[0], arena[0] + arena[1].length]);
    canon.forget(spans);
    this.ranges = new Map(maps.map((m, i) => [m.base, found[i]]));
    this.name();
  }
  name() {  // no two blocks have one name: blocks in use choose first, then the newest
    var blocks = this.reading.blocks, taken = new Set(), order = new Map(),
        users = [...blocks.keys()];
    users.slice()
        .sort((a, b) => blocks.get(a).call - blocks.get(b).call || a - b)
        .forEach((user, rank) => {
          var o = blocks.get(user).order;
          order.set(user, o == null ? rank : o);
        });
    this.names = new Map();
    users
        .sort(
            (a, b) => (blocks.get(a).freed != null) - (blocks.get(b).freed != null) ||
                order.get(b) - order.get(a) || a - b)
        .forEach(user => {
          var wanted = blocks.get(user).name;
          if (!wanted || taken.has(wanted))
            for (wanted = letter(order.get(user)); taken.has(wanted);) wanted += "′";
          this.names.set(user, wanted);
          taken.add(wanted);
        });
  }
  settle() {
    this.pieces.sort((a, b) => a.at - b.at);
    this.starts = this.pieces.map(p => p.at);
    this.byStart = new Map(this.pieces.map(p => [p.at, p]));
  }
  arenaWord(offset) { return this.arena.words[offset / WORD] || 0n; }
  owner(at) {
    var p = this.pieces[low(this.starts, at - WORD + 1) - 1];
    return p && at < p.end + WORD ? p : null;
  }
  holding(at) {
    at = Number(at);
    var p = this.pieces[low(this.starts, at + 1) - 1];
    return p && at < p.end ? p : null;
  }
  binAt(at) {  // the number of the bin whose header a bin link means
    if (!this.arena) return null;
    var index = (Number(at) - this.arena.base - this.facts.arena.bins.offset + HEADER) / (2 * WORD);
    return Number.isInteger(index) && index >= 0 && index < this.facts.bins.last ? index + 1 : null;
  }
  asked(piece) { return this.reading.blocks.get(piece.at + HEADER); }
  to(real) {
    var moved = this.canon.address(real);
    return moved === null ? real : moved;
  }
  offset(real) {
    var found = this.canon.rangeOf(real);
    return found ? found.name + "+" + hex(Number(real) - found.base) : hex(this.to(real));
  }
  who(piece) {
    if (piece.state === "top") return "top";
    var user = piece.at + HEADER;
    return this.tables.has(user) ? "the tcache table" :
                                   this.names.get(user) || "the chunk at " + this.offset(piece.at);
  }
  where(real) {
    var index = this.binAt(real), piece = this.holding(real), at = Number(real);
    if (index !== null) return binName(this.facts.bins, index) + " itself";
    if (piece && piece.state !== "top") {
      var inside = at - piece.at - HEADER;
      if (!inside || at === piece.at) return this.who(piece);
      if (inside > 0 && this.names.has(piece.at + HEADER))
        return "byte " + inside + " of " + this.who(piece);
    }
    return this.offset(real);
  }
  value(at, raw) {  // the canonical form of a stored word: what sentences say
    if (this.fixed.has(at)) return this.fixed.get(at);
    var moved = this.canon.address(raw);
    if (moved === null) moved = this.canon.patched(raw, at);
    return moved === null ? raw : BigInt(moved);
  }
  led(at, real) {  // where the plain pointer stored there leads
    return this.canon.address(real) === null ? hex(this.value(at, BigInt(real))) : this.where(real);
  }
  fault(at, text, piece) {
    var place = Math.floor(at / WORD) * WORD,
        fault = {at: this.to(place), text: text, chunk: piece ? this.to(piece.at) : null};
    if (!this.wordFaults.has(place)) this.wordFaults.set(place, text);
    if (!this.faults.some(f => same(f, fault))) this.faults.push(fault);
  }
}

class Piece {  // a chunk in the making
  constructor(at, size, word, span, state) {
    this.at = at;
    this.size = size;
    this.word = word;
    this.span = span;
    this.state = state || "in use";
    this.lie = false;
    this.usable = 0;
    this.list = null;
  }
  get end() { return this.at + this.size; }
  get flags() { return Number(this.word & 7n); }
  get claims() { return this.word & ~7n; }
}

// ---- free lists (glibc/lists.py)

function stops(memory, chunk, seen) {  // why this cannot be the next chunk of a list
  if (chunk % 16n) return UNALIGNED;
  var at = Number(chunk), span = memory.span(at);
  if (!span || span.kind === "mmap" || at + MIN_CHUNK > span.end) return OUTSIDE;
  return seen.has(at) ? LOOP : null;
}
function singly(memory, found, user) {
  var seen = new Set(), slot = found.head, node = found.first;
  while (node) {
    var why = stops(memory, node - BigInt(user), seen), at = Number(node) - user;
    if (why) {
      found.broken = {reason: why, slot: slot, target: node};
      return;
    }
    seen.add(at);
    slot = at + HEADER;
    var raw = memory.u64(slot) || 0n, target = found.protected ? raw ^ BigInt(slot) >> SHIFT : raw;
    found.entries.push({at: at + user, chunk: at, slot: slot, raw: raw, target: target});
    node = target;
  }
}
function doubly(memory, found, header, fd) {
  var seen = new Set(), slot = found.head, node = found.first, from = BigInt(header), end = from;
  while (node !== end) {
    var why = stops(memory, node, seen), at = Number(node);
    if (why) {
      found.broken = {reason: why, slot: slot, target: node};
      break;
    }
    seen.add(at);
    var forward = memory.u64(at + HEADER) || 0n, raw = memory.u64(at + HEADER + WORD) || 0n;
    if (forward !== from) found.wrong.push([at + HEADER, forward, from]);
    slot = at + HEADER + WORD;
    found.entries.push({at: at, chunk: at, slot: slot, raw: raw, target: raw});
    from = node;
    node = raw;
  }
  if (!found.broken) {
    if (fd !== from) found.wrong.push([found.head - WORD, fd, from]);
    return;
  }
  // the other direction may still lead to the chunks behind the break
  var rest = [], stop = found.entries.length ? BigInt(last(found.entries).at) : end;
  for (node = fd, slot = found.head - WORD; node !== end && node !== stop;
       node = memory.u64(slot) || 0n) {
    if (stops(memory, node, seen)) {
      found.wrong.push([slot, node, stop]);
      break;
    }
    at = Number(node);
    seen.add(at);
    slot = at + HEADER;
    raw = memory.u64(slot + WORD) || 0n;
    rest.unshift({at: at, chunk: at, slot: slot + WORD, raw: raw, target: raw});
  }
  found.entries = found.entries.concat(rest);
}
function list(name, kind, sizes, secret, head, first) {
  return {
    name: name,
    kind: kind,
    sizes: sizes,
    protected: secret,
    head: head,
    first: first,
    entries: [],
    broken: null,
    count: null,
    countAt: null,
    table: null,
    wrong: [],
    size: sizes && sizes[0] === sizes[1] ? sizes[0] : null
  };
}
function findLists(scene) {
  var memory = scene.memory, facts = scene.facts, t = facts.tcache, arena = facts.arena, found;
  scene.tables.forEach((_, table) => {
    var width = t.counts.width, count = i => {
      var at = table + t.counts.offset + width * i;
      return Number(
          memory.span(at).u64(at) >> BigInt(8 * (at % WORD)) & (1n << BigInt(8 * width)) - 1n);
    }, counts = range(0, t.entries.number).map(count);
    if (t.counts.down) {
      var tally = new Map(), most = 0, places = scene.reading.tcache_count;
      counts.forEach(c => {
        tally.set(c, (tally.get(c) || 0) + 1);
      });
      if (!places)
        tally.forEach((n, c) => {
          if (n > most) {
            most = n;
            places = c;
          }
        });
      counts = counts.map(left => places - left);
    }
    counts.forEach((n, i) => {
      var head = table + t.entries.offset + WORD * i, first = memory.u64(head) || 0n;
      if (!first && !n) return;
      found = list(tcacheName(t, i), "tcache", tcacheRange(t, i), facts.safe_linking, head, first);
      found.count = n;
      found.table = table;
      found.countAt = Math.floor((table + t.counts.offset + width * i) / WORD) * WORD;
      singly(memory, found, HEADER);
      scene.lists.push(found);
    });
  });
  if (!scene.arena) return;
  var base = scene.arena.base;
  range(0, arena.fastbins ? arena.fastbins.number : 0).forEach(i => {
    var offset = arena.fastbins.offset + WORD * i, first = scene.arenaWord(offset),
        size = MIN_CHUNK + ALIGN * i;
    if (!first) return;
    found = list(
        "fastbin[" + hex(size) + "]", "fastbin", [size, size], facts.safe_linking, base + offset,
        first);
    singly(memory, found, 0);
    scene.lists.push(found);
  });
  range(1, facts.bins.last + 1).forEach(i => {
    var offset = arena.bins.offset + 2 * WORD * (i - 1), fd = scene.arenaWord(offset),
        bk = scene.arenaWord(offset + WORD), header = base + offset - HEADER;
    if (fd === bk && (!fd || fd === BigInt(header))) return;  // empty, or never used
    var sizes = i === 1 ?
        null :
        [lowest(facts.bins, i), i < facts.bins.last ? lowest(facts.bins, i + 1) - ALIGN : Infinity];
    found = list(
        binName(facts.bins, i),
        i === 1                        ? "unsorted" :
            i < facts.bins.first_large ? "small bin" :
                                         "large bin",
        sizes, false, base + offset + WORD, bk);
    doubly(memory, found, header, fd);
    scene.lists.push(found);
  });
}

// ---- chunks (glibc/chunks.py, glibc/survey.py)

function fences(span, at, end) {  // two of 16 bytes, where an arena went on elsewhere
  var first = span.u64(at + WORD) & ~7n,
      fence = place => new Piece(place, ALIGN, span.u64(place + WORD), span, "fencepost");
  if (!first && end - at === ALIGN && end === span.end) return [fence(at)];
  if (first !== 16n || at + 2 * ALIGN > end) return [];
  var second = span.u64(at + ALIGN + WORD) & ~7n;
  if (second !== 16n && (second || at + 2 * ALIGN !== span.end)) return [];
  return [fence(at), fence(at + ALIGN)];
}
function follow(span, start, end) {
  var pieces = [], at = start;
  while (at < end) {
    var word = span.u64(at + WORD), size = Number(word & ~7n);
    if (size < MIN_CHUNK || word & 8n || at + size > end) {
      var fence = fences(span, at, end);
      if (!fence.length) return [pieces, false];
      pieces = pieces.concat(fence);
      at = last(pieces).end;
      continue;
    }
    pieces.push(new Piece(at, size, word, span));
    at += size;
  }
  return [pieces, true];
}
function leads(span, first, end) { return first === end || follow(span, first, end)[1]; }
function why(claims, at, end) {
  if (claims % 16n) return "is no multiple of 16";
  if (claims < MIN_CHUNK) return "is less than the smallest chunk, " + MIN_CHUNK;
  return at + Number(claims) > end ? "reaches further than the heap goes on" : "leads to no chunk";
}
function divide(
    span, start, end, known, preferKnown) {  // with the help of sizes known from elsewhere
  var pieces = [], at = start;
  while (at < end) {
    var word = span.u64(at + WORD), claims = word & ~7n, size = Number(claims),
        used = known.used.get(at);
    var honest = claims >= MIN_CHUNK && claims % 16n === 0n && at + size <= end &&
        !(used !== undefined && size - WORD < used),
        sure = known.size(at);
    if (sure !== null && at + sure > end) sure = null;
    if (sure !== null && (preferKnown || !honest)) {
      if (end - at === sure + ALIGN) sure += ALIGN;  // a rest too small for a chunk of its own
      size = sure;
    } else if (!honest) {
      var fence = fences(span, at, end);
      if (fence.length) {
        pieces = pieces.concat(fence);
        at = last(pieces).end;
        continue;
      }
      var piece = new Piece(at, end - at, word, span);
      piece.lie = true;
      if (used === undefined) {
        piece.state = "unknown";
        piece.walkFault = why(claims, at, end);
      }
      pieces.push(piece);
      return [pieces, used !== undefined];
    }
    var made = new Piece(at, size, word, span);
    made.lie = BigInt(size) !== claims;
    pieces.push(made);
    at += size;
  }
  return [pieces, true];
}
function walk(span, first, limit, known) {
  if (first >= limit) return [];
  var within = at => first <= at && at < limit, found = follow(span, first, limit);
  if (found[1]) {
    var sizes = new Map(found[0].map(p => [p.at, p.size]));
    if ([...known.starts].every(at => !within(at) || sizes.has(at)) &&
        [...known.used].every(
            u => !within(u[0]) || (sizes.has(u[0]) && sizes.get(u[0]) - WORD >= u[1])))
      return found[0];
  }
  var edges = new Set([...known.used.keys(), ...known.starts].filter(
          at => within(at) && (at - first) % ALIGN === 0)),
      out = [];
  var ordered = [...ascending([...edges.add(first)]), limit];
  for (var i = 0; i + 1 < ordered.length; i++) {
    var start = ordered[i], end = ordered[i + 1], used = known.used.get(start),
        part = follow(span, start, end);
    if (!part[1] || (used !== undefined && part[0][0].size - WORD < used))
      part = divide(span, start, end, known, false);
    if (!part[1]) part = divide(span, start, end, known, true);
    out = out.concat(part[0]);
  }
  return out;
}
function firstChunk(span) {
  return span.kind === "heap" ? up(span.base + span.first, ALIGN) : null;
}
function findTables(scene) {
  var given = scene.reading.tcache.length ? scene.reading.tcache : guessTables(scene);
  given.forEach(at => {
    var span = scene.memory.span(at);
    if (!span || span.kind === "mmap" || at % ALIGN || at + scene.facts.tcache.size > span.end)
      return;
    scene.tables.set(at, scene.tables.size ? "main, thread " + (scene.tables.size + 1) : "main");
  });
}
function guessTables(scene) {  // the first chunk of a table's size
  var out = [], t = scene.facts.tcache;
  scene.memory.spans.forEach(span => {
    var at = firstChunk(span);
    for (var n = 0; n < 64 && at !== null && at + HEADER <= span.end; n++) {
      var user = at + HEADER, size = Number(span.u64(at + WORD) & ~7n);
      if (has(t.chunks, size) && !scene.reading.blocks.has(user) &&
          range(0, t.entries.number).every(i => {
            var head = scene.memory.u64(user + t.entries.offset + WORD * i);
            return head !== null &&
                (!head || (head % 16n === 0n && scene.memory.span(Number(head))));
          })) {
        out.push(user);
        break;
      }
      if (!plausible(size)) break;
      at += size;
    }
  });
  return out;
}
function findChunks(scene) {
  var listed = new Set(),
      known = {used: new Map(), starts: new Set(), size: at => sizeFromElsewhere(scene, at)};
  scene.lists.forEach(f => {
    f.entries.forEach(e => {
      listed.add(e.chunk);
    });
  });
  scene.tables.forEach((_, table) => {
    known.starts.add(table - HEADER);
  });
  scene.reading.blocks.forEach((asked, user) => {
    if (asked.freed == null)
      known.used.set(user - HEADER, asked.requested || 0);
    else if (listed.has(user - HEADER))
      known.starts.add(user - HEADER);
  });
  if (scene.chunksBefore.size)
    listed.forEach(at => {
      if (scene.chunksBefore.has(scene.canon.address(at))) known.starts.add(at);
    });
  scene.memory.spans.forEach(span => {
    var first = firstChunk(span);
    scene.pieces = scene.pieces.concat(
        first === null ? mmapped(scene, span) : heap(scene, span, first, known));
  });
  scene.settle();
}
function sizeFromElsewhere(scene, at) {
  var there = scene.canon.address(at), old = there === null ? null : scene.chunksBefore.get(there),
      asked = scene.reading.blocks.get(at + HEADER);
  if (old && !has(["top", "folded", "unknown"], old.state)) return old.size;
  return asked && asked.requested != null && asked.requested >= 0 && asked.requested < 2 ** 40 ?
      chunkSize(asked.requested) :
      null;
}
function heap(scene, span, first, known) {
  var offset = scene.facts.arena.top, word = scene.arena ? scene.arenaWord(offset) : 0n,
      top = Number(word), pieces;
  if (!(span.base <= top && top <= span.end - HEADER)) {
    pieces = walk(span, first, span.end, known);
    if (!scene.arena) lastIsTop(pieces, span, known);
    return pieces;
  }
  word = span.u64(top + WORD);
  var size = Number(word & ~7n), honest = plausible(size) && !(word & 8n) && top + size <= span.end,
      later = [...known.used.keys()].filter(at => top <= at && at < span.end);
  var sound = top >= first && (top - first) % ALIGN === 0;
  if (sound && later.length && (!honest || later.some(at => at < top + size))) sound = false;
  if (sound && !leads(span, first, top) && leads(span, first, span.end)) sound = false;
  if (!sound) {
    scene.fault(
        scene.arena.base + offset, "top leads to " + scene.offset(top) + ", where no top chunk is");
    pieces = walk(span, first, span.end, known);
    lastIsTop(pieces, span, known);
    return pieces;
  }
  var piece = new Piece(top, honest ? size : span.end - top, word, span, "top");
  piece.lie = !honest;
  piece.label = "top";
  scene.top = piece;
  pieces = walk(span, first, top, known).concat(piece);
  if (piece.end < span.end && plausible(Number(span.u64(piece.end + WORD) & ~7n)))
    pieces = pieces.concat(walk(span, piece.end, span.end, known));
  return pieces;
}
function lastIsTop(pieces, span, known) {
  var end = last(pieces);
  if (!end || end.end !== span.end || end.state !== "in use" || known.used.has(end.at) ||
      known.starts.has(end.at))
    return;
  end.state = end.label = "top";
}
function mmapped(scene, span) {  // the blocks of one mapping: neighbours may have become one
  var facts = scene.facts.mmapped, mask = BigInt(facts.offset_mask), live = [], pieces = [],
      begins = new Map(), begin = span.base;
  scene.reading.blocks.forEach((asked, user) => {
    if (asked.freed == null && span.base <= user - HEADER && user - HEADER < span.end)
      live.push(user - HEADER);
  });
  ascending(live).forEach(at => {
    begins.set(at, at - Number(BigInt.asUintN(64, span.u64(at) & mask)));
  });
  while (begin + HEADER < span.end) {
    var at = live.find(x => begins.get(x) === begin);
    if (at === undefined) at = live.find(x => begin <= x && x < begin + PAGE);
    if (at === undefined) at = begin;
    var next = live.find(x => begins.get(x) >= begin + PAGE),
        following = next === undefined ? null : page(begins.get(next)) * PAGE;
    var word = span.u64(at + WORD), length = at - begin + Number(word & ~7n) + facts.length_extra;
    var right = Boolean(word & 2n) && !(word & 8n) && length >= PAGE && length % PAGE === 0 &&
        at - begin === Number(span.u64(at) & mask) &&
        begin + length <= (following === null ? span.end : following);
    if (!right && begin > span.base && !has(live, at)) break;
    var end = right ? begin + length : following || span.end, size = end - at - facts.length_extra;
    if (size < MIN_CHUNK) break;
    var piece = new Piece(at, size, word, span, "mmapped");
    piece.lie = !right;
    piece.usable = size - facts.usable_less;
    pieces.push(piece);
    begin = end;
  }
  return pieces;
}

// ---- states, and what is impossible (glibc/judge.py)

function judge(scene) {
  scene.lists.forEach(f => {
    place(scene, f);
  });
  scene.lists.forEach(f => {
    fixLinks(scene, f);
  });
  scene.lists.forEach(f => {
    judgeList(scene, f);
  });
  var key = settleKey(scene), previous = null;
  scene.pieces.forEach(p => {
    settle(scene, p, scene.byStart.get(p.end), key);
  });
  scene.pieces.forEach(p => {
    judgeSize(scene, p);
  });
  scene.pieces.forEach(p => {
    judgeFlags(scene, p, previous && previous.end === p.at ? previous : null);
    previous = p;
  });
  judgeTop(scene);
  scene.pieces.forEach(p => {
    attribute(scene, p);
  });
}
function place(scene, found) {  // a chunk belongs to the first list that holds it
  function cut(index, reason) {
    found.broken = {
      reason: reason,
      slot: index ? found.entries[index - 1].slot : found.head,
      target: BigInt(found.entries[index].at)
    };
    found.entries.splice(index);
  }
  var index = found.entries.findIndex(e => !scene.byStart.has(e.chunk));
  if (index >= 0) cut(index, NO_CHUNK);
  for (index = 0; index < found.entries.length; index++) {
    var entry = found.entries[index], piece = scene.byStart.get(entry.chunk),
        asked = scene.asked(piece);
    if (piece.state === "top") return cut(index, "the top chunk");
    if (scene.tables.has(entry.chunk + HEADER)) return cut(index, "the tcache table");
    if (has(["fencepost", "unknown"], piece.state)) return cut(index, NO_CHUNK);
    if (piece.list) {
      scene.fault(
          entry.slot, scene.who(piece) + " is on two lists: " + piece.list + " and " + found.name,
          piece);
      continue;
    }
    piece.list = found.name;
    if (asked && asked.freed == null)
      scene.fault(
          entry.slot,
          scene.who(piece) + " is in use, and " + found.name +
              " holds it: malloc will give it to a second owner",
          piece);
    else
      piece.state = found.kind;
  }
}
function fixLinks(scene, found) {  // the canonical form of each link, right or wrong
  var canon = scene.canon;
  found.entries.forEach(entry => {
    var target = entry.target, start = found.kind === "tcache" ? target - 16n : target;
    var good = !target || scene.byStart.has(Number(start)) ||
        (has(BINNED, found.kind) && scene.binAt(target) !== null);
    var value = good ? null : canon.patched(entry.raw, entry.slot);
    if (found.protected) {
      if (value === null) value = canon.protected(entry.raw, entry.slot);
      if (value === null) value = entry.raw;
      scene.targets.set(entry.slot, value ^ BigInt(page(scene.to(entry.slot))));
    } else {
      if (value === null) value = canon.pointer(entry.raw);
      if (!good && value === entry.raw) value = takenOver(scene, entry.slot, entry.raw);
      scene.targets.set(entry.slot, value);
    }
    scene.fixed.set(entry.slot, value);
  });
  var broken = found.broken, raw;
  if (broken && broken.slot === found.head && !scene.fixed.has(found.head)) {
    raw = scene.memory.u64(found.head);
    var taken = raw === null ? raw : takenOver(scene, found.head, raw);
    if (raw !== null && taken === raw) taken = scene.value(found.head, raw);
    if (taken !== raw) {
      scene.fixed.set(found.head, taken);
      scene.targets.set(found.head, taken);
    }
  }
}
function takenOver(scene, slot, raw) {  // a head that malloc made from an overwritten link
  var was = scene.canon.before(slot);
  if (!was) return raw;
  if (was[0] === raw) return was[1];
  var link = scene.canon.before(Number(was[0]));
  return link && (link[0] ^ was[0] >> SHIFT) === raw ? link[1] ^ was[1] >> SHIFT : raw;
}
function judgeList(scene, found) {
  found.wrong.forEach(w => {
    var owner = scene.owner(w[0]);
    scene.fault(
        w[0],
        "fd of " + (owner ? scene.who(owner) : found.name) + " leads to " + scene.led(w[0], w[1]) +
            ", and should lead to " + scene.where(w[2]) + binStop(found),
        owner);
  });
  if (found.broken)
    judgeBreak(scene, found, found.broken);
  else if (found.count !== null && found.count !== found.entries.length)
    scene.fault(
        found.countAt,
        found.name + " counts " + found.count + " blocks and holds " + found.entries.length,
        scene.owner(found.countAt));
  found.entries.forEach(entry => {
    var piece = scene.byStart.get(entry.chunk);
    if (!found.sizes || (found.sizes[0] <= piece.size && piece.size <= found.sizes[1])) return;
    var text = scene.who(piece) + " has " + piece.size + " bytes and is on " + found.name;
    if (found.size !== null && found.size > piece.size)
      text += ": the next malloc(" + (found.size - WORD) + ") gets it and " +
          (found.size - piece.size) + " bytes that belong to others";
    scene.fault(piece.at + WORD, text, piece);
  });
}
function judgeBreak(scene, found, broken) {
  var slot = broken.slot, owner = scene.owner(slot), bin = has(BINNED, found.kind);
  var torn = scene.targets.get(slot), moved = scene.canon.address(broken.target);
  var elsewhere = torn !== undefined && (moved === null || torn !== BigInt(moved));
  // a torn link: the real one may lead into the heap
  var place = elsewhere ? hex(torn) : scene.led(slot, broken.target);
  var text = owner && !scene.tables.has(owner.at + HEADER) ?
      (bin ? "bk" : "the link") + " of " + scene.who(owner) :
      "the head of " + found.name;
  if (broken.reason === LOOP)
    text += " leads back to " + place + ": the list never ends";
  else if (has([NO_CHUNK, UNALIGNED, OUTSIDE], broken.reason))
    text += " leads to " + place + ", which is no block";
  else
    text += " leads to " + broken.reason;
  if (bin)
    text += binStop(found);
  else if (broken.reason !== LOOP)
    text += found.protected ?
        ": malloc stops at an address that is no multiple of 16 (\"malloc(): unaligned " +
            found.kind + " chunk detected\") and hands out any other" :
        ": malloc will hand it out all the same";
  scene.fault(slot, text, owner);
}
function binStop(found) {
  var words = {
    unsorted: "malloc(): unsorted double linked list corrupted",
    "small bin": "malloc(): smallbin double linked list corrupted"
  }[found.kind];
  return ": malloc stops at this with \"" + (words || "corrupted double-linked list") + "\"";
}
function settleKey(scene) {
  var facts = scene.facts.tcache.key, held = [], canon = scene.canon, judged = (entry, key) => {
    var piece = scene.byStart.get(entry.chunk), at = entry.at + facts.offset;
    if (key === null || piece.state !== "tcache" || scene.memory.u64(at) === key) return;
    var who = scene.who(piece);
    scene.fault(
        at,
        "the key of " + who + " was overwritten: glibc would not notice that " + who +
            " is freed again",
        piece);
  };
  scene.lists.forEach(f => {
    if (f.kind === "tcache")
      f.entries.forEach(e => {
        held.push([f, e]);
      });
  });
  if (facts.kind === "table") {
    held.forEach(x => {
      judged(x[1], BigInt(x[0].table));
    });
    var table = [...scene.tables.keys()][0];
    return table === undefined ? null : BigInt(table);
  }
  if (scene.reading.tcache_key != null) canon.key = scene.reading.tcache_key;
  if (canon.key === null && held.length) {
    var tally = new Map();
    held.forEach(x => {
      var word = scene.memory.u64(x[1].at + facts.offset) || 0n;
      tally.set(word, (tally.get(word) || 0) + 1);
    });
    var best = [...tally].sort((a, b) => b[1] - a[1]);
    if (best[0][0] >> 48n && (best.length < 2 || best[1][1] < best[0][1])) canon.key = best[0][0];
  }
  held.forEach(x => {
    judged(x[1], canon.key);
  });
  return canon.key;
}
function settle(scene, piece, following, key) {
  if (!has(["top", "fencepost", "mmapped"], piece.state)) piece.usable = piece.size - WORD;
  if (piece.state !== "in use" || piece.list) return;
  if (scene.tables.has(piece.at + HEADER)) {
    piece.state = piece.label = "tcache table";
    return;
  }
  var asked = scene.asked(piece);
  if (asked && asked.freed == null) return;
  if (following && following.state !== "fencepost" && !following.lie && !(following.flags & P)) {
    piece.state = "unknown";
    piece.label = "free";
    if (!scene.arena) return;
    if (scene.lists.some(f => f.broken && has(BINNED, f.kind))) {
      piece.label = "free, but no list leads to it any more";
      return;
    }
    scene.fault(
        following.at + WORD,
        "P of " + scene.who(following) + " is clear, but " + scene.who(piece) +
            " is on no free list",
        following);
    return;
  }
  if (!asked || key === null || piece.size > TCACHE_MAX + ALIGN) return;
  // malloc clears the key when it hands a block out: this one was not handed out
  if (scene.memory.u64(piece.at + HEADER + scene.facts.tcache.key.offset) === key) {
    piece.state = "unknown";
    piece.label = "free, but no list leads to it any more";
  }
}
function attribute(scene, piece) {
  var asked = scene.asked(piece);
  if (!asked || has(["top", "fencepost", "tcache table"], piece.state)) return;
  piece.name = scene.names.get(piece.at + HEADER);
  if (asked.requested == null) return;
  var made = chunkSize(asked.requested);
  // a free chunk that was merged is another chunk
  if (asked.freed == null || piece.state === "mmapped" || piece.size === made ||
      piece.size === made + ALIGN)
    piece.requested = asked.requested;
}
function judgeSize(scene, piece) {
  var at = piece.at + WORD, claims = piece.claims, big = Number(claims), who = scene.who(piece),
      word = scene.value(at, piece.word),
      says =
          "the size word of " + who + " is " + hex(word) + ", " + (word & ~7n) + " bytes, which ";
  if (piece.state === "fencepost" || !(piece.lie || piece.walkFault)) return;
  if (piece.walkFault) return scene.fault(at, says + piece.walkFault, piece);
  if (piece.state === "mmapped")
    return scene.fault(
        at, says + "does not fit its mapping; it should be " + hex(piece.size + M), piece);
  if (piece.state === "top")
    return scene.fault(
        at,
        says +
            (big <= piece.size ?
                 "no top chunk can have; " + piece.size + " bytes are left of the heap" :
                 "is more than is left of the heap, " + piece.size + " bytes") +
            ": malloc stops at this with \"malloc(): corrupted top size\"",
        piece);
  var reached = piece.size < big && big < 2 ** 47 ? scene.holding(piece.at + big - 1) : null,
      end = piece.span.end, text;
  if (claims % 16n || big < MIN_CHUNK || piece.at + big > end)
    text = why(claims, piece.at, end).replace("than the heap goes on", "than the heap");
  else if (big > piece.size)
    text = "reaches into " + (reached ? scene.who(reached) : "the next chunk");
  else
    text = "ends inside the chunk itself";
  var before = scene.pieces[low(scene.starts, piece.at) - 1],
      free = before && before.end === piece.at && has(BINNED, before.state),
      call = "free(" + who + ")";
  text += "; it should be " + hex(piece.size + (free ? 0 : P));
  if (piece.state === "in use" && !piece.list && !(piece.flags & M)) {
    if (claims % 16n || big < MIN_CHUNK)
      text += ": " + call + " stops at this with \"free(): invalid size\"";
    else if (big <= TCACHE_MAX)
      text += ": " + call + " would put it among the chunks of " + claims + " bytes";
    else if (end < piece.at + big && big < 2 ** 47 && piece.at + big < 2 ** 47)
      text += ": " + call + " stops at this with \"double free or corruption (out)\"";
  }
  scene.fault(at, says + text, piece);
}
function judgeFlags(
    scene, piece, previous) {  // the flags, and prev_size, against what the neighbours are
  if (piece.lie || has(["fencepost", "unknown", "mmapped"], piece.state)) return;
  var who = scene.who(piece), at = piece.at + WORD;
  if (piece.flags & M)
    scene.fault(at, "M of " + who + " is set, but it has no mapping of its own", piece);
  if (piece.flags & A)
    scene.fault(
        at, "A of " + who + " is set, but it is " + piece.state + " in the main arena", piece);
  if (!previous) {
    if (!(piece.flags & P))
      scene.fault(at, "P of " + who + " is clear, but there is no chunk before it", piece);
    return;
  }
  var before = scene.who(previous);
  if (has(BINNED, previous.state)) {
    var size = piece.span.u64(piece.at);
    if (piece.flags & P)
      scene.fault(at, "P of " + who + " is set, but " + before + " before it is free", piece);
    else if (size !== BigInt(previous.size) && !previous.lie)
      scene.fault(
          piece.at,
          "prev_size of " + who + " is " + size + ", but " + before + " before it has " +
              previous.size + " bytes: glibc stops at this with \"corrupted size vs. prev_size\"",
          piece);
  } else if (!(piece.flags & P) && !has(["fencepost", "unknown"], previous.state)) {
    var text = "P of " + who + " is clear, but " + before + " before it is in use";
    if (has(FREE, previous.state))
      text = "P of " + who + " is clear, but " + before + " before it is in the " + previous.state;
    else if (previous.size > TCACHE_MAX + ALIGN)
      text += ": free(" + before + ") stops at this with \"double free or corruption (!prev)\"";
    scene.fault(at, text, piece);
  }
}
function judgeTop(scene) {  // the top's size against what is left of its heap
  var piece = scene.top;
  if (!piece || piece.lie || scene.memory.spans.filter(s => s.kind === "heap").length !== 1) return;
  var ends =
      [piece.span.end, piece.span.base + Number(scene.arenaWord(scene.facts.arena.system_mem))];
  if (has(ends, piece.end)) return;
  var end = Math.abs(ends[1] - piece.end) < Math.abs(ends[0] - piece.end) ? ends[1] : ends[0];
  var word = scene.value(piece.at + WORD, piece.word);
  scene.fault(
      piece.at + WORD,
      "the size word of top is " + hex(word) + ", " + (word & ~7n) + " bytes, but " +
          (end - piece.at) + " bytes are left of the heap",
      piece);
}

// ---- every word: who may write it, what changed in it, and why (glibc/words.py)

function paint(
    scene, span) {  // the span at its fixed address, and what differs from the frame before
  var there = scene.ranges.get(span.base),
      words = scene.canon.rewrite(span.base, span.words, scene.fixed, scene.reading.plain),
      changed = [];
  var region = {name: there.name, base: there.to, words: words, size: span.end - span.base};
  var before = scene.before && scene.before.regions.find(r => r.base === there.to),
      old = scene.before ? (before ? before.words : []) : words;
  for (var i = 0; i < Math.max(words.length, old.length); i++)
    if ((i < words.length && i < old.length ? words[i] !== old[i] : (words[i] || old[i])))
      changed.push(i);
  return {
    span: span,
    region: region,
    words: words,
    old: old,
    changed: changed,
    set: new Set(changed)
  };
}
function wordIn(words, index) { return words[index] || 0n; }
function difference(painted, index) {
  var out = [];
  for (var word = wordIn(painted.words, index) ^ wordIn(painted.old, index), i = 0; word;
       word >>= 8n, i++)
    if (word & BYTE) out.push(i);
  return out;
}
class Painter {
  constructor(scene, painted) {
    this.scene = scene;
    this.painted = painted;
    this.result = [];
    this.labels = new Map([[0, "∅"]]);
    this.keysBefore = new Set();
    this.counts = new Map(scene.lists.map(f => [f.name, f.count || 0]));
    scene.pieces.forEach(p => {
      var name = p.state === "top" ? "top" : scene.names.get(p.at + HEADER) || scene.offset(p.at),
          at = scene.to(p.at);
      this.labels.set(at, name);
      this.labels.set(at + HEADER, name);
    });
    if (scene.before)
      scene.before.words.forEach(w => {
        if (w.role === "key") this.keysBefore.add(w.at);
      });
  }
  words() {
    var previous = null;
    this.scene.pieces.forEach(piece => {
      var painted = this.painted.get(piece.span.base), index = (piece.at - piece.span.base) / WORD;
      if (!previous || previous.end !== piece.at || previous.span !== piece.span)
        this.emit(
            painted, index, "prev_size", null, null, null,
            painted.set.has(index) ? this.whyPrevSize(painted, index) : null);
      this.piece(piece, painted);
      previous = piece;
    });
    return this.result.sort((a, b) => a.at - b.at);
  }
  piece(piece, painted) {
    var base = piece.span.base, start = (piece.at - base) / WORD, chunk = this.scene.to(piece.at),
        old = this.scene.chunksBefore.get(chunk), first = start + 2;
    var stop = piece.state === "mmapped" ?
        first + Math.floor(piece.usable / WORD) :
        Math.floor((piece.end - base) / WORD) + (piece.state === "top" ? 0 : 1);
    stop = Math.min(stop, Math.floor((piece.span.end - base) / WORD));
    var changes =
            painted.changed.slice(low(painted.changed, start + 1), low(painted.changed, stop)),
        data = stop - first;
    this.emit(
        painted, start + 1, "size", chunk, null, null,
        changes[0] === start + 1 ? this.whySize(painted, piece, old, start + 1) : null);
    if (changes[0] === start + 1) changes = changes.slice(1);
    if (data <= 0) return;
    var role = this.roles(piece, data),
        note = changes.length ? this.whyData(painted, piece, old, first, changes, role) : null;
    this.shown(painted, piece, first, data, changes).forEach(index => {
      var kind = role(index - first);
      this.emit(
          painted, index, kind[0], chunk, this.target(painted, index, kind[0]), kind[1],
          note && painted.set.has(index) ? note(index) : null);
    });
  }
  shown(painted, piece, first, data, changes) {  // the ends, what changed, what is wrong
    var state = piece.state, words = painted.words, base = piece.span.base, chosen,
        full = (from, to) =>
            range(from, Math.min(first + data, words.length, to)).filter(i => words[i]);
    if (has(INTERNAL, state))
      chosen = full(first, Infinity).concat(changes.slice(0, MOST_CHANGES));
    else if (state === "top")
      chosen = full(first + 4, first + 4100)
                   .slice(0, HEAD_WORDS)
                   .concat(range(first, first + Math.min(4, data)), changes.slice(0, HEAD_WORDS));
    else if (data <= HEAD_WORDS + 2 * TAIL_ROWS)
      return range(first, first + data);
    else
      chosen = range(first, first + HEAD_WORDS)
                   .concat(
                       range(first + 2 * (Math.floor((data + 1) / 2) - TAIL_ROWS), first + data),
                       changes.slice(0, MOST_CHANGES));
    this.scene.wordFaults.forEach((_, at) => {
      var i = Math.floor((at - base) / WORD);
      if (first <= i && i < first + data) chosen.push(i);
    });
    return ascending([...new Set(chosen)]);
  }
  roles(piece, data) {  // number of a word from the user pointer on: its role, bytes asked for
    var state = piece.state, special = {};
    if (state === "in use" || state === "mmapped") {
      var asked = piece.requested == null ? piece.usable : piece.requested;
      return n => {
        var rest = asked - n * WORD;
        if (piece.list && !n) return ["link", null];
        return rest >= WORD ? ["payload", null] : rest > 0 ? ["payload", rest] : ["slack", null];
      };
    }
    if (state === "top") return () => ["top", null];
    if (has(INTERNAL, state)) return () => ["internal", null];
    if (state === "tcache")
      special = {0: "link", 1: "key"};
    else if (state === "fastbin")
      special = {0: "link"};
    else if (has(BINNED, state)) {
      range(0, piece.size >= this.scene.facts.bins.min_large ? 4 : 2).forEach(n => {
        special[n] = "link";
      });
      special[data - 1] = "prev_size";
    }
    return n => [special[n] || "stale", null];
  }
  target(painted, index, role) {
    var at = painted.span.base + index * WORD, known = this.scene.targets.get(at);
    if (role === "link") return known === undefined ? wordIn(painted.words, index) : known;
    return role === "internal" && this.entry(at) !== null ? wordIn(painted.words, index) || null :
                                                            null;
  }
  entry(at) {  // the number of the tcache list whose head is there
    var facts = this.scene.facts.tcache.entries;
    for (var table of this.scene.tables.keys()) {
      var n = Math.floor((at - table - facts.offset) / WORD);
      if (n >= 0 && n < facts.number) return n;
    }
    return null;
  }
  whyPrevSize(painted, index) {
    var value = wordIn(painted.words, index);
    return "prev_size: " + (value || "cleared");
  }
  whySize(painted, piece, old, index) {
    var now = wordIn(painted.words, index), was = wordIn(painted.old, index);
    if (piece.lie) return "size: " + hex(was) + " became " + hex(now);
    if (piece.state === "top") return "top: " + piece.size + " bytes left";
    if (old && old.state !== "top") {
      if ((now ^ was) === 1n) return "size: P " + (now & 1n ? "set" : "cleared");
      if ((now & ~7n) !== (was & ~7n)) return "size: " + (was & ~7n) + " became " + (now & ~7n);
    }
    return "size: " + hex(now) + " = " + (now & ~7n) +
        [[4n, "A"], [2n, "M"], [1n, "P"]].map(f => now & f[0] ? " + " + f[1] : "").join("");
  }
  whyData(painted, piece, old, first, changes, role) {
    var plain = changes.filter(i => has(["payload", "slack"], role(i - first)[0])),
        count = plain.reduce((sum, i) => sum + difference(painted, i).length, 0);
    var written = plain.some(i => wordIn(painted.words, i)) ?
        count + " byte" + (count > 1 ? "s" : "") + " changed" :
        "zeroed";
    return index => {
      var at = painted.span.base + index * WORD, kind = role(index - first)[0];
      if (kind === "link") return this.whyLink(painted, piece, index, index - first);
      if (kind === "key")
        return this.scene.wordFaults.has(at) ? "key: overwritten" : "key: “already free”";
      if (kind === "prev_size") return this.whyPrevSize(painted, index);
      if (kind === "payload" || kind === "slack") {
        if (this.keysBefore.has(this.scene.to(at)) && !wordIn(painted.words, index))
          return "key: cleared";
        return index === plain[0] ? written : null;
      }
      if (kind === "stale" && has(FREE, piece.state))
        return old && has(FREE, old.state) ? "written after free" : null;
      return piece.state === "tcache table" ? this.whyTable(painted, index) : null;
    };
  }
  whyLink(painted, piece, index, n) {
    var target = this.target(painted, index, "link"), label = this.label(target),
        name = has(BINNED, piece.state) ? ["fd", "bk", "fd_nextsize", "bk_nextsize"][n] : "link";
    return name + " → " + (label === null ? hex(target) + ", no block" : label);
  }
  label(target) {
    var at = Number(target), arena = this.scene.arena;
    if (this.labels.has(at)) return this.labels.get(at);
    var index = arena && this.scene.binAt(at - this.scene.to(arena.base) + arena.base);
    return index == null ? null : binName(this.scene.facts.bins, index);
  }
  whyTable(painted, index) {
    var at = painted.span.base + index * WORD, facts = this.scene.facts.tcache, n = this.entry(at);
    if (n !== null) {
      var target = wordIn(painted.words, index);
      return tcacheName(facts, n) + " → " + (this.label(target) || hex(target));
    }
    for (var table of this.scene.tables.keys()) {
      var first = Math.floor((at - table - facts.counts.offset) / facts.counts.width);
      if (first < 0 || first >= facts.entries.number) continue;
      var bins =
          new Set(difference(painted, index).map(i => first + Math.floor(i / facts.counts.width)));
      return ascending([...bins])
          .filter(i => i < facts.entries.number)
          .slice(0, 4)
          .map(i => tcacheName(facts, i))
          .map(name => name + ": " + (this.counts.get(name) || 0))
          .join(", ");
    }
    return null;
  }
  emit(painted, index, role, chunk, target, payload, why) {
    if ((index + 1) * WORD > painted.region.size) return;  // cut off by the region's end
    var faults = this.scene.wordFaults;
    this.result.push({
      at: painted.region.base + index * WORD,
      value: wordIn(painted.words, index),
      role: role,
      chunk: chunk,
      target: target,
      payload: payload,
      changed: painted.set.has(index) ? difference(painted, index) : [],
      why: why,
      fault: faults.get(painted.span.base + index * WORD) || null
    });
  }
}

// ---- the snapshot (glibc/decode.py)

function decode(reading, before, canon, facts) {
  var scene = new Scene(reading, before, canon, facts), main = reading.main_arena;
  if (main && main[1].length >= facts.arena.size)
    scene.arena = {base: main[0], words: wordsOf(main[1])};
  else if (scene.memory.spans.some(s => s.kind === "heap"))
    scene.notes.push("main_arena was not found: of its free lists only the tcache is shown");
  findTables(scene);
  findLists(scene);
  findChunks(scene);
  judge(scene);
  scene.pieces.forEach(piece => {
    // a freed block that is on no list we know: its link moves with it all the same
    var asked = scene.asked(piece), at = piece.at + HEADER,
        raw = asked && asked.freed != null && !piece.list ? scene.memory.u64(at) : 0n;
    var moved = raw && facts.safe_linking ? canon.protected(raw, at) : null;
    if (moved !== null && !scene.fixed.has(at)) scene.fixed.set(at, moved);
  });
  var painted = new Map(scene.memory.spans.map(span => [span.base, paint(scene, span)]));
  return {
    glibc: reading.glibc,
    arch: reading.arch || "x86-64",
    regions: [...painted.values()].map(p => p.region).sort((a, b) => a.base - b.base),
    words: new Painter(scene, painted).words(),
    chunks: scene.pieces
                .map(p => ({
                       at: scene.to(p.at),
                       size: p.size,
                       flags: p.flags,
                       state: p.state,
                       requested: p.requested,
                       usable: p.usable,
                       name: p.name,
                       free_list: p.list,
                       claims: p.lie ? scene.value(p.at + WORD, p.word) & ~7n : null,
                       label: p.label
                     }))
                .sort((a, b) => a.at - b.at),
    lists: scene.lists.filter(f => f.entries.length || f.broken || f.count)
               .map(f => freeList(scene, f)),
    pointers: (reading.pointers || []).map(p => pointer(scene, p)),
    events: (reading.events || []).map(e => event(scene, e)),
    faults: scene.faults.sort((a, b) => a.at - b.at || (a.text < b.text ? -1 : 1)),
    stop: reading.stop || null,
    note: scene.notes.join("; ") || null
  };
}
function freeList(scene, found) {
  var fault = null, at = x => scene.wordFaults.get(Math.floor(x / WORD) * WORD);
  if (found.broken)
    fault = at(found.broken.slot);
  else if (found.countAt !== null && found.count !== found.entries.length)
    fault = at(found.countAt);
  else if (found.wrong.length)
    fault = at(found.wrong[0][0]);
  return {
    name: found.name,
    kind: found.kind,
    size: found.size,
    count: found.count,
    fault: fault,
    links: found.entries.map(e => ({
                               at: scene.to(e.at),
                               chunk: scene.to(e.chunk),
                               raw: scene.fixed.get(e.slot),
                               target: scene.targets.get(e.slot),
                               protected: found.protected,
                               name: scene.names.get(e.chunk + HEADER)
                             }))
  };
}
function pointer(scene, raw) {
  var canon = scene.canon, value = raw.value, out = {
    name: raw.name,
    type: raw.type || null,
    state: raw.state || "value",
    heap: "none",
    text: raw.text
  };
  if (value == null)
    return Object.assign(out, {state: raw.state || (raw.text == null ? "unset" : "value")});
  var moved = canon.anywhere(value), piece = scene.holding(value), gone = canon.gone(Number(value)),
      state = "ok", heap = "c";
  if (!value) {
    state = "null";
    heap = "none";
  } else if (piece) {
    out.to = scene.to(piece.at);
    if (!has(["in use", "mmapped", "folded", "tcache table"], piece.state) ||
        dangled(scene, raw, moved))
      state = "dangling";
  } else if (gone)
    state = "dangling";
  else if (!scene.memory.span(Number(value))) {
    state = "value";
    heap = "none";
  }
  return Object.assign(
      out, {value: moved === null ? value : moved, state: raw.state || state, heap: heap});
}
function dangled(scene, raw, moved) {  // since before its block was given to somebody else
  var was = scene.before && scene.before.pointers.find(p => p.name === raw.name);
  if (!was || was.state !== "dangling" || was.value !== moved) return false;
  var given = new RegExp("(?<![\\w.>])" + raw.name.replace(/[^\w]/g, "\\$&") + "\\s*:?=(?!=)");
  return !(scene.reading.events || []).some(e => e.result === raw.value && given.test(e.text));
}
function event(scene, given) {
  var canon = scene.canon, chunk = given.chunk != null ? given.chunk : given.result,
      args = given.args || [];
  if (chunk == null && has(["free", "realloc"], given.kind) && args.length) chunk = args[0];
  var piece = chunk == null ? null : scene.holding(chunk), move = x => {
    var moved = canon.anywhere(x);
    return moved === null ? x : moved;
  };
  return {
    kind: given.kind,
    text: given.text,
    args: args.map(x => x > 65536 ? move(x) : x),
    result: given.result == null ? null : move(given.result),
    errno: given.errno,
    chunk: !piece || piece.state === "top" ? null : scene.to(piece.at),
    note: given.note
  };
}

// ---- the JSON of a film (model/codec.py, model/film.py)

var ADDRESSES = ["at", "chunk", "claims", "target", "raw", "value", "to", "result", "base"];
function form(item, skip) {  // without what has its usual value
  var out = {};
  for (var key in item) {
    var x = item[key];
    if (x == null || has(skip || [], key) || (Array.isArray(x) && !x.length && key !== "links") ||
        (key === "usable" && !x))
      continue;
    if (key === "links")
      out[key] = x.map(l => form(l));
    else if (Array.isArray(x))
      out[key] = x.map(plain);
    else
      out[key] = has(ADDRESSES, key) ? hex(x) : plain(x);
  }
  return out;
}
function plain(x) {
  return typeof x === "bigint" || (typeof x === "number" && Math.abs(x) >= SAFE) ?
      (x < SAFE && x > -SAFE ? Number(x) : hex(BigInt(x))) :
      x;
}
function pointerForm(p) {
  var out = form(p);
  if (p.state === "ok") delete out.state;
  if (p.heap === "c") delete out.heap;
  return out;
}
function runs(now, old) {
  var out = [], start = null;
  for (var i = 0; i <= now.length; i++) {
    if (i < now.length && now[i] !== wordIn(old, i)) {
      if (start === null) start = i;
      continue;
    }
    if (start === null) continue;
    var part = now.slice(start, i), alike = part.length > 2 && part.every(w => w === part[0]);
    out.push(alike ? [start * WORD, hexOf([part[0]]), part.length] : [start * WORD, hexOf(part)]);
    start = null;
  }
  return out;
}
function frame(shot, before) {  // what changed since the frame before
  var out = {}, old = before || {
    lists: [],
    pointers: [],
    faults: [],
    regions: [],
    glibc: "",
    arch: "",
    note: null,
    stop: null,
    forms: {chunks: new Map(), words: new Map()}
  };
  ["glibc", "arch", "note"].forEach(k => {
    if (shot[k] !== old[k]) out[k] = shot[k];
  });
  [["lists", form], ["pointers", pointerForm], ["faults", form]].forEach(k => {
    var now = shot[k[0]].map(x => k[1](x)), was = old[k[0]].map(x => k[1](x));
    if (!same(now, was)) out[k[0]] = now;
  });
  if (!same(shot.stop, old.stop)) out.stop = shot.stop;
  if (shot.events.length) out.events = shot.events.map(e => form(e));
  var meta = list =>
      list.map(r => ({name: r.name, base: hex(r.base), size: r.size, data: r.words.length * WORD}));
  if (!same(meta(shot.regions), meta(old.regions))) out.regions = meta(shot.regions);
  shot.regions.forEach(r => {
    var was = old.regions.find(o => o.base === r.base), part = runs(r.words, was ? was.words : []);
    if (part.length) (out.bytes = out.bytes || {})[hex(r.base)] = part;
  });
  shot.forms = {};
  ["chunks", "words"].forEach(kind => {
    var known = old.forms[kind], now = shot.forms[kind] = new Map(shot[kind].map(x => {
                                   var made = form(x, ["value", "changed", "why"]);
                                   return [x.at, [made, JSON.stringify(made) + (x.value || "")]];
                                 })),
        part = {};
    var set = [...now]
                  .filter(x => !known.has(x[0]) || known.get(x[0])[1] !== x[1][1])
                  .map(x => x[1][0]),
        drop = ascending([...known.keys()].filter(at => !now.has(at))).map(hex);
    if (set.length) part.set = set;
    if (drop.length) part.drop = drop;
    if (set.length || drop.length) out[kind] = part;
  });
  var changes = shot.words.filter(w => w.changed.length || w.why)
                    .map(
                        w => w.why ? {at: hex(w.at), bytes: w.changed, why: w.why} :
                                     {at: hex(w.at), bytes: w.changed});
  if (changes.length) out.changes = changes;
  return out;
}

class Reel {  // takes readings one after another and makes the film of them
  constructor(facts) {
    this.facts = facts;
    this.canon = new Canon();
    this.shots = [];
    this.frames = [];
    this.lives = new Map();
    this.at = new Map();
  }
  add(reading) {
    var before = last(this.shots) || null, shot = decode(reading, before, this.canon, this.facts);
    this.shots.push(shot);
    this.frames.push(frame(shot, before));
    this.live(reading, shot);
    this.mark(shot, before);
    return shot;
  }
  live(reading, shot) {
    var number = this.shots.length - 1, chunks = new Map(shot.chunks.map(c => [c.at, c])),
        end = order => {
          var life = this.lives.get(order);
          if (life && life.died == null) life.died = number;
        };
    [...reading.blocks].sort((a, b) => a[1].call - b[1].call).forEach(x => {
      var user = x[0], asked = x[1], order = asked.order, old = this.at.get(user),
          moved = this.canon.anywhere(user - HEADER), at = moved === null ? user - HEADER : moved,
          chunk = chunks.get(at), life = this.lives.get(order);
      var place = {
        frame: number,
        at: at,
        size: chunk ? chunk.size : (asked.requested || 0) + WORD,
        requested: asked.requested
      };
      if (old !== undefined && old !== order) end(old);
      this.at.set(user, order);
      if (!life)
        this.lives.set(order, life = {
          name: (chunk && chunk.name) || asked.name || "?",
          born: number,
          died: null,
          places: [place],
          marks: []
        });
      if (asked.freed != null) return end(order);
      if (chunk && chunk.name) life.name = chunk.name;
      if (last(life.places).at !== at || last(life.places).requested !== asked.requested)
        life.places.push(place);
    });
  }
  mark(shot, before) {  // faults that are new, on the lanes of the blocks they concern
    var number = this.shots.length - 1,
        latest = new Map([...this.lives.values()].map(life => [last(life.places).at, life]));
    shot.faults.forEach(f => {
      var life = f.chunk !== null && latest.get(f.chunk);
      if (life && !(before && before.faults.some(o => o.at === f.at && o.text === f.text)))
        life.marks.push({frame: number, text: f.text});
    });
    shot.events.forEach(e => {
      var life = e.kind === "fault" && latest.get(e.chunk);
      if (life) life.marks.push({frame: number, text: e.text});
    });
  }
  film(title, caption) {
    return {
      heapscope_film: 1,
      title: title || "",
      language: "calls",
      file: "",
      caption: caption || "",
      source: [],
      source_ends: false,
      frames: this.frames,
      blocks: [...this.lives.values()].map(
          b => form(Object.assign({}, b, {places: b.places.map(p => form(p))})))
    };
  }
}

window.heapscopeDecoder = {
  Canon: Canon,
  Reel: Reel,
  decode: decode,
  frame: frame,
  letter: letter,
  free: FREE,
  noBlocks: NO_BLOCKS,
  binned: BINNED
};
})();
