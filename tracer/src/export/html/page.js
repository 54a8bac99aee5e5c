"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const read = (id) => JSON.parse(at(id).textContent);
  const meta = read("meta");
  // Control and direction characters of a name cannot rearrange what is beside it.
  const strings = read("strings").map(plain);
  const rows = read("rows");
  const { kinds, points } = meta;
  // A row's columns, as export/html/rows.rs writes them.
  const ID = 0, TIME = 1, KIND = 2, FROM = 3, TO = 4, PACKET = 5, VERDICT = 6, CONFIDENCE = 7,
    CAUSE = 8, EVIDENCE = 9, HOPS = 10, DROPS = 11, ANSWERS = 12, RETRANSMITS = 13, AMBIGUOUS = 14;
  const ROW = 26, PAGE = 15, TABLE = 40, FALL = 60, PROBLEMS = 5;

  function plain(text) {
    return String(text).replace(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g, "\ufffd");
  }
  // Text only ever becomes text: nothing that was recorded is read as markup.
  function make(name, properties = {}, ...children) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(properties)) {
      if (key.includes("-") || key === "role") element.setAttribute(key, value);
      else element[key] = value;
    }
    element.append(...children);
    return element;
  }
  const SVG = "http://www.w3.org/2000/svg";
  function drawing(width, height, className, label, path, pathClass) {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", label);
    if (className) svg.setAttribute("class", className);
    const drawn = document.createElementNS(SVG, "path");
    drawn.setAttribute("d", path);
    drawn.setAttribute("class", pathClass);
    svg.append(drawn);
    return svg;
  }
  const grouped = (number) => number.toLocaleString("en-US");
  const units = (size) => size < 1e3 ? ["ns", 1] : size < 1e6 ? ["µs", 1e3] : size < 1e9 ? ["ms", 1e6] : ["s", 1e9];
  function span(ns) {
    const [unit, by] = units(Math.abs(ns));
    if (by === 1) return `${ns} ns`;
    const value = ns / by;
    return `${Math.abs(value) < 10 ? value.toFixed(2) : Math.abs(value) < 100 ? value.toFixed(1) : Math.round(value)} ${unit}`;
  }
  // Two digits: the path's histograms have no more.
  function rough(ns) {
    const [unit, by] = units(Math.abs(ns));
    return `${Number((ns / by).toPrecision(2))} ${unit}`;
  }
  // All digits down to the nanosecond. Zeros at the end are left out: a capture may only count µs.
  function exact(ns) {
    const size = Math.abs(ns);
    const [unit, by] = units(size), digits = Math.round(Math.log10(by));
    const text = String(size).padStart(digits + 1, "0");
    const whole = text.slice(0, text.length - digits), part = text.slice(text.length - digits).replace(/0+$/, "");
    return `${ns < 0 ? "-" : ""}${whole}${digits > 0 && part !== "" ? "." + part : ""} ${unit}`;
  }
  // Whole milliseconds and what is beyond them apart: a double has no room for both.
  const begin = BigInt(meta.time);
  const moment = (offset) => {
    const ns = begin + BigInt(offset);
    const time = new Date(Number(ns / 1000000n)).toISOString();
    return time.slice(11, 23) + String(ns % 1000000n).padStart(6, "0");
  };
  const clock = (offset) => moment(offset).slice(0, 12);
  const places = points.map((point) => {
    const [node, netns, name, direction] = point.map(plain);
    return `${netns === "host" ? "" : netns + " "}${name} ${direction === "ingress" ? "←" : "→"} on ${node}`;
  });
  const place = (number) => places[number];
  function table(titles, lines, left) {
    const head = make("tr", {}, ...titles.map(([title, number]) => make("th", { scope: "col", className: number ? "number" : "" }, title)));
    const all = make("table", {}, make("thead", {}, head), make("tbody", {}, ...lines));
    return left > 0 ? [all, make("p", { className: "hint" }, `${grouped(left)} more are in the sums below.`)] : [all];
  }
  const cell = (content, number) => make("td", { className: number ? "number" : "" }, content);
  const kind = (number) => make("span", { className: `kind ${kinds[number]}` }, kinds[number]);

  // Above: what it is about.
  document.title = `tracer: ${plain(meta.follow)}`;
  at("follow").textContent = plain(meta.follow);
  at("when").textContent = meta.when;
  at("note").textContent = meta.notes.map(plain).join(" ");
  at("sums").textContent = plain(meta.sums);
  at("names").textContent = meta.names.map(plain).join("\n") || "No address of these journeys has a known name.";
  at("nodes").textContent = meta.nodes.map(plain).join("\n");
  at("points").textContent = places.join("\n");
  at("warnings").textContent = meta.warnings.map(plain).join("\n") || "There were none.";

  // What is wrong, the most certain first.
  const wrong = meta.problems.slice(0, TABLE).map((problem) => {
    const show = make("button", { type: "button" }, `#${problem.first}`);
    show.setAttribute("aria-label", `Show journey ${problem.first}`);
    show.addEventListener("click", () => reveal(problem.first));
    const text = make("bdi", {}, plain(problem.text));
    return make("tr", {}, cell(kind(problem.kind)), cell(grouped(problem.count), true), cell(text), cell(problem.cause ?? ""), cell(show));
  });
  if (wrong.length > 0) {
    at("wrong").append(...table([["verdict"], ["journeys", true], ["the first of them"], ["cause"], ["show"]], wrong, meta.problems.length - wrong.length));
  } else {
    at("wrong").append(make("p", {}, meta.is_filtered ? "Of no journey on this page is anything known to be wrong; the page leaves other journeys out." : "Of no journey is anything known to be wrong."));
  }
  for (const sentence of meta.besides) at("wrong").append(make("p", { className: "hint" }, plain(sentence)));

  // The path: requests go down, replies go up.
  const sign = (reply) => reply ? "▲" : "▼";
  function across(content, className) {
    return make("tr", { className }, make("td", { colSpan: 8 }, ...content));
  }
  function trouble(problem) {
    const text = plain(problem.text).slice(kinds[problem.kind].length);
    return across([`${grouped(problem.count)} `, kind(problem.kind), ` ${sign(problem.reply)} (`, problem.count > 1 ? "as " : "", link(problem.example), ")", make("bdi", {}, text)], "problem");
  }
  function passed([packets, p50, p99, two_clocks]) {
    if (packets === 0) return [cell("-", true), cell(""), cell("")];
    const time = (ns) => cell(ns === null ? "" : (two_clocks ? "~" : "") + rough(ns), true);
    return [cell(grouped(packets), true), time(p50), time(p99)];
  }
  function path({ stations, nowhere, more_problems }) {
    if (stations.length === 0) return [make("p", {}, "No point was observed.")];
    const columns = ["packets", "p50", "p99"];
    const column = (title) => make("th", { scope: "col", className: "number" }, title);
    const way = (reply) => make("th", { scope: "colgroup", colSpan: 3, className: "number" }, `${sign(reply)} ${reply ? "replies" : "requests"}`);
    const head = make("thead", {},
      make("tr", {}, make("td", { colSpan: 2 }), way(false), way(true)),
      make("tr", {}, make("th", { scope: "col" }, "interface"), make("th", { scope: "col" }, "role"), ...columns.map(column), ...columns.map(column)));
    const bodies = [];
    const shown = stations.slice(0, TABLE);
    shown.forEach((station, index) => {
      const before = shown[index - 1], next = shown[index + 1];
      if (before?.node !== station.node) {
        const from = station.after === null ? "" : `, from ${plain(station.after)}`;
        bodies.push(make("tbody", {}, make("tr", { className: "node" }, make("th", { scope: "rowgroup", colSpan: 8 }, make("bdi", {}, plain(station.node)), from))));
      }
      const body = bodies[bodies.length - 1];
      const pod = () => across(["■ ", make("bdi", {}, plain(station.pod))], "pod");
      if (station.pod !== null && station.begins && before?.pod !== station.pod) body.append(pod());
      const unused = station.ways.every(([packets]) => packets === 0);
      const gone = station.gone === null ? "" : `gone since ${station.gone.slice(11, 23)}`;
      const line = make("tr", { className: unused ? "unused" : "" }, cell(make("bdi", {}, plain(station.interface))), cell(plain(station.role)));
      if (unused || gone !== "") line.lastChild.append(gone === "" ? ", no packet" : `, ${gone}`);
      line.append(...station.ways.flatMap(passed));
      body.append(line, ...station.problems.slice(0, PROBLEMS).map(trouble));
      if (station.problems.length > PROBLEMS) body.append(across([`${station.problems.length - PROBLEMS} more kinds of problems here`], "problem"));
      if (station.pod !== null && !station.begins && next?.pod !== station.pod) body.append(pod());
    });
    if (nowhere.length > 0) {
      bodies.push(make("tbody", {}, make("tr", { className: "node" }, make("th", { scope: "rowgroup", colSpan: 8 }, "before the first point")), ...nowhere.slice(0, PROBLEMS).map(trouble)));
    }
    const made = [make("table", { "aria-labelledby": "path-title" }, head, ...bodies)];
    const hint = (text) => made.push(make("p", { className: "hint" }, text));
    if (stations.some((station) => station.ways.some((passed) => passed[3]))) hint("~ is between two clocks, which may disagree.");
    if (stations.length > TABLE) hint(`${grouped(stations.length - TABLE)} more interfaces are below, in the observation points.`);
    if (meta.is_filtered) hint("The path counts only the journeys on this page.");
    if (more_problems > 0) hint(`And ${grouped(more_problems)} more problems, of too many kinds to tell apart.`);
    return made;
  }

  const legs = meta.legs.slice(0, TABLE).map((leg) => {
    const most = Math.max(...leg.histogram);
    const bars = leg.histogram.map((count, bucket) => {
      const height = count === 0 ? 0 : Math.max(1, 22 * count / most);
      return `M${bucket * 8} 22v${-height}h7v${height}z`;
    });
    const label = `Histogram from ${span(2 ** leg.least)} to ${span(2 ** (leg.least + leg.histogram.length))}`;
    const mark = leg.one_clock ? "" : "~";
    const shown = drawing(Math.max(8 * leg.histogram.length, 96), 22, "hist", label, bars.join(""), "bar");
    const way = `${place(leg.from)} ⟶ ${place(leg.to)}`;
    const line = make("tr", { className: leg.begins ? "begins" : "" }, cell(make("bdi", {}, way)), cell(grouped(leg.count), true));
    line.append(...[leg.p50, leg.p99, leg.max].map((ns) => cell(mark + span(ns), true)), cell(shown));
    return line;
  });
  if (legs.length > 0) {
    at("legs").append(...table([["from and to"], ["count", true], ["p50", true], ["p99", true], ["max", true], ["histogram, each bar twice the time"]], legs, meta.legs.length - legs.length));
    if (meta.legs.some((leg) => !leg.one_clock)) at("legs").append(make("p", { className: "hint" }, "~ is between two clocks, which may disagree."));
  } else {
    at("legs").append(make("p", {}, "No packet was seen at two points."));
  }
  const drops = meta.drops.slice(0, TABLE).map(([where, reason, count]) =>
    make("tr", {}, cell(make("bdi", {}, plain(where))), cell(plain(reason)), cell(grouped(count), true)));
  if (drops.length > 0) {
    at("drops").append(...table([["place"], ["reason and function"], ["journeys", true]], drops, meta.drops.length - drops.length));
  } else {
    at("drops").append(make("p", {}, "No drop decided about a journey."));
  }

  // The list: only the rows in sight are elements.
  const numbers = new Map(rows.map((row, index) => [row[ID], index]));
  const off = new Set();
  let found = rows.map((_, index) => index);
  let chosen = -1;
  let haystack = null;
  const list = at("list"), sizer = at("sizer"), pane = at("window");

  // What a search looks into, made at the first one: what rows share is put into lower case once.
  function lines() {
    const lower = (texts) => texts.map((one) => one.toLowerCase());
    const names = lower(strings), where = lower(places);
    return rows.map((row) => {
      let text = `#${row[ID]}\n${kinds[row[KIND]]}\n${row[PACKET].toLowerCase()}\nconfidence ${meta.confidences[row[CONFIDENCE]]}`;
      for (const column of [FROM, TO, VERDICT, CAUSE]) text += "\n" + names[row[column]];
      for (const one of row[EVIDENCE]) text += "\n" + names[one];
      for (let part = 0; part < row[DROPS].length; part += 2) text += "\n" + names[row[DROPS][part]];
      for (let part = 0; part < row[HOPS].length; part += 3) text += "\n" + where[row[HOPS][part]] + "\n" + names[row[HOPS][part + 2]];
      return text;
    });
  }

  function select() {
    const words = at("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    if (words.length > 0 && haystack === null) haystack = lines();
    const kept = chosen >= 0 ? found[chosen] : -1;
    // `#1` is journey 1, not 1 and 10 to 19.
    const number = (word) => /^#\d+$/.test(word);
    const matches = (index) => words.every((word) => number(word) ? rows[index][ID] === Number(word.slice(1)) : haystack[index].includes(word));
    found = [];
    rows.forEach((row, index) => {
      if (!off.has(row[KIND]) && matches(index)) found.push(index);
    });
    chosen = found.indexOf(kept);
    at("count").textContent = `${grouped(found.length)} of ${grouped(rows.length)} journeys`;
    sizer.style.height = `${found.length * ROW}px`;
    if (chosen < 0) {
      list.scrollTop = 0;
      at("detail").replaceChildren(make("p", { className: "hint" }, found.length > 0 ? "Choose a journey to see its hops." : "No journey matches."));
    }
    draw();
  }
  function draw() {
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - 5);
    const last = Math.min(found.length, first + Math.ceil(list.clientHeight / ROW) + 10);
    const shown = [];
    for (let position = first; position < last; position += 1) {
      const row = rows[found[position]];
      const line = make("div", { className: "row", id: `row-${position}`, role: "option" },
        make("span", {}, `#${row[ID]}`), make("span", { className: "dim" }, clock(row[TIME])), kind(row[KIND]),
        make("span", {}, plain(row[PACKET])), make("span", { className: "dim" }, `${strings[row[FROM]]} → ${strings[row[TO]]}`));
      line.setAttribute("aria-selected", String(position === chosen));
      line.setAttribute("aria-posinset", String(position + 1));
      line.setAttribute("aria-setsize", String(found.length));
      line.addEventListener("click", () => choose(position));
      shown.push(line);
    }
    pane.style.transform = `translateY(${first * ROW}px)`;
    pane.replaceChildren(...shown);
    if (chosen >= first && chosen < last) list.setAttribute("aria-activedescendant", `row-${chosen}`);
    else list.removeAttribute("aria-activedescendant");
  }
  function choose(position) {
    if (found.length === 0) return;
    chosen = Math.max(0, Math.min(found.length - 1, position));
    const top = chosen * ROW;
    if (top < list.scrollTop) list.scrollTop = top;
    if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
    draw();
    at("detail").replaceChildren(...detail(rows[found[chosen]]));
    at("detail").scrollTop = 0;
  }
  function reveal(number) {
    const index = numbers.get(number);
    if (index === undefined) return;
    if (!found.includes(index)) {
      at("search").value = "";
      off.clear();
      for (const box of at("kinds").querySelectorAll("input")) box.checked = true;
      select();
    }
    choose(found.indexOf(index));
    at("browse").scrollIntoView({ block: "nearest" });
    list.focus({ preventScroll: true });
  }
  function link(number) {
    if (!numbers.has(number)) return `#${number}`;
    const button = make("button", { type: "button" }, `#${number}`);
    button.addEventListener("click", () => reveal(number));
    return button;
  }
  // The waterfall of a journey: made once it is asked for.
  function detail(row) {
    const hops = [];
    for (let part = 0; part < row[HOPS].length; part += 3) {
      hops.push({ point: row[HOPS][part], time: row[HOPS][part + 1], note: strings[row[HOPS][part + 2]], clock: points[row[HOPS][part]][4] });
    }
    const times = hops.map((hop) => hop.time);
    const dropped = [];
    for (let part = 0; part < row[DROPS].length; part += 2) {
      dropped.push({ text: strings[row[DROPS][part]], time: row[DROPS][part + 1] });
      times.push(row[DROPS][part + 1]);
    }
    const least = Math.min(...times), width = Math.max(...times) - least || 1;
    const x = (time) => 200 * (time - least) / width;
    const lines = hops.slice(0, FALL).map((hop, index) => {
      const before = hops[index - 1];
      const took = before === undefined ? "" : (before.clock === hop.clock ? "+" : "~+") + exact(hop.time - before.time);
      const start = before === undefined ? x(hop.time) : Math.min(x(before.time), x(hop.time));
      const end = x(hop.time);
      const bar = drawing(200, 14, "", took === "" ? "begins" : took, `M${Math.min(start, 198)} 3h${Math.max(2, Math.abs(end - start))}v8h${-Math.max(2, Math.abs(end - start))}z`, "bar");
      const where = make("td", {}, make("bdi", {}, place(hop.point)));
      if (hop.note !== "") where.append(make("br"), make("span", { className: "note" }, hop.note));
      return make("tr", {}, where, cell(took, true), make("td", { className: "line" }, bar));
    });
    for (const drop of dropped.slice(0, FALL)) {
      const bar = drawing(200, 14, "", "freed", `M${Math.min(x(drop.time), 196)} 1h4v12h-4z`, "end");
      lines.push(make("tr", {}, make("td", {}, make("bdi", {}, drop.text)), cell("", true), make("td", { className: "line" }, bar)));
    }
    const verdict = make("p", {}, kind(row[KIND]), make("bdi", {}, strings[row[VERDICT]].slice(kinds[row[KIND]].length)));
    const facts = [`confidence ${meta.confidences[row[CONFIDENCE]]}`];
    if (strings[row[CAUSE]] !== "") facts.unshift(`cause ${strings[row[CAUSE]]}`);
    if (row[AMBIGUOUS]) facts.push("not told from another packet: hops of the two were paired in order");
    const about = make("p", { className: "dim" }, facts.join(", "));
    if (row[ANSWERS] > 0) about.append(", answers ", link(row[ANSWERS]));
    if (row[RETRANSMITS] > 0) about.append(", retransmits ", link(row[RETRANSMITS]));
    const made = [make("h3", {}, `#${row[ID]} ${plain(row[PACKET])}`),
      make("p", { className: "dim" }, make("bdi", {}, `${moment(row[TIME])} UTC, ${strings[row[FROM]]} → ${strings[row[TO]]}`)), verdict, about];
    if (row[EVIDENCE].length > 0) made.push(make("ul", {}, ...row[EVIDENCE].slice(0, FALL).map((one) => make("li", {}, strings[one]))));
    if (lines.length > 0) made.push(make("table", { className: "fall", "aria-label": "Hops, in causal order" }, make("tbody", {}, ...lines)));
    const more = Math.max(0, hops.length - FALL) + Math.max(0, dropped.length - FALL);
    if (more > 0) made.push(make("p", { className: "hint" }, `${more} more are not shown here.`));
    return made;
  }

  at("path").append(...path(meta.path));
  const counts = kinds.map(() => 0);
  for (const row of rows) counts[row[KIND]] += 1;
  kinds.forEach((_, number) => {
    if (counts[number] === 0) return;
    const box = make("input", { type: "checkbox", checked: true });
    box.addEventListener("change", () => {
      if (box.checked) off.delete(number); else off.add(number);
      select();
    });
    at("kinds").append(make("label", {}, box, " ", kind(number), ` ${grouped(counts[number])}`));
  });
  at("filter").addEventListener("submit", (event) => event.preventDefault());
  at("search").addEventListener("input", select);
  list.addEventListener("scroll", () => requestAnimationFrame(draw));
  window.addEventListener("resize", draw);
  list.addEventListener("keydown", (event) => {
    const by = { ArrowDown: chosen + 1, ArrowUp: chosen - 1, PageDown: chosen + PAGE, PageUp: chosen - PAGE, Home: 0, End: found.length - 1 }[event.key];
    if (by === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    choose(by);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== at("search")) {
      event.preventDefault();
      at("search").focus();
    }
  });
  select();
  const first = meta.problems.find((problem) => numbers.has(problem.first));
  if (first !== undefined) choose(found.indexOf(numbers.get(first.first)));
  else choose(0);
})();
