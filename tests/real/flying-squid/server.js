'use strict';
// Starts flying-squid as a game host would: settings from ./server.properties, plugins from ./plugins/*.js, the world
// in ./<level-name>. (Its own app.js ignores its settings file.)
const fs = require('fs');
const path = require('path');

function readProperties(file) {
  const properties = {};
  if (!fs.existsSync(file)) return properties;
  for (const line of fs.readFileSync(file, 'utf8').split(/\r?\n/)) {
    const entry = /^\s*([^#=\s][^=]*?)\s*=(.*)$/.exec(line);
    if (entry) properties[entry[1]] = entry[2].trim();
  }
  return properties;
}

function findPlugins(folder) {
  if (!fs.existsSync(folder)) return {};
  const files = fs.readdirSync(folder).filter((name) => name.endsWith('.js')).sort();
  return Object.fromEntries(files.map((name) => [path.resolve(folder, name), {}]));
}

const properties = readProperties('server.properties');
const flag = (key) => properties[key] === 'true';
const number = (key, otherwise) => {
  const value = Number(properties[key] ?? otherwise);
  if (!Number.isFinite(value)) throw new Error(`server.properties: ${key} is not a number: ${properties[key]}`);
  return value;
};

const version = properties.version || '1.21.4';
console.log(`Starting minecraft server version ${version}`);
require('flying-squid').createMCServer({
  motd: properties.motd || 'A Minecraft Server',
  host: properties['server-ip'] || '0.0.0.0',
  port: number('server-port', 25565),
  'max-players': number('max-players', 10),
  'online-mode': flag('online-mode'),
  'everybody-op': flag('everybody-op'),
  logging: flag('logging'),
  gameMode: number('gamemode', 1),
  difficulty: number('difficulty', 1),
  worldFolder: properties['level-name'] || 'world',
  generation: { name: properties['level-type'] || 'superflat', options: { worldHeight: 80 } },
  'view-distance': number('view-distance', 4),
  'player-list-text': { header: { text: '' }, footer: { text: '' } },
  kickTimeout: 10000,
  'max-entities': 100,
  modpe: false,
  plugins: findPlugins('plugins'),
  version,
});
