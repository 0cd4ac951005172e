const fs = require('fs');
const mark = (name) => { try { fs.writeFileSync('/seen/' + name, ''); } catch { /* a clone may only read */ } };
process.once('SIGTERM', () => {
  mark('told');
  setTimeout(() => { mark('done'); process.exit(0); }, 300);
});
setInterval(() => {}, 1e9);
mark('ready');
