// The page "Who is it good for?": figures that pyenhance evaluate, federated and model gate wrote, as pictures and words.
import { TRUST } from "./other_strings.js";
import { $ } from "./page.js";

/** @typedef {{ mean: number, low: number, high: number, clips: number, speakers?: number, judged: boolean }} Facts */
/** @typedef {{ best: string, worst: string, gap: number, low: number, high: number, chance: number }} Gap */
/** @typedef {{ groups: Record<string, Record<string, Facts>>, gaps: Record<string, Gap> }} Kind */
/** @typedef {{ clips: number, speakers: number, kinds: Record<string, Kind> }} Groups */
/** @typedef {{ ratio: number, chance: number, agrees: boolean }} Sensitivity */
/** @typedef {{ epsilon: number, kept: number }} Point */
/** @typedef {{ auc: number, low: number, high: number }} Area */
/** @typedef {{ white_box: Area, exposure: { bits: number, chance: number }, epsilon?: number }} Attacked */
/** @typedef {{ groups?: Record<string, Groups>, sensitivity?: Record<string, Sensitivity>, privacy?: Record<string, { clients: number, delta: number, rows: Point[] }>, leakage?: { plain: Attacked, private?: Attacked } }} Trust */
/** @typedef {{ clips: number, gain: number, low: number, high: number, nfr: number }} Measure */
/** @typedef {{ old: { name: string, sha256: string }, new: { name: string, sha256: string }, passed: boolean, measures: { pesq_wb: Measure }, clips: Record<string, [number, number]> }} Verdict */

const MEASURE = "pesq_wb_gain";
const SVG = "http://www.w3.org/2000/svg";
const WIDE = 320; // of a picture, in its own units
const HIGH = 180;
const EDGE = 48;

/** @param {string} tag @param {Record<string, string | number>} attributes @param {string} [text] */
function drawn(tag, attributes, text = "") {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.textContent = text;
  return element;
}

/** A picture whose facts stand beside it as text. @param {number} width @param {number} height @param {SVGElement[]} parts */
function picture(width, height, parts) {
  const svg = /** @type {SVGElement} */ (
    drawn("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true", class: "chart" })
  );
  svg.append(...parts);
  return svg;
}

/** @param {string} tag @param {string} text @param {string} [className] */
const said = (tag, text, className = "") =>
  Object.assign(document.createElement(tag), { textContent: text, className });

/** The row of a group: its name, a dot with its interval, and its figures. @param {string} name @param {Facts} facts @param {number} most */
function row(name, facts, most) {
  const item = document.createElement("li");
  const x = (/** @type {number} */ value) => 4 + ((WIDE - 8) * Math.max(0, Math.min(value, most))) / most;
  const parts = [drawn("line", { x1: x(0), x2: x(most), y1: 8, y2: 8, class: "axis" })];
  if (facts.judged)
    parts.push(
      drawn("line", { x1: x(facts.low), x2: x(facts.high), y1: 8, y2: 8, class: "span" }),
      drawn("circle", { cx: x(facts.mean), cy: 8, r: 5, class: "dot" }),
    );
  const figures = facts.judged ? TRUST.gain(facts.mean, facts.low, facts.high) : TRUST.small;
  item.append(
    said("strong", TRUST.group(name)),
    said("span", TRUST.counts(facts.clips, facts.speakers ?? 0), "note"),
    picture(WIDE, 16, /** @type {SVGElement[]} */ (parts)),
    said("span", figures, "figure"),
  );
  return item;
}

/** @param {Trust} trust @param {string} model */
function showGroups(trust, model) {
  const { clips, speakers, kinds } = /** @type {Record<string, Groups>} */ (trust.groups)[model];
  $("status").textContent = TRUST.measured(clips, speakers);
  const every = Object.values(kinds).flatMap(({ groups }) => Object.values(groups).map((facts) => facts[MEASURE]));
  const most = Math.max(...every.filter((facts) => facts?.judged).map(({ high }) => high));
  const parts = [];
  for (const [kind, { groups, gaps }] of Object.entries(kinds)) {
    const judged = Object.entries(groups).filter(([, facts]) => facts[MEASURE]?.judged);
    if (!judged.length) continue;
    const small = Object.keys(groups).filter((name) => !groups[name][MEASURE]?.judged);
    const list = Object.assign(document.createElement("ul"), { className: "groups" });
    list.append(...judged.map(([name, facts]) => row(name, facts[MEASURE], most)));
    parts.push(said("h3", TRUST.kinds[kind] ?? kind), list);
    const gap = gaps[MEASURE];
    if (gap) parts.push(said("p", TRUST.gap(gap.gap, gap.best, gap.worst, gap.gap > gap.chance, gap.chance)));
    if (small.length) parts.push(said("p", TRUST.tooSmall(small), "note"));
    const leans = kind === "sex" && trust.sensitivity?.[model];
    if (leans) parts.push(said("p", TRUST.sensitivity(leans.ratio, leans.ratio > leans.chance, leans.agrees)));
  }
  $("groups").replaceChildren(...parts);
}

/** How much of what can be learnt is kept at each budget. @param {Point[]} rows */
function curve(rows) {
  const points = rows.toSorted((a, b) => a.epsilon - b.epsilon);
  const [first, last] = [points[0].epsilon, points[points.length - 1].epsilon].map(Math.log);
  const x = (/** @type {number} */ epsilon) =>
    EDGE + (WIDE - 2 * EDGE) * (last > first ? (Math.log(epsilon) - first) / (last - first) : 0.5);
  const y = (/** @type {number} */ kept) => HIGH - EDGE + (2 * EDGE - HIGH) * Math.max(0, Math.min(kept, 1));
  const parts = [0, 0.5, 1].flatMap((share) => [
    drawn("line", { x1: EDGE, x2: WIDE - EDGE, y1: y(share), y2: y(share), class: "axis" }),
    drawn("text", { x: EDGE - 6, y: y(share) + 4, "text-anchor": "end" }, TRUST.percent(share)),
  ]);
  const line = points.map(({ epsilon, kept }) => `${x(epsilon)},${y(kept)}`).join(" ");
  parts.push(drawn("polyline", { points: line, class: "curve" }));
  for (const { epsilon, kept } of points)
    parts.push(
      drawn("circle", { cx: x(epsilon), cy: y(kept), r: 4, class: "dot" }),
      drawn("text", { x: x(epsilon), y: HIGH - EDGE + 18, "text-anchor": "middle" }, String(epsilon)),
    );
  parts.push(drawn("text", { x: WIDE / 2, y: HIGH - 2, "text-anchor": "middle" }, "epsilon"));
  return picture(WIDE, HIGH, /** @type {SVGElement[]} */ (parts));
}

/** @param {Trust} trust */
function showPrivacy({ privacy = {}, leakage }) {
  const figures = Object.assign(document.createElement("ul"), { className: "figures" });
  const parts = [];
  for (const { clients, delta, rows } of Object.values(privacy)) {
    parts.push(said("p", TRUST.rounds(clients, delta)), curve(rows));
    figures.append(...rows.map(({ epsilon, kept }) => said("li", TRUST.kept(epsilon, kept))));
  }
  $("privacy").replaceChildren(...parts, figures);
  if (!leakage) return;
  const { plain, private: noised } = leakage;
  $("leakage").replaceChildren(
    said("li", TRUST.members(plain.white_box.auc, noised?.white_box.auc, Number(noised?.epsilon?.toPrecision(2)))),
    said("li", TRUST.secrets(plain.exposure.bits, noised?.exposure.bits, plain.exposure.chance)),
  );
}

/** @param {Verdict[]} verdicts */
function showGate(verdicts) {
  const list = Object.assign(document.createElement("ul"), { className: "groups" });
  const most = Math.max(...verdicts.map(({ measures }) => measures.pesq_wb.high));
  for (const verdict of verdicts) {
    const { gain, low, high, clips, nfr } = verdict.measures.pesq_wb;
    const item = row(verdict.new.name, { mean: gain, low, high, clips, judged: true }, most);
    const names = TRUST.replaced(verdict.old.name, verdict.new.name, verdict.new.sha256.slice(0, 8));
    item.querySelector("strong")?.replaceChildren(names);
    item.append(said("span", TRUST.verdict(verdict.passed, nfr), "note"));
    list.append(item);
  }
  $("gate").replaceChildren(list);
}

/** @param {string} name */
async function facts(name) {
  const reply = await fetch(name);
  if (!reply.ok) throw new Error(`${name}: ${reply.status}`);
  return reply.json();
}

try {
  /** @type {[Trust, { verdicts: Verdict[] }]} */
  const [trust, gate] = await Promise.all([facts("trust.json"), facts("gate.json")]);
  const models = Object.keys(trust.groups ?? {});
  $("model").replaceChildren(...models.map((name) => new Option(name, name)));
  $("model").addEventListener("change", () => showGroups(trust, $("model").value));
  showGroups(trust, models[0]);
  showPrivacy(trust);
  showGate(gate.verdicts);
  document.body.dataset.shown = "true";
} catch (error) {
  $("status").textContent = TRUST.failed(/** @type {Error} */ (error).message);
}
