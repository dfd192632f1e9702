// An alarm is heard: a short tone again and again, more of them the longer nobody answers. Browsers let a page
// sound only after somebody touched it; until then the page says that it is silent.
"use strict";
{
  const sound = { context: null };

  function allowed() {
    sound.context ||= new AudioContext();
    if (sound.context.state === "suspended") sound.context.resume().then(() => tell(), () => {});
    tell();
  }
  // after the click, not at its beginning: what goes away must not move a button from under a finger
  for (const kind of ["click", "keydown"]) addEventListener(kind, allowed, { passive: true });

  function tell(known = box.state) {
    const heard = Boolean(sound.context && sound.context.state === "running");
    document.body.classList.toggle("heard", heard);
    document.getElementById("silent").hidden = heard || !(known && known.alarms);
  }

  // Tones of 0.18 s: two heights, so that it is told from a telephone; the more the louder.
  function ring(level) {
    const { context } = sound, now = context.currentTime;
    for (let turn = 0; turn < 2 * level; turn += 1) {
      const tone = context.createOscillator(), loud = context.createGain(), at = now + turn * 0.22;
      tone.type = "square";
      tone.frequency.value = turn % 2 ? 660 : 880;
      loud.gain.setValueAtTime(0, at);
      loud.gain.linearRampToValueAtTime(0.1 * level, at + 0.02);
      loud.gain.setValueAtTime(0.1 * level, at + 0.15);
      loud.gain.linearRampToValueAtTime(0, at + 0.18);
      tone.connect(loud).connect(context.destination);
      tone.start(at);
      tone.stop(at + 0.2);
    }
  }

  document.addEventListener("alarms", (event) => {
    const known = event.detail;
    tell(known);
    if (!known.alarms) return;
    if (sound.context && sound.context.state === "running") ring(Math.min(3, Math.max(1, known.loudest)));
    if (navigator.vibrate && navigator.userActivation?.hasBeenActive) navigator.vibrate(known.loudest > 1 ? [400, 150, 400] : 250);
  });
  tell();
}
