// What the run or the page has to say, for a few seconds each.

const SHOWN = 6000; // ms

export class Notices {
  constructor(root, state) {
    this.root = root;
    this.state = state;
    this.shown = new Map(); // notice -> element
  }

  render() {
    for (const notice of this.state.notices) {
      if (this.shown.has(notice)) continue;
      const line = document.createElement("p");
      line.className = notice.kind;
      line.textContent = notice.text;
      this.root.append(line);
      this.shown.set(notice, line);
      setTimeout(() => {
        line.remove();
        this.shown.delete(notice);
        this.state.notices = this.state.notices.filter((kept) => kept !== notice);
      }, SHOWN);
    }
    while (this.root.children.length > 3) this.root.firstChild.remove();
  }
}
