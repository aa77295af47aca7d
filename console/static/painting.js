// Draws pictures and what models say of them on a canvas. Texts are foreign: they only ever become pixels here.
//
// An answer is what `console/drawing.py` makes; masks and depth maps in it are Blobs or URLs of PNGs. `older_ms` says
// how much older than the picture the answer is: such a one is drawn dashed, with its age.

const COLORS = [
  "#4fc3b1", "#ffb454", "#7aa8ff", "#ff8a80", "#b9d75a", "#d19bff", "#5fd0f2", "#ffd866", "#ff9ecb", "#8ee08e",
  "#c9b08a", "#a6b4c2",
];
const BONES = [
  ["left_shoulder", "right_shoulder"], ["left_shoulder", "left_elbow"], ["left_elbow", "left_wrist"],
  ["right_shoulder", "right_elbow"], ["right_elbow", "right_wrist"], ["left_hip", "right_hip"],
  ["left_shoulder", "left_hip"], ["right_shoulder", "right_hip"], ["left_hip", "left_knee"],
  ["left_knee", "left_ankle"], ["right_hip", "right_knee"], ["right_knee", "right_ankle"],
  ["nose", "left_eye"], ["nose", "right_eye"], ["left_eye", "left_ear"], ["right_eye", "right_ear"],
];
const LEAST_POINT_SCORE = 0.3;
const INK = "#0b1210";
const FONT = 'system-ui, -apple-system, "Segoe UI", "Noto Sans", "Noto Sans KR", "Noto Sans CJK KR", sans-serif';

/** The colour of a name: always the same one. */
export function colorOf(name) {
  let hash = 7;
  for (const letter of name) hash = (hash * 31 + letter.codePointAt(0)) >>> 0;
  return COLORS[hash % COLORS.length];
}

/** An answer in a line of words, for whoever can't see the picture, and for captions. */
export function inWords(answer, texts) {
  const sure = (score) => `${Math.round(score * 100)} %`;
  switch (answer.kind) {
    case "labels":
      return answer.labels.slice(0, 1).map(([name, score]) => `${name} ${sure(score)}`).join("");
    case "boxes":
      return counted(answer.boxes.map((box) => box[4])) || texts.nothing;
    case "masks":
      return counted(answer.masks.map((mask) => mask[1])) || texts.nothing;
    case "points":
      return `${answer.instances.length} × ${texts.pose}`;
    case "depth":
      return `${texts.depth} ${answer.minimum.toPrecision(3)} – ${answer.maximum.toPrecision(3)}`;
    case "embedding":
      return `${answer.count} ${texts.numbers}`;
    case "text":
    case "error":
      return answer.text;
    default:
      return texts.other;
  }
}

function counted(names) {
  const counts = new Map();
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [...counts].map(([name, count]) => (count > 1 ? `${count} × ${name}` : name)).join(", ");
}

/** Decode the pictures inside answers, so that painting is done at one stroke. */
export async function ready(answers) {
  return Promise.all(
    answers.map(async (answer) => {
      if (answer.kind === "masks") {
        const masks = await Promise.all(answer.masks.map(async ([png, ...label]) => [await bitmap(png), ...label]));
        return { ...answer, masks };
      }
      return answer.kind === "depth" ? { ...answer, png: await bitmap(answer.png) } : answer;
    }),
  );
}

export async function bitmap(source) {
  return createImageBitmap(source instanceof Blob ? source : await (await fetch(source)).blob());
}

/**
 * Paint a picture with answers over it, at one stroke.
 *
 * @param canvas It keeps its CSS size; its pixels become those of the screen.
 * @param picture An ImageBitmap, of any scale.
 * @param size Width and height of the whole image, in whose pixels answers are.
 * @param answers From `ready`.
 * @param texts Words in the visitor's language.
 */
export function paint(canvas, picture, size, answers, texts) {
  const density = Math.min(window.devicePixelRatio || 1, 2);
  const shown = canvas.getBoundingClientRect();
  const width = Math.max(1, Math.round((shown.width || 320) * density));
  const height = Math.max(1, Math.round((width * size.height) / size.width));
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const context = canvas.getContext("2d");
  const view = { context, width, height, scale: width / size.width, unit: density, texts };
  context.imageSmoothingQuality = "medium";
  context.drawImage(picture, 0, 0, width, height);
  for (const answer of answers.filter((one) => one.kind === "depth")) paintDepth(view, answer);
  for (const answer of answers.filter((one) => one.kind === "masks")) paintMasks(view, answer);
  for (const answer of answers) {
    context.setLineDash(answer.older_ms > 0 ? [6 * density, 4 * density] : []);
    if (answer.kind === "boxes") paintBoxes(view, answer);
    if (answer.kind === "points") paintPoints(view, answer);
  }
  context.setLineDash([]);
  paintCaptions(view, answers);
}

function paintBoxes(view, answer) {
  for (const [left, top, right, bottom, name, score] of answer.boxes.toReversed()) {
    const color = colorOf(name);
    outline(view, left, top, right, bottom, color);
    tag(view, left * view.scale, top * view.scale, name, ` ${Math.round(score * 100)}`, color);
  }
}

function outline(view, left, top, right, bottom, color) {
  const { context, scale, unit } = view;
  const box = [left * scale, top * scale, (right - left) * scale, (bottom - top) * scale];
  context.lineWidth = 4 * unit;
  context.strokeStyle = "rgb(0 0 0 / 45%)";
  context.strokeRect(...box);
  context.lineWidth = 2 * unit;
  context.strokeStyle = color;
  context.strokeRect(...box);
}

/** A name with its score on its colour, kept inside the picture. */
function tag(view, x, y, name, score, color) {
  const { context, unit, width } = view;
  const size = 12 * unit;
  context.font = `600 ${size}px ${FONT}`;
  const text = fitted(context, name, score, width - 8 * unit);
  const [wide, high] = [context.measureText(text).width + 8 * unit, size + 6 * unit];
  const left = Math.max(0, Math.min(x - unit, width - wide));
  const top = y - high >= 0 ? y - high : y;
  context.fillStyle = color;
  context.fillRect(left, top, wide, high);
  context.fillStyle = INK;
  context.textBaseline = "middle";
  context.fillText(text, left + 4 * unit, top + high / 2 + 0.5 * unit);
}

/** As much of a text as has room before what must stand behind it, with dots where it would go on. */
function fitted(context, text, behind, room) {
  const fits = (part) => context.measureText(part + behind).width <= room;
  if (fits(text)) return text + behind;
  const letters = [...text];
  let [enough, tooMany] = [0, letters.length];
  while (tooMany - enough > 1) {
    const middle = (enough + tooMany) >> 1;
    if (fits(`${letters.slice(0, middle).join("")}…`)) enough = middle;
    else tooMany = middle;
  }
  return `${letters.slice(0, enough).join("")}…${behind}`;
}

function paintPoints(view, answer) {
  const { context, scale, unit } = view;
  answer.instances.forEach((instance, number) => {
    const color = COLORS[number % COLORS.length];
    if (instance.box) outline(view, ...instance.box, color);
    const points = instance.points.filter((point) => point[3] >= LEAST_POINT_SCORE);
    const places = new Map(points.map(([x, y, name]) => [name.toLowerCase().replaceAll(" ", "_"), [x * scale, y * scale]]));
    context.lineWidth = 2.5 * unit;
    context.strokeStyle = color;
    for (const [from, to] of BONES) {
      if (places.has(from) && places.has(to)) {
        context.beginPath();
        context.moveTo(...places.get(from));
        context.lineTo(...places.get(to));
        context.stroke();
      }
    }
    for (const [x, y] of points) {
      context.beginPath();
      context.arc(x * scale, y * scale, 3 * unit, 0, 2 * Math.PI);
      context.fillStyle = color;
      context.fill();
      context.lineWidth = unit;
      context.strokeStyle = INK;
      context.stroke();
    }
  });
}

function paintMasks(view, answer) {
  const { context } = view;
  for (const [png, name] of answer.masks) {
    const [red, green, blue] = channels(colorOf(name));
    const { surface, pixels } = sampled(view, png);
    const data = pixels.data;
    for (let at = 0; at < data.length; at += 4) {
      data[at + 3] = data[at] > 127 ? 130 : 0;
      data[at] = red;
      data[at + 1] = green;
      data[at + 2] = blue;
    }
    surface.getContext("2d").putImageData(pixels, 0, 0);
    context.drawImage(surface, 0, 0, view.width, view.height);
  }
}

/** Low values are light and warm, high ones dark; whether that is near or far, the model's own unit says. */
function paintDepth(view, answer) {
  const { surface, pixels } = sampled(view, answer.png);
  const data = pixels.data;
  for (let at = 0; at < data.length; at += 4) {
    const [red, green, blue] = RAMP[data[at]];
    data[at] = red;
    data[at + 1] = green;
    data[at + 2] = blue;
    data[at + 3] = 205;
  }
  surface.getContext("2d").putImageData(pixels, 0, 0);
  view.context.drawImage(surface, 0, 0, view.width, view.height);
}

const STOPS = [[252, 253, 191], [254, 159, 109], [222, 73, 104], [140, 41, 129], [59, 15, 112], [0, 0, 4]];
const RAMP = Array.from({ length: 256 }, (_, value) => {
  const place = (value / 255) * (STOPS.length - 1);
  const [from, to] = [STOPS[Math.floor(place)], STOPS[Math.ceil(place)]];
  return from.map((channel, index) => Math.round(channel + (to[index] - channel) * (place % 1)));
});

/** A picture's pixels at the size at which they are shown, half of it where that is large. */
function sampled(view, picture) {
  const shrink = view.width > 900 ? 0.5 : 1;
  const surface = new OffscreenCanvas(Math.ceil(view.width * shrink), Math.ceil(view.height * shrink));
  const context = surface.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingEnabled = false;
  context.drawImage(picture, 0, 0, surface.width, surface.height);
  return { surface, pixels: context.getImageData(0, 0, surface.width, surface.height) };
}

function channels(color) {
  return [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
}

/** What is said of the whole picture, in lines at its lower edge: one for each model. */
function paintCaptions(view, answers) {
  const { context, unit, width, height, texts } = view;
  const size = 13 * unit;
  const line = size + 8 * unit;
  let bottom = height;
  for (const answer of answers.toReversed()) {
    const older = answer.older_ms > 0 ? ` · ${(answer.older_ms / 1000).toFixed(1)} s ${texts.earlier}` : "";
    context.font = `500 ${size}px ${FONT}`;
    context.fillStyle = answer.kind === "error" ? "rgb(90 12 8 / 82%)" : "rgb(8 16 14 / 70%)";
    context.fillRect(0, bottom - line, width, line);
    context.textBaseline = "middle";
    context.fillStyle = colorOf(answer.model);
    const name = `${answer.model} `;
    context.fillText(name, 8 * unit, bottom - line / 2);
    const start = 8 * unit + context.measureText(name).width;
    context.fillStyle = answer.older_ms > 0 ? "#c4cfca" : "#ffffff";
    const words = fitted(context, inWords(answer, texts), older, width - start - 8 * unit);
    context.fillText(words, start, bottom - line / 2);
    bottom -= line;
  }
}
