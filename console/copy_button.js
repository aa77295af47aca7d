// A button that copies a text. The clipboard's own interface is there only over TLS and on this machine.
export default {
  template: `
    <button type="button" class="fm-copy" :aria-label="copied ? done : label" :title="copied ? done : label" @click="copy">
      <q-icon :name="copied ? 'check' : 'content_copy'" aria-hidden="true" />
      <span class="fm-hidden" role="status">{{ copied ? done : "" }}</span>
    </button>`,
  props: { text: String, label: String, done: String },
  data: () => ({ copied: false }),
  unmounted() {
    clearTimeout(this.timer);
  },
  methods: {
    async copy() {
      if (navigator.clipboard) await navigator.clipboard.writeText(this.text);
      else this.copyBySelection();
      this.copied = true;
      clearTimeout(this.timer);
      this.timer = setTimeout(() => (this.copied = false), 2000);
    },
    copyBySelection() {
      const area = document.createElement("textarea");
      area.value = this.text;
      area.style.cssText = "position: fixed; opacity: 0";
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    },
  },
};
