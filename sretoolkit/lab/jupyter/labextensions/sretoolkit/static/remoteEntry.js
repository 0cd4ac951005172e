// A prebuilt JupyterLab extension, written by hand: a card for each runbook in the launcher, and commands in the palette.
// What there is to run, and what is done, is the server's to say (sretoolkit/lab/handlers.py).
(() => {
  let shared;
  const load = async name => (await Object.values(shared[name])[0].get())();
  const MARK = "M3 4h18v4H3zm0 6h11v4H3zm0 6h18v4H3zm14-6h4v4h-4z";

  // In a notebook's command mode JupyterLab takes plain keys for itself, also where a list, slider or button of a panel has
  // the focus: an arrow would leave the panel, and "d d" delete its cell.
  window.addEventListener("keydown", event => {
    const { target } = event;
    if (target instanceof Element && target.closest(".jp-Notebook [class*='srt-']"))
      target.toggleAttribute("data-lm-suppress-shortcuts", !(event.ctrlKey || event.metaKey || event.altKey));
  }, true);

  async function extension() {
    if (!shared["@jupyterlab/launcher"]) return { __esModule: true, default: [] }; // in Voilà there is nothing to add to
    const [{ ILauncher }, { ICommandPalette, InputDialog, showErrorMessage }, { LabIcon }, { ServerConnection }, { URLExt }] =
      await Promise.all(["launcher", "apputils", "ui-components", "services", "coreutils"].map(name => load(`@jupyterlab/${name}`)));
    const icon = new LabIcon({
      name: "sretoolkit:runbook",
      svgstr: `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24"><path class="jp-icon3" fill="#616161" d="${MARK}"/></svg>`
    });
    const settings = ServerConnection.makeSettings();
    const address = path => URLExt.join(settings.baseUrl, "sretoolkit", path);

    async function ask(path, body) {
      const init = body ? { method: "POST", body: JSON.stringify(body) } : {};
      const response = await ServerConnection.makeRequest(address(path), init, settings);
      const answer = await response.json();
      if (!response.ok) throw new Error([answer.message, answer.hint].filter(Boolean).join(" — next: "));
      return answer;
    }

    function activate(app, palette, launcher) {
      const { commands, shell } = app;
      const category = "SRE runbooks";

      async function open(body, run) {
        const { path } = await ask("open", body);
        const there = [...shell.widgets("main")].find(each => each.context?.path === path);
        if (there) { shell.activateById(there.id); return there; }
        const panel = await commands.execute("docmanager:open", { path, factory: "Notebook", kernel: { name: "python3" } });
        await panel.context.ready;
        if (run) {
          await panel.revealed;
          await panel.sessionContext.ready;
          await panel.sessionContext.session?.kernel?.info;
          shell.activateById(panel.id);
          await commands.execute("notebook:run-all-cells");
          await panel.context.save(); // so that a reload of the page shows the panel again
        }
        return panel;
      }

      async function pick(title, args) {
        if (args.runbook) return args.runbook;
        const { runbooks } = await ask("runbooks");
        const items = runbooks.filter(each => !each.broken).map(each => each.name);
        return (await InputDialog.getItem({ title, items })).value;
      }

      function add(id, label, work, caption) {
        commands.addCommand(`sretoolkit:${id}`, {
          icon, caption,
          label: args => args.title || label,
          execute: async args => {
            try { return await work(args); } catch (error) { await showErrorMessage(label, error.message); }
          }
        });
        palette?.addItem({ command: `sretoolkit:${id}`, category });
      }

      add("run", "Run a runbook…", async args => {
        const runbook = await pick("Run which runbook?", args);
        if (runbook) return open({ runbook, as: "form" }, true);
      }, args => [args.purpose, args.risk && `Risk: ${args.risk}`].filter(Boolean).join("\n"));
      add("copy", "Open a copy of a runbook…", async args => {
        const runbook = await pick("Copy which runbook?", args);
        if (runbook) return open({ runbook, as: "copy" }, false);
      });
      add("schedule", "Schedule a runbook…", async args => {
        const runbook = await pick("Schedule which runbook?", args);
        if (!runbook) return;
        const { path } = await ask("open", { runbook, as: "copy" });
        await commands.execute("filebrowser:go-to-path", { path }); // the dialog takes what is selected there
        await commands.execute("scheduling:create-from-filebrowser");
      });
      add("runs", "Runs", () => open({ as: "runs" }, true), () => "What was run: search, open, compare, prove");
      add("record", "Open the last record", () =>
        commands.execute("help:open", { url: address("record"), text: "Last record", newBrowserTab: false }));
      add("verify", "Verify the journal", () =>
        commands.execute("help:open", { url: address("journal"), text: "Journal", newBrowserTab: false }));
      add("pass-on", "Hand a run over to the next on-call…", async () => {
        const run = (await InputDialog.getText({ title: "Which run?", text: "last", label: "Its id, or last" })).value;
        const to = run && (await InputDialog.getText({ title: "Who is on call next?" })).value;
        if (!to) return;
        const note = (await InputDialog.getText({ title: "What should they know?" })).value || "";
        await ask("pass-on", { run, to, note });
        return open({ as: "runs" }, true);
      });

      launcher?.add({ command: "sretoolkit:runs", category, rank: 0 });
      app.started.then(() => ask("runbooks")).then(({ runbooks }) => runbooks.forEach((each, rank) => {
        if (!each.broken) launcher?.add({ command: "sretoolkit:run", args: { ...each, runbook: each.name }, category, rank: rank + 1 });
      })).catch(error => console.warn(`sretoolkit: ${error.message}`));
    }

    return { __esModule: true, default: { id: "sretoolkit:plugin", autoStart: true, optional: [ICommandPalette, ILauncher], activate } };
  }

  (window._JUPYTERLAB ||= {}).sretoolkit = {
    init: scope => { shared = scope; },
    get: async () => { const module = await extension(); return () => module; }
  };
})();
