'use strict';
// Console commands that end this server in real ways. Copy into ./plugins to use.
//   crash throw | crash exit N | crash segv | crash abort | crash kill | crash leak | crash hang
const ends = {
  throw: () => setTimeout(() => undefined.tick(), 10),
  exit: (code) => process.exit(Number(code) || 0),
  segv: () => process.kill(process.pid, 'SIGSEGV'),
  kill: () => process.kill(process.pid, 'SIGKILL'),
  abort: () => process.abort(),
  leak: () => {
    const kept = [];
    setInterval(() => { for (let i = 0; i < 40; i++) kept.push(new Array(40000).fill(Math.random())); }, 5);
  },
  hang: () => { for (;;); },
};

module.exports = {
  server (serv) {
    serv.commands.add({
      base: 'crash',
      info: 'end the server',
      usage: '/crash <how> [n]',
      op: true,
      parse: (text) => text.trim().split(/\s+/),
      action: ([how, n]) => (Object.hasOwn(ends, how) ? ends[how](n) : `crash ${Object.keys(ends).join('|')}`),
    });
  },
};
