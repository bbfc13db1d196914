const globes = [...document.querySelectorAll(".plotly-graph-div")], step = Math.PI / 18;
const keys = {ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step]};
const first = globes[0].layout.scene.camera;
let wanted = null, busy = false, shown = JSON.stringify(first);

async function look(camera, dragged) {  // all globes but the dragged one, at the last camera only
  wanted = [camera, dragged];
  if (busy) return;
  for (busy = true; wanted; await new Promise(requestAnimationFrame)) {
    [camera, dragged] = wanted;
    [wanted, shown] = [null, JSON.stringify(camera)];
    for (const globe of globes.filter(globe => globe !== dragged))
      await Plotly.relayout(globe, {"scene.camera": JSON.parse(shown)});
  }
  busy = false;
}
for (const globe of globes) {
  Plotly.Plots.resize(globe);  // when it was drawn, the page ended with it
  const follow = dragged => ({"scene.camera": camera}) =>  // `shown` comes from `look` itself
    camera && JSON.stringify(camera) !== shown && look(camera, dragged);
  globe.on("plotly_relayouting", follow(globe)).on("plotly_relayout", follow(null));
  globe.closest(".globe").addEventListener("keydown", event => {
    if (!keys[event.key] || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const camera = globe.layout.scene.camera, {x, y, z} = camera.eye, far = Math.hypot(x, y, z);
    const azimuth = Math.atan2(y, x) + keys[event.key][0], slope = Math.max(-1.5, Math.min(1.5,
      Math.asin(z / far) + keys[event.key][1])), flat = far * Math.cos(slope);
    look({...camera, eye: {x: flat * Math.cos(azimuth), y: flat * Math.sin(azimuth),
                           z: far * Math.sin(slope)}}, null);
  });
}
document.getElementById("reset").addEventListener("click", () => look(first, null));
