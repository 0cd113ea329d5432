#!/usr/bin/env node
// A real player: joins a Minecraft Java server, says a line, waits to hear it back, leaves.
//
//   node mc-join.mjs HOST:PORT [OPTION...]
//     --status           only the server-list ping: prints the answer
//     --user NAME        player name (default e2e_<random>); servers in offline mode only
//     --say TEXT         what to say (default "hello <random>"; "" says nothing)
//     --command TEXT     a command to run afterwards, e.g. /stop (the player must be op)
//     --expect REGEX     wait for a chat or system line that matches, too
//     --hold SECONDS     stay this long before leaving; SIGTERM ends the stay early, in order
//     --every SECONDS    while staying, say "TEXT 1", "TEXT 2", … and hear each of them back before leaving
//     --until-kicked     stay until the server ends the connection
//     --expect-failure   succeed only if the server could NOT be joined
//     --timeout SECONDS  for all before the hold (default 30)
//
// Prints one line of JSON: host, port, user, joined, spawned, position, heard, kicked, online, max, error, seconds.
// Exit code 0: as asked, 1: not, 2: bad arguments. $MC_CLIENT is a folder that holds node_modules/mineflayer.
import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const nonce = randomBytes(3).toString('hex');
const wanted = { user: `e2e_${nonce}`, say: `hello ${nonce}`, command: '', expect: '', hold: 0, every: 0, timeout: 30 };
const seen = { joined: false, spawned: false, position: null, heard: [], kicked: '' };
const started = Date.now();

function misused (why) {
  console.error(`mc-join: ${why}`);
  process.exit(2);
}

function readArguments (args) {
  while (args.length > 0) {
    const arg = args.shift();
    const name = arg.replace(/^--/, '');
    if (['--status', '--until-kicked', '--expect-failure'].includes(arg)) wanted[name] = true;
    else if (arg.startsWith('--') && name in wanted) {
      if (args.length === 0) misused(`${arg} needs a value`);
      const value = args.shift();
      wanted[name] = typeof wanted[name] === 'number' ? Number(value) : value;
    } else if (/^[^-].*:\d+$/.test(arg)) [, seen.host, seen.port] = /^(.*):(\d+)$/.exec(arg);
    else misused(`unknown argument ${arg}`);
  }
  if (!seen.host) misused('HOST:PORT is missing');
  seen.port = Number(seen.port);
  seen.user = wanted.user;
}

function log (text) {
  console.error(`[${((Date.now() - started) / 1000).toFixed(1)}s] ${text}`);
}

let finished = false;
function finish (error) {
  if (finished) return;
  finished = true;
  const good = wanted['expect-failure'] ? Boolean(error) : !error;
  if (error) seen.error = String(error.message || error).slice(0, 300);
  seen.seconds = (Date.now() - started) / 1000;
  console.log(JSON.stringify(seen));
  if (!good) console.error(`mc-join: ${seen.error ?? 'the server could be joined'}`);
  process.exitCode = good ? 0 : 1;
  process.stdout.write('', () => process.exit());
}

function play (mineflayer, version) {
  const { host, port, user: username } = seen;
  const bot = mineflayer.createBot({ host, port, username, version, auth: 'offline', hideErrors: true });
  const expected = wanted.expect ? new RegExp(wanted.expect) : null;
  let said = false;
  let staying = false;
  let leaving = false;
  let lines = 0;

  function proceed () {
    if (!said) {
      said = true;
      if (wanted.say) bot.chat(wanted.say);
      if (wanted.command) bot.chat(wanted.command);
    }
    if (wanted['until-kicked']) return clearTimeout(deadline);
    if (wanted.say && !seen.heard.some((line) => line.includes(wanted.say))) return;
    if (expected && !seen.heard.some((line) => expected.test(line))) return;
    if (staying) return;
    staying = true;
    clearTimeout(deadline);
    const speaking = wanted.every > 0 && setInterval(() => bot.chat(`${wanted.say} ${++lines}`), wanted.every * 1000);
    const end = setTimeout(leave, wanted.hold * 1000);
    process.once('SIGTERM', leave);

    function leave () {
      clearTimeout(end);
      clearInterval(speaking);
      deadline = setTimeout(() => finish(new Error('the last line did not come back')), wanted.timeout * 1000);
      leaving = true;
      leaveOnceHeard();
    }
  }

  function leaveOnceHeard () {
    if (!leaving || (lines > 0 && !seen.heard.some((line) => line.endsWith(`${wanted.say} ${lines}`)))) return;
    finish();
    bot.quit();
  }

  bot.on('login', () => { seen.joined = true; log('logged in'); });
  bot.once('spawn', () => {
    const { x, y, z } = bot.entity.position;
    seen.spawned = true;
    seen.position = [x, y, z].map((v) => Math.round(v * 10) / 10);
    log(`spawned at ${seen.position}`);
    proceed();
  });
  bot.on('messagestr', (line) => {
    if (!line.trim()) return;
    log(`heard: ${line}`);
    seen.heard.push(line.slice(0, 200));
    if (seen.spawned) proceed();
    leaveOnceHeard();
  });
  bot.on('kicked', (reason) => { seen.kicked = typeof reason === 'string' ? reason : JSON.stringify(reason); });
  // A server that dies right after the kick resets the connection.
  bot.on('error', (error) => {
    if (wanted['until-kicked'] && seen.kicked) return;
    // Whoever was just saying something learns by its failure that the server has ended the connection.
    const ended = wanted['until-kicked'] && seen.spawned && ['EPIPE', 'ECONNRESET'].includes(error.code);
    finish(ended ? null : error);
  });
  bot.on('end', (reason) => {
    const asked = wanted['until-kicked'] && seen.spawned;
    finish(asked ? null : new Error(`the connection ended before all was done: ${reason} ${seen.kicked}`));
  });
}

readArguments(process.argv.slice(2));
if (!process.env.MC_CLIENT) misused('MC_CLIENT must be a folder that holds node_modules/mineflayer (make-games.sh client)');
const require = createRequire(pathToFileURL(join(process.env.MC_CLIENT, 'mc-join.js')));
let deadline = setTimeout(() => finish(new Error(`not within ${wanted.timeout} s`)), wanted.timeout * 1000);
process.on('uncaughtException', finish);

try {
  const status = await require('minecraft-protocol').ping({ host: seen.host, port: seen.port, noPongTimeout: 2000 });
  log(`status: ${status.version?.name}, ${status.players?.online} of ${status.players?.max} players`);
  seen.online = status.players?.online;
  seen.max = status.players?.max;
  if (wanted.status) {
    seen.status = status;
    finish();
  } else {
    play(require('mineflayer'), status.version?.name?.match(/\d+\.\d+(\.\d+)?/)?.[0]);
  }
} catch (e) {
  finish(new Error(`server-list ping: ${e.message}`));
}
