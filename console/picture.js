// One picture with what models say of it: the element of console/picture.py.
import { inWords, paint, ready, bitmap } from "/static/painting.js";

export default {
  template: `
    <figure class="fm-picture">
      <canvas v-show="!broken" ref="canvas" role="img"></canvas>
      <p v-if="broken" class="fm-picture-broken">{{ texts.broken }}</p>
    </figure>`,
  props: { src: String, answers: Array, texts: Object },
  data: () => ({ broken: false }),
  mounted() {
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.$el);
    this.load();
  },
  unmounted() {
    this.observer.disconnect();
  },
  watch: {
    src() {
      this.load();
    },
    answers() {
      this.load();
    },
  },
  methods: {
    async load() {
      const turn = (this.turn = (this.turn ?? 0) + 1);
      let loaded = null;
      try {
        const [picture, answers] = await Promise.all([bitmap(this.src), ready(this.answers)]);
        loaded = { picture, answers };
      } catch {
        // No picture, or one that this browser can't read.
      }
      if (turn !== this.turn) return; // a newer one was asked for meanwhile
      this.loaded = loaded;
      this.broken = !loaded;
      this.draw();
    },
    draw() {
      if (!this.loaded) return;
      const { picture, answers } = this.loaded;
      const words = answers.map((answer) => `${answer.model}: ${inWords(answer, this.texts)}`);
      this.$refs.canvas.setAttribute("aria-label", words.join("; "));
      paint(this.$refs.canvas, picture, picture, answers, this.texts);
    },
  },
};
