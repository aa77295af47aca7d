// A place to put one photo: choose, drop, paste, or take it with a phone. The photo goes to `url` as it is; what becomes
// of it comes back over the page's own connection.
export default {
  template: `
    <div class="fm-drop" :class="{ over, filled: shown }" @dragover.prevent="over = true"
         @dragleave="over = false" @drop.prevent="dropped">
      <slot></slot>
      <div class="fm-drop-ask">
        <p v-if="!shown" class="fm-drop-words">{{ words.drop }}</p>
        <div class="fm-row fm-drop-buttons">
          <label class="fm-button" :class="{ quiet: shown }">
            {{ shown ? words.another : words.choose }}
            <input type="file" :accept="accept" class="fm-hidden" @change="chosen" />
          </label>
          <label class="fm-button quiet fm-touch">
            {{ words.take }}
            <input type="file" accept="image/*" capture="environment" class="fm-hidden" @change="chosen" />
          </label>
        </div>
        <p class="fm-muted fm-small">{{ words.limit }}</p>
      </div>
    </div>`,
  props: { url: String, accept: String, maxBytes: Number, words: Object },
  data: () => ({ over: false, shown: false, photo: null, preview: null }),
  mounted() {
    window.addEventListener("paste", this.pasted);
  },
  unmounted() {
    window.removeEventListener("paste", this.pasted);
    this.forget();
  },
  methods: {
    chosen(event) {
      this.take(event.target.files[0]);
      event.target.value = ""; // so that the same file can be chosen again
    },
    dropped(event) {
      this.over = false;
      this.take(event.dataTransfer.files[0]);
    },
    pasted(event) {
      const file = event.clipboardData?.files[0];
      if (file) this.take(file);
    },
    forget() {
      if (this.preview) URL.revokeObjectURL(this.preview);
      this.preview = null;
    },
    take(file) {
      if (!file) return;
      this.forget();
      this.photo = file;
      if (file.size > this.maxBytes) {
        this.photo = null;
        this.$emit("large", file.size);
        return;
      }
      this.preview = URL.createObjectURL(file);
      this.shown = true;
      this.$emit("picked", this.preview);
      this.send();
    },
    // Also called by the page, when other models are to see the same photo.
    async send() {
      if (!this.photo) return;
      try {
        const response = await fetch(this.url, { method: "POST", body: this.photo });
        if (!response.ok) this.$emit("refused", (await response.text()).slice(0, 500));
      } catch (error) {
        this.$emit("refused", String(error));
      }
    },
  },
};
