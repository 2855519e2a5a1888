/** A port of 127.0.0.1 that never answers, as a host does that a firewall hides. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { spawnBound } from '../programs/programs.ts';
import { atEnd } from '../scope.ts';

const LISTENER = `
const server = require('node:net').createServer();
server.listen({ host: '127.0.0.1', port: 0, backlog: 1 }, () => process.stdout.write(String(server.address().port)));`;
/** Far longer than a connection on loopback takes. */
const SILENCE_MS = 500;

/** A stopped process does not accept; once its backlog is full, Linux drops what else would connect (listen(2)). */
export async function blackHole(): Promise<number> {
  const child = spawnBound(process.execPath, ['-e', LISTENER]);
  atEnd(() => child.kill('SIGKILL'));
  const [line] = (await once(child.stdout ?? child, 'data')) as [Buffer];
  const port = Number(line.toString());
  child.kill('SIGSTOP');
  let connected = true;
  for (let i = 0; connected && i < 16; i++) connected = await fillOne(port);
  if (connected) throw new Error('the backlog does not fill up');
  return port;
}

/** Whether it connected; it stays open. */
function fillOne(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  atEnd(() => socket.destroy());
  return new Promise((resolve) => {
    const limit = setTimeout(() => resolve(false), SILENCE_MS);
    socket.once('connect', () => {
      clearTimeout(limit);
      resolve(true);
    });
  });
}
