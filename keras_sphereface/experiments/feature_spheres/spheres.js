const globes = [...document.querySelectorAll(".plotly-graph-div")], step = Math.PI / 18;
const keys = {ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, step], ArrowDown: [0, -step]};
const first = globes[0].layout.scene.camera;
const chosen = document.getElementById("chosen"), all = document.getElementById("all");
const dark = matchMedia("(prefers-color-scheme: dark)");
let wanted = null, busy = false, shown = JSON.stringify(first);

async function look(camera, dragged) {  // all globes but the dragged one, at the last camera only
  wanted = [camera, dragged];
  if (busy) return;
  for (busy = true; wanted; await new Promise(requestAnimationFrame)) {
    [camera, dragged] = wanted;
    [wanted, shown] = [null, JSON.stringify(camera)];
    for (const globe of globes.filter(globe => globe !== dragged))
      if (!wanted || getComputedStyle(globe).visibility !== "hidden")  // these can wait
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

function choose() {  // the globe of the slider's place
  const titles = document.querySelectorAll(".slider i");
  for (const [i, figure] of document.querySelectorAll(".spheres figure").entries())
    for (const part of [figure, titles[i]]) part.classList.toggle("shown", i === chosen.valueAsNumber);
  chosen.setAttribute("aria-valuetext", titles[chosen.valueAsNumber].textContent);
}
function arrange(together) {  // all side by side, or one at a time
  document.querySelector(".spheres").classList.toggle("one", !together);
  document.getElementById("one").hidden = together;
  all.textContent = together ? "One at a time" : "All side by side";
  for (const globe of globes) Plotly.Plots.resize(globe);
}
if (chosen) {
  chosen.addEventListener("input", choose);
  all.addEventListener("click", () => arrange(!document.getElementById("one").hidden));
  choose();
  arrange(false);
}

// On dark pages `DARK` has another color for some; `light` keeps those that the traces came with.
const spots = [...document.querySelectorAll(".identities span")], paths = {
  "colorscale": trace => trace.colorscale?.[0][1], "marker.color": trace => trace.marker?.color,
  "marker.line.color": trace => trace.marker?.line.color, "line.color": trace => trace.line?.color};
const light = {spots: spots.map(spot => spot.dataset.color), paths: Object.entries(paths).map(
  ([path, colorOf]) => [path, globes[0].data.map(colorOf)])};  // alike on all globes
async function paint() {
  const shade = color => dark.matches && DARK[color] || color;
  spots.forEach((spot, i) => { spot.style.background = shade(light.spots[i]); });
  for (const globe of globes) for (const [path, colors] of light.paths) {
    const traces = [...colors.keys()].filter(i => colors[i] in DARK);
    const shades = traces.map(i => shade(colors[i])).map(
      color => path === "colorscale" ? [[0, color], [1, color]] : color);
    if (traces.length) await Plotly.restyle(globe, {[path]: shades}, traces);
  }
}
if (dark.matches) paint();
dark.addEventListener("change", paint);
