/* <heap-playground preset="…">: glibc's own malloc, called by the reader. Every call is a frame of
   a film that <heap-film> draws; the calls themselves are the only state, and going back replays
   them. Needs decoder.js, film.js and window.heapscopePlayground (playground-wasm.js). */
(function() {
"use strict";
if (!window.customElements || customElements.get("heap-playground")) return;

var MOST_CALLS = 400, MOST_TEXT = 40000, MOST_BYTES = 64 * 2 ** 20, WHOLE = 2 ** 20, SLICE = 14,
    HEADER = 16;
var ABOUT = window.heapscopePlayground || {missing: "The playground’s script is not there."},
    PRESETS = ABOUT.presets || {}, D = window.heapscopeDecoder;

// ---- small tools

function h(tag, given) {
  var dot = tag.split("."), node = document.createElement(dot[0]);
  if (dot.length > 1) node.className = dot.slice(1).join(" ");
  for (var key in given)
    if (given[key] != null && given[key] !== false)
      node.setAttribute(key, given[key] === true ? "" : given[key]);
  for (var kid of Array.prototype.slice.call(arguments, 2).flat())
    if (kid != null && kid !== false) node.append(kid);
  return node;
}
var NUMBER = new Intl.NumberFormat("en-US");
function big(n) { return NUMBER.format(n); }
function bytes(n) { return big(n) + (n === 1 ? " byte" : " bytes"); }
function hex(n) { return "0x" + n.toString(16); }
function unique(list) { return [...new Set(list)]; }
function renew(
    old,
    fresh) {  // makes a tree like another; what is equal stays, so that it is not laid out again
  if (old.isEqualNode(fresh)) return;
  if (old.nodeName !== fresh.nodeName) return old.replaceWith(fresh);
  if (old.nodeType !== 1) return void (old.data = fresh.data);
  old.getAttributeNames().forEach(name => {
    if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  });
  fresh.getAttributeNames().forEach(name => {
    var value = fresh.getAttribute(name);
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  });
  var had = Array.from(old.childNodes), now = Array.from(fresh.childNodes), from = 0, end = 0,
      most = Math.min(had.length, now.length);
  while (from < most && had[from].isEqualNode(now[from])) from++;
  while (end < most - from && had[had.length - 1 - end].isEqualNode(now[now.length - 1 - end]))
    end++;
  had = had.slice(from, had.length - end);
  now = now.slice(from, now.length - end);
  had.slice(now.length).forEach(kid => {
    kid.remove();
  });
  now.forEach((kid, n) => {
    if (had[n])
      renew(had[n], kid);
    else
      old.insertBefore(kid, old.childNodes[from + n] || null);
  });
}
function last(list) { return list[list.length - 1]; }
function copy(x) { return JSON.parse(JSON.stringify(x)); }

// ---- what is typed: a little C

class Wrong extends Error {
  constructor(text, at, size) {
    super(text);
    this.at = at;
    this.size = size || 1;
  }
}
class Stop extends Error {
  constructor(signal, message) {
    super(message);
    this.signal = signal;
  }
}

var TOKEN =
    /\s+|\/\/[^\n]*|\/\*[^]*?\*\/|(0[xX][0-9a-fA-F]+|\d+)[uUlL]*(?![\w.])|([A-Za-z_]\w*)|("(?:[^"\\\n]|\\.)*")|('(?:[^'\\\n]|\\.[0-9a-fA-F]*)')|(<<=|>>=|->|\+\+|--|<<|>>|[<>=!+\-*\/%&|^]=|&&|\|\||[-+*\/%&|^~!<>=()[\]{},;.?:])/y;
var ESCAPES = {n: 10, t: 9, r: 13, a: 7, b: 8, f: 12, v: 11, e: 27};
var SIZES = {
  char: 1,
  short: 2,
  int: 4,
  long: 8,
  void: 1,
  bool: 1,
  float: 4,
  double: 8,
  size_t: 8,
  ssize_t: 8,
  uintptr_t: 8,
  intptr_t: 8,
  int8_t: 1,
  int16_t: 2,
  int32_t: 4,
  int64_t: 8,
  uint8_t: 1,
  uint16_t: 2,
  uint32_t: 4,
  uint64_t: 8
};
var WORDS = ["unsigned", "signed", "const", "struct"].concat(Object.keys(SIZES));
var BINARY = [
  ["|"], ["^"], ["&"], ["==", "!="], ["<", ">", "<=", ">="], ["<<", ">>"], ["+", "-"],
  ["*", "/", "%"]
];
var CHAR = {base: "char", size: 1, signed: true, star: 0},
    LONG = {base: "long", size: 8, signed: true, star: 0},
    TEXT = {base: "char", size: 1, signed: true, star: 1};
var NOT = {
  if: "conditions",
  for: "loops",
  while: "loops",
  do: "loops",
  return: "functions",
  printf: "printf",
  puts: "printf",
  switch: "conditions",
  goto: "jumps",
  struct: "structs",
  float: "floating point",
  double: "floating point"
};

function tokens(text) {
  var out = [], at = 0, fresh = true;
  TOKEN.lastIndex = 0;
  while (at < text.length) {
    TOKEN.lastIndex = at;
    var m = TOKEN.exec(text);
    if (!m) {
      var one = text[at];
      throw new Wrong(
          one === "\"" || one === "'" ?
              "this " + (one === "'" ? "character" : "text") + " does not end on its line" :
              /\d/.test(one) ?
              "this is no number that C knows" :
              "“" + String.fromCodePoint(text.codePointAt(at)) + "” has no meaning here",
          at);
    }
    if (m[1] || m[2] || m[3] || m[4] || m[5]) {
      out.push({
        kind: m[1] ? "number" :
            m[2]   ? "name" :
            m[3]   ? "text" :
            m[4]   ? "char" :
                     m[5],
        text: m[1] || m[0],
        at: at,
        end: TOKEN.lastIndex,
        fresh: fresh
      });
      fresh = false;
    } else if (m[0].indexOf("\n") >= 0)
      fresh = true;
    at = TOKEN.lastIndex;
  }
  out.push({kind: "end", text: "the end", at: text.length, end: text.length, fresh: true});
  return out;
}
function unescape(body, at) {
  var out = [];
  for (var i = 0; i < body.length; i++) {
    if (body[i] !== "\\") {
      out.push(...new TextEncoder().encode(String.fromCodePoint(body.codePointAt(i))));
      if (body.codePointAt(i) > 65535) i++;
      continue;
    }
    var number = /^(?:x([0-9a-fA-F]{1,2})|([0-7]{1,3}))/.exec(body.slice(++i));
    if (number) {
      out.push(parseInt(number[1] || number[2], number[1] ? 16 : 8) & 255);
      i += number[0].length - 1;
    } else if (body[i] in ESCAPES)
      out.push(ESCAPES[body[i]]);
    else if (/[\\'"?]/.test(body[i]))
      out.push(body.charCodeAt(i));
    else
      throw new Wrong("C has no \\" + body[i], at + i);
  }
  return out;
}
function pointee(type) {
  return type.star > 1 ?
      {
        base: type.base,
        size: 8,
        signed: false,
        star: type.star - 1,
        inner: type.inner || type.size
      } :
      {base: type.base, size: type.inner || type.size, signed: type.signed, star: 0};
}
function leads(x) { return x.led || x.t.star > 0; }  // an address, or a number made of one
function width(type) { return type.star ? 8 : type.size; }
function fit(value, type) {
  return type.star ? BigInt.asUintN(64, value) :
      type.signed  ? BigInt.asIntN(8 * type.size, value) :
                     BigInt.asUintN(8 * type.size, value);
}
function typeName(type) {
  return type.base +
      (type.star ? " " +
               "*".repeat(type.star) :
                   "");
}

class Parser {  // statements, each with a function that does it
  constructor(text) {
    if (text.length > MOST_TEXT)
      throw new Wrong(
          "this is " + big(text.length) + " characters long; the page reads " + big(MOST_TEXT) +
              " at a time",
          0);
    this.text = text;
    this.list = tokens(text);
    this.n = 0;
    this.deep = 0;
  }
  get now() { return this.list[this.n]; }
  is(kind) { return this.now.kind === kind && !(this.now.fresh && this.started); }
  take(kind) {
    if (!this.is(kind)) return null;
    this.started = true;
    return this.list[this.n++];
  }
  need(kind, after) {
    var t = this.take(kind);
    if (!t)
      this.fail(
          "“" + kind + "” is missing " + after,
          this.now.fresh && this.n ? this.list[this.n - 1].end : this.now.at);
    return t;
  }
  fail(text, at) {
    throw new Wrong(
        text, at === undefined ? this.now.at : at, Math.max(1, this.now.end - this.now.at));
  }
  statements() {
    var out = [];
    while (this.now.kind !== "end") {
      if (this.now.kind === ";") {
        this.n++;
        continue;
      }
      this.started = false;
      var at = this.now.at, run = this.statement(), end = this.list[this.n - 1].end;
      if (this.now.kind !== ";" && this.now.kind !== "end" && !this.now.fresh)
        this.fail(
            this.now.kind === "," ? "one statement at a time: separate them by ; or a new line" :
                                    "“" + this.now.text +
                    "” is not expected here: statements are separated by ; or a new line");
      if (run) out.push({at: at, text: this.text.slice(at, end).replace(/\s+/g, " "), run: run});
    }
    return out;
  }
  type() {  // null where none begins here
    var words = [], at = this.n;
    while (this.is("name") && WORDS.includes(this.now.text)) {
      if (["struct", "float", "double"].includes(this.now.text))
        this.fail(
            NOT[this.now.text] +
            " are not known here: char, short, int, long and pointers to them are");
      words.push(this.take("name").text);
    }
    if (!words.length) return null;
    var star = 0, base = words.filter(w => w !== "const");
    while (this.take("*")) {
      star++;
      while (this.is("name") && this.now.text === "const") this.take("name");
    }
    var name = base.filter(w => w !== "signed").join(" "),
        size = Math.max(...base.map(w => SIZES[w] || 0)) || 4;
    if (base.includes("short")) size = 2;
    if (!base.length) this.fail("a type is missing", this.list[at].at);
    var signed = !base.includes("unsigned") && !/^u|^size_t/.test(name);
    return {base: name, size: size, signed: signed, star: star};
  }
  statement() {
    var word = this.now.kind === "name" ? this.now.text : "", here = this.now;
    if (word in NOT)
      this.fail(
          NOT[word] +
          " are not known here: one call or one assignment at a time".replace(
              "are", NOT[word] === "printf" || NOT[word] === "floating point" ? "is" : "are"));
    if (here.kind === "{" || here.kind === "}")
      this.fail("blocks of statements are not known here: write the calls one after another");
    var type = this.type(), name, right;
    if (type) {
      name = this.is("name") && this.take("name");
      if (!name) this.fail("the name of the variable is missing after " + typeName(type));
      if (this.is("["))
        this.fail("arrays live on the stack, and this page has a heap only: malloc one");
      if (!this.take("=")) {
        while (this.take(",")) {
          while (this.take("*"));
          this.need("name", "after the comma");
        }
        return m => {
          m.declare(name.text, type);
          return false;
        };
      }
      right = this.expression(0);
      return m => {
        m.set(name.text, right.get(m), type, name.at);
      };
    }
    var left = this.expression(0), op = this.now,
        sign = ["=", "+=", "-=", "*=", "/=", "|=", "&=", "^=", "++", "--", "<<=", ">>="].includes(
                   op.kind) &&
            !op.fresh ?
        op.kind :
        "";
    if (!sign)
      return m => {
        left.get(m);
      };
    this.n++;
    if (!left.name && !left.place)
      this.fail(
          "nothing can be stored here: a variable, a[0] or *p can stand on the left of =", here.at);
    right = /^(\+\+|--)$/.test(sign) ? {get: () => ({v: 1n, t: LONG})} : this.expression(0);
    var value = sign === "=" ? m => right.get(m) :
                               m => m.compute(
                                   sign.replace("=", "")[0] + (sign.length > 2 ? sign[1] : ""),
                                   left.get(m), right.get(m), op.at);
    if (/^(\+\+|--)$/.test(sign)) value = m => m.compute(sign[0], left.get(m), right.get(m), op.at);
    if (left.name)
      return m => {
        m.set(left.name, value(m), null, here.at);
      };
    return m => {
      var v = value(m), p = left.place(m);
      m.store(p.at, fit(v.v, p.t), width(p.t), leads(v));
      m.say("write");
    };
  }
  expression(level) {
    if (++this.deep > 200) this.fail("this is nested too deeply");
    var left = level === BINARY.length ? this.unary() : this.expression(level + 1);
    while (level < BINARY.length && BINARY[level].includes(this.now.kind) && !(this.now.fresh)) {
      let op = this.list[this.n++], a = left, b = this.expression(level + 1);
      left = {get: m => m.compute(op.kind, a.get(m), b.get(m), op.at)};
    }
    if (level === 0 && ["&&", "||", "?"].includes(this.now.kind))
      this.fail("conditions are not known here");
    this.deep--;
    return left;
  }
  unary() {
    var op = this.now, a, type;
    if (["-", "~", "!", "+"].includes(op.kind)) {
      this.take(op.kind);
      a = this.unary();
      return {
        get: m => {
          var x = a.get(m);
          return {
            v: op.kind === "-"  ? -x.v :
                op.kind === "~" ? ~x.v :
                op.kind === "!" ? (x.v ? 0n : 1n) :
                                  x.v,
            t: LONG
          };
        }
      };
    }
    if (this.take("*")) {
      a = this.unary();
      return this.lvalue(m => m.at(a.get(m), 0n, op.at));
    }
    if (this.take("&")) {
      a = this.unary();
      if (!a.place) this.fail("only a byte of a block has an address here: &a[8]", op.at);
      return {
        get: m => {
          var p = a.place(m);
          return {
            v: p.at,
            t: {
              base: p.t.base,
              size: p.t.size,
              signed: p.t.signed,
              star: p.t.star + 1,
              inner: p.t.inner
            }
          };
        }
      };
    }
    if (this.is("(")) {
      var back = this.n;
      this.take("(");
      type = this.type();
      if (type) {
        this.need(")", "after the type");
        a = this.unary();
        return {
          get: m => {
            var x = a.get(m);
            return {v: fit(x.v, type), t: type, led: leads(x)};
          }
        };
      }
      this.n = back;
    }
    return this.postfix();
  }
  lvalue(place) {
    return {
      place: place,
      get: m => {
        var p = place(m);
        return {v: m.load(p.at, p.t), t: p.t, led: width(p.t) === 8};
      }
    };
  }
  postfix() {
    var a = this.primary();
    for (;;) {
      var open = this.now;
      if (open.fresh || !["[", "(", ".", "->"].includes(open.kind)) return a;
      if (open.kind === ".") this.fail("structs are not known here");
      if (open.kind === "->")
        this.fail("structs are not known here: *(long *)(a + 8) is the word 8 bytes on");
      if (open.kind === "(") this.fail("this is no function");
      this.take("[");
      let base = a, index = this.expression(0);
      this.need("]", "after the index");
      a = this.lvalue(m => m.at(base.get(m), index.get(m).v, open.at));
    }
  }
  primary() {
    var t = this.now, a;
    if (t.fresh && this.started)
      this.fail("the statement ends too early", this.list[this.n - 1].end);
    this.started = true;
    if (t.kind === "number") {
      this.n++;
      var number = BigInt(
          /^0[0-7]+$/.test(t.text) ? "0o" + t.text.slice(1) :
              /^0\d/.test(t.text)  ? this.fail("an octal number has no 8 or 9") :
                                     t.text);
      return {
        get: m => {
          var v = m.real(number);
          return {v: v, t: LONG, led: v !== number};
        }
      };
    }
    if (t.kind === "char") {
      this.n++;
      var c = unescape(t.text.slice(1, -1), t.at + 1);
      if (c.length !== 1) this.fail("a character is one byte", t.at);
      return {get: () => ({v: BigInt(c[0]), t: CHAR})};
    }
    if (t.kind === "text") {
      this.n++;
      var text = unescape(t.text.slice(1, -1), t.at + 1);
      return {
        text: text,
        get: () => {
          throw new Wrong(
              "a text can be copied by strcpy, memcpy or strdup only: the page has no other memory for it",
              t.at, t.text.length);
        }
      };
    }
    if (this.take("(")) {
      a = this.expression(0);
      this.need(")", "here");
      return a;
    }
    if (t.kind === "end" || t.kind === ";")
      this.fail(
          "something is missing here",
          t.kind === "end" && this.n ? this.list[this.n - 1].end : t.at);
    if (t.kind !== "name") this.fail("“" + t.text + "” is not expected here");
    this.n++;
    if (t.text === "sizeof") {
      this.need("(", "after sizeof");
      var type = this.type(), inner = type ? null : this.expression(0);
      this.need(")", "after sizeof");
      return {get: m => ({v: BigInt(width(type || m.typeOf(inner))), t: LONG})};
    }
    if (t.text === "NULL") return {get: () => ({v: 0n, t: TEXT})};
    if (t.text in SETTINGS) return {get: () => ({v: BigInt(SETTINGS[t.text]), t: LONG})};
    if (!this.is("(")) {
      if (t.text in CALLS)
        this.fail("the arguments of " + t.text + " are missing: " + CALLS[t.text][0], t.end);
      return {name: t.text, get: m => m.get(t.text, t.at)};
    }
    this.take("(");
    var args = [];
    if (!this.is(")")) do
        args.push(Object.assign(this.expression(0), {where: this.now.at}));
      while (this.take(","));
    this.need(")", "after the arguments of " + t.text);
    var call = Object.prototype.hasOwnProperty.call(CALLS, t.text) ? CALLS[t.text] : null;
    if (!call)
      this.fail(
          t.text in NOT ? NOT[t.text] + " is not known here: the picture shows what is there" :
                          t.text + " is not known here. There are " + Object.keys(CALLS).join(", "),
          t.at);
    if (call.length - 2 !== args.length)
      this.fail(
          t.text + " takes " + (call.length - 2) +
              (call.length === 3 ? " argument" : " arguments") + ", not " + args.length + ": " +
              call[0],
          t.at);
    args.forEach((x, i) => {
      if (x.text && !(call[i + 2] === "text")) this.fail("a text cannot stand here", t.at);
    });
    return {get: m => m.sizing ? {v: 0n, t: LONG} : call[1](m, t, ...args)};
  }
}

// how each is written, what it does, its arguments
var SETTINGS =
    {M_MXFAST: 1, M_TRIM_THRESHOLD: -1, M_TOP_PAD: -2, M_MMAP_THRESHOLD: -3, M_MMAP_MAX: -4};
function made(m, name, args, block) { return m.call(name, args, block); }
var CALLS = {
    malloc: ["malloc(24)", (m, t, n) => made(m, "malloc", [n.get(m).v]), "n"],
    calloc: ["calloc(4, 8)", (m, t, n, s) => made(m, "calloc", [n.get(m).v, s.get(m).v]), "n", "n"],
    realloc: ["realloc(a, 100)", (m, t, p, n) => made(m, "realloc", [p.get(m).v, n.get(m).v], true), "p", "n"],
    free: ["free(a)", (m, t, p) => made(m, "free", [p.get(m).v], true), "p"],
    aligned_alloc: ["aligned_alloc(64, 128)", (m, t, a, n) => made(m, "aligned_alloc", [a.get(m).v, n.get(m).v]), "n", "n"],
    memalign: ["memalign(64, 100)", (m, t, a, n) => made(m, "memalign", [a.get(m).v, n.get(m).v]), "n", "n"],
    strdup: ["strdup(\"hi\")", (m, t, s) => { var text = m.text(s), out = made(m, "malloc", [BigInt(text.length + 1)]); if (out.v) m.copied(out.v, text); return out; }, "text"],
    malloc_usable_size: ["malloc_usable_size(a)", (m, t, p) => m.ask("malloc_usable_size", [p.get(m).v]), "p"],
    malloc_trim: ["malloc_trim(0)", (m, t, n) => m.ask("malloc_trim", [n.get(m).v]), "n"],
    mallopt: ["mallopt(M_MMAP_THRESHOLD, 65536)", (m, t, k, v) => m.ask("mallopt", [Number(BigInt.asIntN(32, k.get(m).v)), Number(BigInt.asIntN(32, v.get(m).v))]), "n", "n"],
    memset: ["memset(a, 'A', 24)", (m, t, p, c, n) => { var at = p.get(m), byte = Number(c.get(m).v & 255n); m.fill(at.v, byte, n.get(m).v); m.say("write"); return at; }, "p", "n", "n"],
    memcpy: ["memcpy(b, a, 24)", (m, t, to, from, n) => m.move(to, from, n), "p", "text", "n"],
    memmove: ["memmove(b, a, 24)", (m, t, to, from, n) => m.move(to, from, n), "p", "text", "n"],
    strcpy: ["strcpy(a, \"hi\")", (m, t, to, from) => { var at = to.get(m); m.copied(at.v, m.text(from)); m.say("write"); return at; }, "p", "text"],
    strcat: ["strcat(a, \"!\")", (m, t, to, from) => { var at = to.get(m); m.copied(at.v + BigInt(m.chars(at.v).length), m.text(from)); m.say("write"); return at; }, "p", "text"],
    strlen: ["strlen(a)", (m, t, s) => ({ v: BigInt(m.text(s).length), t: LONG }), "text"]
  };

// ---- the machine: one instance of the module, variables, and the calls that were seen

class Machine {
  constructor(module) {
    this.c = new WebAssembly.Instance(module, {}).exports;
    this.variables = new Map();
    this.blocks = new Map();
    this.calls = 0;
    this.order = 0;
    this.high = 0;
    this.plain = new Map();
    this.reel = null;
    this.events = [];
  }
  get memory() { return new Uint8Array(this.c.memory.buffer); }
  // numbers: an address as the page shows it becomes the real one
  real(number) {
    for (var r of this.reel ? this.reel.canon.live : []) {
      var size = r.end - r.base, n = Number(number);
      if (r.to <= n && n < r.to + size) return BigInt(n - r.to + r.base);
      if (r.kind === "heap" && Math.floor(r.to / 4096) <= n && n < Math.floor((r.to + size) / 4096))
        return BigInt(n - Math.floor(r.to / 4096) + Math.floor(r.base / 4096));
    }
    return number;
  }
  typeOf(expression) {  // as sizeof asks: nothing is read, and nothing is called
    this.sizing = true;
    try {
      return expression.get(this).t;
    } finally {
      this.sizing = false;
    }
  }
  get(name, at) {
    var v = this.variables.get(name);
    if (!v)
      throw new Wrong(
          name + " is not known yet: " + name + " = malloc(24) makes a block of that name", at,
          name.length);
    if (v.v === null && this.sizing) return {v: 0n, t: v.t};
    if (v.v === null) throw new Wrong(name + " has no value yet", at, name.length);
    return v;
  }
  declare(name, type) { this.variables.set(name, {v: null, t: type}); }
  set(name, value, type, at) {
    if (name in CALLS || WORDS.includes(name))
      throw new Wrong(name + " is taken: choose another name for the variable", at, name.length);
    var old = this.variables.get(name),
        t = type || (old && (old.t.star > 0) === (value.t.star > 0) ? old.t : value.t);
    if (!type && (!old || !old.t.star) && t.star && t.base === "void") t = TEXT;
    if (!t.star && !type && !old) t = LONG;
    this.variables.set(name, {v: fit(value.v, t), t: t, led: leads(value)});
    var block = t.star && this.blocks.get(Number(fit(value.v, t)));
    if (!block || block.freed != null) return;
    var holder = block.name && this.variables.get(block.name);
    if (!holder || holder.v !== value.v) block.name = name;
    // The block that the variable held goes by another variable, or by its letter from now on.
    for (var [user, other] of this.blocks)
      if (other !== block && other.name === name)
        other.name =
            ([...this.variables].find(v => v[1].t.star && Number(v[1].v) === user) || [null])[0];
  }
  compute(op, a, b, at) {
    var x = a.v, y = b.v, t = LONG, v;
    if ((op === "/" || op === "%") && !y) throw new Wrong("a division by zero", at);
    if ((op === "<<" || op === ">>") && (y < 0n || y > 63n))
      throw new Wrong("a shift goes from 0 to 63", at, 2);
    if (op === "+" || op === "-") {
      if (a.t.star && b.t.star) {
        if (op === "+") throw new Wrong("two pointers cannot be added", at);
        v = (x - y) / BigInt(width(pointee(a.t)));
        return {v: v, t: LONG};
      }
      if (a.t.star) {
        y *= BigInt(width(pointee(a.t)));
        t = a.t;
      } else if (b.t.star && op === "+") {
        x *= BigInt(width(pointee(b.t)));
        t = b.t;
      }
    }
    switch (op) {
      case "+":
        v = x + y;
        break;
      case "-":
        v = x - y;
        break;
      case "*":
        v = x * y;
        break;
      case "/":
        v = x / y;
        break;
      case "%":
        v = x % y;
        break;
      case "&":
        v = x & y;
        break;
      case "|":
        v = x | y;
        break;
      case "^":
        v = x ^ y;
        break;
      case "<<":
        v = x << y;
        break;
      case ">>":
        v = x >> y;
        break;
      default:
        v = {"==": x === y, "!=": x !== y, "<": x < y, ">": x > y, "<=": x <= y, ">=": x >= y}[op] ?
            1n :
            0n;
    }
    return {v: fit(v, t), t: t, led: leads(a) || leads(b)};
  }
  at(base, index, where) {
    if (!base.t.star)
      throw new Wrong("this is a number, no pointer: *(char *)… reads a byte there", where);
    var t = pointee(base.t);
    return {at: BigInt.asUintN(64, base.v + index * BigInt(width(t))), t: t};
  }
  // memory: what is not the heap's belongs to nobody
  mapped(at, size) {
    var start = this.c.heap_start(), ranges = [[start, this.c.heap_end()]].concat(this.mappings());
    if (!ranges.some(r => r[0] <= at && at + BigInt(size) <= r[1]))
      throw new Stop(
          "SIGSEGV",
          "Segmentation fault: " +
              (at ? "no memory at " + hex(this.shown(at)) : "NULL leads to no memory"));
  }
  shown(at) {
    var moved = this.reel ? this.reel.canon.anywhere(Number(at)) : null;
    return moved === null ? at : moved;
  }
  mappings() {
    var out = [], n = Number(this.c.mappings_count()), table = Number(this.c.mappings()),
        view = new DataView(this.c.memory.buffer);
    for (var i = 0; i < n; i++) {
      var base = view.getBigUint64(table + 16 * i, true);
      out.push([base, base + view.getBigUint64(table + 16 * i + 8, true)]);
    }
    return out;
  }
  store(at, value, size, led) {
    this.mapped(at, size);
    var data = [], word = BigInt.asUintN(64, value), number = word;
    for (var i = 0; i < size; i++, word >>= 8n) data.push(Number(word & 255n));
    this.memory.set(data, Number(at));
    if (size === 8 && number < 2n ** 32n && !led)
      this.plain.set(Number(at), number);
    else
      this.plain.delete(Number(at) - Number(at) % 8);
  }
  load(at, type) {
    if (this.sizing) return 0n;
    this.mapped(at, width(type));
    var value = 0n, memory = this.memory;
    for (var i = width(type) - 1; i >= 0; i--) value = value << 8n | BigInt(memory[Number(at) + i]);
    return fit(value, type);
  }
  write(at, data) {
    if (data.length) {
      this.mapped(at, data.length);
      this.memory.set(data, Number(at));
    }
  }
  fill(at, byte, size) {
    if (size <= 0n) return;
    var end = this.reach(at, size);
    this.memory.fill(byte, Number(at), Number(end));
    if (end < at + size) this.mapped(end, 1);  // as far as memory goes, then the fault
  }
  reach(at, size) {
    this.mapped(at, 1);
    var range = [[this.c.heap_start(), this.c.heap_end()]]
                    .concat(this.mappings())
                    .find(r => r[0] <= at && at < r[1]);
    return at + size < range[1] ? at + size : range[1];
  }
  chars(at) {
    var memory = this.memory, end = this.reach(at, 2n ** 40n),
        n = memory.subarray(Number(at), Number(end)).indexOf(0);
    if (n < 0) this.mapped(end, 1);
    return memory.slice(Number(at), Number(at) + n);
  }
  text(node) { return node.text || this.chars(node.get(this).v); }
  copied(at, text) {  // with the zero at its end
    this.write(at, text);
    this.write(at + BigInt(text.length), [0]);
  }
  move(to, from, count) {
    var n = count.get(this).v, at = to.get(this), data;
    if (n <= 0n) return at;
    if (from.text)
      data = from.text.concat(0).slice(0, Number(n));
    else {
      var source = from.get(this).v;
      this.mapped(source, n);
      data = this.memory.slice(Number(source), Number(source + n));
    }
    this.write(at.v, data);
    this.say("write");
    return at;
  }
  say(kind) {
    if (!this.events.some(e => e.kind === kind)) this.events.push({kind: kind});
  }
  // calls
  trapped(error) {
    var at = Number(this.c.fatal()), memory = this.memory, text = "";
    while (at && memory[at]) text += String.fromCharCode(memory[at++]);
    if (!text && !(error instanceof WebAssembly.RuntimeError)) return error;
    if (this.c.endless())
      return new Stop(
          "limit",
          "This call never ends: the list goes round. The page stops it after 30 million steps");
    return text ?
        new Stop("SIGABRT", text) :
        new Stop(
            "SIGSEGV",
            "Segmentation fault inside the allocator: it followed an address where no memory is");
  }
  ask(name, args) {
    var v;
    if (name === "malloc_usable_size" && args[0]) this.mapped(args[0] - 16n, 16);
    try {
      v = this.c[name](...args);
    } catch (error) {
      throw this.trapped(error);
    }
    if (name !== "malloc_usable_size")
      this.events.push({kind: "call", text: name + "(" + args.join(", ") + ")"});
    return {v: BigInt(v), t: LONG};
  }
  call(name, args, takes) {
    var values = args.map(x => BigInt.asUintN(64, x)), result,
        block = takes ? Number(values[0]) : 0,
        size = name === "calloc" ? values[0] * values[1] : last(values);
    var event = {
      kind: name === "memalign" || name === "aligned_alloc" ? "malloc" : name,
      text: name + "(" + values.map((v, i) => takes && !i ? this.nameOf(v) : v).join(", ") + ")",
      args: values.map(Number)
    };
    this.events.push(event);
    try {
      result = this.c[name](...values) || 0n;
    } catch (error) {
      throw this.trapped(error);
    }
    var user = Number(result), old = this.blocks.get(block);
    this.calls++;
    if (name === "free") {
      if (old && old.freed == null) old.freed = this.calls;
      return {v: 0n, t: {base: "void", size: 1, signed: true, star: 0}};
    }
    event.result = user || null;
    if (!user && size) event.errno = "ENOMEM";
    if (name === "realloc" && block) {
      event.note = user ? (user === block ? "same address" : "moved") : null;
      if (!user) {
        if (!size && old) old.freed = this.calls;
        return {v: 0n, t: TEXT};
      }
      if (user !== block) this.blocks.delete(block);
    } else
      old = null;
    if (user)
      this.blocks.set(user, {
        requested: Number(size),
        call: this.calls,
        freed: null,
        name: old ? old.name : null,
        order: old ? old.order : this.order++
      });
    return {v: result, t: {base: "void", size: 1, signed: true, star: 1}};
  }
  nameOf(value) {
    for (var x of this.variables)
      if (x[1].t.star && x[1].v === value) return x[0];
    return value ? hex(this.shown(value)) : "NULL";
  }
  // ---- what the decoder gets
  reading(events, stop) {
    var c = this.c, base = Number(c.heap_start()), end = Number(c.heap_end()),
        at = Number(c.main_arena()), memory = this.memory, maps = [];
    var arena = memory.slice(at, at + Number(c.main_arena_size())),
        top = Number(new DataView(arena.buffer).getBigUint64(this.facts.arena.top, true));
    if (end > base) {
      this.high =
          Math.min(end, Math.max(this.high, top >= base && top < end ? top + 2 * HEADER : end));
      maps.push({base: base, data: memory.slice(base, this.high), kind: "heap", size: end - base});
    }
    this.mappings().forEach(m => {
      var from = Number(m[0]), size = Number(m[1] - m[0]),
          data = memory.subarray(from, from + Math.min(size, WHOLE)), n = data.length;
      while (n && !data[n - 1]) n--;
      maps.push({
        base: from,
        data: data.slice(0, Math.min(data.length, Math.ceil(n / 16) * 16)),
        kind: "mmap",
        size: size
      });
    });
    return {
      glibc: ABOUT.glibc,
      arch: "x86-64",
      mappings: maps,
      main_arena: [at, arena],
      tcache: c.tcache() ? [Number(c.tcache())] : [],
      tcache_count: Number(c.mp_tcache_count()),
      tcache_key: c.tcache_key() || null,
      blocks: new Map([...this.blocks].map(b => [b[0], Object.assign({}, b[1])])),
      plain: this.plain,
      stop: stop,
      events: events,
      pointers: [...this.variables].map(v => {
        var x = v[1], type = x.t.star || x.v === null ? typeName(x.t) : x.t.base;
        return x.t.star ?
            {name: v[0], type: type, value: x.v === null ? null : Number(x.v)} :
            {name: v[0], type: type, value: null, text: x.v === null ? null : String(x.v)};
      })
    };
  }
}

// ---- a run: statements one after another, and the film of them

class Run {
  constructor(module) {
    this.facts = ABOUT.facts;
    this.machine = new Machine(module);
    this.reel = new D.Reel(this.facts);
    this.machine.reel = this.reel;
    this.machine.facts = this.facts;
    this.shown = [];
    this.steps = [];
    this.texts = [];
    this.sum = 0;
    this.ended = null;
    this.frame([], null);
  }
  get full() {
    if (this.ended) return "The program has ended: undo the last call, or start again.";
    if (this.texts.length >= MOST_CALLS)
      return "The page keeps " + MOST_CALLS + " statements; the ones after that were not run.";
    return this.sum > MOST_BYTES ?
        "The film has reached 64 MiB of memory; the statements after that were not run." :
        "";
  }
  frame(events, stop) {
    var reading = this.machine.reading(events, stop), before = last(this.reel.shots),
        shot = this.reel.add(reading);
    this.sum += reading.mappings.reduce((sum, m) => sum + m.data.length, 0);
    this.shown.push(copy(last(this.reel.frames)));
    this.steps.push(story(shot, before));
    if (this.reel.shots.length > 2)
      Object.assign(
          this.reel.shots[this.reel.shots.length - 3], {regions: [], words: [], forms: null});
  }
  do(statement) {  // Wrong where it cannot be run; then nothing was done
    var m = this.machine, stop = null;
    m.events = [];
    try {
      if (statement.run(m) === false) {
        this.texts.push(statement.text);
        this.silent = (this.silent || 0) + 1;
        return;
      }
    } catch (error) {
      if (!(error instanceof Stop)) {
        if (error instanceof Wrong && !m.events.length) throw error;
        throw new Wrong(error.message, error.at || 0);
      }
      stop = error.signal === "limit" ?
          {kind: "limit", message: error.message} :
          {kind: "signal", signal: error.signal, message: error.message};
      this.ended = stop;
    }
    var events = m.events.map(
        e => Object.assign(
            {text: statement.text}, e, m.events.length === 1 ? {text: statement.text} : {}));
    if (!events.length) events = [{kind: "call", text: statement.text}];
    this.texts.push(statement.text);
    this.frame(events, stop);
  }
  form(title) {
    var film = this.reel.film(
        title,
        "glibc " + ABOUT.glibc +
            " · x86-64 layout · run in this page · addresses moved to a fixed base");
    return {
      film: Object.assign({}, film, {frames: this.shown.slice(), blocks: film.blocks}),
      steps: this.steps
    };
  }
  json(title) {
    return Object.assign(this.reel.film(
        title,
        "glibc " + ABOUT.glibc +
            " · x86-64 layout · run in a page as WebAssembly · addresses moved to a fixed base"));
  }
}

// ---- a step in words (views/steps.py says the same of other films)

function story(shot, before) {
  var said = [], old = text => text.split(";")[0].split(": ")[0],
      known = new Set((before ? before.faults : []).map(f => f.at + old(f.text)));
  var faults = shot.faults.filter(f => !known.has(f.at + old(f.text))).map(f => f.text),
      calls = shot.events.filter(e => ["malloc", "calloc", "realloc"].includes(e.kind));
  var regionOf = (s, at) => s.regions.find(r => r.base <= at && at < r.base + r.size);
  var offset = (s, at) => {
    var r = regionOf(s, at);
    return r ? (r === s.regions[0] ? "" : r.name + " ") + "+" + hex(at - r.base) : hex(at);
  };
  var chunkAt = (s, at) => s && s.chunks.find(c => c.at === at || c.at + HEADER === at),
      within = (s, at) => s.chunks.find(c => c.at <= at && at < c.at + c.size);
  var name = (s, c) => c.name || c.label || "block " + offset(s, c.at + HEADER),
      free = c => D.free.includes(c.state);
  var place = (s, c) => {
    var list = s.lists.find(l => l.name === c.free_list),
        n = list ? list.links.findIndex(l => l.chunk === c.at) : -1;
    return n < 0 ? c.free_list || c.state :
                   (["first", "second", "third", "fourth", "fifth", "sixth", "seventh"][n] ||
                    "number " + (n + 1)) +
            " in " + list.name;
  };
  faults.slice(0, 2).forEach(text => {
    said.push(
        (/^(the|a|two) /.test(text) ? text[0].toUpperCase() + text.slice(1) : text)
            .replace(/\.$/, "") +
        ".");
  });
  if (faults.length > 2) said.push(faults.length - 2 + " more words are impossible.");
  function allocated(e) {
    var c = chunkAt(shot, e.result), head = c && c.state === "mmapped" ? 16 : 8;
    if (!e.result)
      return said.push(
          e.kind + " returns NULL" + (e.errno ? " with " + e.errno : "") +
          ": there is no such block.");
    if (!c) return 0;
    said.push(
        name(shot, c) + " is a chunk of " + bytes(c.size) + ": " + head + " for its " +
        (head === 16 ? "header" : "size word") + ", " + big(c.usable) + " to use" +
        (c.requested == null ?
             "" :
             ", " + (c.requested === c.usable ? "all" : big(c.requested)) + " of them asked for") +
        ".");
    if (c.state === "mmapped")
      said.push("It has a mapping of its own, outside the heap.");
    else if (!before || !regionOf(before, c.at + HEADER)) {
      if (regionOf(shot, c.at) === shot.regions[0] && !(before && before.regions.length))
        said.push("For it the kernel gave the heap its first " + bytes(shot.regions[0].size) + ".");
    } else {
      var was = within(before, c.at);
      if (was && free(was))
        said.push(
            was.at === c.at && was.size === c.size ?
                (was.name ? "It is " + was.name + "’s old place, " :
                            "It is a freed block again, ") +
                    place(before, was) + " until now." :
                "It was cut from " + name(before, was) + ", a free chunk of " + bytes(was.size) +
                    ".");
    }
    if (e.kind === "calloc" && c.requested) said.push("All " + big(c.requested) + " are zero.");
  }
  function freed(e) {
    var user = e.args[0], was = before && chunkAt(before, user),
        who = was ? name(before, was) : "the block", c = chunkAt(shot, user);
    if (!user) return said.push("free(NULL) does nothing.");
    if (!regionOf(shot, user))
      return shot.stop || said.push(who + " is gone: its mapping went back to the kernel.");
    if (c && c.at === user - HEADER && free(c)) {
      if (was && free(was) && was.size === c.size) return 0;
      said.push(
          was && c.size > was.size ?
              name(shot, c) + " and its free neighbours are one chunk now: " + bytes(c.size) +
                  ", " + place(shot, c) + "." :
              name(shot, c) + " is free, " + place(shot, c) + ".");
      var own = shot.words.filter(w => w.chunk === c.at),
          kinds =
              unique(own.filter(w => (w.role === "link" || w.role === "key") && w.changed.length)
                         .map(w => w.role));
      return kinds.length &&
          said.push(
              "The allocator wrote its " + kinds.join(" and ") + " into it" +
              (own.some(w => w.role === "stale" && w.value) ?
                   "; the other old bytes are still there." :
                   "."));
    }
    var holder = within(shot, user - HEADER);
    if (holder && holder.state === "top")
      said.push(who + " lay next to top and is part of it now.");
    else if (holder && free(holder) && holder.at < user - HEADER)
      said.push(
          who + " was joined to the free chunk before it: " + name(shot, holder) + ", " +
          bytes(holder.size) + ", " + place(shot, holder) + ".");
  }
  shot.events.forEach(e => {
    if (shot.stop) return;
    if (e.kind === "free") return freed(e);
    if (e.kind !== "realloc") return (e.kind === "malloc" || e.kind === "calloc") && allocated(e);
    var c = e.result && chunkAt(shot, e.result),
        was = before && e.args[0] && chunkAt(before, e.args[0]), who = c && name(shot, c);
    if (!e.result)
      return e.args[1] === 0 ? freed(e) :
                               said.push(
                                   "realloc returns NULL" + (e.errno ? " with " + e.errno : "") +
                                   ": the old block stays as it is.");
    if (!c || !was) return allocated(e);
    if (e.args[0] === e.result)
      return said.push(
          was.size === c.size ?
              who + " stays where it is: its chunk of " + bytes(c.size) + " is enough." :
              who + (c.size > was.size ? " grew" : " shrank") + " in place: its chunk went from " +
                  big(was.size) + " to " + bytes(c.size) + ".");
    said.push(
        who + " moved from " + offset(before, e.args[0]) + " to " + offset(shot, e.result) +
        ", with " + bytes(Math.min(was.requested || was.usable, c.requested || c.usable)) +
        " of content.");
    var left = within(shot, was.at);
    if (left && (free(left) || left.state === "top"))
      said.push(
          free(left) ? "The old place is free, " + place(shot, left) + "." :
                       "The old place is part of top.");
  });
  var used = c => c && !free(c) && !D.noBlocks.includes(c.state),
      lettered = c => /^[A-Z]/.test(c.name);
  (before ? before.chunks : []).forEach(o => {
    var c = shot.chunks.find(c => c.at === o.at);
    if (used(o) && used(c) && o.name && c.name && lettered(c) && !lettered(o))
      said.push("The block that " + o.name + " held before is " + c.name + " now.");
  });
  if (before && !calls.length && !shot.events.some(e => e.kind === "free")) {
    var groups = new Map();
    shot.words.forEach(w => {
      var c = w.changed.length && w.chunk !== null && shot.chunks.find(x => x.at === w.chunk);
      if (c && !D.noBlocks.includes(c.state) && !(w.role === "size" && w.fault))
        groups.set(c, (groups.get(c) || []).concat(w));
    });
    [...groups].slice(0, 3).forEach(g => {
      var c = g[0], count = g[1].reduce((sum, w) => sum + w.changed.length, 0),
          past = g[1].some(
              w => w.role === "slack" ||
                  (w.payload !== null && w.changed.some(i => i >= w.payload)));
      if (g[1].every(w => w.role === "size"))
        said.push(bytes(count) + " of " + name(shot, c) + "’s size word changed.");
      else if (free(c))
        said.push(bytes(count) + " of " + name(shot, c) + " changed, and it is free.");
      else if (past)
        said.push(
            bytes(count) + " of " + name(shot, c) + " changed, some past the " +
            big(c.requested || 0) + " asked for.");
      else
        said.push(
            count === c.requested && count > 1 ?
                "All " + bytes(count) + " that were asked for changed in " + name(shot, c) + "." :
                bytes(count) + " of " + name(shot, c) + " changed.");
    });
  }
  var hung = shot.pointers
                 .filter(
                     p => p.state === "dangling" &&
                         !(before &&
                           before.pointers.some(o => o.name === p.name && o.state === "dangling")))
                 .map(p => p.name);
  if (hung.length)
    said.push(
        hung.join(" and ") +
        (hung.length > 1 ? " still hold the address: they dangle." :
                           " still holds the address: it dangles."));
  if (shot.stop)
    said.unshift(
        shot.stop.signal === "SIGABRT" ?
            "glibc stops the program: " + shot.stop.message.replace(/\.$/, "") + "." :
            shot.stop.message + (shot.stop.signal ? ". The program is stopped by SIGSEGV." : "."));
  var one = calls.length === 1 ? calls[0] : null,
      result = !one || shot.stop ?
      "" :
      one.result ?
      ((chunkAt(shot, one.result) || {}).name ? chunkAt(shot, one.result).name + " at " : "") +
          offset(shot, one.result) :
      one.args[1] === 0 && one.kind === "realloc" ? "" :
                                                    "NULL";
  var call = shot.events.map(e => e.text).join("; ") || "start";
  return [
    call, result,
    unique(said).join(" ") ||
        (before ? "Nothing changes in the heap." : "Before the first call. There is no heap yet."),
    faults.length || shot.stop ? 1 : 0
  ];
}

// ---- the element

var number = 0, compiled = null, module = null, SCRIPT = document.currentScript;
// The smallest module with a 64-bit memory.
var SMALLEST = new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0, 5, 3, 1, 4, 1]);

function ready() {  // a promise; it fails where the browser cannot run the module
  if (!compiled) compiled = compile();
  return compiled;
}
async function compile() {
  if (!WebAssembly.validate(SMALLEST)) throw new Error("no memory64");
  var gzip = new DecompressionStream("gzip"), into = gzip.writable.getWriter();
  into.write(
      Uint8Array.fromBase64 ? Uint8Array.fromBase64(ABOUT.wasm) :
                              Uint8Array.from(atob(ABOUT.wasm), c => c.charCodeAt(0)));
  into.close();  // not through a Blob: another process keeps it
  module = new WebAssembly.Module(await new Response(gzip.readable).arrayBuffer());
}

class HeapPlayground extends HTMLElement {
  connectedCallback() {
    if (this.run || this.built) return;
    if (document.readyState === "loading")
      document.addEventListener("DOMContentLoaded", () => {
        this.start();
      });
    else
      this.start();
  }
  start() {
    if (this.built || !this.isConnected) return;
    this.built = true;
    if (ABOUT.missing || !D)
      this.without(ABOUT.missing || "The playground’s decoder is not there.");
    else
      ready().then(
          () => {
            this.open();
          },
          () => {
            this.without(
                "This browser cannot run the playground: it has no WebAssembly with 64-bit memory (Chrome and Edge have it since version 133, Firefox since 134).");
          });
  }
  without(reason) {  // the text that is there stays
    this.prepend(h("p.hp-no", {role: "note"}, reason));
    this.classList.add("hp-off");
    if (!ABOUT.films) return;
    var script = h("script", {src: new URL(ABOUT.films, SCRIPT.src || location.href).href});
    script.addEventListener("load", () => {
      this.recorded();
    });
    document.head.append(script);
  }
  recorded() {  // the presets as films of real runs
    var films = window.heapscopeFilms || {}, name = this.getAttribute("preset") || "four-functions",
        film = h("heap-film"), about = h("p.hp-about"), menu = h("select"),
        names = this.hasAttribute("full") ? Object.keys(PRESETS).filter(k => films[k]) : [];
    if (!films[name]) return;
    var show = name => {
      var next =
          h("heap-film", {id: "play-" + name},
            h("script", {type: "application/json"}, JSON.stringify(films[name])));
      film.replaceWith(next);
      film = next;
      about.textContent = PRESETS[name].about;
    };
    menu.append(...names.map(k => h("option", {value: k}, PRESETS[k].title)));
    menu.value = name;
    menu.addEventListener("change", () => {
      show(menu.value);
    });
    this.append(
        h("p", {}, "The same calls, recorded from a real run:"),
        names.length ? h("div.hp-top", {}, h("label", {}, "Calls ", menu)) : "", about, film);
    show(name);
  }
  open() {
    if (!this.isConnected) return;
    this.id = this.id || "play-" + (this.getAttribute("preset") || "free") + (number++ || "");
    this.full = !this.hasAttribute("preset") || this.hasAttribute("full");
    var link = this.querySelector("a[href*=playground]");
    this.home = this.full || !link ? location.href.split("#")[0] : link.href.split("#")[0];
    this.replaceChildren();
    this.build();
    var from = this.full ? this.linked() : null;
    this.begin(
        from === null ? this.preset() : from,
        from === null ? this.getAttribute("preset") || "four-functions" : "");
    if (this.full)
      addEventListener("hashchange", this.onhash = () => {
        var text = this.linked();
        if (text !== null && text !== this.run.texts.join("\n")) this.begin(text, "");
      });
  }
  disconnectedCallback() {
    removeEventListener("hashchange", this.onhash);
    this.token = null;
  }
  preset() {
    var name = this.getAttribute("preset");
    return (PRESETS[name] || PRESETS["four-functions"]).calls.join("\n");
  }
  linked() {
    if (location.hash.indexOf("#play=") !== 0) return null;
    try {
      return decodeURIComponent(location.hash.slice(6));
    } catch (_) {
      return null;
    }
  }
  button(label, action, given) {
    var b = h("button", Object.assign({type: "button"}, given), label);
    b.addEventListener("click", () => {
      if (b.getAttribute("aria-disabled") !== "true") action();
    });
    return b;
  }
  build() {
    var id = this.id, self = this;
    this.input = h("textarea.hp-input", {
      id: id + "-in",
      rows: 2,
      spellcheck: "false",
      autocapitalize: "off",
      autocomplete: "off",
      "aria-describedby": id + "-hint " + id + "-err",
      placeholder: "c = malloc(40); memset(c, 'C', 40)"
    });
    this.input.addEventListener("keydown", e => {
      if (e.key === "Enter" && !e.shiftKey && !e.isComposing) {
        e.preventDefault();
        this.submit();
      }
    });
    this.input.addEventListener("paste", e => {  // browsers take minutes over some thousand lines
      var text = e.clipboardData ? e.clipboardData.getData("text/plain") : "";
      if (text.length < 2000) return;
      e.preventDefault();
      if (text.length > MOST_TEXT)
        return this.fault(
            new Wrong(
                "this is " + big(text.length) + " characters long; the page reads " +
                    big(MOST_TEXT) + " at a time",
                -1),
            "");
      this.input.setRangeText(text, this.input.selectionStart, this.input.selectionEnd, "end");
    });
    this.error = h("div.hp-err", {id: id + "-err", role: "alert"});
    this.status = h("p.hp-status", {role: "status"});
    this.go = h("button.hp-run", {type: "submit"}, "Run");
    var form =
        h("form.hp-form", {novalidate: true},
          h("label",
            { for: id + "-in"
            },
            "Your calls, in C"),
          h("div.hp-row", {}, this.input, this.go),
          h("p.hp-hint", {id: id + "-hint"}, "Enter runs, Shift+Enter starts a new line. ",
            h("code", {}, "; "), " separates calls."),
          this.error);
    form.addEventListener("submit", e => {
      e.preventDefault();
      this.submit();
    });
    this.quick = h("div.hp-quick", {role: "group", "aria-label": "Calls to click"});
    this.quick.addEventListener("change", e => {
      this.chosen = e.target.value;
      this.offer();
    });
    this.quick.addEventListener("click", e => {  // its buttons come and go
      var b = e.target.closest("button");
      if (b && !b.dataset.n)
        this.afresh();
      else if (b && !this.busy)
        this.more(b.textContent);
    });
    this.undoes = this.button("Undo", () => {
      this.undo();
    });
    this.link = h("a", {}, "Link to these calls");
    this.menu = this.full &&
        h("select", {id: id + "-preset"}, h("option", {value: ""}, "choose …"),
          Object.keys(PRESETS).map(k => h("option", {value: k}, PRESETS[k].title)));
    if (this.menu)
      this.menu.addEventListener("change", () => {
        if (this.menu.value) this.begin(PRESETS[this.menu.value].calls.join("\n"), this.menu.value);
      });
    this.about = h("p.hp-about");
    this.film = h("heap-film", {id: id + "-film"});
    this.append(
        this.menu ? h("div.hp-top", {},
                      h("label",
                        { for: id + "-preset"
                        },
                        "Start from"),
                      this.menu) :
                    "",
        this.about, form, this.quick,
        h("div.hp-tools", {role: "group", "aria-label": "The sequence of calls"}, this.undoes,
          this.button(
              "Start again",
              () => {
                this.afresh();
              }),
          !this.full &&
              this.button(
                  "Back to the example",
                  () => {
                    this.begin(this.preset(), this.getAttribute("preset"));
                  }),
          this.full &&
              this.button(
                  "Save as JSON",
                  () => {
                    this.save();
                  }),
          this.link),
        this.status, this.film,
        h("p.hp-foot", {}, "glibc " + ABOUT.glibc + "’s own malloc (Debian’s ",
          h("code", {}, "glibc-source " + (ABOUT.package || "")),
          ", " + (ABOUT.licence || "") + ", ", h("a", {href: ABOUT.source || null}, "source"),
          "), compiled to WebAssembly and run in this page. Nothing is sent anywhere."));
  }
  // ---- running
  submit() {
    var text = this.input.value;
    if (!text.trim()) return this.input.focus();
    if (this.busy) return;
    this.more(text, () => {
      this.input.value = "";
    });
  }
  parse(text) {
    this.fault(null);
    try {
      return new Parser(text).statements();
    } catch (error) {
      this.fault(error, text);
      return null;
    }
  }
  more(text, good) {
    var list = this.parse(text);
    if (list && list.length) this.pump(this.run, list, text, good);
  }
  begin(text, preset) {  // from an empty heap
    this.token = null;
    this.busy = false;
    this.go.removeAttribute("aria-disabled");
    this.run = new Run(module);
    this.about.textContent = PRESETS[preset] ? PRESETS[preset].about : "";
    if (this.menu) this.menu.value = preset && PRESETS[preset] ? preset : "";
    var list = this.parse(text) || [];
    this.pump(this.run, list, text, null, true);
  }
  afresh() {
    this.begin("", "");
    this.input.focus();
  }
  undo() {
    if (this.busy || !this.run.texts.length) return;
    var texts = this.run.texts.slice(0, -1), gone = last(this.run.texts);
    this.run = new Run(module);
    this.pump(this.run, new Parser(texts.join("\n")).statements(), texts.join("\n"), () => {
      this.status.textContent = "Undone: " + gone;
    });
  }
  pump(run, list, text, good, quiet) {  // a slice at a time: the page stays alive
    var n = 0, token = this.token = {}, step = () => {
      if (token !== this.token) return;
      var from = performance.now(), wrong = null;
      while (n < list.length && !wrong && !run.full && performance.now() - from < SLICE) {
        try {
          run.do(list[n++]);
        } catch (error) {
          wrong = error;
          wrong.at = error.at || list[n - 1].at;
        }
      }
      if (n < list.length && !wrong && !run.full) {
        this.busy = true;
        this.go.setAttribute("aria-disabled", "true");
        this.status.textContent = big(n) + " of " + big(list.length) + " done …";
        return setTimeout(step);
      }
      this.busy = false;
      this.go.removeAttribute("aria-disabled");
      var stopped = n < list.length && !wrong ? run.full : "";
      if (wrong)
        this.fault(wrong, text);
      else if (stopped && !run.ended)
        this.fault(new Wrong(stopped, list[n].at), text);
      this.draw(quiet);
      if (good && !wrong) good();
    };
    if (run.full && list.length) return this.fault(new Wrong(run.full, -1), text);
    step();
  }
  fault(error, text) {
    if (!error) {
      this.input.removeAttribute("aria-invalid");
      return this.error.replaceChildren();
    }
    if (!(error instanceof Wrong)) {
      console.error(error);
      error = new Wrong("The page cannot do this: " + error.message, -1);
    }
    this.input.setAttribute("aria-invalid", "true");
    var before = (text || "").slice(0, Math.max(0, error.at)), line = before.split("\n").length,
        column = before.length - before.lastIndexOf("\n") - 1,
        shown = (text || "").split("\n")[line - 1] || "", from = Math.max(0, column - 50);
    this.error.replaceChildren(
        h("p", {},
          (error.at < 0 ?
               "" :
               (line > 1 ? "Line " + line + ", column " : "Column ") + (column + 1) + ": ") +
              error.message),
        error.at < 0 ? "" :
                       h("pre", {"aria-hidden": "true"},
                         shown.slice(from, from + 90) + "\n" +
                             " ".repeat(column - from) + "^"));
    if (this.input.value === text && error.at >= 0) {
      this.input.focus();
      this.input.setSelectionRange(error.at, error.at + error.size);
    }
  }
  draw(quiet) {
    var run = this.run, title = "Your calls", n = run.steps.length - 1, step = run.steps[n];
    this.status.textContent =
        quiet ? "" : step[0] + (step[1] ? " → " + step[1] : "") + ". " + step[2];
    this.status.classList.toggle("bad", Boolean(run.ended));
    this.undoes.setAttribute("aria-disabled", String(!run.texts.length));
    this.link.href = this.home + "#play=" + encodeURIComponent(run.texts.join("\n"));
    this.offer();
    if (this.film.fig)
      this.film.load(run.form(title), n, renew);
    else {
      this.film.append(h("script", {type: "application/json"}, JSON.stringify(run.form(title))));
      this.film.start();
      if (this.film.fig) this.film.load(run.form(title), n, renew);
    }
  }
  offer() {  // what could come next, as buttons
    var m = this.run.machine, next = 0, calls, own = [],
        names = [...m.variables].filter(v => v[1].t.star && v[1].v).map(v => v[0]),
        name = this.chosen = names.includes(this.chosen) ? this.chosen : last(names),
        had = this.quick.contains(document.activeElement), ended = this.run.ended,
        id = this.id + "-block";
    while (m.variables.has(D.letter(next).toLowerCase())) next++;
    var fresh = D.letter(next).toLowerCase();
    calls = [fresh + " = malloc(24)", fresh + " = calloc(4, 8)"];
    if (fresh in CALLS || ended) calls = [];
    if (name && !ended) {
      var block = m.blocks.get(Number(m.variables.get(name).v)),
          size = block && block.requested ? block.requested : 24;
      own = [
        "free(" + name + ")", name + " = realloc(" + name + ", " + 2 * size + ")",
        "memset(" + name + ", 'A', " + size + ")", name + "[" + size + "] = 0x41"
      ];
    }
    var make = (text, n) => h("button", {type: "button", "data-n": n}, h("code", {}, text));
    renew(
        this.quick,
        h("div.hp-quick", {role: "group", "aria-label": "Calls to click"},
          ended &&
              [
                h("p.hp-end", {}, "The program has ended. "),
                h("button", {type: "button"}, "Start again")
              ],
          calls.map(make),
          own.length > 0 &&
              h("span.hp-of", {},
                h("label",
                  { for: id
                  },
                  "with block"),
                h("select", {id: id}, names.map(x => h("option", {}, x)))),
          own.map((text, n) => make(text, n + 2))));
    var which = this.quick.querySelector("select");
    if (which && which.value !== name) which.value = name;
    if (had && !this.quick.contains(document.activeElement))
      this.quick.querySelector("button").focus();
  }
  save() {
    var url = URL.createObjectURL(new Blob(
            [JSON.stringify(this.run.json("Calls of the playground"))],
            {type: "application/json"})),
        a = h("a", {href: url, download: "heap-film.json"});
    a.click();
    setTimeout(() => {
      URL.revokeObjectURL(url);
    }, 1000);
  }
}
HeapPlayground.presets = PRESETS;
customElements.define("heap-playground", HeapPlayground);
})();
