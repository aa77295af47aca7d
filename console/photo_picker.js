// A place to put one photo: choose, drop, paste, or take it with a phone. The photo goes to `url` as it is; what becomes
// of it comes back over the page's own connection.
export default {
  template: `
    <div class="fm-drop" :class="{ over, filled: shown }" @dragover.prevent="over = true"
         @dragleave="over = false" @drop.prevent="dropped">
      <img v-if="shown" :src="shown" :alt="words.photo" class="fm-drop-photo" @error="shown = ''" />
      <template v-else>
        <q-icon name="add_photo_alternate" class="fm-drop-icon" aria-hidden="true" />
        <p class="fm-strong">{{ words.drop }}</p>
      </template>
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
    </div>`,
  props: { url: String, accept: String, maxBytes: Number, stored: String, words: Object },
  data() {
    return { over: false, shown: this.stored };
  },
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
      this.take(event.clipboardData?.files[0]);
    },
    forget() {
      if (this.preview) URL.revokeObjectURL(this.preview);
      this.preview = this.photo = null;
    },
    take(file) {
      if (!file) return;
      this.forget();
      if (file.size > this.maxBytes) {
        this.shown = "";
        this.$emit("large", file.size);
        return;
      }
      this.photo = file;
      this.preview = URL.createObjectURL(file);
      this.send();
    },
    // Also called by the page, when other models are to see the same photo. It is shown once the console has found it
    // small enough: a few kilobytes may hold more pixels than a browser can bear.
    async send() {
      const { photo, preview } = this;
      if (!photo) return;
      let refusal = "";
      try {
        const response = await fetch(this.url, { method: "POST", body: photo, headers: { "Framemesh-Preview": preview } });
        if (!response.ok) refusal = (await response.text()).slice(0, 500);
      } catch (error) {
        refusal = String(error);
      }
      if (preview !== this.preview) return; // another photo was chosen meanwhile
      this.shown = refusal ? "" : preview;
      if (refusal) this.$emit("refused", refusal);
    },
  },
};
