// embed.js would fetch its icon fonts from a CDN: tell it that they lie beside this file.
window.__jupyter_widgets_assets_path__ = new URL(".", document.currentScript.src).href;
