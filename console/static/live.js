// The page of live cameras: asks for what is looked at, paints each camera's newest frame with its answers, and says how
// each camera is. All that is shown of cameras and models is set as text or drawn.
import { bitmap, colorOf, inWords, paint, ready } from "/static/painting.js";

const WAIT_MS = [300, 1000, 3000, 5000];
const PATIENCE_MS = 3000; // for a camera of the address to be heard

export default {
  template: '<div class="fm-live"></div>',
  props: { texts: Object, first: Object },
  mounted() {
    this.live = new Live(this.$el, this.texts, this.first);
  },
  unmounted() {
    this.live.close();
  },
};

class Live {
  constructor(root, texts, first) {
    Object.assign(this, { root, texts, models: [], chosen: new Set(first.models), whole: first.camera });
    this.undecided = first.models.length === 0 && !first.decided;
    this.split = first.split;
    this.tiles = new Map();
    this.patience = performance.now() + PATIENCE_MS;
    this.closed = false;
    this.tries = 0;
    this.build();
    this.connect();
    this.ages = setInterval(() => this.showAges(), 500);
    this.resized = new ResizeObserver(() => this.repaint());
    this.resized.observe(root);
    this.onKey = (event) => event.key === "Escape" && this.whole && this.leave();
    this.onBack = () => this.look(new URLSearchParams(location.search).get("camera"));
    document.addEventListener("keydown", this.onKey);
    window.addEventListener("popstate", this.onBack);
  }

  close() {
    this.closed = true;
    clearInterval(this.ages);
    this.resized.disconnect();
    document.removeEventListener("keydown", this.onKey);
    window.removeEventListener("popstate", this.onBack);
    this.socket?.close();
  }

  // What the page is made of.

  build() {
    this.bar = make("div", "fm-live-bar");
    this.back = make("button", "fm-live-back", { type: "button", hidden: true });
    this.back.append(make("span", "", { ariaHidden: "true" }, "←"), make("span", "", {}, this.texts.all));
    this.back.addEventListener("click", () => this.leave());
    this.choices = make("div", "fm-choices", { role: "group", ariaLabel: this.texts.models });
    this.splitter = this.toggle(this.texts.split, () => {
      this.split = !this.split;
      this.remember();
      this.arrange();
    });
    this.splitter.classList.add("fm-split");
    this.trouble = make("p", "fm-trouble", { role: "status", hidden: true });
    this.list = make("ul", "fm-cameras");
    this.unheard = make("section", "fm-empty", { hidden: true, role: "status" });
    this.unheardWords = make("p", "fm-empty-title");
    const all = make("a", "fm-button quiet", { href: location.pathname }, this.texts.all);
    const icon = make("i", "q-icon notranslate material-icons", { ariaHidden: "true" }, "videocam_off");
    this.unheard.append(icon, this.unheardWords, make("p", "fm-muted", {}, this.texts.unheard_advice), all);
    this.bar.append(this.back, this.choices, this.splitter);
    this.root.append(this.bar, this.trouble, this.unheard, this.list);
    this.arrange();
  }

  toggle(text, pressed) {
    const button = make("button", "fm-toggle", { type: "button" });
    button.append(make("span", "", {}, text));
    button.addEventListener("click", pressed);
    return button;
  }

  /** A button for each model, also for chosen ones that are no more; at first those that serve are chosen, up to two. */
  offer(models) {
    if (JSON.stringify(models) === JSON.stringify(this.models)) return;
    this.models = models;
    if (this.undecided) {
      const serving = models.filter((one) => one.serving).map((one) => one.model);
      if (serving.length) {
        this.chosen = new Set(serving.slice(0, 2));
        this.undecided = false;
        this.ask();
      }
    }
    const there = new Set(models.map((one) => one.model));
    const why = this.texts.not_deployed;
    const gone = [...this.chosen].filter((model) => !there.has(model)).map((model) => ({ model, serving: false, why }));
    this.choices.replaceChildren(
      ...[...models, ...gone].map(({ model, serving, why }) => {
        const button = this.toggle(model, () => {
          this.undecided = false;
          this.chosen.has(model) ? this.chosen.delete(model) : this.chosen.add(model);
          this.remember();
          this.ask();
          this.arrange();
        });
        button.dataset.model = model;
        button.style.setProperty("--fm-model", colorOf(model));
        button.classList.toggle("fm-idle", !serving);
        if (!serving) button.append(make("span", "fm-why", {}, why));
        return button;
      }),
    );
    this.arrange();
  }

  /** What depends on what is looked at: one camera or all, which models, side by side or not. */
  arrange() {
    this.root.classList.toggle("fm-whole", this.whole !== null);
    this.back.hidden = this.whole === null;
    for (const button of this.choices.children) button.ariaPressed = String(this.chosen.has(button.dataset.model));
    this.splitter.hidden = this.whole === null || this.chosen.size < 2;
    this.splitter.ariaPressed = String(this.split);
    for (const tile of this.tiles.values()) {
      tile.item.hidden = this.whole !== null && tile.camera !== this.whole;
      this.rest(tile);
      this.panels(tile);
      this.redraw(tile);
    }
    this.miss();
  }

  /** Say so where the address names a camera of which nothing is heard. */
  miss() {
    this.unheard.hidden = this.whole === null || this.tiles.has(this.whole) || performance.now() < this.patience;
    if (!this.unheard.hidden) set(this.unheardWords, fill(this.texts.unheard, { camera: this.whole }));
  }

  tile(camera) {
    const known = this.tiles.get(camera);
    if (known) return known;
    const item = make("li", "fm-camera");
    const button = make("button", "fm-camera-picture", { type: "button", ariaLabel: fill(this.texts.open, { camera }) });
    const foot = make("div", "fm-camera-foot");
    const name = make("h2", "", {}, camera);
    const state = make("span", "fm-chip");
    const numbers = make("span", "fm-muted fm-small fm-number");
    const words = make("p", "fm-camera-words fm-small");
    foot.append(name, state, numbers);
    item.append(button, foot, words);
    button.addEventListener("click", () => this.whole === null && this.enter(camera));
    const tile = { camera, item, button, state, numbers, words, canvases: [], painted: null };
    this.tiles.set(camera, tile);
    const after = [...this.tiles.keys()].sort().indexOf(camera);
    this.list.insertBefore(item, this.list.children[after] ?? null);
    item.hidden = this.whole !== null && camera !== this.whole;
    this.rest(tile);
    this.panels(tile);
    return tile;
  }

  /** A camera that is large already can't be opened. Not `disabled`: Quasar would fade the picture. */
  rest(tile) {
    tile.button.ariaDisabled = String(this.whole !== null);
    tile.button.tabIndex = this.whole === null ? 0 : -1;
  }

  /** One canvas, or one for each chosen model side by side. */
  panels(tile) {
    const side = this.whole === tile.camera && this.split && this.chosen.size > 1;
    const wanted = side ? [...this.chosen].sort() : [null];
    if (tile.canvases.length === wanted.length && tile.canvases.every((one, at) => one.model === wanted[at])) return;
    tile.canvases = wanted.map((model) => ({ model, canvas: make("canvas", "", { role: "img" }) }));
    tile.button.replaceChildren(...tile.canvases.map((one) => one.canvas));
    tile.item.style.setProperty("--fm-panels", wanted.length);
  }

  // What is looked at.

  enter(camera) {
    history.pushState({ ...history.state, entered: true }, "");
    this.look(camera);
  }

  /** Back to the grid: to the very entry of the history that it was entered from, where it was. */
  leave() {
    if (history.state?.entered) history.back();
    else this.look(null);
  }

  look(camera) {
    const left = this.whole;
    this.whole = camera;
    this.patience = performance.now() + PATIENCE_MS;
    this.remember();
    this.ask();
    this.arrange();
    if (camera) this.back.focus();
    else (this.tiles.get(left) ?? this.tiles.values().next().value)?.button.focus();
  }

  /** Put what is looked at into the address. */
  remember() {
    const query = new URLSearchParams();
    if (this.whole) query.set("camera", this.whole);
    if (!this.undecided) query.set("models", [...this.chosen].join(","));
    if (this.split) query.set("split", "1");
    const text = String(query);
    history.replaceState(history.state, "", text ? `?${text}` : location.pathname);
  }

  ask() {
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    this.socket.send(JSON.stringify({ camera: this.whole, models: [...this.chosen] }));
  }

  // The line to the console.

  connect() {
    if (this.closed) return;
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = (this.socket = new WebSocket(`${scheme}://${location.host}/live/stream`));
    socket.binaryType = "arraybuffer";
    socket.onopen = () => this.ask();
    socket.onmessage = async ({ data }) => {
      this.tries = 0;
      const message = unpack(data);
      if (message.cameras) this.tell(message);
      await Promise.all(message.frames.map((frame) => this.show(frame)));
      this.owe(socket, message.frames.length ? 1 : 0);
    };
    socket.onclose = () => {
      if (this.closed) return;
      if (this.tries > 0) this.say(this.texts.lost);
      setTimeout(() => this.connect(), WAIT_MS[Math.min(this.tries++, WAIT_MS.length - 1)]);
    };
  }

  /** Say what has been painted, once the browser paints: in a hidden tab it doesn't, and nothing more comes. */
  owe(socket, count) {
    socket.owed = (socket.owed ?? 0) + count;
    if (socket.saying) return;
    socket.saying = true;
    requestAnimationFrame(() => {
      socket.saying = false;
      if (socket.readyState !== WebSocket.OPEN) return;
      socket.send(JSON.stringify({ painted: socket.owed }));
      socket.owed = 0;
    });
  }

  async show(frame) {
    if (this.whole !== null && frame.camera !== this.whole) return;
    const tile = this.tile(frame.camera);
    const turn = (tile.turn = (tile.turn ?? 0) + 1);
    try {
      const [picture, answers] = await Promise.all([bitmap(frame.parts[0]), ready(frame.answers)]);
      if (turn !== tile.turn) return; // a newer one has come meanwhile
      tile.painted?.picture.close();
      tile.painted = { picture, answers, size: frame, at: performance.now() - frame.age_ms };
      tile.item.dataset.frame = frame.id;
      this.redraw(tile);
    } catch {
      // a picture that the browser can't read: the next one may do
    }
  }

  repaint() {
    for (const tile of this.tiles.values()) this.redraw(tile);
  }

  redraw(tile) {
    if (!tile.painted || tile.item.hidden) return;
    const { picture, size } = tile.painted;
    const chosen = tile.painted.answers.filter((answer) => this.chosen.has(answer.model));
    for (const { model, canvas } of tile.canvases) {
      const answers = model === null ? chosen : this.only(model, chosen);
      paint(canvas, picture, size, answers, this.texts);
      const words = answers.map((answer) => `${answer.model}: ${inWords(answer, this.texts)}`).join("; ");
      canvas.ariaLabel = `${tile.camera}. ${words}`;
    }
    tile.item.dataset.answers = chosen.map((answer) => `${answer.model}:${answer.older_ms}`).join(" ");
    this.showAge(tile);
  }

  /** What one model says, for its own panel; where it says nothing, why. */
  only(model, answers) {
    const said = answers.filter((answer) => answer.model === model);
    if (said.length) return said;
    const known = this.models.find((one) => one.model === model);
    const why = known?.serving ? this.texts.no_answer : (known?.why ?? this.texts.not_deployed);
    return [{ model, kind: "text", text: why }];
  }

  // How cameras are.

  tell({ cameras, models }) {
    this.offer(models);
    this.say("");
    const there = new Set(cameras.map((one) => one.camera));
    for (const [camera, tile] of this.tiles) {
      if (!there.has(camera)) {
        tile.item.remove();
        this.tiles.delete(camera);
      }
    }
    for (const status of cameras) {
      const tile = this.tile(status.camera);
      tile.status = status;
      const kind = { live: "good", starting: "", waiting: "warn", away: "warn", stalled: "warn" }[status.state] ?? "bad";
      tile.state.className = `fm-chip ${kind}`;
      set(tile.state, this.texts.states[status.state] ?? status.state);
      set(tile.words, status.words);
      tile.item.classList.toggle("fm-away", status.state !== "live");
      tile.silentSince = status.silent_ms === null ? null : performance.now() - status.silent_ms;
      this.showAge(tile);
    }
    this.miss();
    this.root.dataset.cameras = cameras.length;
    this.list.style.setProperty("--fm-columns", Math.min(5, Math.ceil(Math.sqrt(Math.max(1, cameras.length)))));
  }

  showAges() {
    for (const tile of this.tiles.values()) this.showAge(tile);
  }

  showAge(tile) {
    if (!tile.status) return;
    const now = performance.now();
    const parts = [];
    if (tile.status.state === "live") parts.push(fill(this.texts.fps, { fps: tile.status.fps.toFixed(1) }));
    if (tile.painted) parts.push(fill(this.texts.age, { age: aged(now - tile.painted.at) }));
    set(tile.numbers, parts.join(" · "));
  }

  say(words) {
    this.trouble.hidden = words === "";
    set(this.trouble, words);
  }
}

function aged(ms) {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 120) return `${Math.round(seconds)} s`;
  return `${Math.round(seconds / 60)} min`;
}

/** A message of `console/live/stream.py`. */
function unpack(data) {
  const length = new DataView(data).getUint32(0);
  const message = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
  let at = 4 + length;
  const pictures = message.sizes.map((size) => {
    const picture = new Blob([new Uint8Array(data, at, size)]);
    at += size;
    return picture;
  });
  let next = 0;
  for (const frame of message.frames) {
    const count = frame.parts;
    frame.parts = pictures.slice(next, next + count);
    next += count;
    const own = frame.parts.slice(1);
    for (const answer of frame.answers) {
      if (answer.kind === "masks") answer.masks = answer.masks.map(([at, ...label]) => [own[at], ...label]);
      if (answer.kind === "depth") answer.png = own[answer.png];
    }
  }
  return message;
}

function make(tag, className, fields = {}, text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  Object.assign(element, fields);
  if (text) element.textContent = text;
  return element;
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}
